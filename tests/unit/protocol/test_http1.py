from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.protocol.http1 import (
    MAX_DROPPED_BYTES,
    MAX_FIELDS,
    MAX_HEAD_BYTES,
    Request,
    RequestParser,
    RequestRefused,
    render_response,
)

POST = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
GET = b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-Y:\t v \r\nAccept: a\r\naccept: b\r\n\r\n"


def requests(parser: RequestParser) -> list[Request]:
    found = []
    while (request := parser.next_request()) is not None:
        found.append(request)
    return found


def parse(data: bytes) -> list[Request]:
    parser = RequestParser(10)
    parser.receive(data)
    return requests(parser)


def test_requests_come_out_one_by_one() -> None:
    first, second = parse(POST + GET)
    assert first == Request(b"POST", b"/p", {b"host": b"x", b"content-length": b"3"}, b"abc", True)
    assert second == Request(b"GET", b"/a?b", {b"host": b"x", b"x-y": b"v", b"accept": b"a, b"}, b"", True)


@given(st.lists(st.integers(1, 2 * len(POST + GET)), max_size=8))
def test_it_does_not_matter_how_the_bytes_are_cut(cuts: list[int]) -> None:
    data = POST + GET + POST
    parser, found, start = RequestParser(10), [], 0
    for end in [*sorted(cuts), len(data)]:
        parser.receive(data[start:end])
        found += requests(parser)
        start = max(start, end)
    assert found == parse(data)
    assert not parser.partial


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: x\n\n\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"get / HTTP/1.1\r\n\r\n", 400),
        (b"GET http://x/ HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", 400),
        (b"\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_DROPPED_BYTES + 1), 413),
        (b"GET /" + b"a" * MAX_HEAD_BYTES, 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (MAX_FIELDS + 1) + b"\r\n", 431),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        parse(data)
    assert refused.value.status == status
    assert str(refused.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_refused(data: bytes) -> None:
    parser = RequestParser(10)
    parser.receive(data)
    with contextlib.suppress(RequestRefused):
        requests(parser)


def test_a_body_above_the_limit_is_dropped_and_the_next_request_read() -> None:
    large = b"POST / HTTP/1.1\r\nContent-Length: 50000\r\n\r\n"
    parser = RequestParser(10)
    parser.receive(large)
    assert parser.next_request() is None
    for _ in range(49):
        parser.receive(b"x" * 1000)
        assert parser.next_request() is None
        assert parser.buffered == 0
    parser.receive(b"x" * 1000 + GET)
    first, second = requests(parser)
    assert (first.too_large, first.body) == (True, b"")
    assert second.target == b"/a?b"


@pytest.mark.parametrize(
    ("version", "option", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
    ],
)
def test_whether_the_connection_stays(version: bytes, option: bytes, kept: bool) -> None:
    (request,) = parse(b"GET / HTTP/" + version + b"\r\n" + option + b"\r\n")
    assert request.keep_alive is kept


def test_answers() -> None:
    assert render_response(200, b"{}", b"A: b\r\n") == (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\nA: b\r\n\r\n{}"
    )
    assert render_response(404, b"{}", head_only=True, last=True) == (
        b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert render_response(304, b"") == b"HTTP/1.1 304 Not Modified\r\n\r\n"
