"""``/lease``: a connection first, a kernel and its first message later."""

from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from appliance.config import Config, Web
from appliance.errors import PoolExhausted, QuotaExceeded
from appliance.web import websocket
from appliance.web.access import Access
from appliance.web.kernel_routes import KernelRoutes
from appliance.web.lease_routes import UNUSED_SECONDS, LeaseRoutes
from appliance.web.pool_client import Place
from tests.unit.web.fakes import NOW, World
from tests.unit.web.serving import Connection

CONFIG = Config(web=Web(waiting_connections=2))
WANTED = {"lease": {"timeout": "0"}, "requests": []}


def request(msg_id="a", code="1+1"):
    return {"header": {"msg_id": msg_id, "msg_type": "execute_request"}, "content": {"code": code}}


class Browser:
    """A page's connection, and what came over it."""

    def __init__(self, world, path="/lease?session_id=page-1", config=CONFIG, leases=None):
        access = Access(config)
        self.leases = leases or LeaseRoutes(config, world.kernels, access, world.clock, lambda: NOW)
        kernels = KernelRoutes(config, world.kernels, access, world.clock, lambda: NOW)
        self.connection = Connection((*kernels.routes(), *self.leases.routes()), config, world.clock)
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.events = []
        self.post(Request(host="cells.example", target=path))
        self.look()

    def post(self, event):
        self.connection.send(self.wire.send(event))

    def send(self, document):
        self.post(TextMessage(json.dumps(document)))

    def look(self):
        data = self.connection.received()
        if data:
            self.wire.receive_data(data)
            self.events += self.wire.events()
        return self.events

    @property
    def said(self):
        """The first message of each kind, by kind or by what a status says."""
        messages = [json.loads(event.data) for event in self.look() if isinstance(event, TextMessage)]
        return {one["content"].get("execution_state", one["msg_type"]): one["content"] for one in messages}

    @property
    def closed(self):
        return next((event.code for event in self.look() if isinstance(event, CloseConnection)), None)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, CONFIG)


@pytest.fixture
def browser(world):
    browser = Browser(world)
    assert isinstance(browser.look()[0], AcceptConnection)
    return browser


def settle(world):
    world.clock.advance(websocket.HOLD_SECONDS)


def test_a_connection_takes_no_kernel(world, browser):
    assert world.pool.leases == []
    assert browser.leases.count == 1


def test_one_message_leases_and_runs(world, browser):
    browser.send({**WANTED, "requests": [request()]})
    (kernel_id,) = world.pool.known
    kernel = world.start()
    assert [content["code"] for _, content in kernel.requests[1:]] == ["1+1"]
    kernel.print("2\n")
    kernel.answer()
    settle(world)
    assert browser.said["leased"] == {"id": kernel_id}
    assert browser.said["stream"]["text"] == "2\n"
    assert browser.said["dead"]["reason"] == "released"
    assert world.pool.released == [(kernel_id, "released")]
    assert browser.leases.count == 0


def test_messages_that_follow_at_once_wait_for_the_kernel(world, browser):
    world.pool.waiting = Deferred()
    browser.send({"lease": {"timeout": "inf"}, "requests": [request()]})
    browser.send(request("b", "2+2"))
    world.pool.waiting.callback(None)
    kernel = world.start()
    assert [content["code"] for _, content in kernel.requests[1:]] == ["1+1", "2+2"]


def test_names_and_timeout_are_those_of_the_message(world):
    browser = Browser(world)
    browser.send({"lease": {"environment": "python", "timeout": "60"}})
    assert world.pool.leases == [("visitor", "python", "default", 60.0)]


def test_a_page_comes_back_to_its_kernel_by_the_name_of_its_connection(world, browser):
    browser.send({**WANTED, "requests": [request()]})
    kernel = world.start()
    kernel.print("one\n")
    settle(world)
    browser.connection.lose()
    kernel.print("two\n")
    address = f"/kernel/{kernel.address.kernel_id}/channels?session_id=page-1&after=&after_kernel="
    again = Browser(world, address)
    assert "resumed" in again.said
    texts = [json.loads(event.data)["content"].get("text") for event in again.look() if isinstance(event, TextMessage)]
    assert [text for text in texts if text] == ["one\n", "two\n"]


def test_who_waits_in_line_is_told_the_place_until_its_turn_comes(world, browser):
    world.pool.place = Place("ticket-1", 3, 2.0)
    browser.send(WANTED)
    assert browser.said["waiting"] == {"place": 3}
    world.pool.place = Place("ticket-1", 0, 2.0)
    world.clock.advance(2.0)
    assert browser.said["waiting"] == {"place": 0}
    world.pool.place = None
    world.clock.advance(2.0)
    settle(world)
    assert "leased" in browser.said


def test_who_leaves_while_waiting_leaves_the_line(world, browser):
    world.pool.place = Place("ticket-1", 3, 2.0)
    browser.send(WANTED)
    browser.connection.lose()
    assert world.pool.left == ["ticket-1"]
    world.pool.place = None
    world.clock.advance(2.0)
    assert world.pool.leases == []


def test_who_leaves_while_its_kernel_is_on_the_way_gives_it_back(world, browser):
    world.pool.waiting = Deferred()
    browser.send(WANTED)
    browser.connection.lose()
    world.pool.waiting.callback(None)
    assert [reason for _, reason in world.pool.released] == ["client_gone"]


@pytest.mark.parametrize(
    ("error", "retry_after"),
    [(PoolExhausted(), CONFIG.pool.retry_after_seconds), (QuotaExceeded("enough", retry_after_seconds=7), 7)],
)
def test_a_refusal_says_why_and_when_to_come_again(world, browser, error, retry_after):
    world.pool.error = error
    browser.send(WANTED)
    refused = browser.said["refused"]
    assert (refused["error"], refused["status"], refused["retry_after"]) == (error.code, error.http_status, retry_after)
    assert browser.closed == 1000


def test_a_name_that_is_not_there_is_refused(world, browser):
    browser.send({"lease": {"environment": "cobol"}})
    assert "cobol" in browser.said["refused"]["message"]
    assert "retry_after" not in browser.said["refused"]


def test_a_message_that_is_none_is_refused_and_ends_the_connection(world, browser):
    browser.send({"header": {}})
    assert "lease" in browser.said["refused"]["message"]
    assert browser.closed == 1008


def test_terms_must_be_accepted(world, tmp_path):
    terms = tmp_path / "terms.html"
    terms.write_text("<p>Be kind.</p>")
    config = Config(web=Web(terms_file=str(terms)))
    browser = Browser(world, config=config)
    browser.send(WANTED)
    assert browser.said["refused"]["error"] == "terms_not_accepted"
    browser = Browser(world, "/lease?session_id=a&accepted_tos=true", config)
    browser.send(WANTED)
    settle(world)
    assert "leased" in browser.said


def test_binary_messages_are_not_taken(world, browser):
    browser.post(BytesMessage(b"{}"))
    assert browser.closed == 1003


def test_a_page_on_which_nobody_evaluates_loses_its_connection(world, browser):
    leases = browser.leases
    leases.startService()
    browser.wire.receive_data(b"")
    for _ in range(int(UNUSED_SECONDS / 20) + 2):
        # a browser answers pings by itself
        browser.connection.send(b"\x8a\x80\x00\x00\x00\x00")
        world.clock.advance(20.0)
    assert browser.closed == 1000
    assert leases.count == 0
    leases.stopService()


def test_too_many_pages_are_refused(world, browser):
    Browser(world, leases=browser.leases)
    third = Browser(world, leases=browser.leases)
    assert isinstance(third.look()[0], RejectConnection)
    body = b"".join(event.data for event in third.look() if isinstance(event, RejectData))
    assert (third.events[0].status_code, json.loads(body)["error"]) == (503, "too_many_waiting")


@pytest.mark.parametrize(
    "path", ["/lease", "/lease?session_id=", "/lease?session_id=a%20b", "/lease?session_id=" + "x" * 129]
)
def test_a_connection_has_a_name(world, path):
    browser = Browser(world, path)
    assert browser.look()[0].status_code == 400


def test_a_stop_of_the_role_closes_connections_without_a_kernel(world, browser):
    browser.leases.startService()
    browser.leases.stopService()
    assert browser.closed == 1001
