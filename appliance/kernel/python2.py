"""Programs of Python 2: what is to be changed in one so that it runs here, offered after its SyntaxError.

fissix, the successor of lib2to3, is imported when a program does not compile, in the kernel that has met it.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

#: What the offer is displayed as, to clients that know it.
MIME = "application/vnd.cell-appliance.conversion+json"

#: Characters of a program that is looked at; converting this many takes about a second.
MAX_CHARACTERS = 20_000

#: Fixers that change what is no error, or what only modules of several files have.
_LEFT_OUT = frozenset({"fix_future", "fix_import"})

#: Statements of Python 2 that are looked for line by line where a program as a whole is not Python.
_STATEMENT = re.compile(r"(?:^|[:;])\s*(?:print|exec|raise)\b(?!\s*[(=])")

_DIVISION = re.compile(r"(?<!/)/(?![/=])")


def edits(code: str, compiles: Callable[[str], bool]) -> list[tuple[int, int, list[str]]] | None:
    """Return what to change in a program of Python 2: (first line, line behind the last, new lines), from 0.

    None for a program that Python 2 would not take either, that the conversion leaves as it is, or whose converted
    form is not for Python 3 (``compiles``).
    """
    if len(code) > MAX_CHARACTERS:
        return None
    try:
        converted = _converted(code)
    except Exception:  # noqa: BLE001 - whatever its parser does not take is no program of Python 2
        return None
    if converted == code or not compiles(converted):
        return None
    old, new = code.splitlines(), converted.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [(i1, i2, new[j1:j2]) for kind, i1, i2, j1, j2 in matcher.get_opcodes() if kind != "equal"]


def _converted(code: str) -> str:
    """Return the program in the form for Python 3, or as it is where nothing of Python 2 is found."""
    from fissix import refactor
    from fissix.pgen2.parse import ParseError

    fixers = refactor.get_fixers_from_package("fissix.fixes")
    tool = refactor.RefactoringTool([name for name in fixers if name.rpartition(".")[2] not in _LEFT_OUT])

    def fixed(part: str) -> str:
        """Return a part converted. Raises `ParseError` for what is not Python."""
        return str(tool.refactor_string(f"{part}\n", "cell")).removesuffix("\n")

    ended = "\n" if code.endswith("\n") else ""
    body = code.removesuffix("\n")
    try:
        return fixed(body) + ended
    except ParseError:
        return "\n".join(_fixed_line(line, fixed, ParseError) for line in body.split("\n")) + ended


def _fixed_line(line: str, fixed: Callable[[str], str], wrong: type[Exception]) -> str:
    """Return one line converted by itself: what is around it may be in the notation of Sage, or text of a decorator."""
    if not _STATEMENT.search(line):
        return line
    text = line.lstrip()
    try:
        return line[: len(line) - len(text)] + fixed(text)
    except wrong:
        return line


def offer(code: str, changes: list[tuple[int, int, list[str]]]) -> dict[str, Any]:
    """Return the display of an offer, by MIME type.

    ``division``: whether the program divides; a quotient of whole numbers was a whole number in Python 2.
    """
    division = _DIVISION.search(code) is not None and "import division" not in code
    shown = {"edits": [list(change) for change in changes], "division": division}
    return {MIME: shown, "text/plain": "This program is written for Python 2. It can be converted."}
