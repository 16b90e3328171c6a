from __future__ import annotations

import socket
import struct

import pytest
from twisted.internet.defer import succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.peercred import CheckedEndpoint, PeerRefusedError, peer_uid, require_peer


class Handle:
    def __init__(self, uid, family=socket.AF_UNIX):
        self.uid = uid
        self.family = family

    def getsockopt(self, level, option, size):
        assert (level, option) == (socket.SOL_SOCKET, socket.SO_PEERCRED)
        return struct.pack("=iII", 1, self.uid, self.uid)[:size]


class Transport(StringTransport):
    def __init__(self, handle):
        super().__init__()
        self.handle = handle
        self.aborted = False

    def getHandle(self):  # noqa: N802 - Twisted
        return self.handle

    def abortConnection(self):  # noqa: N802 - Twisted
        self.aborted = True


class Recorder(Protocol):
    def __init__(self):
        self.events = []

    def connectionMade(self):  # noqa: N802 - Twisted
        self.events.append("made")

    def dataReceived(self, data):  # noqa: N802 - Twisted
        self.events.append(data)

    def connectionLost(self, reason=None):  # noqa: N802 - Twisted
        self.events.append("lost")


def accept(uid, uids=frozenset({7})):
    recorder = Recorder()
    protocol = require_peer(Factory.forProtocol(lambda: recorder), uids).buildProtocol(None)
    transport = Transport(Handle(uid))
    protocol.makeConnection(transport)
    protocol.dataReceived(b"x")
    protocol.connectionLost(Failure(ConnectionError()))
    return recorder.events, transport.aborted


def test_the_uid_is_that_of_a_unix_socket():
    assert peer_uid(Transport(Handle(42))) == 42
    assert peer_uid(Transport(Handle(42, socket.AF_INET))) is None


def test_an_expected_client_is_served():
    assert accept(7) == (["made", b"x", "lost"], False)


def test_an_unexpected_client_is_aborted_and_its_data_never_seen():
    assert accept(8) == ([], True)


def connect(uid):
    recorder = Recorder()
    recorder.makeConnection(Transport(Handle(uid)))

    class Endpoint:
        def connect(self, factory):
            return succeed(recorder)

    results = []
    CheckedEndpoint(Endpoint(), frozenset({0, 7})).connect(Factory()).addBoth(results.append)
    return recorder, results[0]


@pytest.mark.parametrize("uid", [0, 7])
def test_an_expected_server_is_used(uid):
    recorder, result = connect(uid)
    assert result is recorder
    assert not recorder.transport.aborted


def test_an_unexpected_server_is_left():
    recorder, result = connect(8)
    assert result.check(PeerRefusedError)
    assert recorder.transport.aborted
