"""A cell whose result is kept: what the second visitor sees, and how they get a result of their own."""

from __future__ import annotations

import re
import uuid

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.browser.cutting import Network
from tests.browser.fixtures import Watch

HEAD = '<script src="{site}/static/embedded_cell.js"></script>'

NUMBER = "import os\nprint(int.from_bytes(os.urandom(8)))"

FIGURE = """import os, numpy
import matplotlib.pyplot as plt
plt.figure(figsize=(2, 1))
plt.plot(numpy.frombuffer(os.urandom(100), "u1"))
plt.show()"""


class Sent:
    """What a page asked for over its connections."""

    def __init__(self, page):
        self.messages = []
        self.heard = []
        page.on("websocket", self._opened)

    def _opened(self, socket):
        socket.on("framesent", lambda text: self.messages.append(text))
        socket.on("framereceived", lambda text: self.heard.append(text))

    @property
    def kernels(self):
        """How many evaluations had a kernel."""
        return sum('"leased"' in text and '"stored"' not in text for text in map(str, self.heard))


@pytest.fixture
def code():
    """A program that nobody has evaluated yet."""
    return f"{NUMBER}  # {uuid.uuid4().hex}"


@pytest.fixture
def visit(browser, site, foreign):
    """Visit a page with a cell, as somebody new each time."""
    contexts = []

    def visit(code, attributes="", site=site, **options):
        address = foreign.publish(HEAD.format(site=site), f"<code-cell keep-result {attributes}>{code}</code-cell>")
        context = browser.new_context(viewport={"width": 900, "height": 500}, **options)
        page = context.new_page()
        page.set_default_timeout(30_000)
        watch = Watch(allowed_hosts={site.partition("//")[2], foreign.host})
        watch.attach(page)
        contexts.append((context, watch))
        sent = Sent(page)
        page.goto(address)
        return CellOnPage(page), sent

    yield visit
    for context, watch in contexts:
        context.close()
        watch.verify()


def number(cell):
    expect(cell.output.locator("body")).to_have_text(re.compile(r"\d"))
    return cell.output.locator("body").inner_text().strip()


def test_the_second_visitor_sees_the_stored_result_and_runs_it_if_they_want(visit, code):
    cell, sent = visit(code)
    cell.evaluate()
    first = number(cell)
    assert first.isdecimal()
    expect(cell.notice).to_be_hidden()
    expect(cell.status).to_contain_text("Finished")
    assert sent.kernels == 1

    cell, sent = visit(code)
    cell.evaluate()
    assert number(cell) == first
    expect(cell.status).to_have_text("Stored result")
    stored = re.compile(r"Stored result of .+ \((now|\d+ seconds? ago)\)\. The program did not")
    expect(cell.notice).to_contain_text(stored)
    expect(cell.announced.first).to_contain_text("Stored result of")
    expect(cell.announced.first).to_contain_text(f"Output: {first}")
    assert sent.kernels == 0
    # again: it is still the same
    cell.evaluate()
    assert number(cell) == first
    assert sent.kernels == 0

    run = cell.button("Run it")
    run.focus()
    cell.page.keyboard.press("Enter")
    expect(cell.status).to_contain_text("Finished")
    expect(cell.output.locator("body")).not_to_have_text(first)
    expect(cell.notice).to_be_hidden()
    expect(cell.button("Evaluate")).to_be_focused()
    assert sent.kernels == 1
    # what they ran is theirs alone
    cell, _ = visit(code)
    cell.evaluate()
    assert number(cell) == first


def test_what_left_a_file_too_large_to_come_along_is_not_kept_and_the_file_is_fetched(visit, code):
    code = f"open('large', 'wb').write(bytes(5_000_000))\n{code}"
    numbers = []
    for _ in range(2):
        cell, sent = visit(code)
        cell.evaluate()
        numbers.append(number(cell))
        with cell.page.expect_download() as download:
            cell.root.get_by_role("button", name="Save large").click()
        assert download.value.path().read_bytes() == bytes(5_000_000)
        assert sent.kernels == 2  # told twice: at first it was nobody's
    assert numbers[0] != numbers[1]


def test_what_is_edited_runs_in_a_kernel_and_what_is_restored_does_not(visit, code):
    cell, _ = visit(code)
    cell.evaluate()
    first = number(cell)
    cell, sent = visit(code)
    cell.evaluate(f"{code}\n")
    expect(cell.output.locator("body")).not_to_have_text(first)
    assert sent.kernels == 1
    assert '"result":true' not in str(sent.messages)
    cell.evaluate(code)
    expect(cell.output.locator("body")).to_have_text(first)
    assert sent.kernels == 1


def test_it_shows_figures_by_itself_and_in_the_dark(visit):
    code = f"# {uuid.uuid4().hex}\n{FIGURE}"
    cell, _ = visit(code, "autoeval")
    cell.wait_until_ended()
    picture = cell.output.locator("img")
    expect(picture).to_be_visible()
    drawn = picture.get_attribute("src")
    for scheme in ("light", "dark"):
        cell, sent = visit(code, "autoeval", color_scheme=scheme)
        cell.wait_until_ended()
        expect(cell.notice).to_contain_text("Stored result of")
        # blobs have other addresses; what is in them is the same size
        expect(cell.output.locator("img")).to_be_visible()
        assert sent.kernels == 0
        if drawn.startswith("data:"):
            assert cell.output.locator("img").get_attribute("src") == drawn


def test_it_speaks_the_language_of_its_page(visit, code):
    for _ in range(2):
        cell, _ = visit(code, 'ui-language="de"')
        cell.button("Ausführen").click()
        cell.wait_until_ended()
    expect(cell.notice).to_contain_text("Gespeichertes Ergebnis vom")
    expect(cell.button("Neu ausführen")).to_be_visible()


def test_widgets_work_and_are_not_kept(visit):
    code = f"# {uuid.uuid4().hex}\nfrom ipywidgets import interact\n@interact\ndef f(n=(1, 5)):\n    print('n is', n)"
    for _ in range(2):
        cell, sent = visit(code)
        cell.evaluate()
        expect(cell.output.get_by_text("n is 3")).to_be_visible()
        cell.output.get_by_role("slider").focus()
        cell.page.keyboard.press("ArrowRight")
        expect(cell.output.get_by_text("n is 4")).to_be_visible()
        assert sent.kernels > 0
        expect(cell.notice).to_be_hidden()


def test_a_program_that_asks_and_one_that_is_stopped(visit):
    code = f"# {uuid.uuid4().hex}\nname = input('Who? ')\nprint('Hello', name)"
    cell, _ = visit(code)
    cell.start()
    field = cell.root.get_by_label("Who?")
    field.fill("Ada")
    field.press("Enter")
    expect(cell.output.get_by_text("Hello Ada")).to_be_visible()
    cell, _ = visit(f"# {uuid.uuid4().hex}\nimport time\nprint('on')\ntime.sleep(60)")
    cell.start()
    expect(cell.output.get_by_text("on")).to_be_visible()
    cell.button("Stop").click()
    expect(cell.status).to_contain_text("Stopped after")
    cell.evaluate("print(6 * 7)")
    expect(cell.output.get_by_text("42")).to_be_visible()


def test_a_page_made_for_sagecell_says_it_in_its_options(page, site, foreign, code):
    script = f'<script src="{site}/static/embedded_sagecell.js"></script>'
    call = "sagecell.makeSagecell({inputLocation: '#cell', languages: ['python'], keepResult: true})"
    address = foreign.publish(
        script, f'<div id="cell"><script type="text/x-sage">{code}</script></div><script>{call}</script>'
    )
    for stored in (False, True):
        page.goto(address)
        cell = CellOnPage(page, "#cell")
        cell.evaluate()
        assert ("Stored result" in cell.status.inner_text()) == stored


def test_where_the_connection_breaks_the_evaluation_begins_anew(page, appliance, foreign, watch):
    code = f"# {uuid.uuid4().hex}\nimport os, time\nprint(os.urandom(8).hex(), flush=True)\ntime.sleep(3)\nprint('end')"
    with Network(appliance.port) as network:
        watch.allowed_hosts.add(f"127.0.0.1:{network.port}")
        watch.expected += ["WebSocket connection to", "net::ERR_"]
        script = HEAD.format(site=f"http://127.0.0.1:{network.port}")
        page.goto(foreign.publish(script, f"<code-cell keep-result>{code}</code-cell>"))
        cell = CellOnPage(page)
        cell.start()
        expect(cell.output.locator("body")).to_have_text(re.compile("[0-9a-f]{16}"))
        first = number(cell)
        network.cut()
        network.mend()
        expect(cell.output.get_by_text("end")).to_be_visible()
        cell.wait_until_ended()
        expect(cell.status).to_contain_text("Finished")
        assert first not in number(cell)
        expect(cell.notice).to_be_hidden()
