from __future__ import annotations

import io
import json

import pytest
from twisted.internet.testing import StringTransport
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

from appliance.config import Config, Web
from appliance.protocol import session as machine
from appliance.protocol.frames import parse_client_message
from appliance.web import websocket
from appliance.web.access import Access
from appliance.web.kernel_routes import KernelRoutes
from appliance.web.websocket import BoundedBuffer, Returning, frame_header
from tests.unit.web.fakes import NOW, Client, World
from tests.unit.web.running import run
from tests.unit.web.serving import Connection, Transport

LIMIT = 1000
REQUEST = '{"header":{"msg_id":"a","msg_type":"execute_request"},"content":{"code":"1"}}'
CONFIG = Config(web=Web(max_message_bytes=LIMIT, max_connections_per_kernel=2))


class Browser:
    """A client that speaks through wsproto, and what it has received."""

    def __init__(self, world, path):
        routes = KernelRoutes(CONFIG, world.kernels, Access(CONFIG), world.clock, lambda: NOW).routes()
        self.connection = Connection(routes, CONFIG, world.clock)
        self.transport = self.connection.transport
        self.wire = WSConnection(ConnectionType.CLIENT)
        self.events = []
        self.upgraded = None
        self.send(Request(host="cells.example", target=path))

    def raw(self, data):
        self.connection.send(data)
        self.look()

    def send(self, event):
        self.raw(self.wire.send(event))

    def look(self):
        data = self.connection.received()
        if data:
            self.wire.receive_data(data)
            self.events += self.wire.events()

    def message(self, msg_type="execute_request", msg_id="a", **content):
        header = {"msg_id": msg_id, "msg_type": msg_type}
        self.send(TextMessage(json.dumps({"header": header, "content": content})))

    @property
    def messages(self):
        """Whole text messages, joined from their pieces."""
        self.look()
        texts, text = [], ""
        for event in self.events:
            if isinstance(event, Message):
                text += event.data
                if event.message_finished:
                    texts.append(json.loads(text))
                    text = ""
        return texts

    @property
    def kinds(self):
        return [message["content"].get("execution_state", message["msg_type"]) for message in self.messages]

    @property
    def closed(self):
        self.look()
        return next((event.code for event in self.events if isinstance(event, CloseConnection)), None)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, CONFIG)


@pytest.fixture
def kernel(world):
    return run(world.kernels.lease("visitor", 60.0))


@pytest.fixture
def browser(world, kernel):
    world.start()
    browser = Browser(world, f"/kernel/{kernel.kernel_id}/channels")
    assert isinstance(browser.events.pop(0), AcceptConnection)
    return browser


def refused(browser):
    assert isinstance(browser.events[0], RejectConnection)
    body = b"".join(event.data for event in browser.events if isinstance(event, RejectData))
    return browser.events[0].status_code, json.loads(body)["error"]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 200_000])
def test_a_frame_header_is_what_a_client_understands(size):
    client, server = WSConnection(ConnectionType.CLIENT), WSConnection(ConnectionType.SERVER)
    server.receive_data(client.send(Request(host="x", target="/")))
    list(server.events())
    client.receive_data(server.send(AcceptConnection()))
    list(client.events())
    text = "é" * (size // 2) + "x" * (size % 2)
    client.receive_data(frame_header(text.encode()) + text.encode())
    events = list(client.events())
    assert "".join(event.data for event in events) == text
    assert events[-1].message_finished


def test_a_buffer_keeps_no_more_than_its_limit():
    exceeded = []
    buffer = BoundedBuffer(4, lambda: exceeded.append(True), io.StringIO)
    for piece in ("ab", "", "é"):
        buffer.add(piece)
    assert buffer.done() == "abé"
    buffer.add("abcd")
    assert buffer.done() == "abcd"
    for piece in ("abc", "é", "x" * 100):
        buffer.add(piece)
    assert exceeded == [True]
    assert buffer.done() == ""


def test_messages_go_to_the_kernel_and_its_answers_come_back(world, browser):
    browser.message(code="1+1")
    other = world.kernel()
    header, content = other.requests[-1]
    assert (header["msg_id"], content["code"]) == ("a", "1+1")
    other.print("2")
    other.answer()
    assert browser.kinds == ["stream", "execute_reply", "idle"]
    assert browser.messages[0]["parent_header"] == header


def test_announcing_messages_wait_for_what_follows(world, browser):
    browser.message(code="1")
    other = world.kernel()
    header, _ = other.requests[-1]
    other.say("iopub", "status", header, {"execution_state": "busy"})
    other.say("iopub", "execute_input", header, {"code": "1"})
    assert browser.kinds == []
    other.print("x")
    assert browser.kinds == ["busy", "execute_input", "stream"]
    other.reply(header)
    assert browser.kinds[3:] == []
    world.clock.advance(websocket.HOLD_SECONDS)
    assert browser.kinds[3:] == ["execute_reply"]


def test_a_large_message_does_not_overtake_what_waits(world, browser):
    browser.message(code="1")
    other = world.kernel()
    other.say("iopub", "status", other.requests[-1][0], {"execution_state": "busy"})
    other.print("x" * 100_000)
    assert browser.kinds == ["busy", "stream"]


def test_bad_messages_are_explained_and_the_connection_goes_on(world, browser):
    for text in ("{", "[]", '{"header":{"msg_id":"1","msg_type":"debug_request"}}'):
        browser.send(TextMessage(text))
    assert [message["content"]["error"] for message in browser.messages] == ["invalid_message"] * 3
    browser.message(code="1")
    assert world.kernel().requests[-1][0]["msg_id"] == "a"
    for _ in range(machine.MAX_INVALID_MESSAGES - 3):
        browser.send(TextMessage("{"))
    assert browser.closed == 1008


def test_a_message_of_the_largest_size_is_taken(world, browser):
    empty = len(json.dumps({"header": {"msg_id": "a", "msg_type": "execute_request"}, "content": {"code": ""}}))
    browser.message(code="x" * (LIMIT - empty))
    assert len(world.kernel().requests) == 2
    browser.message(msg_id="b", code="x" * (LIMIT - empty + 1))
    assert browser.closed == 1009
    assert len(world.kernel().requests) == 2


def test_a_message_in_endless_fragments_is_cut_off(browser):
    for _ in range(LIMIT + 1):
        browser.send(TextMessage("x", message_finished=False))
    assert browser.closed == 1009
    assert browser.connection.transport.disconnecting is False


def test_binary_messages_are_refused(browser):
    browser.send(BytesMessage(b"{}"))
    assert browser.closed == 1003


def test_an_end_is_complete_when_the_client_has_answered(world, kernel, browser):
    world.kernels.died(kernel.kernel_id, "idle", "")
    assert browser.kinds == ["dead"]
    assert browser.closed == 1000
    assert not browser.transport.disconnecting
    closing = next(event for event in browser.events if isinstance(event, CloseConnection))
    browser.send(closing.response())
    assert browser.transport.disconnecting
    browser.connection.lose()
    assert world.clock.getDelayedCalls() == []


def test_a_client_that_does_not_answer_the_end_is_cut_off(world, kernel, browser):
    world.kernels.died(kernel.kernel_id, "idle", "")
    browser.send(TextMessage("{"))
    world.clock.advance(websocket.CLOSE_SECONDS)
    assert browser.transport.aborted


def test_a_client_that_leaves_leaves_the_session(kernel, browser):
    browser.send(CloseConnection(1000))
    assert kernel.clients == 0
    assert browser.closed == 1000
    assert browser.transport.disconnecting
    browser.connection.lose()


def test_a_lost_connection_leaves_the_session(world, kernel, browser):
    browser.connection.lose()
    assert kernel.clients == 0
    world.clock.advance(machine.GRACE_SECONDS)
    assert world.pool.released == [(kernel.kernel_id, "client_gone")]


def test_data_after_the_end_is_the_clients_fault(browser):
    data = browser.wire.send(TextMessage("{"))
    browser.send(CloseConnection(1000))
    browser.connection.send(data)
    assert browser.transport.aborted


def test_what_is_no_websocket_frame_closes_the_connection(browser):
    browser.raw(b"\xff" * 20)
    assert browser.closed == 1002


def test_a_ping_is_answered(browser):
    browser.send(Ping(b"x"))
    browser.look()
    assert any(isinstance(event, Pong) and bytes(event.payload) == b"x" for event in browser.events)


def test_a_silent_client_is_pinged_and_in_the_end_taken_for_gone(world, kernel, browser):
    world.clock.advance(websocket.PING_SECONDS + 1)
    kernel.tick()
    kernel.tick()
    browser.look()
    assert sum(isinstance(event, Ping) for event in browser.events) == 1
    browser.send(Pong(b""))
    world.clock.advance(websocket.LOST_SECONDS - 1)
    kernel.tick()
    assert not browser.transport.aborted
    world.clock.advance(2)
    kernel.tick()
    assert browser.transport.aborted


def test_a_browser_that_does_not_read_pauses_the_kernel(world, kernel, browser):
    socket = world.kernel().socket("iopub")
    browser.transport.producer.pauseProducing()
    assert socket.paused
    browser.transport.producer.resumeProducing()
    assert not socket.paused


def test_a_browser_that_comes_back_to_more_than_it_takes_pauses_the_kernel(world, kernel, monkeypatch):
    other = world.start()
    number = kernel.add_returning_client(Client(), Returning("page", "", ""))
    kernel.client_message(number, parse_client_message(REQUEST, NOW))
    other.print("x" * 10_000)

    def write(transport, data):
        StringTransport.write(transport, data)
        if len(data) > 10_000:
            transport.producer.pauseProducing()

    monkeypatch.setattr(Transport, "write", write, raising=False)
    browser = Browser(world, f"/kernel/{kernel.kernel_id}/channels?session_id=page&after=&after_kernel=")
    assert browser.kinds == ["stream", "resumed"]
    assert other.socket("iopub").paused
    browser.transport.producer.resumeProducing()
    assert not other.socket("iopub").paused


def test_a_browser_that_never_reads_is_disconnected(world, kernel, browser):
    browser.transport.producer.pauseProducing()
    world.clock.advance(websocket.STALL_SECONDS + 1)
    kernel.tick()
    assert browser.transport.aborted


def test_a_slow_browser_beside_a_fast_one_is_disconnected_when_too_much_waits(world, kernel, browser):
    fast = Browser(world, f"/kernel/{kernel.kernel_id}/channels")
    browser.transport.producer.pauseProducing()
    browser.message(code="1")
    other = world.kernel()
    piece = "x" * 4_000_000
    for _ in range(websocket.MAX_UNREAD_BYTES // len(piece) + 1):
        assert not browser.transport.aborted
        other.say("iopub", "display_data", other.requests[-1][0], {"data": {"text/html": piece}})
    assert browser.transport.aborted
    assert not fast.transport.aborted
    assert set(fast.kinds) == {"display_data"}


def test_stopping_the_server_closes_with_going_away(world, browser):
    world.kernels.stopService()
    assert browser.closed == 1001


def test_an_unknown_kernel_is_told_in_the_handshake(world):
    browser = Browser(world, "/kernel/00000000-0000-0000-0000-000000000000/channels")
    assert refused(browser) == (404, "unknown_kernel")


def test_one_client_too_many_is_told_in_the_handshake(world, kernel, browser):
    path = f"/kernel/{kernel.kernel_id}/channels"
    Browser(world, path)
    assert refused(Browser(world, path)) == (503, "too_many_connections")


def test_a_request_that_is_no_websocket_is_told_so(world, kernel):
    routes = KernelRoutes(CONFIG, world.kernels, Access(CONFIG), world.clock, lambda: NOW).routes()
    path = f"/kernel/{kernel.kernel_id}/channels"
    assert Connection(routes).ask("GET", path).status == 400
    half = ["Connection: Upgrade", "Upgrade: websocket"]
    answer = Connection(routes).ask("GET", path, half)
    assert (answer.status, json.loads(answer.body)["error"]) == (400, "bad_request")
    assert kernel.clients == 0
