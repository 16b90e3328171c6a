from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.testing import MemoryReactorClock, StringTransport

from appliance.cli.ready import ask, parse_answer, reason_of
from appliance.config import TcpAddress, UnixAddress


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", (200, b"body")),
        (b"HTTP/1.0 503 Service Unavailable\r\n\r\n", (503, b"")),
        (b"", (0, b"")),
        (b"SSH-2.0-x\r\n\r\n", (0, b"")),
        (b"HTTP/1.1 abc", (0, b"")),
    ],
)
def test_answers(data: bytes, answer: tuple[int, bytes]) -> None:
    assert parse_answer(data) == answer


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"message": "No kernels yet."}', "No kernels yet."),
        (b'{"status": "starting"}', "starting"),
        (b"{}", "not healthy yet"),
        (b"[]", "no answer yet"),
        (b"<html>", "no answer yet"),
    ],
)
def test_reasons(body: bytes, reason: str) -> None:
    assert reason_of(body) == reason


def connect(reactor: Any, proxy_protocol: bool) -> tuple[Any, StringTransport, list[Any]]:
    results: list[Any] = []
    asking = ensureDeferred(ask(reactor, TcpAddress("0.0.0.0", 80), proxy_protocol=proxy_protocol, seconds=3))
    asking.addBoth(results.append)
    host, port, factory, _timeout, _bind = reactor.tcpClients[0]
    assert (host, port) == ("127.0.0.1", 80)
    protocol = factory.buildProtocol(None)
    transport = StringTransport()
    protocol.makeConnection(transport)
    return protocol, transport, results


@pytest.mark.parametrize("proxy_protocol", [False, True])
def test_one_request_is_one_answer(proxy_protocol: bool) -> None:
    protocol, transport, results = connect(MemoryReactorClock(), proxy_protocol)
    assert transport.value().startswith(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0GET" if proxy_protocol else b"GET /healthz ")
    protocol.dataReceived(b"HTTP/1.1 503 No\r\n\r\n")
    protocol.dataReceived(b'{"message": "later"}')
    assert results == []
    protocol.connectionLost(None)
    assert results == [(503, "later")]


def test_a_server_that_does_not_answer_is_not_ready() -> None:
    reactor = MemoryReactorClock()
    _protocol, transport, results = connect(reactor, proxy_protocol=False)
    reactor.advance(3)
    assert results[0][0] == 0
    assert transport.disconnected


def test_an_endless_answer_is_cut() -> None:
    protocol, transport, results = connect(MemoryReactorClock(), proxy_protocol=False)
    protocol.dataReceived(b"x" * 100_000)
    assert transport.disconnected
    assert results == [] or results[0][0] == 0


def test_a_unix_socket_is_asked_there() -> None:
    reactor = MemoryReactorClock()
    ensureDeferred(ask(reactor, UnixAddress("/run/web.sock"), proxy_protocol=False, seconds=3))
    assert reactor.unixClients[0][0] == "/run/web.sock"
