"""GNU Octave (``octave-cli``, Debian's octave); figures are drawn by gnuplot (gnuplot-nox)."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import CODE_FILE, Language, pictures_in, run

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

FUNCTIONS = pathlib.Path(__file__).with_name("octave_functions")

#: A figure that is larger as SVG is sent as PNG: a page is slow with many thousand shapes.
MAX_SVG_BYTES = 300_000

SET_UP = (
    'PS1(""); PS2(""); PS4(""); more off; page_screen_output(false); page_output_immediately(true);'
    " crash_dumps_octave_core(false);"
    ' warning("off", "Octave:gnuplot-graphics"); warning("off", "Octave:shadowed-function");'
    ' graphics_toolkit("gnuplot"); set(0, "defaultfigurevisible", "off");'
    f' addpath("{FUNCTIONS}");'
)


class Octave(Language):
    """Octave evaluates a cell as one text in its base workspace, and stops at its first error."""

    name = "octave"
    tells_unfinished = False
    title = "Octave"
    file_extension = ".m"
    mimetype = "text/x-octave"
    # --interactive, so that an interrupt does not end it
    argv = (
        "octave-cli", "--quiet", "--norc", "--no-history", "--no-line-editing", "--interactive",
        "--eval", SET_UP, "--persist",
    )  # fmt: skip
    error = re.compile(r"^error: ", re.MULTILINE)

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints a mark."""
        return f'printf("%s%s\\n", "{one}", "{other}");'

    def statements(self, code: str) -> list[str]:
        """Return one statement, which runs the cell."""
        return [f'eval(fileread("{CODE_FILE}"));'] if code.strip() else []

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version."""
        return program.ask("disp(version())")

    def completions(self, program: Program, word: str) -> list[str]:
        """Return functions and variables."""
        return program.ask(f'completion_matches("{word}")').split()

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return the figures that are open, and close them."""
        program.ask(f'cell_figures("{directory}", {MAX_SVG_BYTES});')
        return pictures_in(directory)


if __name__ == "__main__":
    run(Octave())
