"""Files that libraries opened before the fork and read or write after it.

A fork keeps no descriptor of its zygote's: through one, kernels would share a position in the file. It opens the same
files anew under the same numbers, which is what the libraries know: matplotlib its fonts, Maxima its empty device.
"""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

#: Lowest number that is a library's: below are input and outputs.
FIRST = 3


class OpenFile(NamedTuple):
    """One descriptor, by its ``number``; ``flags`` of open(2), ``position`` in bytes."""

    number: int
    path: str
    flags: int
    position: int


def remember() -> tuple[OpenFile, ...]:
    """Return the files that are open now: those with a name, no directories, pipes, sockets and namespaces."""
    found = []
    for entry in os.listdir("/proc/self/fd"):
        number = int(entry)
        with contextlib.suppress(OSError):
            path = os.readlink(f"/proc/self/fd/{entry}")
            if number < FIRST or not path.startswith("/") or os.path.isdir(path):
                continue
            with open(f"/proc/self/fdinfo/{entry}", encoding="ascii") as file:
                fields = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            found.append(OpenFile(number, path, int(fields["flags"], 8), int(fields["pos"])))
    return tuple(sorted(found))


def reopen(files: tuple[OpenFile, ...]) -> None:
    """Open them again; what the fork's root does not hold, or is open already, stays as it is."""
    for file in files:
        with contextlib.suppress(OSError):
            os.fstat(file.number)
            continue
        with contextlib.suppress(OSError):
            opened = os.open(file.path, file.flags)
            if opened != file.number:
                os.dup2(opened, file.number, inheritable=False)
                os.close(opened)
            with contextlib.suppress(OSError):  # a device
                os.lseek(file.number, file.position, os.SEEK_SET)
