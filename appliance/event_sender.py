"""The roles' end of the request log (T10): events go out in order, and are kept until the log says that it has them.

Sending never waits and never fails: while the log does not answer, events queue up in memory; beyond a limit new ones
are dropped and counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger

from appliance.config import uid_of
from appliance.peercred import ROOT_UID, CheckedEndpoint
from appliance.protocol.request_event import render

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.protocol.request_event import Event

log = Logger()

#: Events and bytes that wait for the log at most.
MAX_WAITING_EVENTS = 20_000
MAX_WAITING_BYTES = 33_554_432

#: Longest pause between two attempts to connect, and between two words about what is dropped.
MAX_PAUSE_SECONDS = 5.0
TELL_SECONDS = 60.0

#: Longest wait at the end for the log to take what is still here.
STOP_SECONDS = 1.0


class _Link(Protocol):
    """A connection to the log: sends lines, takes numbers of lines that are kept."""

    def __init__(self, sender: EventSender) -> None:
        self._sender = sender
        self._answer = b""

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        self._sender.linked(self.transport)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        *numbers, self._answer = (self._answer + data).split(b"\n")
        for number in numbers:
            self._sender.kept(int(number))

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted
        self._sender.linked(None)


def _pause(attempts: int) -> float:
    return float(min(MAX_PAUSE_SECONDS, 0.1 * 2 ** min(attempts, 8)))


class EventSender(Service):
    """Sends events to the request log while it runs."""

    def __init__(self, config: Config, reactor: Any) -> None:
        path = str(config.requestlog_socket)
        uids = frozenset({ROOT_UID, uid_of(config.users.requestlog)})
        endpoint = CheckedEndpoint(UNIXClientEndpoint(reactor, path, timeout=5), uids)  # type: ignore[no-untyped-call]
        factory = Factory.forProtocol(lambda: _Link(self))
        factory.noisy = False
        self._clock = reactor
        self._client: Any = ClientService(endpoint, factory, retryPolicy=_pause, clock=reactor)
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._transport: Any = None
        self._empty: Deferred[None] | None = None
        self._next_word = 0.0
        self.dropped = 0

    @property
    def waiting(self) -> int:
        """Number of events that the log does not have yet."""
        return len(self._waiting)

    def startService(self) -> None:  # noqa: N802 - IService
        """Connect, and keep connected."""
        super().startService()  # type: ignore[no-untyped-call]
        self._client.startService()

    def stopService(self) -> Any:  # noqa: N802 - IService
        """Give the log a moment to take what is here, and disconnect."""
        super().stopService()  # type: ignore[no-untyped-call]
        empty: Deferred[None] = Deferred()
        if self._waiting and self._transport is not None:
            self._empty = empty
            empty.addTimeout(STOP_SECONDS, self._clock).addErrback(lambda _: None)
        else:
            empty.callback(None)
        return empty.addCallback(lambda _: self._client.stopService())

    def send(self, event: Event) -> None:
        """Send an event, now or as soon as the log is there."""
        line = render(event)
        if len(self._waiting) >= MAX_WAITING_EVENTS or self._size + len(line) > MAX_WAITING_BYTES:
            self.dropped += 1
            if self._clock.seconds() >= self._next_word:
                self._next_word = self._clock.seconds() + TELL_SECONDS
                log.error("the request log does not answer: {count} events were dropped so far", count=self.dropped)
            return
        self._waiting.append(line)
        self._size += len(line)
        if self._transport is not None:
            self._transport.write(line)

    def linked(self, transport: Any) -> None:
        """Take a new connection, and send everything that is not known to be kept; or take note that it is gone."""
        self._transport = transport
        if transport is not None and self._waiting:
            transport.write(b"".join(self._waiting))

    def kept(self, number: int) -> None:
        """Forget the oldest events: the log has them."""
        for _ in range(min(number, len(self._waiting))):
            self._size -= len(self._waiting.popleft())
        if not self._waiting and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)
