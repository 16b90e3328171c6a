"""A disk that loses what it was not told to keep, when its power is cut.

A file system in user space (FUSE) holds one file, a loop device makes a block device of it, and ext4 is on that. A
write is in the disk's cache until a flush has come after it; `FlakyDisk.cut` keeps what was flushed and, of the rest,
any sectors in any combination, as a drive may. Nothing reaches it afterwards. Source: linux/fuse.h, version 7.31.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

DISK_BYTES = 96 * 1024 * 1024
SECTOR_BYTES = 512
MAX_WRITE_BYTES = 131_072

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
AVAILABLE = (
    os.geteuid() == 0
    and all(os.path.exists(path) for path in ("/dev/fuse", "/dev/loop-control"))
    and all(shutil.which(name, path=_PATH) for name in ("mkfs.ext4", "losetup"))
)

_IN, _OUT = struct.Struct("<IIQQIIII"), struct.Struct("<IiQ")
_ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
_WRITE, _READ = struct.Struct("<QQIIQII"), struct.Struct("<QQIIQII")

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE = 1, 2, 3, 4, 14, 15, 16, 17, 18
FSYNC, FLUSH, INIT, INTERRUPT, DESTROY, BATCH_FORGET = 20, 25, 26, 36, 38, 42

_ROOT, _FILE, _NAME = 1, 2, b"disk"
_MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def _must(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PATH": _PATH, "LC_ALL": "C"}, timeout=60
    )
    return done.stdout.strip()


class FlakyDisk:
    """A mounted ext4 at ``path``; made anew, or of what an earlier disk kept."""

    def __init__(self, kept: bytes | None = None) -> None:
        self._base = pathlib.Path(tempfile.mkdtemp(prefix="disk-", dir="/tmp"))
        self._base.chmod(0o755)
        self.path = self._base / "mnt"
        self._fuse = self._base / "fuse"
        for directory in (self.path, self._fuse):
            directory.mkdir()
        self._lock = threading.Lock()
        self._now = bytearray(kept if kept is not None else bytes(DISK_BYTES))
        self._flushed = bytearray(self._now)
        self._cache: list[tuple[int, bytes]] = []
        self._dead = False
        self.flushes = 0
        self._device = ""
        self._fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self._fd},rootmode=40000,user_id=0,group_id=0"
        _must(_libc.mount(b"disk", os.fsencode(self._fuse), b"fuse.flaky", 0, options.encode()))
        self._thread = threading.Thread(target=self._serve, name="flaky-disk", daemon=True)
        self._thread.start()
        self._device = _run("losetup", "--find", "--show", str(self._fuse / "disk"))
        if kept is None:
            _run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", self._device)
        _run("mount", "-t", "ext4", self._device, str(self.path))

    def cut(self, chance: random.Random) -> bytes:
        """Cut the power; return what the disk has kept."""
        with self._lock:
            self._dead = True
            kept = bytearray(self._flushed)
            for offset, data in self._cache:
                for start in range(0, len(data), SECTOR_BYTES):
                    if chance.random() < 0.5:
                        piece = data[start : start + SECTOR_BYTES]
                        kept[offset + start : offset + start + len(piece)] = piece
            return bytes(kept)

    @property
    def unflushed_bytes(self) -> int:
        """What a cut may lose now."""
        with self._lock:
            return sum(len(data) for _, data in self._cache)

    def remove(self) -> None:
        """Unmount everything; whoever used it must have ended."""
        subprocess.run(["umount", str(self.path)], check=False, capture_output=True, timeout=60)
        if self._device:
            subprocess.run(["losetup", "-d", self._device], check=False, capture_output=True, env={"PATH": _PATH})
        _libc.umount2(os.fsencode(self._fuse), _MNT_DETACH)
        self._thread.join(20)
        os.close(self._fd)
        shutil.rmtree(self._base, ignore_errors=True)

    # -- the file system ----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._fd, MAX_WRITE_BYTES + 4096)
            except OSError as exc:
                if exc.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                return  # ENODEV: unmounted
            _, operation, unique, node, *_ = _IN.unpack_from(request)
            if operation in (FORGET, BATCH_FORGET, INTERRUPT):
                continue
            try:
                answer, code = self._answer(operation, node, request[_IN.size :]), 0
            except OSError as exc:
                answer, code = b"", -(exc.errno or errno.EIO)
            try:
                os.write(self._fd, _OUT.pack(_OUT.size + len(answer), code, unique) + answer)
            except OSError:
                if operation == DESTROY:
                    return

    def _answer(self, operation: int, node: int, body: bytes) -> bytes:
        if operation == INIT:
            _, minor, readahead, _ = struct.unpack_from("<IIII", body)
            head = struct.pack("<IIIIHHI", 7, min(minor, 31), readahead, 0, 16, 12, MAX_WRITE_BYTES)
            return head + struct.pack("<IHHII", 1, 0, 0, 0, 0) + bytes(24)
        if operation == LOOKUP:
            if node != _ROOT or body.rstrip(b"\0") != _NAME:
                raise OSError(errno.ENOENT, "no such file")
            return struct.pack("<QQQQII", _FILE, 0, 3600, 3600, 0, 0) + self._attributes(_FILE)
        if operation in (GETATTR, SETATTR):
            return struct.pack("<QII", 3600, 0, 0) + self._attributes(node)
        if operation == OPEN:
            return struct.pack("<QII", 1, 0, 0)
        if operation == READ:
            _, offset, size, *_ = _READ.unpack_from(body)
            with self._lock:
                return bytes(self._now[offset : offset + size])
        if operation == WRITE:
            _, offset, size, *_ = _WRITE.unpack_from(body)
            self._write(offset, body[_WRITE.size : _WRITE.size + size])
            return struct.pack("<II", size, 0)
        if operation == FSYNC:
            self._flush()
            return b""
        if operation == STATFS:
            return struct.pack("<QQQQQIIII", DISK_BYTES // 4096, 0, 0, 2, 0, 4096, 255, 4096, 0) + bytes(24)
        if operation in (FLUSH, RELEASE, DESTROY):
            return b""
        raise OSError(errno.ENOSYS, "not made for that")

    def _attributes(self, node: int) -> bytes:
        mode, size = (stat.S_IFDIR | 0o755, 0) if node == _ROOT else (stat.S_IFREG | 0o600, DISK_BYTES)
        return _ATTRIBUTES.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)

    def _write(self, offset: int, data: bytes) -> None:
        with self._lock:
            if self._dead:
                raise OSError(errno.EIO, "no power")
            self._now[offset : offset + len(data)] = data
            self._cache.append((offset, data))

    def _flush(self) -> None:
        with self._lock:
            if self._dead:
                raise OSError(errno.EIO, "no power")
            for offset, data in self._cache:
                self._flushed[offset : offset + len(data)] = data
            self._cache.clear()
            self.flushes += 1
