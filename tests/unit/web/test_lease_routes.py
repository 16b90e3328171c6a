"""``/lease``: a connection first, a kernel and its first message later."""

from __future__ import annotations

import json

import attrs
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
from appliance.errors import PoolExhausted, QuotaExceeded, UnknownKernel
from appliance.protocol.results import REQUEST_ID
from appliance.web import kernel_connection, websocket
from appliance.web.access import Access
from appliance.web.kernel_routes import KernelRoutes
from appliance.web.lease_routes import UNUSED_SECONDS, LeaseRoutes
from appliance.web.pool_client import Place
from appliance.web.results import Results
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
        self.leases = leases or LeaseRoutes(config, world.kernels, access, world.clock, lambda: NOW, world.results)
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
    def all_said(self):
        """Kinds of all messages, or what a status says, and contents, in order."""
        messages = [json.loads(event.data) for event in self.look() if isinstance(event, TextMessage)]
        return [(one["content"].get("execution_state", one["msg_type"]), one["content"]) for one in messages]

    @property
    def closed(self):
        return next((event.code for event in self.look() if isinstance(event, CloseConnection)), None)


@pytest.fixture
def world(monkeypatch, tmp_path):
    (tmp_path / "files").mkdir()
    world = World(monkeypatch, CONFIG)
    world.results = Results(attrs.evolve(CONFIG, runtime_dir=str(tmp_path)), lambda: 1_800_000_000.0)
    return world


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


def test_a_failure_of_ours_is_told_and_the_kernel_given_back(world, browser, monkeypatch):
    def refuse(*_arguments):
        raise OSError("no descriptor is left")

    monkeypatch.setattr(kernel_connection, "SubscriberConnection", refuse)
    browser.send(WANTED)
    assert browser.said["refused"]["status"] == 500
    assert len(world.pool.released) == 1


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


# --- kept results

RESULT = {"lease": {"timeout": "0", "result": True}, "requests": [request()]}


def asks_for_a_result(world, leases=None, document=RESULT):
    """Return a browser that asks, and its kernel, if it needs one."""
    browser = Browser(world, leases=leases)
    before = len(world.pool.leases)
    browser.send(document)
    return browser, world.start() if len(world.pool.leases) > before else None


def makes_a_result(world, text="2\n", document=RESULT):
    browser, kernel = asks_for_a_result(world, document=document)
    kernel.print(text)
    kernel.answer()
    settle(world)
    return browser


def test_the_first_visitor_sees_output_as_ever_and_is_not_told_which_kernel_it_is(world):
    browser, kernel = asks_for_a_result(world)
    assert world.pool.leases == [("result", "python", "default", 900.0)]
    header, content = kernel.requests[-1]
    assert (header["msg_id"], content["code"]) == (REQUEST_ID, "1+1")
    kernel.print("2\n")
    settle(world)
    assert browser.said["leased"] == {"id": ""}
    assert browser.said["stream"]["text"] == "2\n"
    kernel.answer()
    settle(world)
    assert browser.said["dead"]["reason"] == "released"
    assert not any(kernel.address.kernel_id in str(content) for _, content in browser.all_said)
    assert world.results.kept == 1


def test_the_next_visitor_sees_it_without_a_kernel(world):
    makes_a_result(world)
    browser, kernel = asks_for_a_result(world)
    settle(world)
    assert kernel is None
    assert len(world.pool.leases) == 1
    assert browser.said["leased"] == {"id": "", "stored": "2027-01-15T08:00:00+00:00"}
    assert [kind for kind, _ in browser.all_said] == ["leased", "stream", "execute_reply", "idle", "dead"]
    assert browser.said["stream"]["text"] == "2\n"
    assert browser.closed == 1000
    assert (world.results.hits, world.results.misses) == (1, 1)


def test_other_code_has_another_result(world):
    makes_a_result(world)
    _, kernel = asks_for_a_result(world, document={**RESULT, "requests": [request(code="1+2")]})
    assert kernel.requests[-1][1]["code"] == "1+2"


def test_who_does_not_ask_for_it_gets_a_kernel(world):
    makes_a_result(world)
    browser = Browser(world)
    browser.send({**WANTED, "requests": [request()]})
    assert len(world.pool.leases) == 2
    settle(world)
    assert browser.said["leased"] == {"id": list(world.pool.known)[-1]}


def test_where_results_are_switched_off_it_is_a_kernel_like_any_other(world, tmp_path):
    config = attrs.evolve(CONFIG, runtime_dir=str(tmp_path))
    world.results = Results(attrs.evolve(config, results=attrs.evolve(config.results, enabled=False)), lambda: 0.0)
    browser = makes_a_result(world)
    assert world.pool.leases == [("visitor", "python", "default", 900.0)]
    assert browser.said["leased"]["id"] != ""
    assert not (tmp_path / "files/results").exists()


@pytest.mark.parametrize(
    "said",
    [
        lambda kernel, header: kernel.say("iopub", "error", header, {"ename": "E"}),
        lambda kernel, header: kernel.say("iopub", "comm_open", header, {"comm_id": "c"}),
        lambda kernel, header: kernel.say("iopub", "kernel_timeout", header, {"timeout": 60}),
        lambda kernel, header: kernel.say("stdin", "input_request", header, {"prompt": "?"}),
        lambda kernel, header: kernel.print(kernel.address.kernel_id),
        lambda kernel, header: kernel.print("x" * 2_000_000),
        lambda kernel, header: kernel.socket("iopub").on_message([b"no message"]),
    ],
    ids=["an error", "a widget", "a wish to stay", "a question", "the id", "too much", "something dropped"],
)
def test_what_cannot_be_kept_is_the_visitors_own(world, said):
    browser, kernel = asks_for_a_result(world)
    said(kernel, kernel.requests[-1][0])
    kernel.answer()
    settle(world)
    kernel_id = kernel.address.kernel_id
    assert [content for kind, content in browser.all_said if kind == "leased"] == [{"id": ""}, {"id": kernel_id}]
    assert world.results.kept == 0
    assert asks_for_a_result(world)[1] is not None


def test_an_evaluation_that_fails_is_not_kept(world):
    _, kernel = asks_for_a_result(world)
    header, _ = kernel.requests[-1]
    kernel.say("shell", "execute_reply", header, {"status": "error", "ename": "E", "evalue": ""})
    kernel.idle(header)
    assert world.results.kept == 0


@pytest.mark.parametrize(
    "message",
    [
        request("b", "print('forged')"),
        {"channel": "stdin", "header": {"msg_id": "b", "msg_type": "input_reply"}, "content": {"value": "x"}},
        {"channel": "shell", "header": {"msg_id": "b", "msg_type": "comm_msg"}, "content": {"comm_id": "x"}},
        {"channel": "control", "header": {"msg_id": "b", "msg_type": "interrupt_request"}},
        {"no": "message"},
    ],
    ids=["another evaluation", "an answer", "a widget", "an interrupt", "anything"],
)
def test_whoever_speaks_to_the_kernel_ends_the_recording(world, message):
    browser, kernel = asks_for_a_result(world)
    browser.send(message)
    kernel.print("forged\n", number=1)
    kernel.answer(1)
    settle(world)
    told = [content for kind, content in browser.all_said if kind == "leased"]
    assert told == [{"id": ""}, {"id": kernel.address.kernel_id}]
    assert world.results.kept == 0


def test_a_message_that_comes_before_the_kernel_does_so_too(world):
    world.pool.waiting = Deferred()
    browser = Browser(world)
    browser.send(RESULT)
    browser.send(request("b", "print('forged')"))
    world.pool.waiting.callback(None)
    kernel = world.start()
    kernel.answer(1)
    kernel.answer(2)
    assert world.results.kept == 0


@pytest.mark.parametrize("ask", ["find", "address", "restart", "delete"])
def test_a_kernel_that_works_for_a_result_is_nobodys(world, ask):
    _, kernel = asks_for_a_result(world)
    asked = []
    work = Deferred.fromCoroutine(getattr(world.kernels, ask)(kernel.address.kernel_id))
    work.addErrback(lambda failure: asked.append(failure.type))
    assert asked == [UnknownKernel]
    kernel.answer()
    assert world.results.kept == 1


def test_who_leaves_takes_the_kernel_along(world):
    browser, kernel = asks_for_a_result(world)
    browser.connection.lose()
    assert world.pool.released == [(kernel.address.kernel_id, "client_gone")]
    assert world.results.kept == 0


def test_who_does_not_read_changes_nothing_in_what_is_kept(world):
    _, kernel = asks_for_a_result(world)
    live = world.kernels._live[kernel.address.kernel_id]
    (client,) = live._clients.values()
    client.pauseProducing()
    assert not kernel.socket("iopub").paused
    kernel.print("x" * 2_000_000)
    assert kernel.socket("iopub").paused
    assert world.results.kept == 0


def test_a_role_that_stops_tells_which_kernel_to_come_back_to(world):
    browser, kernel = asks_for_a_result(world)
    world.kernels.startService()
    world.kernels.stopService()
    assert {"id": kernel.address.kernel_id} in [content for kind, content in browser.all_said if kind == "leased"]
    assert browser.closed == 1001
    assert world.pool.released == []


def test_while_the_pool_is_away_nothing_is_kept(world):
    _, kernel = asks_for_a_result(world)
    world.pool.connected = False
    kernel.answer()
    assert world.results.kept == 0


def test_a_pool_that_was_restarted_is_not_trusted_to_keep_others_out(world):
    _, kernel = asks_for_a_result(world)
    world.kernels.pool_connected()
    kernel.answer()
    assert world.results.kept == 0


def test_terms_must_be_accepted_for_a_kept_result_too(world, tmp_path):
    makes_a_result(world)
    terms = tmp_path / "terms.html"
    terms.write_text("<p>Be kind.</p>")
    browser = Browser(world, config=Config(web=Web(terms_file=str(terms))))
    browser.send(RESULT)
    assert browser.said["refused"]["error"] == "terms_not_accepted"


@pytest.mark.parametrize(
    "document",
    [
        {"lease": {"timeout": "0", "result": True}, "requests": []},
        {"lease": {"timeout": "0", "result": True}, "requests": [request("a"), request("b")]},
        {"lease": {"timeout": "inf", "result": True}, "requests": [request()]},
    ],
)
def test_a_result_is_that_of_one_request(world, document):
    browser, _ = asks_for_a_result(world, document=document)
    assert "lease.result" in browser.said["refused"]["message"]
    assert world.pool.leases == []


def test_the_request_log_tells_of_a_kept_result(world):
    events = []

    class Log:
        wants_code = True

        def record(self, kind, visitor, **fields):
            events.append((kind, fields))

    makes_a_result(world)
    access = Access(CONFIG)
    leases = LeaseRoutes(CONFIG, world.kernels, access, world.clock, lambda: NOW, world.results, Log())
    asks_for_a_result(world, leases)
    assert events == [("evaluate", {"code": "1+1", "language": "python", "profile": "default", "outcome": "stored"})]
