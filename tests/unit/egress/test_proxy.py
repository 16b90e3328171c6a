"""One connection of the proxy, with a clock and a network that are none."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure

from appliance.config import Egress
from appliance.egress import proxy as module
from appliance.egress.proxy import Policy, ProxyConnection
from appliance.protocol import egress as decisions

UIDS = range(5000, 6000)
LIMITS = Egress(head_seconds=5, connect_seconds=5, idle_seconds=10, max_request_bytes=10, max_connection_bytes=1000)
CONNECT = b"CONNECT pypi.org:443 HTTP/1.1\r\n\r\n"


class Transport(StringTransport):
    half_closed = False
    aborted = False

    def loseWriteConnection(self) -> None:  # noqa: N802 - Twisted
        self.half_closed = True

    def abortConnection(self) -> None:  # noqa: N802 - Twisted
        self.aborted = True
        super().abortConnection()


class World:
    """A proxy connection of the kernel 5007, and what it sees."""

    def __init__(self, addresses: Any = ("1.1.1.1",), admission: decisions.Admission | None = None) -> None:
        self.reactor = MemoryReactorClock()
        self.resolved: list[str] = []
        self.addresses = addresses
        self.forgotten: list[ProxyConnection] = []
        self.admission = admission or decisions.Admission(4, 100, 8)
        policy = Policy(
            profile="open",
            rules=[decisions.parse_rule("pypi.org")],
            allowed_networks=[decisions.parse_network("10.1.0.0/16")],
            limits=LIMITS,
            kernel_uids=UIDS,
            first_slot=1000,
            admission=self.admission,
            resolve=self.resolve,
            reactor=self.reactor,
        )
        self.connection = ProxyConnection(policy, self.forgotten.append)
        self.client = Transport()
        self.connection.makeConnection(self.client)

    async def resolve(self, host: str) -> Any:
        self.resolved.append(host)
        answer = self.addresses
        if isinstance(answer, Deferred):
            return await answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def attempts(self) -> list[tuple[str, int]]:
        return [(attempt[0], attempt[1]) for attempt in self.reactor.tcpClients]

    def connect(self) -> tuple[Any, Transport]:
        """Let the last attempt succeed; return the server's protocol and transport."""
        server = Transport()
        protocol = self.reactor.tcpClients[-1][2].buildProtocol(None)
        server_address = type("Address", (), {"host": self.attempts[-1][0]})
        server.peerAddr = server_address  # type: ignore[assignment]
        protocol.makeConnection(server)
        return protocol._wrappedProtocol if hasattr(protocol, "_wrappedProtocol") else protocol, server

    def refuse(self) -> None:
        _, _, factory, _, _ = self.reactor.tcpClients[-1]
        factory.clientConnectionFailed(None, Failure(ConnectError()))

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))

    @property
    def status(self) -> bytes:
        return bytes(self.client.value()[9:12])


@pytest.fixture(autouse=True)
def peer(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    found: dict[str, int | None] = {"uid": 5007}
    monkeypatch.setattr(module, "peer_uid", lambda _: found["uid"])
    return found


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    class Log:
        def info(self, text: str, **fields: Any) -> None:
            found.append({"text": text.format(**fields), **fields})

        warn = info

        def failure(self, text: str, **fields: Any) -> None:
            raise AssertionError(fields)

    monkeypatch.setattr(module, "log", Log())
    return found


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to() -> None:
    world = World(("10.0.0.1", "127.0.0.1", "1.1.1.1", "fe80::1%eth0"))
    world.connection.dataReceived(CONNECT)
    assert world.client.producerState == "paused"
    assert world.resolved == ["pypi.org"]
    assert world.attempts == [("1.1.1.1", 443)]
    _, server = world.connect()
    assert world.client.value() == b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert world.client.producerState == "producing"
    world.connection.dataReceived(b"hello")
    assert server.value() == b"hello"
    assert world.resolved == ["pypi.org"]


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:1.1.1.1", "fd00::1"])
def test_no_connection_is_tried_to_a_refused_address(address: str, events: list[dict[str, Any]]) -> None:
    world = World((address,))
    world.connection.dataReceived(CONNECT)
    assert world.attempts == []
    assert world.status == b"403"
    assert (events[0]["verdict"], events[0]["slot"], events[0]["uid"]) == ("refused", 1007, 5007)


def test_no_name_is_resolved_that_is_not_on_the_list() -> None:
    world = World()
    world.connection.dataReceived(b"CONNECT secret.evil.test:443 HTTP/1.1\r\n\r\n")
    assert world.resolved == []
    assert world.status == b"403"


def test_an_address_that_an_administrator_allows() -> None:
    world = World(("10.1.2.3",))
    world.connection.dataReceived(CONNECT)
    assert world.attempts == [("10.1.2.3", 443)]


def test_addresses_are_tried_in_turn_but_not_for_ever() -> None:
    world = World([f"1.1.1.{number}" for number in range(9)])
    world.connection.dataReceived(CONNECT)
    for number in range(module.MAX_ADDRESSES):
        assert world.attempts[-1] == (f"1.1.1.{number}", 443)
        world.refuse()
    assert len(world.attempts) == module.MAX_ADDRESSES
    assert world.status == b"502"


def test_a_name_that_cannot_be_resolved_or_not_in_time() -> None:
    world = World(OSError("no such name"))
    world.connection.dataReceived(CONNECT)
    assert world.status == b"502"
    slow = World(Deferred())
    slow.connection.dataReceived(CONNECT)
    slow.reactor.advance(5.1)
    assert slow.status == b"504"


def test_a_head_that_comes_byte_by_byte_and_one_that_does_not_come() -> None:
    world = World()
    for number in range(len(CONNECT)):
        world.connection.dataReceived(CONNECT[number : number + 1])
    assert world.attempts == [("1.1.1.1", 443)]
    slow = World()
    slow.connection.dataReceived(CONNECT[:-1])
    slow.reactor.advance(5.1)
    assert slow.status == b"408"


def test_a_head_that_is_too_large() -> None:
    world = World()
    world.connection.dataReceived(b"GET http://pypi.org/ HTTP/1.1\r\nX: " + b"a" * decisions.MAX_HEAD_BYTES)
    assert world.status == b"431"


def test_what_follows_a_head_at_once_is_sent_on() -> None:
    world = World()
    world.connection.dataReceived(CONNECT + b"early")
    _, server = world.connect()
    assert server.value() == b"early"


def test_a_plain_request_sends_its_body_and_nothing_more(events: list[dict[str, Any]]) -> None:
    world = World()
    world.connection.dataReceived(b"POST http://pypi.org/x HTTP/1.1\r\nHost: pypi.org\r\nContent-Length: 4\r\n\r\nbo")
    _, server = world.connect()
    world.connection.dataReceived(b"dy")
    head, _, body = server.value().partition(b"\r\n\r\n")
    assert head.startswith(b"POST /x HTTP/1.1\r\nHost: pypi.org\r\n")
    assert body == b"body"
    world.connection.dataReceived(b"GET http://evil.test/ HTTP/1.1\r\n\r\n")
    assert server.value().endswith(b"body")
    assert server.aborted
    assert world.client.aborted
    assert events[-1]["reason"] == "more data than the request announced"


def test_the_end_is_logged_with_its_bytes(events: list[dict[str, Any]]) -> None:
    world = World()
    world.connection.dataReceived(CONNECT)
    protocol, _ = world.connect()
    world.connection.dataReceived(b"12345")
    protocol.dataReceived(b"123")
    world.lose()
    assert [event["verdict"] for event in events] == ["allowed", "ended"]
    assert (events[0]["host"], events[0]["port"], events[0]["address"]) == ("pypi.org", 443, "1.1.1.1")
    assert (events[1]["sent"], events[1]["received"], events[1]["profile"]) == (5, 3, "open")


def test_a_connection_that_carries_nothing_or_too_much_ends(events: list[dict[str, Any]]) -> None:
    world = World()
    world.connection.dataReceived(CONNECT)
    protocol, server = world.connect()
    world.reactor.advance(9)
    protocol.dataReceived(b"x")
    world.reactor.advance(9)
    assert not server.aborted
    world.reactor.advance(1.1)
    assert server.aborted
    assert world.client.aborted
    assert events[-1]["reason"] == "idle"
    other = World()
    other.connection.dataReceived(CONNECT)
    protocol, server = other.connect()
    protocol.dataReceived(bytes(1001))
    assert server.aborted
    assert other.client.aborted


def test_each_side_may_finish_before_the_other() -> None:
    world = World()
    world.connection.dataReceived(CONNECT)
    protocol, server = world.connect()
    world.connection.readConnectionLost()
    assert server.half_closed
    assert not world.client.disconnecting
    protocol.dataReceived(b"late answer")
    protocol.readConnectionLost()
    assert world.client.value().endswith(b"late answer")
    assert world.client.disconnecting


@pytest.mark.parametrize("how", ["readConnectionLost", "connectionLost"])
def test_a_server_that_closes_without_an_answer_is_named(how: str, events: list[dict[str, Any]]) -> None:
    world = World()
    world.connection.dataReceived(b"GET http://pypi.org/x HTTP/1.1\r\nHost: pypi.org\r\n\r\n")
    protocol, server = world.connect()
    getattr(protocol, how)()
    assert world.status == b"502"
    assert b"pypi.org:80 closed the connection without an answer" in world.client.value()
    assert world.client.half_closed
    assert server.aborted
    assert [event["verdict"] for event in events] == ["allowed", "ended", "refused"]


def test_a_tunnel_that_the_server_closes_says_nothing_more() -> None:
    world = World()
    world.connection.dataReceived(CONNECT)
    protocol, _ = world.connect()
    said = world.client.value()
    protocol.connectionLost()
    assert world.client.value() == said
    assert world.client.disconnecting


def test_nothing_is_left_when_the_kernel_goes_while_its_request_waits() -> None:
    for addresses in (Deferred(), ("1.1.1.1",)):
        world = World(addresses)
        world.connection.dataReceived(CONNECT)
        world.lose()
        assert world.admission.open == 0
        assert world.forgotten == [world.connection]
        assert [call for call in world.reactor.getDelayedCalls() if call.active()] == []


def test_a_refused_client_has_its_answer_and_is_cut_off_later() -> None:
    world = World()
    world.connection.dataReceived(b"nonsense\r\n\r\n")
    assert world.status == b"400"
    assert world.client.half_closed
    world.connection.dataReceived(b"more")
    assert not world.client.aborted
    world.reactor.advance(module.FAREWELL_SECONDS)
    assert world.client.aborted
    world.lose()
    assert world.admission.open == 0


def test_a_kernel_with_too_many_connections_is_told_and_soon_not_even_that() -> None:
    admission = decisions.Admission(1, 100, 8)
    first, second, third = World(admission=admission), World(admission=admission), World(admission=admission)
    assert first.client.value() == b""
    assert second.status == b"429"
    assert not second.client.aborted
    assert third.client.aborted
    for world in (third, second, first):
        world.lose()
    assert World(admission=admission).client.value() == b""


@pytest.mark.parametrize("uid", [0, 4999, 6000, None])
def test_who_is_no_kernel_is_not_listened_to(peer: dict[str, int | None], uid: int | None) -> None:
    peer["uid"] = uid
    world = World()
    world.connection.dataReceived(CONNECT)
    assert world.client.aborted
    assert world.client.value() == b""
    assert world.resolved == []
    world.lose()
    assert world.admission.open == 0


def test_the_role_stops() -> None:
    world = World()
    world.connection.dataReceived(CONNECT)
    _, server = world.connect()
    world.connection.stop()
    assert server.aborted
    assert world.client.aborted
