"""Files that visitors bring: they come over a socket of the kernel's own and are written below its home (T6).

The server opens no path of a visitor's. It connects to the listener ``files`` and sends one file: a line with the
hexadecimal HMAC-SHA256 (the kernel's key) of what follows it, a blank and a JSON object ``{"name", "size", "room"}``,
then ``size`` bytes. ``room`` is what all files brought to this kernel may have together, in bytes. The answer is a
line of JSON: ``{"status": "ok"}``, or ``{"status": "error", "code"}`` with one of the codes below.

The account that writes is the visitor's program's, but in a kernel of another language the process is its init, which
that program must not lead astray: no step of a name may be a link, and the file is made anew and then put in its
place, so that nothing that was there before is written to. Standard library only.
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

from appliance.signature import Signer

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

#: The first line: a name has at most a kilobyte, and JSON may write each byte with six.
MAX_HEAD_BYTES = 16_384

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

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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
    """One file on its way, as its bytes come; `close` must be called."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._head = b""
        self._name = ""
        self._size = -1
        self._left = 0
        self._directory = self._file = -1
        self._unfinished = ""
        self._answered = False

    def take(self, data: bytes) -> bytes | None:
        """Take what came; return the answer when there is one. What comes after it is dropped."""
        if self._answered:
            return None
        try:
            if self._size < 0:
                self._head += data
                line, newline, data = self._head.partition(b"\n")
                if len(line) > MAX_HEAD_BYTES:
                    raise RefusedError(MALFORMED)
                if not newline:
                    return None
                self._begin(line)
            self._write(data)
            if self._left:
                return None
            self._finish()
        except RefusedError as exc:
            return self._answer({"status": "error", "code": exc.code})
        except OSError as exc:
            return self._answer({"status": "error", "code": _CODES.get(exc.errno or 0, FAILED)})
        return self._answer({"status": "ok"})

    def close(self) -> None:
        """Leave nothing of a file that did not come whole."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            with contextlib.suppress(OSError):
                os.unlink(self._unfinished, dir_fd=self._directory)
            self._ledger.settle(self._name, self._size, whole=False)
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1

    def _answer(self, document: dict[str, object]) -> bytes:
        self._answered = True
        if document.get("code") == NO_SPACE:
            with contextlib.suppress(OSError):
                space = os.statvfs(self._ledger.home)
                document["space"] = space.f_blocks * space.f_frsize
        self.close()
        return json.dumps(document).encode() + b"\n"

    def _begin(self, line: bytes) -> None:
        signature, _, text = line.partition(b" ")
        if not self._ledger.verify(signature, text):
            raise RefusedError(MALFORMED)
        try:
            document = json.loads(text)
            name, size, room = str(document["name"]), int(document["size"]), int(document["room"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as exc:
            raise RefusedError(MALFORMED) from exc
        parts = name.split("/")
        if size < 0 or "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise RefusedError(BAD_NAME if size >= 0 else MALFORMED)
        self._directory = _opened_directory(self._ledger.home, parts[:-1])
        _check_place(self._directory, parts[-1])
        self._unfinished = f".{secrets.token_hex(8)}.part"
        self._ledger.reserve(name, size, room)
        self._name, self._size, self._left = name, size, size
        try:
            self._file = os.open(self._unfinished, _NEW_FILE, 0o644, dir_fd=self._directory)
        except OSError:
            self._ledger.settle(name, size, whole=False)
            raise

    def _write(self, data: bytes) -> None:
        view = memoryview(data)[: self._left]
        while view:
            written = os.write(self._file, view)
            self._left -= written
            view = view[written:]

    def _finish(self) -> None:
        last = self._name.rpartition("/")[2]
        os.replace(self._unfinished, last, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        os.close(self._file)
        self._file = -1
        self._ledger.settle(self._name, self._size, whole=True)


def _opened_directory(home: str, parts: list[str]) -> int:
    """Return a descriptor of a directory below ``home``, which is made where it is missing. Raises `OSError`."""
    current = os.open(home, _DIRECTORY)
    for part in parts:
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=current)
            below = os.open(part, _DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = below
    return current


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
    finally:
        intake.close()
        at_once.release()
