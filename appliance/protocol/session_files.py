"""Files that programs left: which names there can be, under which they are kept, which part of one is asked for."""

from __future__ import annotations

import hashlib
import re

#: Bytes of a name, and of a part between two slashes: what Linux takes (limits.h(0p), PATH_MAX and NAME_MAX).
MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255

#: RFC 9110, section 14.1.2: one range of bytes. A number of more digits is beyond the end of any file.
_RANGE = re.compile(r"bytes=\s*([0-9]{0,15})\s*-\s*([0-9]{0,15})\s*")


class RangeNotSatisfiableError(Exception):
    """The range lies outside the file."""


def is_name(name: object) -> bool:
    """Return whether ``name`` is a path below a program's home: no step up, no empty part, nothing unprintable."""
    if not isinstance(name, str) or not name.isprintable():
        return False
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    parts = name.split("/")
    return size <= MAX_NAME_BYTES and all(
        part not in ("", ".", "..") and len(part.encode("utf-8")) <= MAX_PART_BYTES for part in parts
    )


def kept_name(name: str) -> str:
    """Return the name under which a file is kept.

    It says nothing of the program's: no path leads anywhere, and ``a`` and ``a/b`` are no obstacle to each other.
    """
    return hashlib.sha256(name.encode("utf-8")).hexdigest()


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Return (start, stop) of what a Range header asks of a file of ``size`` bytes; None for the whole of it.

    What is no single range of bytes counts as the whole, as RFC 9110, section 14.2 lets a server choose. Raises
    `RangeNotSatisfiableError`.
    """
    match = _RANGE.fullmatch(header)
    if match is None or match[0] == "" or (match[1] == "" and match[2] == ""):
        return None
    if match[1] == "":
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), size
        if match[2] != "":
            if int(match[2]) < start:
                return None
            stop = min(size, int(match[2]) + 1)
    if start >= stop:
        raise RangeNotSatisfiableError
    return start, stop
