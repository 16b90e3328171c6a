"""axe-core finds nothing to complain about in any state of a cell; and what a first visit loads."""

from __future__ import annotations

import gzip
import pathlib

import pytest
from playwright.sync_api import Error, expect

from appliance.config import PACKAGE_DIR
from tests.browser.cells import CellOnPage

AXE = pathlib.Path(__file__).resolve().parents[1] / "clients/node_modules/axe-core/axe.min.js"

#: Bytes that a page with a cell loads at most before anybody evaluates, compressed as servers send it.
MAX_FIRST_LOAD = 200 * 1024

OPTIONS = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


def violations(page) -> list[str]:
    """Return what axe finds on the page, shadow trees and frames included."""
    for frame in page.frames:
        try:
            frame.evaluate(AXE.read_text())
        except Error:
            # that of an earlier output may go meanwhile
            if not frame.is_detached():
                raise
    found = page.evaluate("options => axe.run(document, options)", OPTIONS)
    return [
        f"{violation['id']}: {violation['help']} {[node['target'] for node in violation['nodes']]}"
        for violation in found["violations"]
    ]


STATES = {
    "at first": "",
    "text and an error": "print('some text')\n1/0",
    "a table": "import pandas; pandas.DataFrame({'a': [1, 2]})",
    "a figure": "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()",
    "a formula": "import sympy; sympy.Symbol('x')**2 / 3",
    "Markdown": "from IPython.display import Markdown; Markdown('# Title\\n\\n- one\\n- [two](#x)')",
    "JSON": "display({'application/json': {'a': [1, {'b': None}]}}, raw=True)",
    "colours": "for n in range(8): print(f'\\x1b[3{n}mtext \\x1b[4{n}m\\x1b[30mground\\x1b[0m')",
    "files": "for name in ('a.txt', 'b.csv'):\n    open(name, 'w').write('a')\nopen('c', 'wb').write(bytes(5_000_000))",
    "an exercise": "%exercise\ntitle = 'Sums'\nquestion = 'What is $1 + 1$?'\nanswer = 2",
    "output that scrolls": "for n in range(100): print(n, 'x' * 200)",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_cell_with_output(page, site, watch, scheme):
    # axe asks for style sheets of the page for its own checks, which the page's policy refuses
    watch.expected.append("")
    page.emulate_media(color_scheme=scheme)
    page.goto(site + "/")
    cell = CellOnPage(page)
    found = {}
    for state, code in STATES.items():
        if code:
            cell.evaluate(code)
        page.wait_for_timeout(150)
        found[state] = violations(page)
    assert {state: complaints for state, complaints in found.items() if complaints} == {}
    # the control: what is wrong inside a cell is found
    cell.root.locator(".ca-bar").evaluate("bar => bar.append(document.createElement('img'))")
    assert [violation.partition(":")[0] for violation in violations(page)] == ["image-alt"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_cell_at_work_that_asks_and_shares(page, site, watch, scheme):
    watch.expected.append("")
    page.emulate_media(color_scheme=scheme)
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.write("import mat\ninput('What? ')")
    cell.button("Share").click()
    expect(cell.root.get_by_role("textbox").nth(1)).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    cell.content.click()
    page.keyboard.press("Control+Home")
    page.keyboard.press("End")
    page.keyboard.press("Control+Space")
    expect(cell.root.get_by_role("listbox")).to_be_visible(timeout=20_000)
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("F11")
    assert violations(page) == []
    page.keyboard.press("F1")
    expect(cell.root.get_by_role("dialog", name="Keys")).to_be_visible()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    cell.write("%html\n<p class='x'>text</p>\n")
    assert violations(page) == []
    cell.write("input('What? ')")
    cell.start()
    expect(cell.root.get_by_label("What?")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("path", ["/help.html", "/?c=1&autoeval=false"])
def test_pages_of_the_server(page, site, watch, path):
    watch.expected.append("")
    page.goto(site + path)
    assert violations(page) == []


def test_a_first_load_is_small_and_brings_nothing_that_is_not_needed(page, site, watch):
    page.goto(site + "/")
    expect(CellOnPage(page).content).to_be_visible()
    names = [url.removeprefix(f"{site}/static/") for url in watch.requests if "/static/" in url]
    assert sorted(name.partition("-")[0] for name in names) == ["embedded_cell", "page"]
    dist = PACKAGE_DIR / "frontend" / "dist"
    for script in ("embedded_cell.js", "embedded_sagecell.js"):
        assert len(gzip.compress((dist / script).read_bytes(), 6)) < MAX_FIRST_LOAD
