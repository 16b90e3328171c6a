"""Cells by keyboard and screen reader (WCAG 2.2)."""

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

FOCUSED = "document.activeElement.shadowRoot.activeElement.textContent"


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def test_tab_indents_and_escape_tab_leaves_the_editor(cell):
    cell.content.click()
    cell.page.keyboard.press("Tab")
    expect(cell.content).to_be_focused()
    cell.page.keyboard.press("Escape")
    cell.page.keyboard.press("Tab")
    expect(cell.content).not_to_be_focused()
    assert cell.page.evaluate(FOCUSED) == "Evaluate"


def test_escape_counts_even_for_slow_hands(cell):
    cell.content.click()
    cell.page.keyboard.press("Escape")
    cell.page.wait_for_timeout(2_500)
    cell.page.keyboard.press("Tab")
    expect(cell.button("Evaluate")).to_be_focused()


def test_shift_tab_leaves_backwards(cell):
    cell.content.click()
    cell.page.keyboard.press("Escape")
    cell.page.keyboard.press("Shift+Tab")
    expect(cell.content).not_to_be_focused()


def test_everything_has_a_name(cell):
    cell.evaluate("1/0")
    cell.button("Share").click()
    expect(cell.root.get_by_role("group", name="Links to this code")).to_be_visible()
    unnamed = cell.root.evaluate(
        """root => [...root.shadowRoot.querySelectorAll('button, input, select, iframe, [role=textbox]')]
        .filter(part => part.checkVisibility())
        .filter(part => !(part.ariaLabel || part.title || part.textContent.trim() || part.labels?.[0]?.textContent))
        .map(part => part.outerHTML)"""
    )
    assert unnamed == []
    expect(cell.content).to_have_attribute("aria-label", "Code, Python")


def test_focus_is_not_lost_when_stop_vanishes(cell):
    cell.write("import time; print('on', flush=True); time.sleep(60)")
    cell.page.keyboard.press("Shift+Enter")
    expect(cell.output.get_by_text("on")).to_be_visible()
    cell.button("Stop").focus()
    cell.page.keyboard.press("Enter")
    cell.wait_until_ended()
    expect(cell.button("Evaluate")).to_be_focused()


def test_escape_closes_the_links_and_returns_the_focus(cell):
    cell.write("1")
    cell.button("Share").click()
    expect(cell.root.get_by_label("Short link", exact=False).first).to_be_focused()
    cell.page.keyboard.press("Escape")
    expect(cell.root.get_by_role("group", name="Links to this code")).to_be_hidden()
    expect(cell.button("Share")).to_be_focused()


def test_the_start_and_the_end_are_announced(cell):
    cell.write("import time; time.sleep(0.5); print('done')")
    cell.start()
    expect(cell.announced).to_have_text("Running.")
    expect(cell.announced).to_have_text("Finished. Output: done")


def test_motion_is_reduced_on_request(page, site):
    page.emulate_media(reduced_motion="reduce")
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.write("import time; time.sleep(60)")
    cell.start()
    cell.wait_for_phase("running")
    animation = cell.root.locator(".ca-activity").evaluate("bar => getComputedStyle(bar, '::before').animationName")
    assert animation == "none"


CONTRAST = """root => {
  const channel = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * channel(r / 255) + 0.7152 * channel(g / 255) + 0.0722 * channel(b / 255);
  const numbers = colour => colour.match(/[0-9.]+/g).map(Number);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
  };
  const found = {};
  const texts = '.ca-button, .ca-status, .ca-language, .ca-sentence, .ca-caption, .ca-muted, .cm-gutterElement, '
    + '.cm-line span';
  for (const element of root.shadowRoot.querySelectorAll(texts)) {
    if (!element.checkVisibility() || !element.textContent.trim()) continue;
    const [one, two] = [luminance(numbers(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) found[element.className + ' ' + element.textContent] = ratio;
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast(page, site, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate(
        "# comment\n@property\ndef f(x: int = 1) -> str:\n    return 'text' if x is None else True\n"
        "import os\nos._exit(1)"
    )
    expect(cell.notice).to_be_visible()
    cell.button("Share").click()
    expect(cell.root.get_by_label("Short link", exact=False).first).to_be_visible()
    page.mouse.move(0, 0)
    assert cell.root.evaluate(CONTRAST) == {}
