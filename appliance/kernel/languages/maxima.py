"""Maxima (``maxima-sage``, Debian's maxima-sage, or ``maxima``).

Debian's other package, maxima, is built with GCL, which insists on personality(2), which the sandbox refuses.
"""

from __future__ import annotations

import pathlib
import re
import shutil
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import Language, pictures_in, run
from appliance.kernel.languages.program import COLUMNS
from appliance.kernel.languages.syntax import Syntax

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

SYNTAX = Syntax(ends=";$", block_comment=("/*", "*/"), brackets="()[]{}", nested=True)

SET_UP_FILE = pathlib.Path(__file__).with_name("setup.lisp")

#: Packages that are found before Maxima's own of the same name.
FUNCTIONS = pathlib.Path(__file__).with_name("maxima_functions")

#: Results on one line, as they are typed. Messages of errors are asked for (`Maxima.explain`): they come in front of
#: what shows that it is one.
SET_UP = f"""display2d:false$ linel:{COLUMNS}$ errormsg:false$
push("{FUNCTIONS}/###.lisp", file_search_lisp)$
:lisp-quiet (load "{SET_UP_FILE}" :verbose nil)
"""

#: What ``printf`` and other functions of strings load (Debian's maxima-sage-share) tells what it loads: not heard here.
STRINGS = "errcatch(load(stringproc))$"

#: A plot is drawn into a file before the statement ends.
PLOTS = """maxima_tempdir:"{directory}"$ set_plot_option([plot_format, gnuplot])$
set_plot_option([gnuplot_term, "pngcairo size 640,480"])$
:lisp-quiet (cell-keep "{directory}")
"""


class Maxima(Language):
    """Statement by statement; errors come among what is printed."""

    name = "maxima"
    title = "Maxima"
    file_extension = ".mac"
    mimetype = "text/x-maxima"
    argv = (shutil.which("maxima-sage") or "maxima", "--very-quiet", "--no-verify-html-index")
    # Before an error in functions come the calls, the innermost first.
    error = re.compile(
        r"^((stdin:\d+:\d+: )?incorrect syntax:|#0: .*\(\S+ line \d+\)$"
        r"| -- an error\.|Maxima encountered a Lisp error)",
        re.MULTILINE,
    )
    error_stream = "stdout"
    word = re.compile(r"[A-Za-z_%][\w%]*$")

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints a mark and is not counted."""
        return f':lisp-quiet (format t "~a~a~%" "{one}" "{other}")'

    def statements(self, code: str) -> list[str]:
        """Return the statements, an end for the last among them. A line that begins with ``:lisp`` is one, too."""
        found: list[str] = []
        for part in re.split(r"^(:lisp.*)$", code, flags=re.MULTILINE):
            if part.startswith(":lisp"):
                found.append(part)
            else:
                statements = [statement.strip() for statement in SYNTAX.statements(part)]
                found += [text if text.endswith((";", "$")) else f"{text};" for text in statements]
        return found

    def prepare(self, program: Program, directory: str) -> str:
        """Set it up."""
        program.ask(SET_UP + PLOTS.format(directory=directory) + STRINGS)
        return program.ask("print(build_info()@version)$")

    def explain(self, program: Program, said: str) -> str:
        """Return the message of the error."""
        calls, told, _ = said.partition(" -- an error.")
        if not told:
            return said
        return program.ask("errormsg()$") + re.sub(r" \(stdin line \d+\)$", "", calls, flags=re.MULTILINE)

    def completions(self, program: Program, word: str) -> list[str]:
        """Return what Maxima knows, and what the visitor defined."""
        return re.findall(r"[\w%]+", program.ask(f'apropos("{word}");'))

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return what was plotted."""
        return pictures_in(directory)


if __name__ == "__main__":
    run(Maxima())
