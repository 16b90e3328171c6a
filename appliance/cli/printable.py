"""Text of others, made safe for the terminal of an administrator."""

from __future__ import annotations

import re

#: What a line may not bring to the terminal: a child could pass on what a visitor wrote.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(line: str) -> str:
    """Return ``line`` without what a terminal takes for commands."""
    return _CONTROLS.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), line.rstrip("\r"))
