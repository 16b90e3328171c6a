"""One directory for each kernel: its listening sockets and the record that a restarted pool finds it by.

The pool owns ``kernels/<id>/`` (its group, inherited, is the web role's); no kernel can name it. Only files that this
module made are opened or removed, each by name below an open directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from typing import TYPE_CHECKING, Any

import attrs
from twisted.logger import Logger

from appliance.log import kernel_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = Logger()

#: In the order in which a kernel expects its listeners.
SOCKETS = ("shell", "iopub", "stdin", "control", "hb", "files")

#: Connections that may wait to be accepted on one of a kernel's sockets.
BACKLOG = 16

_RECORD = "record.json"
_LEASED = "leased"
#: Fields of a record that are about who leased the kernel, and for what.
_HOLDER = ("page", "address", "known_as", "single")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen
class Record:
    """What must be known to use a kernel: ``key`` signs its messages (HMAC-SHA256)."""

    kernel_id: str
    slot: int
    environment: str
    profile: str
    key: bytes = attrs.field(repr=False)
    leased: bool = False
    page: str = ""
    address: str = ""
    known_as: str = ""
    single: bool = False


class Directories:
    """The directories of all kernels, below ``root``."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, kernel_id: str) -> Path:
        """Return the directory of a kernel."""
        return self._root / kernel_id

    def create(self, record: Record) -> list[socket.socket]:
        """Make the directory of a kernel and return its listeners, in the order of `SOCKETS`.

        Raises `OSError`; nothing is left then.
        """
        directory = self.path(record.kernel_id)
        os.mkdir(directory, 0o750)
        listeners: list[socket.socket] = []
        try:
            for name in SOCKETS:
                listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                listeners.append(listener)
                listener.bind(os.fspath(directory / name))
                os.chmod(directory / name, 0o660)
                listener.listen(BACKLOG)
            fields = attrs.asdict(record, filter=attrs.filters.exclude("key", "leased", *_HOLDER))
            text = json.dumps({**fields, "key": record.key.hex()})
            fd = os.open(directory / _RECORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w", encoding="ascii") as file:
                file.write(text)
        except OSError:
            for listener in listeners:
                listener.close()
            self.remove(record.kernel_id)
            raise
        return listeners

    def mark_leased(
        self, kernel_id: str, page: str = "", address: str = "", known_as: str = "", *, single: bool = False
    ) -> None:
        """Note that the kernel was dealt, and to whom: no later pool may deal it again. Raises `OSError`.

        ``known_as``: the id of the kernel in whose place it was started; ``single``: it ends with its evaluations.
        """
        fd = os.open(self.path(kernel_id) / _LEASED, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(json.dumps({"page": page, "address": address, "known_as": known_as, "single": single}))

    def _holder(self, kernel_id: str) -> dict[str, Any]:
        """Return who leased a kernel; nothing when that was not written whole: it counts for nobody then."""
        try:
            document = json.loads((self.path(kernel_id) / _LEASED).read_text(encoding="ascii"))
            texts = {name: str(document[name]) for name in ("page", "address", "known_as")}
            return {**texts, "single": document.get("single") is True}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def remove(self, kernel_id: str) -> None:
        """Remove the directory of a kernel that has ended."""
        try:
            directory = os.open(self.path(kernel_id), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            for name in (*SOCKETS, _RECORD, _LEASED):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)
        os.rmdir(self.path(kernel_id))

    def load(self) -> Iterator[Record]:
        """Yield the record of each kernel that an earlier pool left; remove directories without a readable one."""
        for name in sorted(os.listdir(self._root)):
            if not _ID.fullmatch(name):
                continue
            try:
                document = json.loads((self.path(name) / _RECORD).read_text(encoding="ascii"))
                yield Record(
                    kernel_id=name,
                    slot=int(document["slot"]),
                    environment=str(document["environment"]),
                    profile=str(document["profile"]),
                    key=bytes.fromhex(document["key"]),
                    leased=(self.path(name) / _LEASED).exists(),
                    **self._holder(name),
                )
            except (OSError, ValueError, KeyError, TypeError) as exc:
                log.warn("record of kernel {kernel} dropped: {why}", kernel=kernel_name(name), why=str(exc))
                self.remove(name)
