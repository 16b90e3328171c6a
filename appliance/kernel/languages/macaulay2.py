"""Macaulay2 (``M2``, Debian's macaulay2)."""

from __future__ import annotations

import pathlib
import re
from typing import TYPE_CHECKING

from appliance.kernel.languages.kernel import Language, pictures_in, run
from appliance.kernel.languages.syntax import Syntax, Unfinished

if TYPE_CHECKING:
    from appliance.kernel.languages.program import Program

SET_UP_FILE = pathlib.Path(__file__).with_name("setup.m2")

#: The end of a line ends a statement unless it is within brackets, a string or a comment, or the line wants more.
SYNTAX = Syntax(ends="\n", line_comment="--", block_comment=("-*", "*-"), brackets="()[]{}", verbatim="///")

#: At the end of a line: an operator or a word after which something must come. ``x^*`` and the like are complete.
_WANTS_MORE = re.compile(
    r"((?<![\^_])\*|(?<!//)/|[-+\\^_=<>|&%:@.#?]|\b(and|catch|do|else|for|from|if|in|list|not|of|or|then|throw|to|try|when|"
    r"while|xor))\s*$"
)

#: Where a statement was, in lines of all that was ever sent.
_PLACE = re.compile(r"^stdio:\d+:\d+:\(\d+\)(:\[\d+\])?: ", re.MULTILINE)


#: How VectorGraphics writes the size of a drawing: by a style that is for a page around it, and to be stretched.
_SIZE = re.compile(r'style="width:([\d.]+)em;height:([\d.]+)em;" preserveAspectRatio="none"')

#: Pixels of its em, so that what is drawn fills a good part of a cell.
EM = 20


class Macaulay2(Language):
    """Statement by statement, as at its prompt: values with the names ``o1``, ``o2``, ... they can be used by."""

    name = "macaulay2"
    title = "Macaulay2"
    file_extension = ".m2"
    mimetype = "text/x-macaulay2"
    argv = (
        "M2", "-q", "--silent", "--no-prompts", "--no-readline", "--no-debug",
        "-e", f'load "{SET_UP_FILE}"; clearEcho stdio',
    )  # fmt: skip
    error = re.compile(r"^\S+:\d+:\d+:\(\d+\):(\[\d+\]:)? (error:|--backtrace)", re.MULTILINE)
    word = re.compile(r"[A-Za-z][A-Za-z0-9']*$")
    blank_lines_first = False

    def mark(self, one: str, other: str) -> str:
        """Return a statement that prints a mark and is not counted."""
        return f'(lineNumber = lineNumber - 1; << "{one}" << "{other}" << endl;);'

    def statements(self, code: str) -> list[str]:
        """Return the statements, those of several lines joined."""
        found: list[str] = []
        unfinished = ""
        for part in SYNTAX.statements(code):
            unfinished += part
            if not _WANTS_MORE.search(SYNTAX.without_comments(unfinished)):
                found.append(unfinished)
                unfinished = ""
        if unfinished:
            raise Unfinished(f"something is missing after {unfinished.split()[-1]}")
        return found

    def prepare(self, program: Program, directory: str) -> str:
        """Return the version."""
        return program.ask(f'cellDirectory = "{directory}"; lineNumber = -1; << version#"VERSION" << endl;')

    def explain(self, program: Program, said: str) -> str:
        """Return the message without lines that the visitor cannot count."""
        return _PLACE.sub("", said)

    def completions(self, program: Program, word: str) -> list[str]:
        """Return names of all packages that are loaded, and the visitor's."""
        return program.ask(f'(lineNumber = lineNumber - 1; scan(apropos "^{word}", name -> << name << endl);)').split()

    def pictures(self, program: Program, directory: str) -> list[dict[str, str]]:
        """Return what was drawn by VectorGraphics."""
        return [{kind: sized(text) for kind, text in picture.items()} for picture in pictures_in(directory)]


def sized(svg: str) -> str:
    """Return a drawing with a size of its own."""
    return _SIZE.sub(lambda size: f'width="{float(size[1]) * EM:g}" height="{float(size[2]) * EM:g}"', svg, count=1)


if __name__ == "__main__":
    run(Macaulay2())
