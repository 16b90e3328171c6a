"""PARI's calculator GP (``gp``, Debian's pari-gp)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import Language, run
from appliance.kernel.languages.syntax import Syntax

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

#: The end of a line ends a statement, but within braces and after a backslash, which `Syntax` skips with what follows.
SYNTAX = Syntax(ends="\n", line_comment="\\\\", block_comment=("/*", "*/"), brackets="{}", long_strings=False)


class GP(Language):
    """Line by line, as at its prompt: ``%``, ``?NAME`` and the rest work. Errors come on stderr, and so do warnings."""

    name = "gp"
    title = "GP"
    file_extension = ".gp"
    argv = ("gp", "--quiet", "--fast")
    after_mark = ": unknown identifier\n\n"
    error = re.compile(r"^  \*\*\* (?!.*[Ww]arning)", re.MULTILINE)

    def mark(self, one: str, other: str) -> str:
        """Return a question that prints a mark; unlike a call of print it leaves ``%`` alone."""
        return f"?{one}{other}"

    def statements(self, code: str) -> list[str]:
        """Return the lines, those joined that are one."""
        return SYNTAX.statements(code)

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version."""
        self._names = program.ask("\\c").split()
        return ".".join(re.findall(r"\d+", program.ask("print(version())"))[:3])

    def completions(self, program: Program, word: str) -> list[str]:
        """Return functions, GP's own and the visitor's, and variables."""
        own = re.findall(r"[A-Za-z]\w*", program.ask("\\u\nprint(variables())"))
        return [*self._names, *own]


if __name__ == "__main__":
    run(GP())
