"""Files below a program's home, reached without following a link of its making.

The program may put links, pipes and directories in each other's place meanwhile, and whoever looks may have more to see
than it: every step is taken from a descriptor of the directory before. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: Neither a pipe nor a lease (fcntl(2)) of the program's holds up who opens a file.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def opened_directory(home: str, parts: Sequence[str], *, make: bool = False) -> int:
    """Return a descriptor of a directory below ``home``; ``make`` it where it is missing. Raises `OSError`."""
    _check(parts)
    current = os.open(home, _DIRECTORY)
    for part in parts:
        try:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=current)
            below = os.open(part, _DIRECTORY, dir_fd=current)
        finally:
            os.close(current)
        current = below
    return current


def opened_file(home: str, parts: Sequence[str]) -> int:
    """Return a descriptor of a regular file below ``home``, to be read. Raises `OSError`."""
    _check(parts)
    directory = opened_directory(home, parts[:-1])
    try:
        descriptor = os.open(parts[-1], _READ, dir_fd=directory)
    finally:
        os.close(directory)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return descriptor


def _check(parts: Sequence[str]) -> None:
    if any(part in ("", "..") or "\0" in part for part in parts):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
