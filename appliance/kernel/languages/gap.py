"""GAP (``gap``, Debian's gap-core)."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import CODE_FILE, Language, run
from appliance.kernel.languages.program import COLUMNS

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

RUN_FILE = pathlib.Path(__file__).with_name("run.g")


class GAP(Language):
    """GAP reads a cell from a file (``run.g``), statement by statement, and shows their values as its prompt does."""

    name = "gap"
    tells_unfinished = False
    title = "GAP"
    file_extension = ".g"
    # Neither banner nor prompts nor break loops nor line editing.
    argv = ("gap", "-q", "-b", "-T", "-n", "-E", "-x", str(COLUMNS), "-y", "4096", str(RUN_FILE))
    error = re.compile(r"^(Syntax error|Error)\b", re.MULTILINE)

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints a mark."""
        return f'Print("{one}","{other}\\n");'

    def statements(self, code: str) -> list[str]:
        """Return one statement, which runs the cell."""
        return [f'CELL_RUN("{CODE_FILE}");'] if code.strip() else []

    def text(self, code: str) -> str:
        """Return the cell with an end for its last statement."""
        return f"{code}\n;\n"

    def explain(self, program: Program, said: str) -> str:
        """Return the error; of one in the syntax only its first line, since GAP forgets that of a file."""
        return re.sub(r"( in) stream:(\d+)\n(.*\n?)*", r"\1 line \2", said)

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version."""
        return program.ask('Print(GAPInfo.Version,"\\n");')

    def completions(self, program: Program, word: str) -> list[str]:
        """Return global variables."""
        return program.ask(f'CELL_NAMES("{word}");').split()


if __name__ == "__main__":
    run(GAP())
