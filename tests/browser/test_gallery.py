"""A page with more than thirty cells: every option and every type of output, by its reader's hands."""

from __future__ import annotations

import os
import pathlib

import pytest
from playwright.sync_api import expect

from appliance.config import PACKAGE_DIR
from tests.browser.cells import CellOnPage, output_in, take_picture
from tests.browser.fixtures import WITHOUT_GRAPHICS_CARD
from tests.browser.test_accessibility import violations

GALLERY = PACKAGE_DIR.parent / "docs" / "gallery.html"

#: What the output of each cell holds in the end: text, or a selector.
SHOWN = {
    "text": "Ünïcode, 数学, 😀",
    "ansi": "inverse",
    "progress": "100 %",
    "stderr": "to stderr",
    "error": "ZeroDivisionError",
    "png": "css=img",
    "scene": "css=canvas",
    "svg": "css=img, svg",
    "jpeg": "css=img",
    "html": "css=strong",
    "javascript": "origin: null",
    "latex": "css=.katex",
    "markdown": "css=table",
    "json": "parts",
    "table": "square",
    "file": "squares.csv",
    "update": "after",
    "long": "99999",
    "input": "Hello, Ada",
    "interact": "css=input, .widget-slider",
    "readonly": "42",
    "hidden": "nothing but this",
    "unshared": "not shared",
    "explained": "NameError",
    "kept": "the same for everybody",
    "linked-1": "",
    "linked-2": "21",
    "menu": "either",
    "french": "bonjour",
    "rtl": "left to right, as code is",
    "make": "elsewhere",
    "sage": "True",
    "sage-minimal": "minimal",
    "sage-collapsed": "it was closed",
    "sage-textarea": "from a field",
}

#: Where output is, if not in the cell.
ELSEWHERE = {"make": "#make-output", "sage-textarea": "#sage-textarea-output"}

#: What the button says, if not "Evaluate".
LABELS = {"readonly": "Compute again", "make": "Go", "french": "Évaluer", "sage": "Evaluate (Python)"}

#: Cells that evaluate themselves.
BY_ITSELF = ("readonly", "hidden")

PICTURES = os.environ.get("GALLERY_IMAGES")


def holder(name: str) -> str:
    return "div:has(+ #sage-textarea)" if name == "sage-textarea" else f"#{name}"


def evaluate(page, name: str) -> None:
    cell = CellOnPage(page, holder(name))
    if name not in BY_ITSELF:
        cell.root.get_by_role("button", name=LABELS.get(name, "Evaluate"), exact=True).click()
    if name == "input":
        cell.root.get_by_label("Your name?").fill("Ada")
        page.keyboard.press("Enter")
    cell.wait_until_ended()
    wanted = SHOWN[name]
    if wanted:
        output = output_in(page.locator(ELSEWHERE[name]) if name in ELSEWHERE else cell.root)
        found = output.locator(wanted) if wanted.startswith("css=") else output.get_by_text(wanted)
        expect(found.last, name).to_be_visible(timeout=15_000)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_cell_of_the_gallery(page, site, foreign, watch, scheme):
    watch.expected += WITHOUT_GRAPHICS_CARD
    # axe asks for style sheets of the page for its own checks
    page.emulate_media(color_scheme=scheme)
    page.goto(foreign.publish_text(GALLERY.read_text().replace("https://cells.example.org", site)))
    assert set(SHOWN) == set(page.eval_on_selector_all("[id]", "all => all.map((one) => one.id)")) - {
        "make-output",
        "sage-textarea-output",
    }
    for name in SHOWN:
        evaluate(page, name)
    explained = CellOnPage(page, "#explained")
    explained.button("Explain the error").click()
    expect(explained.root.get_by_text("A name is written in two ways.").last).to_be_visible()
    assert watch.surprises == []
    for name in SHOWN if PICTURES else ():
        take_picture(page.locator(holder(name)).first, pathlib.Path(PICTURES) / f"gallery-{name}-{scheme}.png")
    watch.expected.append("")
    assert violations(page) == []
