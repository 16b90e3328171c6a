"""Files in the homes of kernels that live, fetched as fast as a browser takes them (T6).

No path of a visitor's is opened here, and no file is held: the kernel opens it inside its sandbox
(`appliance.kernel.file_intake`), tells its size, and gives the part that is asked for piece by piece. What it gives
beyond that part is not passed on; what it gives less ends the browser's connection, which then knows that it has not
got the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from appliance.errors import ApplianceError
from appliance.web.file_sending import STALL_SECONDS as CLIENT_STALL_SECONDS
from appliance.web.kept_files import FileGone
from appliance.web.kernel_files import Conversation, head_of, speak
from appliance.web.uploads import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.config import Config
    from appliance.web.pool_client import KernelAddress

#: Files of one kernel on their way at once: as many as an honest one gives.
MAX_AT_ONCE = 4

#: Sizes that are believed, and times of files, which end in the year 2116.
MAX_NUMBER = 1 << 62


class FileNotGiven(ApplianceError):
    """The kernel did not give the file: it is too busy, or gives others. Try again in a few seconds."""

    code = "file_not_given"
    http_status = 503


class FileTooLargeToFetch(ApplianceError):
    """The file is larger than what this server sends from a kernel."""

    code = "file_too_large_to_fetch"
    http_status = 413


@attrs.frozen
class OpenFile:
    """A file that a kernel holds open; one of its methods is called, once."""

    size: int
    changed_ns: int
    _fetching: _Fetching

    def part(self, start: int, size: int) -> _FetchedPart:
        """Return a part, to be sent."""
        return _FetchedPart(self._fetching, start, size)

    def close(self) -> None:
        """Let go of it."""
        self._fetching.give_up()


@attrs.frozen
class _FetchedPart:
    _fetching: _Fetching
    _start: int
    size: int

    def send(self, request: Any) -> None:
        """Send it, and finish the request."""
        self._fetching.send(request, self._start, self.size)

    def close(self) -> None:
        """Let go of it unsent."""
        self._fetching.give_up()


class Downloads:
    """Fetches files of kernels."""

    def __init__(self, config: Config, reactor: Any) -> None:
        self._reactor = reactor
        self._max_bytes = config.web.max_download_bytes
        self._seconds = config.web.transfer_seconds
        self._under_way: dict[str, int] = {}

    async def open(self, address: KernelAddress, name: str) -> OpenFile:
        """Have a kernel open a file below its home.

        Raises `FileGone`, `FileTooLargeToFetch`, `FileNotGiven` or `NoFilesHere`.
        """
        kernel_id = address.kernel_id
        if self._under_way.get(kernel_id, 0) >= MAX_AT_ONCE:
            raise FileNotGiven
        self._under_way[kernel_id] = self._under_way.get(kernel_id, 0) + 1
        fetching = _Fetching(
            head_of(address, {"fetch": name}), self._reactor, self._seconds, lambda: self._ended(kernel_id)
        )
        answer = await speak(address, fetching, self._reactor)
        try:
            return self._opened(answer, fetching)
        except ApplianceError:
            fetching.give_up()
            raise

    def _ended(self, kernel_id: str) -> None:
        self._under_way[kernel_id] -= 1
        if not self._under_way[kernel_id]:
            del self._under_way[kernel_id]

    def _opened(self, answer: dict[str, Any], fetching: _Fetching) -> OpenFile:
        """Return what the kernel says that it has opened. Raises what it means when that is no file."""
        if answer.get("status") != "ok":
            raise FileGone if answer.get("code") in ("no_file", "bad_name") else FileNotGiven
        size, changed = answer.get("size"), answer.get("changed")
        if type(size) is not int or type(changed) is not int:
            raise FileNotGiven
        if not (0 <= size < MAX_NUMBER and 0 <= changed < MAX_NUMBER):
            raise FileNotGiven
        if size > self._max_bytes:
            raise FileTooLargeToFetch(
                f"This server sends files of up to {size_text(self._max_bytes)} from a kernel, and this one has "
                f"{size_text(size)}. Have the program compress it, or write it in parts."
                if self._max_bytes > 0
                else "This server sends no files from kernels. Ask its administrator for web.max_download_bytes."
            )
        return OpenFile(size, changed, fetching)


@implementer(IPushProducer)
class _Fetching(Conversation):
    """A file on its way from a kernel: its answer first, then a part of it to a browser."""

    def __init__(self, head: bytes, reactor: Any, seconds: float, ended: Callable[[], None]) -> None:
        super().__init__(head, reactor, seconds)
        self._ended = ended
        self._request: Any = None
        self._left = 0

    def send(self, request: Any, start: int, size: int) -> None:
        """Have a part sent to a browser."""
        transport: Any = self.transport
        self._request, self._left = request, size
        request.notifyFinish().addErrback(lambda _: self.stopProducing())
        if not transport.connected:
            self._cut()
            return
        request.registerProducer(self, True)
        request.channel.setTimeout(None)
        if not size:
            self._finish()
            return
        transport.write(b"%d %d\n" % (start, size))
        self.moved()

    def after_answer(self, data: bytes) -> None:
        """Pass on what was asked for."""
        if self._request is None or not self._left:
            self.give_up()
            return
        data = data[: self._left]
        self._left -= len(data)
        if self._left:
            self.moved()
        self._request.write(data)
        if not self._left:
            self._finish()

    def _finish(self) -> None:
        request, self._request = self._request, None
        request.unregisterProducer()
        request.finish()
        self.give_up()

    def _cut(self) -> None:
        """End the browser's connection: whoever waits for the rest must not wait for ever."""
        request, self._request = self._request, None
        request.channel.loseConnection()

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted
        """Wait until the browser has taken what it got."""
        transport: Any = self.transport
        transport.pauseProducing()
        self.waits()
        if self._request is not None:
            self._request.channel.setTimeout(CLIENT_STALL_SECONDS)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted
        """Go on."""
        transport: Any = self.transport
        transport.resumeProducing()
        if self._request is not None:
            self._request.channel.setTimeout(None)
            self.moved()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted
        """Take note that the browser went away."""
        self._request = None
        self.give_up()

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802 - Twisted
        """Take note that the kernel gives no more."""
        super().connectionLost(reason)
        self._ended()
        if self._request is not None:
            self._cut()
