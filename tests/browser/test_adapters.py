"""Pages that adapters make, as readers see them: with the server, without it, without scripts, on paper."""

from __future__ import annotations

import pathlib

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

MOODLE = pathlib.Path(__file__).resolve().parents[2] / "docs/adapters/moodle.html"

BODY = (
    '<h1>Course</h1><div class="text_to_html">'
    '<pre class="code-cell" data-language="python">print("a&lt;b", 6 * 7)</pre>'
    '<pre class="code-cell-output">a&lt;b 42</pre></div>'
    '<pre class="code-cell" data-link-key="k">x = 6</pre>'
    '<pre class="code-cell" data-link-key="k" id="x">print(x * 8)</pre>'
)


def head(site):
    return MOODLE.read_text().replace("https://cells.example.org", site)


def test_texts_of_moodle_become_cells_also_later(page, foreign, site):
    page.goto(foreign.publish(head(site), BODY))
    cells = [CellOnPage(page, f"code-cell >> nth={number}") for number in range(3)]
    assert cells[0].code == 'print("a<b", 6 * 7)'
    stored = page.locator("code-cell pre").filter(has_text="a<b 42")
    expect(stored).to_be_visible()
    cells[0].evaluate()
    expect(cells[0].output.get_by_text("a<b 42")).to_be_visible()
    expect(stored).to_be_hidden()
    cells[1].evaluate()
    cells[2].evaluate()
    expect(cells[2].output.get_by_text("48")).to_be_visible()
    page.evaluate(
        """() => {
          const late = document.createElement('div');
          late.innerHTML = '<pre class="code-cell" data-autoeval>print("late")</pre>';
          document.body.append(late);
        }"""
    )
    late = CellOnPage(page, "code-cell >> nth=3")
    late.wait_until_ended()
    expect(late.output.get_by_text("late")).to_be_visible()
    expect(page.locator("pre.code-cell")).to_have_count(0)


def test_without_the_server_texts_stay_as_they_are(page, foreign, site, watch):
    watch.expected.append("net::ERR_|Failed to load resource")
    page.route("**/embedded_cell.js", lambda route: route.abort())
    page.goto(foreign.publish(head(site), BODY))
    expect(page.get_by_text('print("a<b", 6 * 7)')).to_be_visible()
    expect(page.get_by_text("a<b 42")).to_be_visible()
    assert page.locator("code-cell").count() == 0


CELL = (
    '<code-cell><script type="application/json">"print(6 * 7)"</script><pre>print(6 * 7)</pre>'
    '<pre slot="output">stored 42</pre></code-cell>'
)


@pytest.mark.parametrize("scripts", [True, False])
def test_code_and_stored_output_are_there_without_scripts(browser, foreign, site, watch, scripts):
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    watch.attach(page)
    page.goto(foreign.publish(f'<script src="{site}/static/embedded_cell.js"></script>', CELL))
    expect(page.get_by_text("stored 42")).to_be_visible()
    shown = page.get_by_text("print(6 * 7)").filter(visible=True)
    # once: in the editor, or as it stands
    expect(shown).to_have_count(1)
    assert shown.evaluate("one => one.localName") == ("div" if scripts else "pre")
    context.close()
    watch.verify()


def test_a_print_shows_code_and_stored_output_and_no_buttons(page, foreign, site):
    page.goto(foreign.publish(f'<script src="{site}/static/embedded_cell.js"></script>', CELL))
    cell = CellOnPage(page)
    expect(cell.button("Evaluate")).to_be_visible()
    page.emulate_media(media="print")
    expect(cell.button("Evaluate")).to_be_hidden()
    expect(cell.content).to_be_visible()
    expect(page.get_by_text("stored 42")).to_be_visible()
    page.emulate_media(media="screen")
    # code without output of its own: the stored one is of another program
    cell.evaluate("x = 1")
    expect(page.get_by_text("stored 42")).to_be_hidden()
