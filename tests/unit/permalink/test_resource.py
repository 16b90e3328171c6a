from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.errors import PermalinksUnavailable, UnknownPermalink
from appliance.permalink.resource import make_server, max_body_bytes
from appliance.protocol.link_quota import LinkQuota
from appliance.protocol.permalink import SharedCell, candidate_ids, render_cell

LIMIT = 100


class FakeStore:
    def __init__(self) -> None:
        self.cells: dict[str, SharedCell] = {}
        self.error: Exception | None = None
        self.waiting: Deferred[None] | None = None
        self.checks = 0
        self.next_id = "id1"

    async def put(self, cell: SharedCell) -> str:
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        self.cells[self.next_id] = cell
        return self.next_id

    async def get(self, permalink_id: str) -> SharedCell:
        if permalink_id not in self.cells:
            raise UnknownPermalink
        return self.cells[permalink_id]

    async def check(self) -> None:
        self.checks += 1
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        return

    def alive(self) -> bool:
        return True


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


class Connection:
    def __init__(self, store: FakeStore, clock: Clock | None = None, quota: LinkQuota | None = None) -> None:
        self.clock = clock or Clock()
        self.server = make_server(store, LIMIT, self.clock, quota)
        self.server.doStart()
        self.protocol: Any = self.server.buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def send(self, method: str, path: str, body: bytes = b"", *headers: str) -> None:
        head = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers]
        if not any(header.startswith("Transfer-Encoding") for header in headers):
            head.append(f"Content-Length: {len(body)}")
        self.protocol.dataReceived("\r\n".join([*head, "", ""]).encode() + body)

    def answer(self) -> tuple[int, dict[str, str], Any]:
        head, _, body = self.transport.value().partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, json.loads(body) if body else None


def ask(store: FakeStore, method: str, path: str, body: bytes = b"", *headers: str) -> tuple[int, dict[str, str], Any]:
    connection = Connection(store)
    connection.send(method, path, body, *headers)
    return connection.answer()


def test_a_cell_is_stored_and_fetched(store: FakeStore) -> None:
    cell = {"code": " π\n", "language": "python", "interacts": "[]"}
    assert ask(store, "POST", "/permalinks", json.dumps(cell).encode())[::2] == (200, {"id": "id1"})
    status, headers, document = ask(store, "GET", "/permalinks/id1")
    assert (status, document) == (200, cell)
    assert "immutable" in headers["cache-control"]
    status, headers, document = ask(store, "HEAD", "/permalinks/id1")
    assert (status, document) == (200, None)
    assert int(headers["content-length"]) > 10


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/permalinks/unknown", b"", 404, "unknown_permalink"),
        ("GET", "/permalinks", b"", 404, "not_found"),
        ("GET", "/permalinks/a/b", b"", 404, "not_found"),
        ("GET", "/permalinks/%ff", b"", 400, "bad_request"),
        ("GET", "/", b"", 404, "not_found"),
        ("POST", "/permalinks/x", b"{}", 405, "method_not_allowed"),
        ("DELETE", "/permalinks/x", b"", 405, "method_not_allowed"),
        ("POST", "/healthz", b"", 405, "method_not_allowed"),
        ("POST", "/permalinks", b"", 400, "bad_request"),
        ("POST", "/permalinks", b"{}", 400, "missing_argument"),
        ("POST", "/permalinks", json.dumps({"code": "x" * (LIMIT + 1)}).encode(), 413, "too_large"),
        ("POST", "/permalinks", b" " * (max_body_bytes(LIMIT) + 1), 413, "too_large"),
    ],
)
def test_bad_requests_get_a_status_and_a_sentence(
    store: FakeStore, method: str, path: str, body: bytes, status: int, code: str
) -> None:
    found, headers, document = ask(store, method, path, body)
    assert (found, document["error"]) == (status, code)
    assert document["message"]
    assert headers["content-type"] == "application/json"
    if method == "DELETE":
        assert headers["allow"] == "get, head, post, put"


def test_a_body_of_unknown_length_is_refused(store: FakeStore) -> None:
    chunk = b"e\r\n" + b'{"code": "1+1"' + b"\r\n1\r\n}\r\n0\r\n\r\n"
    status, headers, _ = ask(store, "POST", "/permalinks", chunk, "Transfer-Encoding: chunked")
    assert (status, headers["connection"]) == (501, "close")
    assert store.cells == {}


def test_an_answer_that_is_known_is_not_sent_again(store: FakeStore) -> None:
    store.cells["id1"] = SharedCell(code="1")
    _, headers, _ = ask(store, "GET", "/permalinks/id1")
    status, again, document = ask(store, "GET", "/permalinks/id1", b"", f"If-None-Match: {headers['etag']}")
    assert (status, document, again["etag"]) == (304, None, headers["etag"])
    assert ask(store, "GET", "/permalinks/id1", b"", 'If-None-Match: "other"')[0] == 200
    store.cells["id1"] = SharedCell(code="2")
    assert ask(store, "GET", "/permalinks/id1", b"", f"If-None-Match: {headers['etag']}")[0] == 200


def test_put_takes_a_cell_under_its_own_id_only(store: FakeStore) -> None:
    cell = SharedCell(code="1+1", language="python")
    store.next_id = next(candidate_ids(cell))
    assert ask(store, "PUT", f"/permalinks/{store.next_id}", render_cell(cell))[::2] == (200, {"id": store.next_id})
    store.cells.clear()
    status, _, document = ask(store, "PUT", "/permalinks/other", render_cell(cell))
    assert (status, document["error"]) == (409, "other_permalink")
    assert store.next_id in document["message"]
    assert store.cells == {}


def test_an_address_that_shares_too_much_is_told_when_it_may_again(store: FakeStore) -> None:
    quota, clock = LinkQuota(2, 0), Clock()

    def share(visitor: str) -> tuple[int, dict[str, str]]:
        connection = Connection(store, clock, quota)
        connection.send("POST", "/permalinks", b'{"code": "1"}', f"Cell-Visitor: {visitor}")
        return connection.answer()[:2]

    assert [share("192.0.2.1")[0] for _ in range(3)] == [200, 200, 429]
    assert share("192.0.2.2")[0] == 200
    assert share("192.0.2.1")[1]["retry-after"] == "1800"
    clock.advance(1801)
    assert share("192.0.2.1")[0] == 200


def test_requests_in_one_piece_are_answered_in_order(store: FakeStore) -> None:
    store.cells["a"], store.cells["b"] = SharedCell(code="first"), SharedCell(code="second")
    store.waiting = Deferred()
    connection = Connection(store)
    post = b'POST /permalinks HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\n\r\n{"code": "1"}'
    gets = b"".join(b"GET /permalinks/%b HTTP/1.1\r\nHost: x\r\n\r\n" % name for name in (b"a", b"b"))
    connection.protocol.dataReceived(post + gets)
    assert connection.transport.value() == b""
    store.waiting.callback(None)
    text = connection.transport.value()
    assert text.count(b"HTTP/1.1 200") == 3
    assert text.index(b'"id"') < text.index(b"first") < text.index(b"second")


def test_a_client_that_does_not_read_gets_no_more_answers(store: FakeStore) -> None:
    store.cells["a"] = SharedCell(code="x")
    connection = Connection(store)
    request = b"GET /permalinks/a HTTP/1.1\r\nHost: x\r\n\r\n"
    connection.protocol.pauseProducing()
    connection.protocol.dataReceived(request * 400)
    assert connection.transport.producerState == "paused"
    assert connection.transport.value() == b""
    connection.protocol.resumeProducing()
    assert connection.transport.value().count(b"HTTP/1.1 200") == 400
    assert connection.transport.producerState == "producing"


@pytest.mark.parametrize(("sent", "seconds"), [(b"", 61), (b"GET / HT", 21)])
def test_a_connection_that_says_nothing_or_never_ends_its_request_is_closed(
    store: FakeStore, sent: bytes, seconds: int
) -> None:
    connection = Connection(store)
    if sent:
        connection.protocol.dataReceived(sent)
    connection.clock.pump([1] * (seconds - 2))
    assert not connection.transport.disconnecting
    connection.clock.pump([1] * 8)
    assert connection.transport.disconnecting or connection.transport.aborting


def test_the_largest_texts_fit_even_when_every_character_is_escaped(store: FakeStore) -> None:
    body = json.dumps({"code": "\x00" * LIMIT, "interacts": "\x00" * LIMIT, "language": "\x00" * 64}).encode()
    assert ask(store, "POST", "/permalinks", body)[0] == 200
    assert store.cells["id1"].code == "\x00" * LIMIT


def test_health_is_what_the_canary_says(store: FakeStore) -> None:
    assert ask(store, "GET", "/healthz")[::2] == (200, {"status": "ok"})
    store.error = PermalinksUnavailable("The disk that holds permalinks is full.")
    status, _, document = ask(store, "GET", "/healthz")
    assert (status, document["error"]) == (503, "permalinks_unavailable")
    assert document["message"] == "The disk that holds permalinks is full."
    assert store.checks == 2


def test_an_unforeseen_error_is_bland_outside(store: FakeStore) -> None:
    store.error = RuntimeError("/secret/path")
    status, _, document = ask(store, "POST", "/permalinks", b'{"code": ""}')
    assert (status, document["error"]) == (500, "internal_error")
    assert "secret" not in json.dumps(document)


def test_a_client_that_goes_away_ends_its_request(store: FakeStore) -> None:
    cancelled: list[object] = []
    store.waiting = Deferred(cancelled.append)
    connection = Connection(store)
    connection.send("POST", "/permalinks", b'{"code": "1"}')
    connection.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(cancelled) == 1
    assert store.cells == {}
