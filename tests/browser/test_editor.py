"""The editor over the whole window, the list of keys, and string decorators in colours of their own languages."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

BOX = "section => { const box = section.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]; }"


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def box_of(cell):
    return cell.root.locator(".ca-input").evaluate(BOX)


def window_of(page):
    return [0, 0, *page.evaluate("[document.documentElement.clientWidth, innerHeight]")]


def test_f11_gives_the_editor_the_whole_window_and_escape_leaves_at_once(cell, page):
    before = box_of(cell)
    cell.write("\n".join(f"print({n})" for n in range(200)))
    before = box_of(cell)
    page.keyboard.press("Control+a")
    page.keyboard.press("F11")
    assert box_of(cell) == window_of(page)
    button = cell.button("Full screen")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(cell.content).to_be_focused()
    assert cell.root.locator(".cm-scroller").evaluate("one => one.clientHeight") > 500
    # the code is selected, which Escape takes back elsewhere
    page.keyboard.press("Escape")
    assert box_of(cell) == before
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(cell.content).to_be_focused()
    page.keyboard.press("F11")
    page.keyboard.press("F11")
    assert box_of(cell) == before


def test_escape_closes_completions_first(cell, page):
    cell.write("import mat")
    page.keyboard.press("F11")
    page.keyboard.press("Control+Space")
    expect(cell.root.get_by_role("listbox")).to_be_visible(timeout=20_000)
    page.keyboard.press("Escape")
    expect(cell.root.get_by_role("listbox")).to_be_hidden()
    assert box_of(cell) == window_of(page)
    page.keyboard.press("Escape")
    assert box_of(cell) != window_of(page)


def test_an_evaluation_shows_its_output(cell, page):
    cell.write("print('seen')")
    page.keyboard.press("F11")
    page.keyboard.press("Shift+Enter")
    cell.wait_until_ended()
    expect(cell.output.get_by_text("seen")).to_be_in_viewport()
    assert box_of(cell) != window_of(page)


def test_the_focus_is_never_behind_the_editor(page, foreign, site):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_cell.js"></script>',
            "<style>section { transform: translateX(20px); overflow: hidden }"
            "header { position: fixed; z-index: 99999 }</style><header>Menu</header>"
            "<section><code-cell>1</code-cell></section><p><a href='#x'>after</a></p>",
        )
    )
    cell = CellOnPage(page)
    cell.button("Full screen").click()
    assert box_of(cell) == window_of(page)
    assert page.evaluate("document.elementFromPoint(5, 5).localName") == "code-cell"
    expect(cell.content).to_be_focused()
    page.keyboard.press("Escape")
    cell.button("Full screen").click()
    page.keyboard.press("Escape")
    cell.button("Full screen").click()
    page.keyboard.press("Escape")
    page.keyboard.press("F11")
    for _ in range(12):
        page.keyboard.press("Tab")
        focused = page.evaluate("document.activeElement.localName")
        # nothing, which is the browser's own window, is behind nothing
        assert focused in ("code-cell", "body") or box_of(cell) != window_of(page), focused
    page.locator("a").focus()
    assert box_of(cell) != window_of(page)
    expect(page.locator("a")).to_be_focused()


def test_the_keys_are_listed(cell, page):
    keys = cell.root.get_by_role("dialog", name="Keys")
    cell.content.click()
    page.keyboard.press("F1")
    expect(keys).to_be_visible()
    expect(keys.get_by_role("definition").filter(has_text="Full screen")).to_be_visible()
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    expect(cell.content).to_be_focused()
    cell.button("Evaluate").focus()
    page.keyboard.press("?")
    expect(keys).to_be_visible()
    keys.get_by_role("button", name="Close").click()
    expect(cell.button("Evaluate")).to_be_focused()
    cell.write("")
    page.keyboard.type("print?")
    assert cell.code == "print?"
    expect(keys).to_be_hidden()
    cell.button("Keys").click()
    expect(keys).to_be_visible()


def test_pages_can_hide_the_button(page, foreign, site):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_sagecell.js"></script>',
            "<div class=one>1</div><div class=two>2</div><script>"
            "sagecell.makeSagecell({inputLocation: '.one', hide: ['fullScreen']});"
            "sagecell.makeSagecell({inputLocation: '.two'});</script>",
        )
    )
    expect(page.locator(".two .sagecell_fullScreen")).to_be_visible()
    expect(page.locator(".one .sagecell_fullScreen")).to_be_hidden()


COLOURS = """(content, word) => {
  const walker = document.createTreeWalker(content, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const at = walker.currentNode.textContent.indexOf(word);
    if (at >= 0) return getComputedStyle(walker.currentNode.parentElement).color;
  }
}"""


def test_the_text_of_a_decorator_has_the_colours_of_its_own_language(cell, page):
    def colour(word):
        return cell.content.evaluate(COLOURS, word)

    cell.write(
        "def before(): pass\n"
        '%html "END"\n<table id="one">isn\'t for """you</table>\nEND\n'
        "%%r 'R'\nsquare <- function(n) n^2 # words\nR\n"
        '%mine "STOP"\nfor plain\nSTOP\n'
        "def after(): pass"
    )
    keyword = colour("def")
    assert keyword != colour("before")
    # the grammars come with the first decorator
    for _ in range(50):
        if colour("function") == keyword:
            break
        page.wait_for_timeout(100)
    assert colour("function") == keyword
    assert colour("table") not in (colour("isn't for"), colour('"one"'))
    assert colour("words") not in (keyword, colour("square"))
    # neither quotes nor keywords of another language are Python's
    assert colour("isn't for") == cell.content.evaluate("content => getComputedStyle(content).color")
    assert colour("for plain") == colour('"one"')
    lines = cell.content.locator(".cm-line").all_inner_texts()
    assert lines[-1] == "def after(): pass"
    last = cell.content.locator(".cm-line").last
    assert last.evaluate(COLOURS, "def") == keyword
    assert last.evaluate(COLOURS, "after") == colour("before")
