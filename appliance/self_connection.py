"""A connection of a role to itself: the proof that what it serves is served, whoever else shares its listening socket.

Both ends of a socket pair are given to the reactor, one to the role's own factory, so that a request goes the whole way
of a visitor's except for accept(2).
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python.failure import Failure

#: Largest answer that is read.
MAX_ANSWER_BYTES = 65_536


def connect(reactor: Any, server: Any, client: IProtocolFactory) -> None:
    """Join a protocol of each factory over a pair of Unix sockets. Raises `OSError`."""
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        for end, factory in zip(ends, (server, client), strict=True):
            end.setblocking(False)
            reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)
    finally:
        for end in ends:  # the reactor has duplicates of its own
            end.close()


class _Ask(Protocol):
    """Sends one request and collects the answer until the server closes; ``answered`` fires with it."""

    transport: Any

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = b""
        self.answered: Deferred[bytes] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Send the request."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Collect the answer."""
        self._data += data
        if len(self._data) > MAX_ANSWER_BYTES:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted
        """Pass on what came."""
        if not self.answered.called:
            self.answered.callback(self._data)


async def http_status(reactor: Any, site: Any, path: str) -> int:
    """Return the status that ``site`` answers to ``GET path``; 0 when it answers nothing that is HTTP."""
    ask = _Ask(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii"))
    factory = Factory.forProtocol(lambda: ask)
    factory.noisy = False
    connect(reactor, site, factory)
    words = (await ask.answered).split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() else 0
