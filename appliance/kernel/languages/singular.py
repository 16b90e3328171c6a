"""Singular (``Singular``, Debian's singular)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import CODE_FILE, Language, run
from appliance.kernel.languages.syntax import Syntax

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

SYNTAX = Syntax(ends="", line_comment="//", block_comment=("/*", "*/"), brackets="{}")


class Singular(Language):
    """Singular executes a cell as one text, and stops at its first error, which comes among what it prints."""

    name = "singular"
    title = "Singular"
    file_extension = ".sing"
    # --no-tty: no line editing; an interrupt ends the command.
    argv = ("Singular", "--quiet", "--no-tty", "--cntrlc=a")
    error = re.compile(r"^   \? ", re.MULTILINE)
    error_stream = "stdout"

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints a mark."""
        return f'"{one}"+"{other}";'

    def statements(self, code: str) -> list[str]:
        """Return one statement, which runs the cell."""
        if not SYNTAX.statements(code):
            return []
        return [f'execute(read("{CODE_FILE}"));']

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version."""
        self._names = re.findall(r"\w+", program.ask("reservedName();"))
        return ".".join(program.ask('system("version");').strip())

    def completions(self, program: Program, word: str) -> list[str]:
        """Return reserved names and those that the visitor gave."""
        own = re.findall(r"^// (\w+)", program.ask("listvar(Top);"), re.MULTILINE)
        return [*self._names, *own]


if __name__ == "__main__":
    run(Singular())
