"""Maxima (``maxima-sage``, Debian's maxima-sage, or ``maxima``).

Debian's other package, maxima, is built with GCL, which insists on personality(2), which the sandbox refuses.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import Language, pictures_in, run
from appliance.kernel.languages.program import COLUMNS
from appliance.kernel.languages.syntax import Syntax

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

SYNTAX = Syntax(ends=";$", block_comment=("/*", "*/"), brackets="()[]{}", nested=True)

#: Results on one line, as they are typed. Messages of errors are asked for (`Maxima.explain`): they come in front of
#: what shows that it is one. Nobody is there to answer a question.
SET_UP = f"""display2d:false$ linel:{COLUMNS}$ errormsg:false$
:lisp-quiet (defun retrieve (text flag) (declare (ignore flag)) (merror "Maxima asks: ~M Tell it by assume(...)" text))
"""

#: What ``printf`` and other functions of strings load (Debian's maxima-sage-share) tells what it loads: not heard here.
STRINGS = "errcatch(load(stringproc))$"

#: A plot is drawn into a file before the statement ends.
PLOTS = """maxima_tempdir:"{directory}"$ set_plot_option([plot_format, gnuplot])$
set_plot_option([gnuplot_term, "pngcairo size 840,630"])$ set_plot_option([gnuplot_out_file, "{directory}/plot.png"])$
"""


class Maxima(Language):
    """Statement by statement; errors come among what is printed."""

    name = "maxima"
    title = "Maxima"
    file_extension = ".mac"
    mimetype = "text/x-maxima"
    argv = (shutil.which("maxima-sage") or "maxima", "--very-quiet", "--no-verify-html-index")
    error = re.compile(
        r"^((stdin:\d+:\d+: )?incorrect syntax:| -- an error\.|Maxima encountered a Lisp error)", re.MULTILINE
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
        return program.ask("errormsg()$") if said.startswith(" -- an error") else said

    def completions(self, program: Program, word: str) -> list[str]:
        """Return what Maxima knows, and what the visitor defined."""
        return re.findall(r"[\w%]+", program.ask(f'apropos("{word}");'))

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return what was plotted."""
        return pictures_in(directory)


if __name__ == "__main__":
    run(Maxima())
