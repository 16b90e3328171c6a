"""The page of docs/first-cell.md, as a reader of it would use it; DEMONSTRATION_IMAGES=1 renews its pictures."""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.browser.fixtures import PICTURES

DOCS = Path(__file__).resolve().parents[2] / "docs"
README_ADDRESS = "http://127.0.0.1:8888"


@pytest.fixture
def picture(page):
    """Return what writes a picture for the document, when asked to."""

    def take(name, part):
        if PICTURES:
            page.mouse.move(0, 0)
            part.screenshot(path=DOCS / "images" / f"{name}.png", animations="disabled")

    return take


@pytest.fixture
def demonstration(page, foreign, site):
    text = (DOCS / "first-cell.html").read_text()
    assert text.count(README_ADDRESS) == 1
    page.goto(foreign.publish_text(text.replace(README_ADDRESS, site)))
    return page


def test_a_reader_evaluates_three_cells_and_stops_the_last(demonstration, picture, site):
    portrait, period, swing = (CellOnPage(demonstration, f"#{name}") for name in ("portrait", "period", "swing"))
    portrait.evaluate()
    image = portrait.output.locator("img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500

    period.evaluate()
    expect(period.output.locator(".katex-display")).to_be_visible()
    expect(period.output.locator("annotation")).to_contain_text(r"\frac{11 \pi")
    period.frame.evaluate("document.fonts.ready")

    swing.start()
    expect(swing.output.get_by_text("2.0 s")).to_be_visible()
    picture("running", swing.root)
    swing.button("Stop").click()
    swing.wait_until_ended()
    expect(swing.status).to_contain_text("Stopped after")
    expect(swing.output.get_by_text("KeyboardInterrupt").first).to_be_visible()
    expect(swing.output.get_by_text("9.9 s")).to_have_count(0)

    portrait.button("Share").click()
    expect(portrait.root.get_by_role("group", name="Links to this code")).to_be_visible()
    picture("share", portrait.root.locator(".ca-input"))
    portrait.button("Close the links").click()
    if PICTURES:
        # Browsers do not paint frames that are out of sight.
        height = demonstration.evaluate("document.documentElement.scrollHeight")
        demonstration.set_viewport_size({"width": 900, "height": height})
        demonstration.wait_for_timeout(500)
    picture("page", demonstration)


@pytest.mark.parametrize("browser_scheme", ["dark"])
def test_the_page_may_be_dark(demonstration, picture, browser_scheme):
    demonstration.emulate_media(color_scheme=browser_scheme)
    cell = CellOnPage(demonstration, "#period")
    cell.evaluate()
    expect(cell.output.locator(".katex-display")).to_be_visible()
    cell.frame.evaluate("document.fonts.ready")
    picture("dark", cell.root)


def test_the_document_shows_the_cells_of_the_page():
    page = (DOCS / "first-cell.html").read_text()
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "first-cell.md").read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        assert block in page
