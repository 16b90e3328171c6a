"""Files that programs left, kept for a time after their kernels are gone (``<runtime_dir>/files/<kernel>/<hash>``).

A kernel's files go with it, so it sends them before its evaluation ends, and this role keeps copies, where every
instance of it finds them. A copy has the hash of its name for a name and is opened below a descriptor of its
directory: what a kernel says leads nowhere else. What is removed is emptied first: it is memory, and whoever reads it
slowly would hold it beyond all limits. A directory's time of change tells until when it is kept: it is set anew while
its kernel lives.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs
from twisted.logger import Logger

from appliance.errors import NotFound
from appliance.log import kernel_name
from appliance.protocol.session_files import kept_name
from appliance.web.file_sending import FilePart

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterable, Iterator

log = Logger()

#: What a file counts at least: a page of the file system that holds it.
PAGE_BYTES = 4096

#: A file so small that who reads it has read it: it is not taken from them by its successor.
READ_AT_ONCE_BYTES = 65_536

#: Between two looks for what is too old.
SWEEP_SECONDS = 10.0

_KERNEL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_UNFINISHED = ".new"


class FileGone(NotFound):
    """There is no such file; files of a kernel are kept for a limited time after its end."""

    code = "no_such_file"


@attrs.frozen
class KeptFile:
    """A file to be read and closed."""

    file: BinaryIO
    size: int
    changed_ns: int

    def part(self, start: int, size: int) -> FilePart:
        """Return a part, to be sent."""
        return FilePart(self.file, start, size)

    def close(self) -> None:
        """Close it."""
        self.file.close()


class KeptFiles:
    """The copies below one directory. Several processes may share it; each keeps within the limits by itself."""

    def __init__(
        self,
        root: pathlib.Path,
        *,
        seconds: float,
        max_bytes: int,
        max_kernel_bytes: int,
        now: Callable[[], float],
    ) -> None:
        self._root = root
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._max_kernel_bytes = max_kernel_bytes
        self._now = now
        #: Bytes that each file of this process counts, by kernel; both in the order in which they came.
        self._kept: dict[str, dict[str, int]] = {}
        self._sums: dict[str, int] = {}
        self._total = 0
        self._next_sweep = 0.0

    def keep(self, kernel_id: str, name: str, data: bytes) -> None:
        """Keep a file; older ones of the kernel, and then of others, make room for it."""
        counted = max(len(data), PAGE_BYTES)
        room = min(self._max_kernel_bytes, self._max_bytes)
        if self._seconds <= 0 or counted > room:
            return
        stored = kept_name(name)
        self._count_out(kernel_id, stored)
        while self._sums.get(kernel_id, 0) + counted > room:
            self._drop_file(kernel_id, next(iter(self._kept[kernel_id])))
        others = [known for known in self._kept if known != kernel_id]
        while self._total + counted > self._max_bytes:
            self._drop_kernel(others.pop(0))
        try:
            self._write(kernel_id, stored, data)
        except OSError as exc:
            log.error("a file of kernel {kernel} cannot be kept: {exc}", kernel=kernel_name(kernel_id), exc=exc)
            return
        self._kept.setdefault(kernel_id, {})[stored] = counted
        self._sums[kernel_id] = self._sums.get(kernel_id, 0) + counted
        self._total += counted

    def drop(self, kernel_id: str, name: str) -> None:
        """Keep a file no longer, whichever instance kept it: its kernel has another of that name."""
        self._drop_file(kernel_id, kept_name(name))

    def open(self, kernel_id: str, name: str) -> KeptFile:
        """Open a file that this or another instance keeps; raises `FileGone`."""
        if not _KERNEL_ID.fullmatch(kernel_id):
            raise FileGone
        try:
            with self._directory(kernel_id) as directory:
                fd = os.open(kept_name(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError as exc:
            raise FileGone from exc
        info = os.fstat(fd)
        return KeptFile(os.fdopen(fd, "rb"), info.st_size, info.st_mtime_ns)

    def tick(self, living: Iterable[str]) -> None:
        """Now and then: renew what belongs to kernels that live, and remove what is too old."""
        if self._now() < self._next_sweep:
            return
        self._next_sweep = self._now() + min(SWEEP_SECONDS, max(1.0, self._seconds / 4))
        for kernel_id in living:
            self.renew(kernel_id)
        oldest = self._now() - self._seconds
        try:
            entries = list(os.scandir(self._root))
        except OSError:
            return
        for gone in self._kept.keys() - {entry.name for entry in entries}:
            # another instance removed it
            self._forget(gone)
        for entry in entries:
            with contextlib.suppress(OSError):
                if _KERNEL_ID.fullmatch(entry.name) and entry.stat(follow_symlinks=False).st_mtime < oldest:
                    self._drop_kernel(entry.name)

    def renew(self, kernel_id: str) -> None:
        """Count the time of a kernel's files from now."""
        if kernel_id in self._kept:
            with contextlib.suppress(OSError), self._directory(kernel_id) as directory:
                os.utime(directory, (self._now(), self._now()))

    def _write(self, kernel_id: str, stored: str, data: bytes) -> None:
        with self._opened(self._root) as root, contextlib.suppress(FileExistsError):
            os.mkdir(kernel_id, 0o700, dir_fd=root)
        with self._directory(kernel_id) as directory:
            # complete or not there: another instance may be asked for it right now
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            fd = os.open(stored + _UNFINISHED, flags, 0o600, dir_fd=directory)
            try:
                with os.fdopen(fd, "wb") as file:
                    file.write(data)
                with _emptied(stored, directory, least=READ_AT_ONCE_BYTES):
                    os.replace(stored + _UNFINISHED, stored, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(stored + _UNFINISHED, dir_fd=directory)
                raise

    def _count_out(self, kernel_id: str, stored: str) -> None:
        counted = self._kept.get(kernel_id, {}).pop(stored, 0)
        if counted:
            self._sums[kernel_id] -= counted
            self._total -= counted

    def _drop_file(self, kernel_id: str, stored: str) -> None:
        self._count_out(kernel_id, stored)
        with contextlib.suppress(OSError), self._directory(kernel_id) as directory, _emptied(stored, directory):
            os.unlink(stored, dir_fd=directory)

    def _forget(self, kernel_id: str) -> None:
        self._kept.pop(kernel_id, None)
        self._total -= self._sums.pop(kernel_id, 0)

    def _drop_kernel(self, kernel_id: str) -> None:
        self._forget(kernel_id)
        with contextlib.suppress(OSError), self._opened(self._root) as root:
            with self._directory(kernel_id) as directory:
                for name in os.listdir(directory):
                    with _emptied(name, directory):
                        os.unlink(name, dir_fd=directory)
            os.rmdir(kernel_id, dir_fd=root)

    @contextlib.contextmanager
    def _opened(self, path: pathlib.Path | str, dir_fd: int | None = None) -> Any:
        fd = os.open(path, _DIRECTORY, dir_fd=dir_fd)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _directory(self, kernel_id: str) -> Any:
        with self._opened(self._root) as root, self._opened(kernel_id, root) as directory:
            yield directory


@contextlib.contextmanager
def _emptied(stored: str, directory: int, *, least: int = 0) -> Iterator[None]:
    """Free the memory of the file that has a name now, after the block has put another in its place or none.

    One of no more than ``least`` bytes is left to who reads it.
    """
    try:
        fd = os.open(stored, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    except FileNotFoundError:
        yield
        return
    try:
        yield
        if os.fstat(fd).st_size > least:
            os.ftruncate(fd, 0)
    finally:
        os.close(fd)
