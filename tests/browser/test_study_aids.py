"""What helps a learner beside the output: variables, explanations of errors, programs of Python 2."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.browser.test_accessibility import violations

EXPLAIN = re.compile("Expliquer")

OLD = "for n in xrange(3):\n    print n, n / 2\ntotal = 0\nprint 'done'"
NEW = "for n in range(3):\n    print(n, n / 2)\ntotal = 0\nprint('done')"


@pytest.fixture
def cell(page, site, watch):
    # axe asks for style sheets of the page for its own checks, which the page's policy refuses
    watch.expected.append("")
    page.goto(site + "/")
    return CellOnPage(page)


def test_a_program_of_python_2_is_converted_and_taken_back(page, cell):
    cell.evaluate(OLD)
    offer = cell.root.get_by_role("group", name="Program of Python 2")
    expect(offer).to_contain_text("written for Python 2")
    expect(offer).to_contain_text("1//2")
    expect(offer.locator("del")).to_have_text(["for n in xrange(3):", "    print n, n / 2", "print 'done'"])
    expect(offer.locator("ins")).to_have_text(["for n in range(3):", "    print(n, n / 2)", "print('done')"])
    assert violations(page) == []
    cell.button("Make the changes").click()
    expect(offer).to_be_hidden()
    assert cell.code == NEW
    expect(cell.content).to_be_focused()
    page.keyboard.press("Control+z")
    assert cell.code == OLD
    page.keyboard.press("Control+y")
    cell.evaluate()
    expect(cell.output.locator("body")).to_contain_text("2 1.0\ndone")
    expect(offer).to_be_hidden()


def test_variables_are_listed_when_somebody_looks(page, cell):
    cell.evaluate("n = 5")
    button, panel = cell.button("Variables"), cell.root.locator(".ca-variables")
    expect(panel).to_be_hidden()
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    # its kernel is gone: the next one tells
    expect(panel).to_have_text("The next evaluation shows its variables here.")
    cell.evaluate(
        "import numpy\nword, table = 'abc', numpy.zeros((3, 4))\n"
        "class Hostile:\n    def __repr__(self):\n        while True: pass\nhostile = Hostile()\nword"
    )
    expect(panel.get_by_role("row")).to_have_count(4)
    expect(panel.get_by_role("row", name="word")).to_have_text("wordstr3'abc'")
    expect(panel.get_by_role("row", name="table")).to_contain_text("3 \N{MULTIPLICATION SIGN} 4")
    expect(panel.get_by_role("row", name="hostile")).to_contain_text("takes too long")
    expect(cell.output.locator("body")).to_have_text("'abc'")
    assert violations(page) == []
    # a kernel that stays is asked when the panel is opened
    button.click()
    expect(panel).to_be_hidden()
    cell.evaluate("@interact\ndef f(n=(0, 10, 1)):\n    global twice\n    twice = 2 * n")
    cell.output.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(cell.output.locator(".widget-readout")).to_have_text("2")
    button.click()
    expect(panel.get_by_role("row", name="twice")).to_have_text("twiceint4")


def test_an_error_is_explained_in_the_visitors_language_and_in_the_authors_words(foreign, page, site, watch):
    watch.expected.append("")
    url = foreign.publish_text(
        '<!doctype html><html lang="fr"><head><meta charset="utf-8"><title>Cours</title><link rel="icon" href="data:,">'
        f'</head><body><main><h1>Cours</h1><script src="{site}/embedded_cell.js"></script>'
        "<code-cell explain>length = 3\nprint(lenght)"
        '<script type="text/x-explanation" data-error="NameError" data-match="lenght">Look at `lenght` again.</script>'
        "</code-cell><div id='other'></div><script>"
        "cellAppliance.makeCell({ inputLocation: '#other', code: '1/0', "
        "explain: async ({ name, message, code }) => `${name} in ${code}: ${message}` })</script></main></body></html>"
    )
    page.goto(url)
    cell = CellOnPage(page)
    button = cell.root.get_by_role("button", name=EXPLAIN)
    expect(button).to_be_hidden()
    cell.button("Évaluer").click()
    cell.wait_until_ended()
    button.click()
    told = cell.root.locator(".ca-explained")
    expect(told.locator("p").first).to_have_text("Look at lenght again.")
    expect(told.locator("[lang=fr]").first).to_contain_text("Vouliez-vous dire")
    assert violations(page) == []
    button.click()
    expect(told).to_be_hidden()
    other = CellOnPage(page, "#other > div")
    other.button("Évaluer").click()
    other.wait_until_ended()
    other.root.get_by_role("button", name=EXPLAIN).click()
    expect(other.root.locator(".ca-explained")).to_have_text("ZeroDivisionError in 1/0: division by zero")
