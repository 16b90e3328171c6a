"""PARI's calculator GP (``gp``, Debian's pari-gp)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import Language, pictures_in, run
from appliance.kernel.languages.syntax import Syntax, Unfinished

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

#: The end of a line ends a statement, but within braces and after a backslash, which `Syntax` skips with what follows.
SYNTAX = Syntax(ends="\n", line_comment="\\\\", block_comment=("/*", "*/"), brackets="{}", long_strings=False)

#: Functions that open a window, and those that draw the same as a text of SVG (PARI 2.13 and newer).
DRAWS = {"ploth": "plothexport", "plothraw": "plothrawexport", "plotdraw": "plotexport"}

_DRAWS = re.compile(rf"(?<![\w.])({'|'.join(DRAWS)})\s*\(")

#: Asks by the standard input, where statements come from.
_ASKS = re.compile(r"(?<![\w.])input(?=\s*\()")

#: Gives PARI's stack room, by far not all that a kernel has. Keeps a drawing as a file, which the kernel shows; ploth's
#: value, the ranges, is not known then. Asks for a value.
SET_UP = """default(parisizemax, "400M");
cell_figures = 0;
cell_figure(svg) = {write(Str("%s/figure-", 100000 + cell_figures++, ".svg"), svg);}
cell_input() = {
  print1(getenv("CELL_ASKS"), "?", getenv("CELL_ASKED"));
  my(answer = Vec(externstr(Str("head -n 1 ", getenv("CELL_ANSWERS")))[1]));
  if(answer[1] != "+", error("input: nobody is there to answer"));
  if(#answer > 1, eval(strjoin(answer[2..-1])));
}
"""


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
        found: list[str] = []
        unfinished = ""
        for part in SYNTAX.statements(code):
            unfinished += part
            # A definition may begin in the line after its name.
            if not SYNTAX.without_comments(unfinished).rstrip().endswith("="):
                found.append(with_questions(with_figures(unfinished)))
                unfinished = ""
        if unfinished:
            raise Unfinished("something is missing after =")
        return found

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version."""
        program.ask(SET_UP % directory)
        self._names = program.ask("\\c").split()
        return ".".join(re.findall(r"\d+", program.ask("print(version())"))[:3])

    def completions(self, program: Program, word: str) -> list[str]:
        """Return functions, GP's own and the visitor's, and variables."""
        own = re.findall(r"[A-Za-z]\w*", program.ask("\\u\nprint(variables())"))
        return [*self._names, *own]

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return what was drawn."""
        return pictures_in(directory)


def with_figures(statement: str) -> str:
    """Return ``statement`` with its calls that open a window replaced by such as keep the drawing."""
    blanked = SYNTAX.blanked(statement)
    changes: list[tuple[int, int, str]] = []
    for call in _DRAWS.finditer(blanked):
        depth, end = 1, call.end()
        while depth and end < len(blanked):
            depth += {"(": 1, ")": -1}.get(blanked[end], 0)
            end += 1
        if depth == 0:
            changes += [(call.start(), call.end(), f'cell_figure({DRAWS[call[1]]}("svg",'), (end, end, ")")]
    for begin, end, text in sorted(changes, reverse=True):
        statement = statement[:begin] + text + statement[end:]
    return statement


def with_questions(statement: str) -> str:
    """Return ``statement`` with ``input()`` replaced by what asks whoever runs the cell."""
    for call in reversed(list(_ASKS.finditer(SYNTAX.blanked(statement)))):
        statement = f"{statement[: call.start()]}cell_input{statement[call.end() :]}"
    return statement


if __name__ == "__main__":
    run(GP())
