from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.errors import PermalinksUnavailable, UnknownPermalink
from appliance.permalink.resource import make_site, max_body_bytes

if TYPE_CHECKING:
    from appliance.protocol.permalink import SharedCell

LIMIT = 100


class FakeStore:
    def __init__(self) -> None:
        self.cells: dict[str, SharedCell] = {}
        self.error: Exception | None = None
        self.waiting: Deferred[None] | None = None
        self.checks = 0

    async def put(self, cell: SharedCell) -> str:
        if self.waiting is not None:
            await self.waiting
        if self.error is not None:
            raise self.error
        self.cells["id1"] = cell
        return "id1"

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
    def __init__(self, store: FakeStore) -> None:
        site = make_site(store, LIMIT, Clock())
        self.protocol: Any = site.buildProtocol(None)
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
        assert headers["allow"] == "get, head, post"


def test_a_body_of_unknown_length_is_bounded_too(store: FakeStore) -> None:
    chunk = b"1000\r\n" + b" " * 0x1000 + b"\r\n"
    status, _, document = ask(store, "POST", "/permalinks", chunk * 8 + b"0\r\n\r\n", "Transfer-Encoding: chunked")
    assert (status, document["error"]) == (413, "too_large")
    chunk = b"e\r\n" + b'{"code": "1+1"' + b"\r\n1\r\n}\r\n0\r\n\r\n"
    assert ask(store, "POST", "/permalinks", chunk, "Transfer-Encoding: chunked")[0] == 200


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
