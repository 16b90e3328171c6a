from __future__ import annotations

import datetime
import socket

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.haproxy._wrapper import HAProxyWrappingFactory

from appliance.config import Config, Users, Web
from appliance.web import kernels, service
from appliance.web.service import PassedUnixSocket, listening_endpoints, make_service, random_factor, utc_now
from tests.unit.web.fakes import FakeSockets

USERS = Users(pool="123", permalink="123", web="123")


@pytest.fixture
def reactor(monkeypatch):
    monkeypatch.setattr(kernels, "Sockets", FakeSockets)
    reactor = MemoryReactorClock()
    reactor.addReader = reactor.removeReader = lambda reader: None
    return reactor


def started(reactor, **web):
    role = make_service(Config(users=USERS, web=Web(**web)), reactor)
    role.privilegedStartService()
    role.startService()
    return role


@pytest.mark.parametrize(
    ("listen", "host", "port"), [("127.0.0.1:18080", "127.0.0.1", 18080), ("[::1]:18081", "::1", 18081)]
)
def test_the_role_listens_where_it_is_told(reactor, listen, host, port):
    role = started(reactor, listen=listen)
    ((taken, _factory, backlog, interface),) = reactor.tcpServers
    assert (taken, interface, backlog) == (port, host, service.BACKLOG)
    role.stopService()


def test_the_role_listens_on_a_unix_socket(reactor):
    role = started(reactor, listen="unix:/run/x.sock")
    path, _factory, backlog, mode, with_lock = reactor.unixServers[0]
    assert (path, backlog, mode, with_lock) == ("/run/x.sock", service.BACKLOG, 0o660, True)
    role.stopService()


@pytest.mark.parametrize(
    ("family", "kind"), [(socket.AF_UNIX, PassedUnixSocket), (socket.AF_INET, AdoptedStreamServerEndpoint)]
)
def test_a_socket_from_systemd_comes_first(reactor, monkeypatch, family, kind):
    with socket.socket(family) as given:
        monkeypatch.setattr(service, "inherited_socket", lambda name: given.fileno() if name == "web" else None)
        (endpoint,) = listening_endpoints(Config(), reactor)
        assert type(endpoint) is kind


def test_one_role_has_a_second_socket_for_sockjs(reactor, monkeypatch):
    with socket.socket(socket.AF_INET) as door, socket.socket(socket.AF_UNIX) as sockjs:
        given = {"web": door.fileno(), "sockjs": sockjs.fileno()}
        monkeypatch.setattr(service, "inherited_socket", given.get)
        kinds = [type(endpoint) for endpoint in listening_endpoints(Config(), reactor)]
        assert kinds == [AdoptedStreamServerEndpoint, PassedUnixSocket]
        del given["web"]
        assert [type(one) for one in listening_endpoints(Config(), reactor)] == [TCP4ServerEndpoint, PassedUnixSocket]


def test_the_proxy_header_is_expected_when_configured(reactor):
    role = started(reactor, proxy_protocol=True)
    assert isinstance(reactor.tcpServers[0][1], HAProxyWrappingFactory)
    role.stopService()


def test_an_address_that_is_taken_ends_the_start(reactor, monkeypatch):
    def taken(port, *_, **__):
        raise CannotListenError("127.0.0.1", port, OSError("in use"))

    monkeypatch.setattr(reactor, "listenTCP", taken)
    with pytest.raises(CannotListenError):
        started(reactor)


def test_the_role_is_healthy_while_it_listens(reactor):
    role = make_service(Config(users=USERS), reactor)
    assert not role.healthy()
    role.privilegedStartService()
    role.startService()
    assert role.status() == "0 kernels, 0 clients, pool not connected"
    assert reactor.unixClients
    role.stopService()
    assert not role.healthy()


def test_the_address_of_a_client_is_that_of_its_connection(reactor):
    role = started(reactor)
    assert reactor.tcpServers[0][1].buildProtocol(IPv4Address("TCP", "1.2.3.4", 5)) is not None
    role.stopService()


def test_time_is_utc_in_iso_8601():
    assert datetime.datetime.fromisoformat(utc_now()).utcoffset() == datetime.timedelta(0)


def test_factors_have_four_digits():
    assert {len(str(random_factor())) for _ in range(1000)} == {4}
