"""Files that visitors bring and fetch: they pass over a socket of the kernel's own, and lie below its home (T6).

The server opens no path of a visitor's. It connects to the listener ``files`` and sends a line with the hexadecimal
HMAC-SHA256 (the kernel's key) of what follows it, a blank and a JSON object. The answer is a line of JSON:
``{"status": "ok"}``, or ``{"status": "error", "code"}`` with one of the codes below. Each connection is for one file.

To bring it: ``{"name", "size", "room"}``, then ``size`` bytes, and the answer. ``room`` is what all files brought to
this kernel may have together, in bytes. To fetch it: ``{"fetch": name}``; the answer has ``size`` and ``changed`` (time
of the last change in nanoseconds) besides; then the server sends a line ``START LENGTH`` in decimal and gets those
bytes. A file that has become shorter meanwhile ends the connection.

The account that writes and reads is the visitor's program's, but in a kernel of another language the process is its
init, which that program must not lead astray: no step of a name may be a link, and a file is made anew and then put in
its place, so that nothing that was there before is written to. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hmac
import json
import os
import secrets
import stat
import threading
from typing import TYPE_CHECKING

from appliance.kernel.home_files import opened_directory, opened_file
from appliance.signature import Signer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

#: The first line: a name has at most a kilobyte, and JSON may write each byte with six.
MAX_HEAD_BYTES = 16_384

#: The line with the part that is wanted, two numbers.
MAX_PART_BYTES = 40

#: Files that come at the same time.
MAX_AT_ONCE = 4

#: A server that sends nothing for so long is given up.
SILENCE_SECONDS = 60.0

CHUNK_BYTES = 65_536

#: What an answer may say.
MALFORMED = "malformed"
BAD_NAME = "bad_name"
NO_ROOM = "no_room"
NO_SPACE = "no_space"
NO_FILE = "no_file"
FAILED = "failed"

_CODES = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EFBIG: NO_SPACE,
    errno.ENOTDIR: BAD_NAME,
    errno.EISDIR: BAD_NAME,
    errno.ELOOP: BAD_NAME,
    errno.ENAMETOOLONG: BAD_NAME,
}

#: Why a file cannot be opened although this kernel does well.
_ABSENT = frozenset(
    {
        *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM),
        *(errno.EINVAL, errno.ENXIO),
    }
)

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class RefusedError(Exception):
    """A file is not taken; ``code`` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Ledger:
    """What was brought to this kernel so far."""

    def __init__(self, home: str, key: bytes, brought: Callable[[str], None] = lambda _: None) -> None:
        """``brought`` is told the name of each file that came whole."""
        self.home = home
        self.brought = brought
        self._signer = Signer(key)
        self._sizes: dict[str, int] = {}
        self._coming = 0
        self._lock = threading.Lock()

    def verify(self, signature: bytes, text: bytes) -> bool:
        """Return whether the server wrote a line."""
        return hmac.compare_digest(self._signer.sign((text,)), signature)

    def reserve(self, name: str, size: int, room: int) -> None:
        """Count a file that begins to come; one of the same name makes room for it. Raises `RefusedError`."""
        with self._lock:
            held = sum(self._sizes.values()) - self._sizes.get(name, 0)
            if held + self._coming + size > room:
                raise RefusedError(NO_ROOM)
            self._coming += size

    def settle(self, name: str, size: int, *, whole: bool) -> None:
        """Count a file that has come, or will not."""
        with self._lock:
            self._coming -= size
            if whole:
                self._sizes[name] = size
        if whole:
            self.brought(name)


class Intake:
    """One connection over which a file comes or goes, as its bytes come; `close` must be called."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._line = b""
        self._then: Callable[[bytes], bytes | None] = self._take_head
        self._coming: _Coming | None = None
        self._going: _Going | None = None

    def take(self, data: bytes) -> bytes | None:
        """Take what came; return the answer when there is one. What comes after all was said is dropped."""
        try:
            return self._then(data)
        except RefusedError as exc:
            return self._refuse(exc.code)
        except OSError as exc:
            return self._refuse(_CODES.get(exc.errno or 0, FAILED))

    def piece(self) -> bytes:
        """Return what goes out next, when the other side takes it; none when nothing is asked for.

        Raises `OSError` when the rest cannot be had: the connection must end.
        """
        return self._going.piece() if self._going is not None else b""

    def close(self) -> None:
        """Leave nothing open, and nothing of a file that did not come whole."""
        self._then = _drop
        for file in (self._coming, self._going):
            if file is not None:
                file.close()
        self._coming = self._going = None

    def _refuse(self, code: str) -> bytes:
        document: dict[str, object] = {"status": "error", "code": code}
        if code == NO_SPACE:
            with contextlib.suppress(OSError):
                space = os.statvfs(self._ledger.home)
                document["space"] = space.f_blocks * space.f_frsize
        self.close()
        return _line(document)

    def _whole_line(self, data: bytes, limit: int) -> tuple[bytes, bytes] | None:
        """Return a line and what follows it when all of it is there. Raises `RefusedError`."""
        line, newline, rest = (self._line + data).partition(b"\n")
        if len(line) > limit:
            raise RefusedError(MALFORMED)
        self._line = b"" if newline else line
        return (line, rest) if newline else None

    def _take_head(self, data: bytes) -> bytes | None:
        found = self._whole_line(data, MAX_HEAD_BYTES)
        if found is None:
            return None
        signature, _, text = found[0].partition(b" ")
        if not self._ledger.verify(signature, text):
            raise RefusedError(MALFORMED)
        try:
            document = json.loads(text)
            if "fetch" in document:
                return self._fetch(str(document["fetch"]))
            name, size, room = str(document["name"]), int(document["size"]), int(document["room"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
            raise RefusedError(MALFORMED) from exc
        if size < 0:
            raise RefusedError(MALFORMED)
        self._coming = _Coming(self._ledger, name, size, room)
        self._then = self._take_bytes
        return self._take_bytes(found[1])

    def _take_bytes(self, data: bytes) -> bytes | None:
        if self._coming is None or not self._coming.take(data):
            return None
        self.close()
        return _line({"status": "ok"})

    def _fetch(self, name: str) -> bytes:
        try:
            self._going = _Going(opened_file(self._ledger.home, _parts(name)))
        except OSError as exc:
            raise RefusedError(NO_FILE if exc.errno in _ABSENT else FAILED) from exc
        self._then = self._take_part
        return _line({"status": "ok", "size": self._going.size, "changed": self._going.changed})

    def _take_part(self, data: bytes) -> bytes | None:
        found = self._whole_line(data, MAX_PART_BYTES)
        if found is None or self._going is None:
            return None
        start, _, length = found[0].partition(b" ")
        if not (start.isdigit() and length.isdigit()):
            raise RefusedError(MALFORMED)
        self._going.ask(int(start), int(length))
        self._then = _drop
        return None


class _Coming:
    """A file that comes. Raises `RefusedError` or `OSError` when it is not taken."""

    def __init__(self, ledger: Ledger, name: str, size: int, room: int) -> None:
        *folders, self._last = _parts(name)
        self._ledger = ledger
        self._name, self._size, self._left = name, size, size
        self._unfinished = f".{secrets.token_hex(8)}.part"
        self._file = -1
        self._directory = opened_directory(ledger.home, folders, make=True)
        try:
            _check_place(self._directory, self._last)
            ledger.reserve(name, size, room)
            try:
                self._file = os.open(self._unfinished, _NEW_FILE, 0o644, dir_fd=self._directory)
            except OSError:
                ledger.settle(name, size, whole=False)
                raise
        except BaseException:
            os.close(self._directory)
            raise

    def take(self, data: bytes) -> bool:
        """Write what came; return whether the file is in its place."""
        view = memoryview(data)[: self._left]
        while view:
            written = os.write(self._file, view)
            self._left -= written
            view = view[written:]
        if self._left:
            return False
        os.replace(self._unfinished, self._last, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.close(self._file)
        self._file = -1
        self._ledger.settle(self._name, self._size, whole=True)
        return True

    def close(self) -> None:
        """Leave nothing of a file that did not come whole."""
        if self._file >= 0:
            os.close(self._file)
            with contextlib.suppress(OSError):
                os.unlink(self._unfinished, dir_fd=self._directory)
            self._ledger.settle(self._name, self._size, whole=False)
        os.close(self._directory)


class _Going:
    """An open file of which a part goes out."""

    def __init__(self, file: int) -> None:
        status = os.fstat(file)
        self.size, self.changed = status.st_size, status.st_mtime_ns
        self._file = file
        self._at = self._end = 0

    def ask(self, start: int, length: int) -> None:
        """Have a part go out, as far as the file had it when it was opened: it may have grown."""
        self._at, self._end = start, min(start + length, self.size)

    def piece(self) -> bytes:
        """Return the next bytes; none at the end of the part. Raises `OSError`."""
        wanted = min(CHUNK_BYTES, self._end - self._at)
        if wanted <= 0:
            return b""
        data = os.pread(self._file, wanted, self._at)
        if not data:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        self._at += len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def _line(document: dict[str, object]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def _drop(_data: bytes) -> None:
    """Take no note of what comes."""


def _parts(name: str) -> list[str]:
    """Return the steps of a path below the home. Raises `RefusedError`."""
    parts = name.split("/")
    if "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise RefusedError(BAD_NAME)
    return parts


def _check_place(directory: int, name: str) -> None:
    """Raise `OSError` when a directory has the name, before its bytes come."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))


def accept(listener: socket.socket, ledger: Ledger, at_once: threading.Semaphore) -> None:
    """Take the next connection of a listener and what comes over it, in a thread of its own."""
    try:
        connection, _ = listener.accept()
    except OSError:
        return
    if not at_once.acquire(blocking=False):
        connection.close()
        return
    try:
        threading.Thread(target=_receive, args=(connection, ledger, at_once), name="file", daemon=True).start()
    except RuntimeError:
        # a program that has all the threads that it may have
        at_once.release()
        connection.close()


def _receive(connection: socket.socket, ledger: Ledger, at_once: threading.Semaphore) -> None:
    intake = Intake(ledger)
    try:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(SILENCE_SECONDS)
            # until the other side closes: to close first, with bytes unread, would take the answer from it
            while data := connection.recv(CHUNK_BYTES):
                answer = intake.take(data)
                if answer is not None:
                    connection.sendall(answer)
                while piece := intake.piece():
                    connection.sendall(piece)
    finally:
        intake.close()
        at_once.release()
