"""Sphinx extension: the directive ``code-cell`` makes a cell of code (reStructuredText, and MyST as ``{code-cell}``).

Copy this file beside conf.py and say there::

    sys.path.insert(0, os.path.dirname(__file__))
    extensions = [..., "code_cell_sphinx"]
    code_cell_root = "https://cells.example.org/"

The argument is the language, Python without one. Options are the attributes of ``<code-cell>``: ``link-key``,
``environment``, ``profile``, ``hide``, ``evaluate-label``, ``ui-language``, and the flags ``linked``, ``readonly`` and
``autoeval``. ``output`` is what the code printed, shown until somebody evaluates. Readers without JavaScript or without
the server, prints, and other builders than HTML get the code as it stands, and that output.
"""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

TEXTS = ("link-key", "environment", "profile", "hide", "evaluate-label", "ui-language")
FLAGS = ("linked", "readonly", "autoeval")


class code_cell(nodes.General, nodes.Element):  # noqa: N801 - docutils
    """A cell; its children are the code and the output as other builders show them."""


def cell_html(code: str, attributes: dict[str, str], output: str) -> str:
    """Return the element for a cell; the code cannot end it, whatever it holds."""
    text = "".join(f' {name}="{html.escape(value)}"' for name, value in attributes.items())
    script = json.dumps(code).replace("<", "\\u003c")
    # browsers show what follows until the cell takes its place
    shown = f"<pre>{html.escape(code)}</pre>"
    if output:
        shown += f'<pre slot="output">{html.escape(output)}</pre>'
    return f'<code-cell{text}><script type="application/json">{script}</script>{shown}</code-cell>\n'


class CodeCell(SphinxDirective):
    """``.. code-cell:: LANGUAGE``."""

    has_content = True
    optional_arguments = 1
    option_spec = {  # noqa: RUF012 - docutils
        **dict.fromkeys(TEXTS, directives.unchanged_required),
        **dict.fromkeys(FLAGS, directives.flag),
        "output": directives.unchanged_required,
    }

    def run(self) -> list[nodes.Node]:
        """Make the node."""
        self.assert_has_content()
        language = self.arguments[0] if self.arguments else "python"
        code = "\n".join(self.content)
        attributes = {"language": language}
        attributes |= {name: self.options[name] for name in TEXTS if name in self.options}
        attributes |= {name: "" for name in FLAGS if name in self.options}
        output = self.options.get("output", "")
        cell = code_cell("", code=code, attributes=attributes, output=output)
        cell += nodes.literal_block(code, code, language=language)
        if output:
            cell += nodes.literal_block(output, output, language="none")
        self.set_source_info(cell)
        return [cell]


def visit_html(translator: Any, node: code_cell) -> None:
    """Write the element."""
    translator.body.append(cell_html(node["code"], node["attributes"], node["output"]))
    raise nodes.SkipNode


def pass_through(translator: Any, node: code_cell) -> None:
    """Leave the code to the builder."""


def add_script(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Load the cells' script on pages that have one."""
    if tree is not None and next(tree.findall(code_cell), None) is not None:
        root = app.config.code_cell_root.rstrip("/")
        app.add_js_file(f"{root}/static/embedded_cell.js", loading_method="defer")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register everything."""
    app.add_config_value("code_cell_root", "", "html", str)
    other = (pass_through, pass_through)
    app.add_node(code_cell, html=(visit_html, None), latex=other, text=other, man=other, texinfo=other, epub=other)
    app.add_directive("code-cell", CodeCell)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
