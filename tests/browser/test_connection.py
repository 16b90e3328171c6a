"""Connections that break while a cell runs: nothing it prints is lost, and nothing comes twice."""

from __future__ import annotations

import os
import signal
import urllib.parse

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.browser.cutting import Network
from tests.integration.running import Appliance

LINES = 10_000

#: About eight seconds of numbered lines.
NUMBERED = f"""import time
for number in range({LINES}):
    print('line', number)
    if number % 10 == 0: time.sleep(0.008)"""


@pytest.fixture
def network(appliance):
    with Network(appliance.port) as network:
        yield network


@pytest.fixture
def cell(page, network, watch):
    watch.allowed_hosts.add(urllib.parse.urlsplit(network.url).netloc)
    watch.expected += ["WebSocket connection to", "net::ERR_"]
    page.goto(network.url + "/")
    return CellOnPage(page)


def shown(cell: CellOnPage) -> list[str]:
    """Return the lines of the output, as a visitor would copy them."""
    text: str = cell.frame.evaluate(
        "() => { getSelection().selectAllChildren(document.querySelector('#outputs'));"
        " const text = getSelection().toString(); getSelection().removeAllRanges(); return text }"
    )
    return text.splitlines()


def begin(cell: CellOnPage) -> None:
    cell.write(NUMBERED)
    cell.start()
    expect(cell.output.get_by_text("line 500", exact=False)).to_be_visible(timeout=30_000)


def verify(cell: CellOnPage) -> None:
    cell.wait_until_ended()
    expect(cell.status).to_contain_text("Finished")
    assert shown(cell) == [f"line {number}" for number in range(LINES)]


def test_a_network_that_is_cut_for_five_seconds_loses_and_doubles_nothing(cell, network):
    begin(cell)
    network.cut()
    expect(cell.status).to_contain_text("Connection lost")
    cell.page.wait_for_timeout(5_000)
    network.mend()
    verify(cell)
    cell.evaluate("print('and on')")
    expect(cell.output.get_by_text("and on")).to_be_visible()


def test_a_cell_that_ended_while_the_network_was_cut_tells_its_end(cell, network):
    cell.write("import time\nprint('before', flush=True)\ntime.sleep(1.5)\nprint('after')\n1/0")
    cell.start()
    expect(cell.output.get_by_text("before")).to_be_visible()
    network.cut()
    cell.page.wait_for_timeout(4_000)
    network.mend()
    cell.wait_until_ended()
    assert shown(cell)[:2] == ["before", "after"]
    expect(cell.announced).to_have_text("Error. ZeroDivisionError: division by zero")


def test_what_was_asked_while_the_network_was_cut_is_done_afterwards(cell, network):
    cell.write("import time\nprint('on', flush=True)\nwhile True: time.sleep(0.01)")
    cell.start()
    expect(cell.output.get_by_text("on")).to_be_visible()
    network.cut()
    cell.button("Stop").click()
    cell.page.wait_for_timeout(1_000)
    network.mend()
    cell.wait_until_ended()
    expect(cell.status).to_contain_text("Stopped after")


def test_a_network_that_does_not_come_back_is_told(cell, network):
    cell.write("import time\nprint('on', flush=True)\ntime.sleep(60)")
    cell.start()
    expect(cell.output.get_by_text("on")).to_be_visible()
    cell.page.evaluate(
        "() => { const real = performance.now.bind(performance); let skip = 0;"
        " performance.now = () => real() + skip; window.later = (ms) => { skip += ms; }; }"
    )
    network.cut()
    expect(cell.status).to_contain_text("Connection lost")
    cell.page.evaluate("() => window.later(61_000)")
    expect(cell.notice).to_contain_text("The connection to the kernel was lost", timeout=10_000)


def test_a_web_role_that_is_killed_loses_and_doubles_nothing(browser, watch):
    running = Appliance("[pool]\nmax_kernels = 4\nready = 1\n")
    try:
        watch.allowed_hosts.add(f"127.0.0.1:{running.port}")
        watch.expected += ["WebSocket connection to", "net::ERR_"]
        context = browser.new_context()
        page = context.new_page()
        watch.attach(page)
        page.goto(running.url + "/")
        cell = CellOnPage(page)
        begin(cell)
        web = running.find("web")
        assert web is not None
        os.kill(web, signal.SIGKILL)
        expect(cell.status).to_contain_text("Connection lost")
        verify(cell)
        cell.evaluate("print('and on')")
        expect(cell.output.get_by_text("and on")).to_be_visible()
        context.close()
    finally:
        running.stop()
