"""Where a key stands in a TOML file: `tomllib` does not say, and an administrator looks for the line."""

from __future__ import annotations

import re

_HEADER = re.compile(r"\s*\[+\s*([^\]]+?)\s*\]+\s*(?:#.*)?")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\"' -]+?)\s*=")


def _plain(name: str) -> str:
    """Return a dotted name without quotes and blanks."""
    return re.sub(r"[\s\"']", "", name)


def line_of(text: str, key: str) -> int | None:
    """Return the line (from 1) of a dotted key, else that of the nearest table or key above it; None for neither."""
    table, found, found_length = "", None, 0
    wanted = key.split(".")
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _plain(header[1])
            name = table
        elif match := _KEY.match(line):
            name = f"{table}.{_plain(match[1])}" if table else _plain(match[1])
        else:
            continue
        parts = name.split(".")
        if parts == wanted[: len(parts)] and len(parts) > found_length:
            found, found_length = number, len(parts)
    return found
