"""What tools of authors make of cells: an extension for Sphinx (also MyST), a filter for Pandoc and Quarto."""

from __future__ import annotations

import html.parser
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

ADAPTERS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "adapters"
ROOT = "https://cells.example.org"

#: Nothing in it may end the element that it stands in.
CODE = 'print("a</script><b>", 1 < 2 & 3, "\\n", \'ü\')\n\nif True:\n    pass'


class Cells(html.parser.HTMLParser):
    """The cells of a page, and the scripts that it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[dict[str, str | None]] = []
        self.scripts: list[str | None] = []
        self.fallbacks: list[str] = []
        self.outputs: list[str] = []
        self._open = ""
        self._in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "code-cell":
            self.cells.append(attributes)
            self._in_cell = True
        elif tag == "script" and attributes.get("type") == "application/json":
            self._open = "code"
        elif tag == "script" and "src" in attributes:
            self.scripts.append(attributes["src"])
        elif tag == "pre" and self._in_cell:
            shown = self.outputs if attributes.get("slot") == "output" else self.fallbacks
            self._open = "output" if shown is self.outputs else "fallback"
            shown.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "pre"):
            self._open = ""
        elif tag == "code-cell":
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._open == "code":
            self.cells[-1]["code"] = json.loads(data)
        elif self._open == "fallback":
            self.fallbacks[-1] += data
        elif self._open == "output":
            self.outputs[-1] += data


def cells_in(page: pathlib.Path) -> Cells:
    cells = Cells()
    cells.feed(page.read_text())
    return cells


def indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.split("\n"))


@pytest.fixture
def sphinx(tmp_path):
    """Return a function that builds a document with Sphinx."""

    def build(name: str, text: str, builder: str = "html") -> pathlib.Path:
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(ADAPTERS)!r})\n"
            f"extensions = ['code_cell_sphinx', 'myst_parser']\ncode_cell_root = '{ROOT}/'\n"
        )
        (tmp_path / name).write_text(text)
        command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", builder, str(tmp_path), str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return tmp_path / "out"

    return build


OPTIONS = ":link-key: a\n:autoeval:\n:output: <b> 42"

DIRECTIVE = {
    "index.rst": f"Title\n=====\n\n.. code-cell:: python\n{indented(OPTIONS)}\n\n{indented(CODE)}\n",
    "index.md": f"# Title\n\n```{{code-cell}} python\n{OPTIONS}\n\n{CODE}\n```\n",
}


@pytest.mark.parametrize("name", list(DIRECTIVE))
def test_sphinx_makes_cells(sphinx, name):
    page = cells_in(sphinx(name, DIRECTIVE[name]) / "index.html")
    assert page.cells == [{"language": "python", "link-key": "a", "autoeval": "", "code": CODE}]
    assert page.fallbacks == [CODE]
    assert page.outputs == ["<b> 42"]
    assert f"{ROOT}/static/embedded_cell.js" in page.scripts


def test_other_builders_show_the_code(sphinx):
    text = (sphinx("index.rst", DIRECTIVE["index.rst"], "text") / "index.txt").read_text()
    assert 'print("a</script><b>", 1 < 2 & 3' in text
    assert "<b> 42" in text


def test_a_page_without_cells_loads_nothing(sphinx):
    page = cells_in(sphinx("index.rst", "Title\n=====\n\nWords.\n") / "index.html")
    assert not [script for script in page.scripts if script and "embedded_cell" in script]


def pandoc(text: str, *options: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("pandoc")
    if program is None:
        pytest.skip("pandoc is not installed")
    command = [program, "--from", "markdown", "--lua-filter", str(ADAPTERS / "code-cell.lua"), *options]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


BLOCK = (
    f'```{{.python .cell link-key="a" onclick="x"}}\n{CODE}\n```\n\n'
    "```{.output}\n<b> 42\n43\n```\n\n```python\nnot_a_cell()\n```\n"
)


def test_pandoc_makes_cells(tmp_path):
    page = tmp_path / "page.html"
    done = pandoc(BLOCK, "--to", "html", "-M", f"code-cell-root={ROOT}/", "--output", str(page))
    assert done.returncode == 0, done.stderr
    cells = cells_in(page)
    assert cells.cells == [{"language": "python", "link-key": "a", "code": CODE}]
    assert cells.fallbacks == [CODE]
    assert cells.outputs == ["<b> 42\n43"]
    assert cells.scripts == [f"{ROOT}/static/embedded_cell.js"]
    assert "not_a_cell" in page.read_text()


def test_pandoc_leaves_code_to_other_formats():
    done = pandoc(BLOCK, "--to", "latex")
    assert done.returncode == 0, done.stderr
    assert "code-cell" not in done.stdout
    assert "42" in done.stdout


def test_pandoc_asks_for_the_server():
    done = pandoc(BLOCK, "--to", "html")
    assert done.returncode != 0
    assert "code-cell-root" in done.stderr
