"""Files that visitors bring, handed to kernels, which write them themselves (`appliance.kernel.file_intake`, T6).

No path of a visitor's is opened here. What the kernel answers is believed as far as it is one of a few codes: a kernel
that lies only misleads its own visitor.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from twisted.protocols.basic import FileSender

from appliance.errors import ApplianceError, BadRequest
from appliance.protocol.session_files import is_name
from appliance.web.kernel_files import Conversation, head_of, speak

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.web.pool_client import KernelAddress

#: A kernel that takes a file more slowly is given up: this role holds the file meanwhile.
HANDOVER_SECONDS = 120.0

#: Largest number of bytes that a kernel is believed to have for its files.
MAX_SPACE_BYTES = 1 << 48


class FileTooLarge(ApplianceError):
    """The file is larger than this server takes."""

    code = "file_too_large"
    http_status = 413


class FilesTooLarge(ApplianceError):
    """The files brought to this kernel are larger together than this server takes."""

    code = "files_too_large"
    http_status = 413


class NoSpaceForFile(ApplianceError):
    """The kernel's space for files is used up. Delete files in it, or start a fresh kernel, then try again."""

    code = "no_space_for_file"
    http_status = 413


class FileTooSlow(ApplianceError):
    """The file took too long to arrive."""

    code = "file_too_slow"
    http_status = 408


class BadFileName(BadRequest):
    """This is no name of a file: printable characters, / between directories, no step up, at most 255 bytes a part."""

    code = "bad_file_name"


class FileInTheWay(ApplianceError):
    """In the kernel, something else has the name of the file or of a directory above it. Choose another name."""

    code = "file_in_the_way"
    http_status = 409


class FileNotTaken(ApplianceError):
    """The kernel did not take the file: it has ended, or it is too busy. Try again in a few seconds."""

    code = "file_not_taken"
    http_status = 503


def size_text(size: int) -> str:
    """Return a number of bytes as people say it, not rounded up."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + f" {name}"
    return f"{size} bytes"


def too_large(limit: int) -> FileTooLarge:
    """Return what is said of a file beyond the limit."""
    if limit <= 0:
        return FileTooLarge("This server takes no files. Ask its administrator for web.max_upload_bytes.")
    return FileTooLarge(
        f"This server takes files of up to {size_text(limit)}. Make the file smaller, for example by compressing it or "
        "leaving out what the program does not need."
    )


def too_slow(seconds: float) -> FileTooSlow:
    """Return what is said of a file that takes longer than it may."""
    return FileTooSlow(
        f"A file must arrive within {round(seconds)} seconds. Make it smaller, for example by compressing it, or bring "
        "it over a faster connection."
    )


class Uploads:
    """Hands files to kernels."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._reactor = reactor
        self._max_bytes = config.web.max_upload_bytes
        self._max_kernel_bytes = config.web.max_upload_bytes_per_kernel

    async def bring(self, address: KernelAddress, name: str, data: bytes) -> None:
        """Have a kernel write a file below its home.

        Raises `BadFileName`, `FileTooLarge`, `FilesTooLarge`, `NoSpaceForFile`, `FileInTheWay`, `NoFilesHere` or
        `FileNotTaken`.
        """
        if not is_name(name):
            raise BadFileName
        if len(data) > self._max_bytes:
            raise too_large(self._max_bytes)
        head = head_of(address, {"name": name, "size": len(data), "room": self._max_kernel_bytes})
        sending = _Sending(head, data, self._reactor)
        try:
            answer = await speak(address, sending, self._reactor)
        finally:
            sending.give_up()
        self._judge(answer, name)

    def _judge(self, answer: dict[str, Any], name: str) -> None:
        """Raise what the kernel's answer means, if it is no consent."""
        if answer.get("status") == "ok":
            return
        code = answer.get("code")
        if code == "no_room":
            raise FilesTooLarge(
                f"This server takes {size_text(self._max_kernel_bytes)} of files for one kernel, and {name} would be "
                "more than that with those that were brought before. Bring fewer or smaller files, or start a fresh "
                "kernel."
            )
        if code == "no_space":
            space = answer.get("space")
            if type(space) is int and 0 < space < MAX_SPACE_BYTES:
                raise NoSpaceForFile(
                    f"All files of a kernel may have {size_text(space)} together, and {name} does not fit. Delete "
                    "files in it, or start a fresh kernel, then try again."
                )
            raise NoSpaceForFile
        if code == "bad_name":
            raise FileInTheWay
        raise FileNotTaken


class _Sending(Conversation):
    """A file on its way to a kernel."""

    def __init__(self, head: bytes, data: bytes, reactor: Any) -> None:
        super().__init__(head, reactor, HANDOVER_SECONDS)
        self._file = io.BytesIO(data)
        self._at = 0
        self._watch = LoopingCall(self._look)
        self._watch.clock = reactor

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Send the file as fast as the kernel takes it."""
        super().connectionMade()
        # it fails when the connection is lost, which is looked after here
        FileSender().beginFileTransfer(self._file, self.transport).addErrback(lambda _: None)  # type: ignore[no-untyped-call]
        self._watch.start(1.0, now=False)

    def _look(self) -> None:
        at, self._at = self._at, self._file.tell()
        if at != self._at:
            self.moved()

    def after_answer(self, _data: bytes) -> None:
        """Take no note of more: what counts is said."""

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted
        """Look no more."""
        if self._watch.running:
            self._watch.stop()
        super().connectionLost(reason)
