"""Manual pages, made from what the program itself is made from: ``python -m appliance.cli.manual DIRECTORY``.

cellctl(1) comes from the parser of the command line, appliance.toml(5) from the configuration's keys, cell-appliance(7)
from docs/administration.md, cell_appliance_selinux(8) from docs/selinux.md. Source of the macros: man(7), and
groff_char(7) for what must be escaped.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys
from typing import TYPE_CHECKING

import appliance
from appliance import config as configuration
from appliance.cli import completion
from appliance.cli.command_line import parser

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Date of the pages: that of the version, so that the same source gives the same pages.
DATE = "2026-11-24"

DOCUMENTS = pathlib.Path(__file__).resolve().parents[2] / "docs"

_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\*([^*]+)\*|\[([^\]]+)\]\([^)]+\)|<(https?://[^>]+)>")


def escape(text: str) -> str:
    """Return text that means itself in a manual page."""
    text = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    )
    return f"\\&{text}" if text.startswith(".") else text


def _head(name: str, section: int, purpose: str) -> list[str]:
    return [
        f'.TH {name.upper()} {section} "{DATE}" "Cell Appliance {appliance.__version__}" "Cell Appliance"',
        ".SH NAME",
        f"{escape(name)} \\- {escape(purpose)}",
    ]


def _arguments(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction) and action.help:
            yield action


def _synopsis(command: argparse.ArgumentParser) -> str:
    usage = " ".join(command.format_usage().split()).removeprefix("usage: ").replace("[-h] ", "").replace(" [-h]", "")
    return escape(usage)


def cellctl_1() -> str:
    """Return cellctl(1)."""
    top = parser()
    lines = [*_head("cellctl", 1, "run, examine and operate Cell Appliance"), ".SH SYNOPSIS"]
    for _name, _help, command in completion.commands(top):
        lines += [f".B {_synopsis(command)}", ".br"]
    lines[-1:] = [".SH DESCRIPTION", escape(top.description or "")]
    lines += [
        "Where the package is installed, systemd runs the appliance: see",
        ".BR cell\\-appliance (7).",
        ".SH COMMANDS",
    ]
    for name, _help, command in completion.commands(top):
        lines += [".TP", f".B {escape(name)}", escape(command.description or "")]
        for action in _arguments(command):
            names = ", ".join(action.option_strings) or str(action.metavar or "|".join(map(str, action.choices or ())))
            if action.option_strings and action.nargs != 0:
                names += f" {action.metavar or action.dest.upper()}"
            text = str(action.help)
            lines += [".RS", ".TP", f".B {escape(names)}", escape(text[0].upper() + text[1:] + "."), ".RE"]
    lines += [
        ".SH EXIT STATUS",
        "0 on success; 1 where something that is required is missing or does not work; 2 for a wrong command line;",
        "78 for a wrong configuration.",
        ".SH FILES",
        ".TP",
        f".I {configuration.SYSTEM_FILE}",
        "The configuration, where no other is named:",
        ".BR appliance.toml (5).",
        ".SH SEE ALSO",
        ".BR appliance.toml (5),",
        ".BR cell\\-appliance (7)",
    ]
    return "\n".join(lines) + "\n"


def appliance_toml_5() -> str:
    """Return appliance.toml(5)."""
    lines = [
        *_head("appliance.toml", 5, "configuration of Cell Appliance"),
        ".SH SYNOPSIS",
        f".I {configuration.SYSTEM_FILE}",
        ".SH DESCRIPTION",
        "One file in TOML. Every key may be left out; a key or a table that is not known is an error that names it,",
        "and so is a value of another type. NAME stands for a name that you choose. What is shown is the default.",
        ".PP",
        ".B cellctl config check",
        "tells whether the file is right. A change takes effect with",
        '.BR "cellctl restart" ;',
        "that of the number of web roles with",
        ".B systemctl daemon\\-reload",
        "and",
        '.BR "systemctl start cell.target" .',
        ".SH KEYS",
    ]
    comments: list[str] = []
    for line in configuration.render(configuration.Config(), comments=True).splitlines():
        if line.startswith("#"):
            comments.append(line.lstrip("# "))
        elif line.startswith("["):
            lines += [f".SS {escape(line)}", *map(escape, comments)]
            comments = []
        elif line.strip():
            lines += [".TP", f".B {escape(line)}", *map(escape, comments)]
            comments = []
    lines += [".SH SEE ALSO", ".BR cellctl (1),", ".BR cell\\-appliance (7)"]
    return "\n".join(lines) + "\n"


def _inline(text: str) -> str:
    """Return a line of Markdown as roff: code and strong text bold, emphasis italic, of links the text."""
    result, end = "", 0
    for match in _INLINE.finditer(text):
        code, strong, emphasis, link, address = match.groups()
        shown = next(part for part in (code, strong, emphasis, link, address) if part is not None)
        font = "B" if code or strong else "I" if emphasis else "R"
        result += escape(text[end : match.start()]) + f"\\f{font}{escape(shown)}\\fR"
        end = match.end()
    result += escape(text[end:])
    return f"\\&{result}" if result.startswith((".", "'")) else result


def _table_row(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def from_markdown(text: str) -> Iterator[str]:
    """Yield the lines of a manual page for the Markdown that the project's documents use.

    That is: headings, paragraphs, lists, tables (each row a tagged paragraph) and fenced code.
    """
    code = False
    lines = text.splitlines()
    for number, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("```"):
            code = not code
            yield ".PP\n.RS 4\n.nf" if code else ".fi\n.RE"
        elif code:
            yield escape(line.removeprefix("   ")) or "\\&"
        elif stripped.startswith("# "):
            continue
        elif stripped.startswith("#"):
            title = stripped.lstrip("# ")
            yield f".SH {escape(title.upper())}" if line.startswith("## ") else f".SS {escape(title)}"
        elif stripped.startswith("|"):
            cells = _table_row(stripped)
            is_rule = all(re.fullmatch(r":?-+:?", cell) for cell in cells)
            is_header = lines[number + 1 : number + 2] and re.fullmatch(r"[|:\- ]+", lines[number + 1].strip())
            if not is_rule and not is_header:
                yield f".TP\n{_inline(cells[0])}"
                yield _inline("; ".join(cell for cell in cells[1:] if cell)) or "\\&"
        elif re.match(r"(\d+\.|-) ", stripped):
            mark, _, rest = stripped.partition(" ")
            yield f'.IP "{escape(mark) if mark != "-" else chr(92) + "(bu"}" 4\n{_inline(rest)}'
        elif stripped:
            yield _inline(stripped)
        else:
            yield ".PP"


def _document(head: list[str], name: str, see: tuple[str, ...]) -> str:
    """Return a page with the text of a document."""
    lines = [*head, ".SH DESCRIPTION", *from_markdown((DOCUMENTS / name).read_text(encoding="utf-8")), ".SH SEE ALSO"]
    lines += [f".BR {page}," for page in see[:-1]]
    lines += [f".BR {see[-1]}"]
    page = "\n".join(lines) + "\n"
    # an empty line of the document beside what begins a paragraph of its own
    page = re.sub(r"(?m)^\.PP\n(?=\.(?:PP|SH|SS|TP|IP|RS))", "", page)
    return re.sub(r"(?m)^(\.S[HS] .*)\n\.PP$", r"\1", page)


def cell_appliance_7() -> str:
    """Return cell-appliance(7)."""
    head = _head("cell-appliance", 7, "how the appliance sits on a machine")
    return _document(head, "administration.md", ("cellctl (1)", "appliance.toml (5)"))


def cell_appliance_selinux_8() -> str:
    """Return cell_appliance_selinux(8); such pages are named after the module."""
    head = _head("cell_appliance_selinux", 8, "SELinux policy of Cell Appliance")
    return _document(head, "selinux.md", ("cell\\-appliance (7)", "semanage (8)", "setsebool (8)", "ausearch (8)"))


PAGES = {
    "cellctl.1": cellctl_1,
    "appliance.toml.5": appliance_toml_5,
    "cell-appliance.7": cell_appliance_7,
    "cell_appliance_selinux.8": cell_appliance_selinux_8,
}


def main(directory: str) -> None:
    """Write the pages, and the shell completions beside them."""
    target = pathlib.Path(directory)
    for name, make in PAGES.items():
        (target / name).write_text(make(), encoding="utf-8")
    for shell in completion.SHELLS:
        (target / f"cellctl.{shell}").write_text(completion.render(shell, parser()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
