"""Interacts as courses use them: dragged, shared, with exercises and checks."""

from __future__ import annotations

import statistics
from typing import Any

import pytest
from playwright.sync_api import expect

from benchmarks.browser.drag import OBSERVER
from tests.browser.cells import CellOnPage

OUTPUT = ".widget-output"


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


#: The picture for ``n`` is of one colour, whose red is 5 n.
PICTURES = """import matplotlib.pyplot as plt
ran = []
@interact
def f(n=slider(0, 50, 1)):
    ran.append(n)
    plt.figure(figsize=(3, 2), facecolor=(5 * n / 255, 0, 0))
    plt.plot([0, n])
    plt.show()
    print('drawn', n, ran)
"""

RED = """image => image.decode().then(() => {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  return context.getImageData(5, 5, 1, 1).data[0];
})"""


def latencies(times: dict[str, dict[str, float]]) -> list[float]:
    """Return how long after the slider showed it each value that was drawn stood on the page, in milliseconds."""
    return [at - times["moved"][value] for value, at in times["drawn"].items() if value in times["moved"]]


def test_a_drag_across_fifty_values_ends_with_the_picture_of_the_last(cell, page, capsys):
    cell.evaluate(PICTURES)
    result = cell.output.locator(OUTPUT)
    expect(result).to_contain_text("drawn 0 [0]")
    cell.frame.evaluate(OBSERVER)
    box = cell.output.locator(".noUi-target").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 1, middle)
    page.mouse.down()
    for step in range(1, 51):
        page.mouse.move(box["x"] + box["width"] * step / 50, middle)
        page.wait_for_timeout(20)
    page.mouse.up()
    expect(result).to_contain_text("drawn 50 ")
    page.wait_for_timeout(1_000)
    text = result.inner_text()
    ran = [int(value) for value in text[text.index("[") + 1 : text.index("]")].split(",")]
    assert ran == sorted(ran)
    assert ran.count(50) == 1
    assert cell.output.locator(f"{OUTPUT} img").evaluate(RED) == 250
    times: Any = cell.frame.evaluate("window.times")
    assert len(times["moved"]) > 20
    median = statistics.median(latencies(times))
    with capsys.disabled():
        print(f"\ndrag to picture: median {median:.0f} ms, {len(ran) - 1} of {len(times['moved'])} values drawn")
    assert median < 2_000


def test_a_permalink_brings_the_controls_back_in_one_run(cell, page):
    cell.evaluate(
        "runs = []\n"
        "@interact\ndef f(n=(0, 10, 1), c=['a', 'b'], press=Button()):\n    runs.append(n)\n    print(n, c, runs)\n"
        "f._bookmark('seven', {'n': 7})\n"
        "@interact\ndef g(t='x'):\n"
        "    print('t is', t)\n"
        "    @interact\n    def inner(i=(0, 3, 1)):\n        print('i is', i)"
    )
    first = cell.output.locator(OUTPUT).first
    cell.output.locator(".interact-n .noUi-handle").focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expect(first).to_contain_text("3 a [0, ")
    cell.output.get_by_role("button", name="b", exact=True).click()
    expect(first).to_contain_text("3 b [0, ")
    box = cell.output.get_by_label("t", exact=True)
    box.fill("changed")
    box.press("Enter")
    expect(cell.output.get_by_text("t is changed")).to_be_visible()
    cell.button("Share").click()
    links = [
        cell.root.get_by_label(name, exact=False).and_(page.locator("input")).input_value()
        for name in ("Short link", "Long link")
    ]
    for link in links:
        with page.context.new_page() as other:
            other.goto(link)
            opened = CellOnPage(other)
            expect(opened.output.locator(OUTPUT).first).to_have_text("3 b [3]\n")
            expect(opened.output.get_by_text("t is changed")).to_be_visible()
            expect(opened.output.get_by_text("i is 0")).to_be_visible()
            opened.wait_until_ended()
            expect(opened.output.get_by_role("button", name="seven")).to_have_count(1)
            opened.output.get_by_role("button", name="seven").click()
            expect(opened.output.locator(OUTPUT).first).to_contain_text("7 b [3, 7]")
            # Evaluated once more, the program begins as it is written.
            opened.evaluate()
            expect(opened.output.locator(OUTPUT).first).to_have_text("0 a [0]\n")


def test_code_that_was_changed_is_shared_without_what_belonged_to_the_old(cell, page):
    cell.evaluate("@interact\ndef f(n=(0, 10, 1)):\n    print('n is', n)")
    cell.output.locator(".noUi-handle").focus()
    page.keyboard.press("End")
    expect(cell.output.locator(OUTPUT)).to_have_text("n is 10\n")
    cell.write("@interact\ndef f(n=(0, 10, 1)):\n    print('changed', n)")
    cell.button("Share").click()
    link = cell.root.get_by_label("Long link", exact=False).and_(page.locator("input")).input_value()
    assert "interacts=" not in link


def test_an_exercise_is_answered(cell):
    cell.evaluate(
        "%exercise\ntitle = 'Powers'\nquestion = 'What is $2^5$?'\nanswer = 32\n"
        "hints = ['Double.', 'It is $2 \\\\cdot 16$.']"
    )
    output = cell.output
    expect(output.get_by_role("heading", name="Powers")).to_be_visible()
    expect(output.locator(".katex").first).to_be_visible()
    box = output.get_by_label("answer")
    feedback = output.locator(OUTPUT).last
    for attempt, said in (("10", "Double."), ("oops", "does not count"), ("31", "Attempt 2.")):
        box.fill(attempt)
        box.press("Enter")
        output.get_by_role("button", name="Submit").click()
        expect(feedback).to_contain_text(said)
    box.fill("2**5")
    output.get_by_role("button", name="Submit").click()
    expect(feedback).to_contain_text("Correct. 3 attempts, ")
    output.get_by_role("button", name="New question").click()
    expect(output.locator(f"{OUTPUT} input")).to_have_count(1)
    expect(output.get_by_label("answer")).to_have_value("")
    expect(output.locator(OUTPUT).last).to_be_empty()


def test_hidden_checks_of_an_author(page, foreign, site):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_cell.js"></script>',
            """<code-cell>
            <script type="text/x-check" data-title="double(2)">assert double(2) == 4</script>
            <script type="text/x-check" data-title="double('a')">
            assert double('a') == 'aa', "double('a') should be 'aa'"
            </script>
            <script type="text/x-python">def double(x):
    return x + 2</script></code-cell>
            <code-cell id="bare">print('bare')<script type="text/x-check">assert True</script></code-cell>""",
        )
    )
    cell = CellOnPage(page)
    assert "assert" not in cell.code
    cell.evaluate()
    expect(cell.output.locator(".checks")).to_contain_text("1 of 2 checks passed")
    expect(cell.output.locator(".checks li").nth(1)).to_contain_text("TypeError")
    cell.evaluate("def double(x):\n    return x * 2")
    expect(cell.output.locator(".checks")).to_contain_text("2 of 2 checks passed")
    bare = CellOnPage(page, "#bare")
    assert bare.code == "print('bare')"
    bare.evaluate()
    expect(bare.output.locator(".checks")).to_contain_text("The check passed")
