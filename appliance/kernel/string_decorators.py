"""String decorators: ``%name text`` calls a function with a text that is written as it is.

======================  ======================================================================================
``%name text``          ``name("text")``
``%name``, ``%%name``   the lines below, up to the end of the cell or of the indented block, are the text
``%name "END"``         they are the text up to a line that is ``END`` (also written ``%"END" name``)
``%a.b(c)[d] text``     any expression of names, attributes, calls and indices may stand for the name
======================  ======================================================================================

Line magics of IPython keep their meaning; cell magics can be used in the same ways as functions. A text is not looked
into: what runs it as code finds decorators of its own in it. Only the start of a statement can be a decorator, so that
``%`` goes on to be an operator. Lines keep their numbers.
"""

from __future__ import annotations

import ast
import re
import reprlib
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Container

_TOKEN = re.compile(r"#.*|(?:'''|\"\"\"|['\"])|[\[({]|[\])}]")
_CLOSING = {quote: re.compile(rf"(?:[^\\]|\\.)*?{quote}", re.DOTALL) for quote in ("'", '"', "'''", '"""')}
_MARK = re.compile(r"(?P<indent>[ \t]*)(?P<mark>%%?)(?:(?P<end>'[^'\\]+'|\"[^\"\\]+\")[ \t]*)?(?P<name>[^\W\d]\w*)")
_ATTRIBUTE = re.compile(r"\.[^\W\d]\w*")
_NOT_PYTHON = ("%", "!", "?")


class Statements:
    """Follows lines of Python far enough to know whether the next line begins a statement."""

    def __init__(self) -> None:
        self._depth = 0
        self._quote = ""
        self._continued = False

    @property
    def complete(self) -> bool:
        """Whether no bracket, string or line continuation is open."""
        return not (self._depth or self._quote or self._continued)

    def take(self, line: str) -> None:
        """Read one line."""
        if self.complete and line.lstrip().startswith(_NOT_PYTHON):
            return
        line = line.rstrip("\r\n")
        at, comment = 0, False
        while at < len(line):
            if self._quote:
                closing = _CLOSING[self._quote].match(line, at)
                if closing is None:
                    break
                at, self._quote = closing.end(), ""
                continue
            token = _TOKEN.search(line, at)
            if token is None:
                break
            at = token.end()
            text = token[0]
            if text in _CLOSING:
                self._quote = text
            elif text in "([{":
                self._depth += 1
            elif text in ")]}":
                self._depth = max(0, self._depth - 1)
            else:
                comment = True
        self._continued = line.endswith("\\") and not comment and len(self._quote) != 3
        if len(self._quote) == 1 and not self._continued:
            self._quote = ""


@dataclass(frozen=True, slots=True)
class Decorator:
    """One line that begins with a decorator. ``end``: the line that ends its text, "" if it does not say."""

    indent: str
    cell: bool
    end: str
    expression: str
    name: str
    text: str

    @property
    def bare(self) -> bool:
        """Whether the expression is a name and nothing more."""
        return self.expression == self.name


def parsed(line: str) -> Decorator | None:
    """Return the decorator that a line begins with. Raises `SyntaxError` for brackets that are not closed."""
    mark = _MARK.match(line)
    if mark is None:
        return None
    line = line.rstrip("\r\n")
    stop = mark.end()
    while stop < len(line):
        if line[stop] in "([":
            stop = _after_bracket(line, stop, mark.start("mark"))
        elif attribute := _ATTRIBUTE.match(line, stop):
            stop = attribute.end()
        else:
            break
    if line[stop : stop + 1].strip():
        return None
    return Decorator(
        indent=mark["indent"],
        cell=mark["mark"] == "%%",
        end=mark["end"][1:-1] if mark["end"] else "",
        expression=line[mark.start("name") : stop],
        name=mark["name"],
        text=line[stop:].strip(),
    )


def _after_bracket(line: str, start: int, begin: int) -> int:
    depth, at = 0, start
    while token := _TOKEN.search(line, at):
        at, text = token.end(), token[0]
        if text in _CLOSING:
            closing = _CLOSING[text].match(line, at)
            if closing is None:
                break
            at = closing.end()
        elif text in "([{":
            depth += 1
        elif text in ")]}":
            depth -= 1
            if depth == 0:
                return at
        else:
            break
    raise SyntaxError(f"the brackets of the string decorator {line[begin:].strip()!r} are not closed on its line")


def _literal(text: str) -> str:
    """Return the string of which ``text`` is the literal, "" if it is none."""
    if text[:1] not in ("'", '"'):
        return ""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ""
    return value if isinstance(value, str) else ""


class StringDecorators:
    """Makes calls of decorators; a transformer of IPython (`input_transformers_cleanup`): lines to lines."""

    def __init__(self, line_magics: Container[str], cell_magics: Container[str]) -> None:
        self._line_magics, self._cell_magics = line_magics, cell_magics

    def __call__(self, lines: list[str]) -> list[str]:
        """Return the lines with each decorator and its text replaced by a call and blank lines."""
        if not any(line.lstrip().startswith("%") for line in lines) or self._is_cell_of_ipython(lines):
            return lines
        result: list[str] = []
        statements = Statements()
        at = 0
        while at < len(lines):
            decorator = parsed(lines[at]) if statements.complete else None
            if decorator is None or self._is_line_magic(decorator):
                statements.take(lines[at])
                result.append(lines[at])
                at += 1
                continue
            words, text, count = _text_of(decorator, lines[at + 1 :])
            result += [_call(decorator, words, text), *["\n"] * (count - 1)]
            at += count
        return result

    def _is_cell_of_ipython(self, lines: list[str]) -> bool:
        """Return whether IPython itself takes the whole cell: it begins with a cell magic."""
        if not lines[0].startswith("%%"):
            return False
        decorator = parsed(lines[0])
        return (
            decorator is not None
            and decorator.bare
            and decorator.name in self._cell_magics
            and not (decorator.end or _ends_in(_literal(decorator.text), lines[1:]))
        )

    def _is_line_magic(self, decorator: Decorator) -> bool:
        known = decorator.bare and decorator.name in self._line_magics
        return known and not decorator.cell and not decorator.end


def _ends_in(end: str, lines: list[str]) -> bool:
    return bool(end) and any(line.strip() == end for line in lines)


def _text_of(decorator: Decorator, following: list[str]) -> tuple[str, str, int]:
    """Return the decorator's words, its text and how many lines it takes with it."""
    end, words = decorator.end, decorator.text
    delimiter = "" if end else _literal(words)
    if delimiter and (decorator.cell or _ends_in(delimiter, following)):
        end, words = delimiter, ""
    if words and not decorator.cell and not end:
        return "", words, 1
    body: list[str] = []
    taken = 1
    for line in following:
        if end and line.strip() == end:
            taken += 1
            break
        if not end and line.strip() and not line.startswith(decorator.indent):
            break
        body.append(line)
        taken += 1
    text = "".join(body)
    if decorator.indent:
        text = textwrap.dedent(text)
    return words, text.removesuffix("\n"), taken


def _call(decorator: Decorator, words: str, text: str) -> str:
    found = f"get_ipython().string_decorator({decorator.expression!r}, lambda: {decorator.expression}, {words!r})"
    return f"{decorator.indent}{found}({text!r})\n"


def resolved(
    expression: str, evaluate: Callable[[], Any], cell_magic: Callable[[str], Any] | None
) -> Callable[[str], Any]:
    """Return the function that an expression means, or else the cell magic of that name.

    Raises `UsageError`, shown without a traceback, when there is neither.
    """
    try:
        found = evaluate()
    except NameError:
        if cell_magic is not None:
            return cell_magic
        raise UsageError(f"%{expression}: there is no function and no magic of that name") from None
    except Exception as exc:  # noqa: BLE001 - told to the visitor
        raise UsageError(f"%{expression}: {type(exc).__name__}: {exc}") from None
    if callable(found):
        return found  # type: ignore[no-any-return]
    if cell_magic is not None:
        return cell_magic
    raise UsageError(f"%{expression} takes a function, and {expression} is {reprlib.repr(found)}")
