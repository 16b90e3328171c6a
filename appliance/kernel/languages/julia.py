"""Julia (``julia`` of any package, or the archive of julialang.org below /usr/local)."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import CODE_FILE, Language, pictures_in, run

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

RUN_FILE = pathlib.Path(__file__).with_name("run.jl")


class Julia(Language):
    """Julia evaluates a cell as one text (``run.jl``), stops at its first error and shows the last value."""

    name = "julia"
    title = "Julia"
    file_extension = ".jl"
    mimetype = "text/x-julia"
    tells_unfinished = False
    argv = ("julia", "--startup-file=no", "--color=no", str(RUN_FILE))
    error = re.compile(r"^ERROR: ", re.MULTILINE)
    word = re.compile(r"[A-Za-z_][\w.!]*$")

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints a mark."""
        return f'println("{one}", "{other}")'

    def statements(self, code: str) -> list[str]:
        """Return one statement, which runs the cell."""
        return [f'CellKernel.run("{CODE_FILE}")'] if code.strip() else []

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version, with in memory what the first cell needs."""
        program.ask('CellKernel.complete("printl"); CellKernel.show_value([1.0, 2.0])')
        return program.ask(f'CellKernel.directory[] = "{directory}"; println(VERSION)')

    def completions(self, program: Program, word: str) -> list[str]:
        """Return what Julia's prompt would complete."""
        return program.ask(f'CellKernel.complete("{word}")').split()

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return values that were shown as more than text."""
        return pictures_in(directory)


if __name__ == "__main__":
    run(Julia())
