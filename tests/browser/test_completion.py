"""Completions from the kernel, by keyboard, and the restart of linked cells."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

#: Milliseconds; the editor's own is 75.
INTERACTION_DELAY = 150


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def complete(cell: CellOnPage) -> None:
    cell.page.keyboard.press("Control+Space")
    expect(cell.root.get_by_role("listbox")).to_be_visible(timeout=20_000)
    # A list that has just come takes no keys: they may have been meant for the text.
    cell.page.wait_for_timeout(INTERACTION_DELAY)


def test_control_and_space_complete(cell):
    cell.write("import math\nmath.is")
    complete(cell)
    choices = cell.root.get_by_role("option")
    expect(choices.filter(has_text="isqrt")).to_be_visible()
    cell.page.keyboard.type("qr")
    cell.page.keyboard.press("Control+Space")
    expect(choices).to_have_count(1)
    cell.page.keyboard.press("Enter")
    assert cell.code == "import math\nmath.isqrt"


def test_what_is_not_ascii_does_not_shift_the_place(cell):
    cell.write("x = '\U0001f600\U0001f600'; pri")
    complete(cell)
    cell.page.keyboard.press("Enter")
    assert cell.code == "x = '\U0001f600\U0001f600'; print"


def test_linked_cells_complete_their_own_variables_until_they_are_restarted(page, site, foreign):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_cell.js"></script>',
            "<code-cell link-key=a>some_variable = 41</code-cell><code-cell id=b link-key=a>some_v</code-cell>",
        )
    )
    first, second = CellOnPage(page), CellOnPage(page, "#b")
    first.evaluate()
    second.evaluate("1")
    second.write("some_v")
    complete(second)
    page.keyboard.press("Enter")
    assert second.code == "some_variable"
    second.evaluate()
    expect(second.output.get_by_text("41")).to_be_visible()
    second.button("Restart").click()
    expect(first.notice).to_contain_text(
        "The kernel was stopped by you. The session of the linked cells is lost with it"
    )
    second.evaluate()
    expect(second.output.locator(".error")).to_contain_text("NameError")
