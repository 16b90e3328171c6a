"""The first click costs one message: the connection is there before it, without a kernel."""

from __future__ import annotations

import json
import urllib.parse

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.integration.running import Appliance, wait_for


class Connections:
    """What a page's WebSockets were asked for and sent, by path."""

    def __init__(self, page) -> None:
        self.sent: list[tuple[str, dict]] = []
        self.opened: list[str] = []
        page.on("websocket", self._opened)

    def _opened(self, socket) -> None:
        path = urllib.parse.urlsplit(socket.url).path
        self.opened.append(path)
        socket.on("framesent", lambda text: self.sent.append((path, json.loads(text))))


@pytest.fixture
def connections(page):
    return Connections(page)


def test_a_click_sends_one_message_and_asks_for_nothing_else(page, site, watch, connections):
    page.goto(site + "/")
    cell = CellOnPage(page)
    wait_for("a connection", lambda: page.wait_for_timeout(50) or connections.opened == ["/lease"], 10)
    assert connections.sent == []
    cell.write("6 * 7")
    before = len(watch.requests)
    cell.start()
    expect(cell.output.get_by_text("42")).to_be_visible()
    (sent,) = connections.sent
    assert sent[0] == "/lease"
    assert sent[1]["lease"] == {"environment": "python", "profile": "", "timeout": "0"}
    assert [request["content"]["code"] for request in sent[1]["requests"]] == ["6 * 7"]
    asked = [urllib.parse.urlsplit(url).path for url in watch.requests[before:]]
    assert [path for path in asked if "kernel" in path] == []


def test_each_evaluation_has_a_connection_of_its_own(page, site, connections):
    page.goto(site + "/")
    cell = CellOnPage(page)
    for number in range(3):
        cell.evaluate(f"print({number} + 10)")
        expect(cell.output.get_by_text(str(number + 10))).to_be_visible()
    assert [path for path, _ in connections.sent] == ["/lease"] * 3


def test_linked_cells_run_the_first_of_them_in_the_same_message(page, foreign, site, connections):
    script = f'<script src="{site}/static/embedded_cell.js"></script>'
    page.goto(
        foreign.publish(
            script, "<code-cell id=a link-key=x>n = 5</code-cell><code-cell id=b link-key=x>print(n * n)</code-cell>"
        )
    )
    for name in ("#a", "#b"):
        cell = CellOnPage(page, name)
        cell.start()
        cell.wait_until_ended()
    expect(cell.output.get_by_text("25")).to_be_visible()
    first, second = connections.sent
    assert first[1]["lease"]["timeout"] == "inf"
    assert second[1]["header"]["msg_type"] == "execute_request"


@pytest.mark.parametrize("how", ["at once", "when it is used"])
def test_where_no_connection_is_to_be_had_kernels_are_asked_for_by_post(page, site, how):
    def meet(socket):
        if how == "at once":
            socket.close()
        else:
            socket.on_message(lambda text: socket.close())

    page.route_web_socket(lambda url: "/lease" in url, meet)
    page.goto(site + "/")
    cell = CellOnPage(page)
    with page.expect_request(lambda request: "/kernel?" in request.url):
        cell.evaluate("print('in the other way')")
    expect(cell.output.get_by_text("in the other way")).to_be_visible()


def test_nobody_pays_for_a_page_that_is_only_read(page, site):
    page.goto(site + "/")
    page.wait_for_timeout(300)
    assert page.locator("iframe").count() == 0
    # whoever comes near has the frame for output loaded
    page.locator("code-cell .ca-run").hover()
    expect(page.locator("iframe.ca-frame-ahead")).to_have_count(1)
    expect(page.locator(".ca-output")).to_be_hidden()


def test_the_first_sign_of_a_hand_prepares_the_cell_next_to_it(page, foreign, site):
    script = f'<script src="{site}/static/embedded_cell.js"></script>'
    cells = "".join(f"<code-cell id=c{number} style='margin-bottom: 250px'>1</code-cell>" for number in range(4))
    page.goto(foreign.publish(script, cells))
    expect(page.locator("#c1 .ca-run")).to_be_visible()
    page.wait_for_timeout(200)
    assert page.locator("iframe").count() == 0
    box = page.locator("#c1").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + box["height"] + 40)
    expect(page.locator("#c1 iframe.ca-frame-ahead")).to_have_count(1)
    page.mouse.move(300, 5)
    page.wait_for_timeout(200)
    # a page has one, where its visitor was last
    assert page.locator("iframe").count() == 1
    page.locator("#c0 .ca-run").hover()
    expect(page.locator("#c0 iframe.ca-frame-ahead")).to_have_count(1)
    assert page.locator("iframe").count() == 1


def test_b5_a_page_at_its_quota_evaluates_again(page, watch):
    """The kernel of an interact lives on; evaluating again must not count it beside the next."""
    running = Appliance("[pool]\nmax_kernels = 4\nready = 2\n[quota]\nkernels_per_page = 1\n")
    try:
        watch.allowed_hosts.add(urllib.parse.urlsplit(running.url).netloc)
        page.goto(running.url + "/")
        cell = CellOnPage(page)
        for number in range(5):
            cell.evaluate(f"@interact\ndef f(n=(1, 5)):\n    print('run', {number})")
            expect(cell.output.get_by_text(f"run {number}")).to_be_visible()
            expect(cell.notice).to_be_hidden()
    finally:
        page.goto("about:blank")
        running.stop()
