"""Where statements of a language end, as far as a program must be told: strings, comments, brackets.

A program that waits for the rest of a string or a bracket takes whatever comes next for it, so what is unfinished is
never sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unfinished(ValueError):
    """Something that was opened is never closed; the argument says what."""


@dataclass(frozen=True)
class Syntax:
    """The marks of a language.

    ``ends``: characters at which a statement ends outside of all else.
    ``line_comment``, ``block_comment``: how comments begin, and for the latter how they end; ``nested``: whether a
    block comment may hold another.
    ``brackets``: pairs of characters between which no statement ends.
    ``long_strings``: whether a string may go on in the next line.
    ``verbatim``: what a string in which nothing is escaped begins and ends with.
    """

    ends: str
    block_comment: tuple[str, str]
    brackets: str
    line_comment: str = ""
    nested: bool = False
    long_strings: bool = True
    verbatim: str = ""

    def statements(self, code: str) -> list[str]:
        """Return the statements of ``code``, each with its end. Raises `Unfinished`."""
        found, begin = [], 0
        for end in self._ends(code):
            found.append(code[begin:end])
            begin = end
        found.append(code[begin:])
        return [statement for statement in found if self.without_comments(statement).strip()]

    def without_comments(self, code: str) -> str:
        """Return ``code`` with nothing where comments are. Raises `Unfinished`."""
        kept, at = [], 0
        while at < len(code):
            end = self._after(code, at)
            if not self._is_comment(code, at):
                kept.append(code[at:end])
            at = end
        return "".join(kept)

    def blanked(self, code: str) -> str:
        """Return ``code`` with as many blanks where strings and comments are. Raises `Unfinished`."""
        kept, at = [], 0
        while at < len(code):
            end = self._after(code, at)
            kept.append(code[at:end] if end == at + 1 else " " * (end - at))
            at = end
        return "".join(kept)

    def _ends(self, code: str) -> Iterator[int]:
        closing: list[str] = []
        at = 0
        while at < len(code):
            character = code[at]
            position = self.brackets.find(character)
            if position >= 0 and position % 2 == 0:
                closing.append(self.brackets[position + 1])
            elif closing and character == closing[-1]:
                closing.pop()
            at = self._after(code, at)
            if not closing and character in self.ends:
                yield at
        if closing:
            raise Unfinished(f"a {closing[-1]} is missing")

    def _is_comment(self, code: str, at: int) -> bool:
        return code.startswith(self.block_comment[0], at) or self._is_line_comment(code, at)

    def _is_line_comment(self, code: str, at: int) -> bool:
        return bool(self.line_comment) and code.startswith(self.line_comment, at)

    def _after(self, code: str, at: int) -> int:
        """Return where what begins at ``at`` ends: a comment, a string, an escaped character, or one character."""
        if code.startswith(self.block_comment[0], at):
            return self._after_block(code, at)
        if self._is_line_comment(code, at):
            end = code.find("\n", at)
            return end if end >= 0 else len(code)
        if self.verbatim and code.startswith(self.verbatim, at):
            end = code.find(self.verbatim, at + len(self.verbatim))
            if end < 0:
                raise Unfinished("a string is never closed")
            return end + len(self.verbatim)
        if code[at] == '"':
            return self._after_string(code, at)
        return min(at + (2 if code[at] == "\\" else 1), len(code))

    def _after_block(self, code: str, at: int) -> int:
        opening, closing = self.block_comment
        depth, at = 1, at + len(opening)
        while depth:
            end = code.find(closing, at)
            if end < 0:
                raise Unfinished("a comment is never closed")
            inner = code.find(opening, at) if self.nested else -1
            if 0 <= inner < end:
                depth, at = depth + 1, inner + len(opening)
            else:
                depth, at = depth - 1, end + len(closing)
        return at

    def _after_string(self, code: str, at: int) -> int:
        at += 1
        while at < len(code) and (self.long_strings or code[at] != "\n"):
            if code[at] == '"':
                return at + 1
            at += 2 if code[at] == "\\" else 1
        raise Unfinished("a string is never closed")
