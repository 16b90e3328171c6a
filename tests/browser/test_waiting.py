"""A page whose visitor waits for a kernel while all are taken."""

import json

import pytest
from playwright.sync_api import expect

from appliance.protocol.permalink import zip_text
from tests.browser.cells import CellOnPage, address
from tests.integration.running import Appliance, wait_for


@pytest.fixture(scope="module")
def crowded():
    running = Appliance("[pool]\nmax_kernels = 1\nready = 1\n[clocks]\nbusy_seconds = 60.0\n")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def site(crowded):
    return crowded.url


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def take(appliance):
    """Take the only kernel; return its id."""

    def granted():
        status, _, body = appliance.request("POST", "/kernel?timeout=inf")
        return json.loads(body)["id"] if status == 200 else None

    return wait_for("the kernel is free", granted, 10)


def join(appliance):
    """Stand in the line; return the ticket."""
    status, _, body = appliance.request("POST", "/kernel?wait=1")
    assert status == 202, body
    return json.loads(body)["ticket"]


def test_the_page_shows_the_place_in_line_until_its_turn_comes(cell, crowded):
    kernel = take(crowded)
    ticket = join(crowded)
    cell.write("6*7")
    cell.start()
    expect(cell.status).to_have_text("Waiting for a free kernel: 1 before you")
    expect(cell.announced).to_have_text("Waiting for a free kernel: 1 before you.")
    assert crowded.request("DELETE", f"/kernel/ticket/{ticket}")[0] == 200
    expect(cell.status).to_have_text("Waiting for a free kernel: you are next")
    assert crowded.request("DELETE", f"/kernel/{kernel}")[0] == 200
    expect(cell.output.get_by_text("42", exact=True)).to_be_visible()


def test_who_stops_waiting_leaves_the_line(cell, crowded):
    kernel = take(crowded)
    cell.write("print('never')")
    cell.start()
    expect(cell.status).to_have_text("Waiting for a free kernel: you are next")
    cell.button("Stop").click()
    expect(cell.status).to_have_text("Stopped")
    assert crowded.request("DELETE", f"/kernel/{kernel}")[0] == 200
    # whoever were still in the line would come before this
    take_again = take(crowded)
    assert crowded.request("DELETE", f"/kernel/{take_again}")[0] == 200


def test_a_permalink_keeps_its_values_when_its_first_evaluation_never_began(page, site, crowded):
    kernel = take(crowded)
    code = "@interact\ndef f(n=(0, 10, 1)):\n    print('n is', n)"
    interacts = json.dumps([{"state": {"n": 7}, "bookmarks": []}])
    page.goto(address(site, c=code, interacts=zip_text(interacts)))
    cell = CellOnPage(page)
    expect(cell.status).to_have_text("Waiting for a free kernel: you are next")
    cell.button("Stop").click()
    expect(cell.status).to_have_text("Stopped")
    assert crowded.request("DELETE", f"/kernel/{kernel}")[0] == 200
    cell.evaluate()
    expect(cell.output.locator(".widget-output")).to_have_text("n is 7\n")


def test_a_linked_cell_that_stops_waiting_does_not_run_later(page, site, foreign, crowded):
    kernel = take(crowded)
    cells = (
        "<code-cell linked id=first>ran = globals().get('ran', 0) + 1; print('ran', ran)</code-cell>"
        "<code-cell linked id=second>print('first ran:', 'ran' in globals())</code-cell>"
    )
    page.goto(foreign.publish(f'<script src="{site}/static/embedded_cell.js"></script>', cells))
    first, second = CellOnPage(page, "#first"), CellOnPage(page, "#second")
    for cell in (first, second):
        cell.start()
        expect(cell.status).to_have_text("Waiting for a free kernel: you are next")
    first.button("Stop").click()
    expect(first.status).to_have_text("Stopped")
    assert crowded.request("DELETE", f"/kernel/{kernel}")[0] == 200
    expect(second.output.get_by_text("first ran: False")).to_be_visible()
    first.evaluate()
    expect(first.output.get_by_text("ran 1")).to_be_visible()
