"""An HTTP/1.1 server for one local socket: a strict parser, one answer at a time on each connection.

Twisted's own HTTP server spends several times as long on a request as the store does, most of it on forms, multipart
bodies and header objects that nobody needs here. This one serves short requests with short answers, in order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from appliance.errors import ApplianceError
from appliance.protocol.http1 import MAX_HEAD_BYTES, Request, RequestParser, RequestRefused, render_response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = Logger()

#: Connections at once; web roles keep a few each.
MAX_CONNECTIONS = 1024

#: Seconds a connection may be idle; the web role keeps connections for the next requests.
IDLE_SECONDS = 60.0

#: Seconds a request may take to arrive.
REQUEST_SECONDS = 20.0

#: Seconds between two looks for connections that are over these times.
SWEEP_SECONDS = 5.0

#: An answer of a handler: status, body, header lines.
Answer = tuple[int, bytes, bytes]


def error_answer(error: ApplianceError) -> Answer:
    """Return an error as an answer."""
    headers = b"Cache-Control: no-store\r\n"
    if error.retry_after_seconds is not None:
        headers += b"Retry-After: %d\r\n" % max(1, round(error.retry_after_seconds))
    document: dict[str, object] = {"error": error.code, "message": error.message}
    if error.retry_after_seconds is not None:
        document["retry_after_seconds"] = error.retry_after_seconds
    return error.http_status, json.dumps(document, ensure_ascii=False).encode(), headers


class _Running:
    """A coroutine that is driven without a Deferred of its own: most never wait."""

    def __init__(self, coroutine: Coroutine[Any, Any, Answer], done: Callable[[Answer], None]) -> None:
        self._coroutine = coroutine
        self._done = done
        self._waiting: Deferred[Any] | None = None

    def step(self, result: Any = None) -> None:
        """Go on until the coroutine waits again or has an answer."""
        self._waiting = None
        try:
            if isinstance(result, Failure):
                waiting = self._coroutine.throw(result.value)  # type: ignore[arg-type]
            else:
                waiting = self._coroutine.send(result)
        except StopIteration as stop:
            self._done(stop.value)
        except CancelledError:
            return
        except ApplianceError as exc:
            log.info("refused: {code}", code=exc.code)
            self._done(error_answer(exc))
        except Exception:  # noqa: BLE001 - unknown faults are bland outside and full in the log
            log.failure("a request failed")
            self._done(error_answer(ApplianceError()))
        else:
            self._waiting = waiting
            waiting.addBoth(self.step)

    def cancel(self) -> None:
        """Tell the coroutine that nobody waits any more."""
        if self._waiting is not None:
            self._waiting.cancel()


@implementer(IPushProducer)
class Connection(Protocol):
    """One connection: reads a request, answers it, reads the next."""

    factory: Server

    def __init__(self, max_body_bytes: int) -> None:
        self._parser = RequestParser(max_body_bytes)
        self._running: _Running | None = None
        self._answering = False
        self._full = False
        self._reading = True
        self._closing = False
        self._flush: Callable[[], object] | None = None
        self.since = 0.0

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Join the server's connections, or close when there are too many."""
        self.since = self.factory.clock.seconds()
        transport: Any = self.transport
        if len(self.factory.connections) >= MAX_CONNECTIONS:
            log.warn("more than {limit} connections", limit=MAX_CONNECTIONS)
            self._closing = True
            transport.abortConnection()
            return
        self.factory.connections.add(self)
        transport.registerProducer(self, True)
        self._flush = getattr(transport, "doWrite", None)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Take bytes; answer what is complete."""
        if self._closing:
            return
        if not self._parser.partial:
            self.since = self.factory.clock.seconds()
        self._parser.receive(data)
        if not (self._answering or self._full):
            self._serve()
        elif self._parser.buffered > MAX_HEAD_BYTES and self._reading:
            self._reading = False
            transport: Any = self.transport
            transport.pauseProducing()

    def _serve(self) -> None:
        while not (self._answering or self._full or self._closing):
            try:
                request = self._parser.next_request()
            except RequestRefused as exc:
                log.info("refused: {status} {reason}", status=exc.status, reason=str(exc))
                body = json.dumps({"error": "bad_request", "message": str(exc)}).encode()
                self._send(render_response(exc.status, body, last=True), last=True)
                return
            if request is None:
                break
            self._answer(request)
        if not self._reading and not (self._answering or self._full):
            self._reading = True
            transport: Any = self.transport
            transport.resumeProducing()

    def _answer(self, request: Request) -> None:
        self._answering = True
        last = not request.keep_alive
        head_only = request.method == b"HEAD"
        waited = False

        def done(answer: Answer) -> None:
            status, body, headers = answer
            self._running = None
            self._answering = False
            self._send(render_response(status, body, headers, head_only=head_only, last=last), last=last)
            if waited:  # what was received meanwhile
                self._serve()

        self._running = _Running(self.factory.handler(request), done)
        self._running.step()
        waited = True

    def _send(self, data: bytes, *, last: bool) -> None:
        transport: Any = self.transport
        self.since = self.factory.clock.seconds()
        transport.write(data)
        if self._flush is not None:
            # now and not in the reactor's next turn; an error is found again there
            self._flush()
        if last:
            self._closing = True
            transport.unregisterProducer()
            transport.loseConnection()

    def pauseProducing(self) -> None:  # noqa: N802 - IPushProducer
        """Answer nothing more until the client has read."""
        self._full = True

    def resumeProducing(self) -> None:  # noqa: N802 - IPushProducer
        """Go on answering."""
        self._full = False
        if not self._answering:
            self._serve()

    def stopProducing(self) -> None:  # noqa: N802 - IPushProducer
        """Take note that the connection is gone; `connectionLost` does the rest."""

    def check(self, now: float) -> None:
        """Close the connection if it has been idle, or its request arriving, for too long."""
        limit = REQUEST_SECONDS if self._parser.partial else IDLE_SECONDS
        if not self._answering and now - self.since > limit:
            transport: Any = self.transport
            transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 - Twisted
        """Leave, and cancel the request that nobody waits for."""
        self._closing = True
        self.factory.connections.discard(self)
        if self._running is not None:
            self._running.cancel()


class Server(Factory):
    """The factory of connections; ``handler`` answers a request."""

    noisy = False

    def __init__(
        self, handler: Callable[[Request], Coroutine[Any, Any, Answer]], max_body_bytes: int, clock: Any
    ) -> None:
        self.handler = handler
        self.clock = clock
        self.connections: set[Connection] = set()
        self._max_body_bytes = max_body_bytes
        self._sweep = LoopingCall(self._check)
        self._sweep.clock = clock

    def startFactory(self) -> None:  # noqa: N802 - Twisted
        """Begin to look for connections that take too long."""
        self._sweep.start(SWEEP_SECONDS, now=False).addErrback(
            lambda failure: log.failure("connections are no longer looked at", failure=failure)
        )

    def stopFactory(self) -> None:  # noqa: N802 - Twisted
        """Stop looking."""
        if self._sweep.running:
            self._sweep.stop()

    def buildProtocol(self, _address: Any) -> Any:  # noqa: N802 - Twisted
        """Return a connection."""
        connection = Connection(self._max_body_bytes)
        connection.factory = self
        return connection

    def _check(self) -> None:
        now = self.clock.seconds()
        for connection in tuple(self.connections):
            connection.check(now)
