"""SockJS sessions: what is to be sent waits in one until an answer of some transport carries it.

A session over HTTP has at most one answer open at a time (its *receiver*); between two of them, messages are queued,
bounded, and the kernels are paused while the queue is long. A session without a receiver for `DISCONNECT_SECONDS` has
lost its client.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from appliance.errors import BadRequest, InvalidMessage
from appliance.protocol import sockjs
from appliance.web.site import begin
from appliance.web.websocket import MAX_UNREAD_BYTES, STALL_SECONDS, BrowserSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.protocol.sockjs import Transport
    from appliance.web.http import Response
    from appliance.web.multiplexer import Multiplexer

log = Logger()

#: Bytes queued for a browser beyond which its kernels are paused, and from which they go on.
PAUSE_BYTES = 1_048_576
RESUME_BYTES = 262_144

#: Bytes of messages in one frame: a polling answer is one frame.
MAX_FRAME_BYTES = 262_144


class Receiver(Protocol):
    """An open answer that carries frames."""

    @property
    def ready(self) -> bool:
        """Whether a frame can be sent now."""

    def send(self, frame: str) -> None:
        """Send a frame."""

    def finish(self) -> None:
        """End the answer."""


class SockJsSession:
    """One session over HTTP transports. ``forget`` is called once when it is over."""

    def __init__(
        self, make: Callable[[Callable[[str], None]], Multiplexer], clock: Any, forget: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._forget = forget
        self._queue: deque[str] = deque()
        self._queued_bytes = 0
        self._full = False
        self._receiver: Receiver | None = None
        self._opened = False
        self._closed: tuple[int, str] | None = None
        self._sent_at = clock.seconds()
        self._left_at: float | None = clock.seconds()
        self.multiplexer = make(self.send)

    # --- from the kernels

    def send(self, text: str) -> None:
        """Queue a string for the browser."""
        if self._closed is not None:
            return
        self._queue.append(text)
        self._queued_bytes += len(text)
        self.flush()
        # a message of any size may wait for the next answer: who does not read lets others come behind it
        if self._queue and self._queued_bytes - len(self._queue[0]) > MAX_UNREAD_BYTES:
            log.info("SockJS client is too slow")
            self.close(sockjs.GO_AWAY)

    def _look_at_queue(self) -> None:
        full = self._queued_bytes > (RESUME_BYTES if self._full else PAUSE_BYTES)
        if full != self._full:
            self._full = full
            self.multiplexer.full(full=full)

    # --- from the browser

    def receive(self, strings: list[str]) -> None:
        """Take messages; one that is for nobody ends the session."""
        for text in strings:
            if self._closed is not None:
                return
            try:
                self.multiplexer.receive(text)
            except InvalidMessage as exc:
                log.info("SockJS message refused: {reason}", reason=exc.message)
                self.close((3001, exc.message))

    def attach(self, receiver: Receiver) -> None:
        """Send through an answer from now on; a second one at the same time is turned away."""
        if self._receiver is not None:
            receiver.send(sockjs.close_frame(sockjs.ANOTHER_OPEN))
            receiver.finish()
            return
        self._receiver = receiver
        self._left_at = None
        self._sent_at = self._clock.seconds()
        if self._closed is not None:
            receiver.send(sockjs.close_frame(self._closed))
            self.detach(receiver)
            receiver.finish()
        elif not self._opened:
            self._opened = True
            receiver.send(sockjs.OPEN)
        self.flush()

    def detach(self, receiver: Receiver, *, lost: bool = False) -> None:
        """Take note that an answer has ended; ``lost``: its client went away in the middle of it."""
        if self._receiver is not receiver:
            return
        self._receiver = None
        self._left_at = self._clock.seconds()
        if lost:
            self.close(sockjs.INTERRUPTED)

    def flush(self) -> None:
        """Send what waits, as far as the answer takes it."""
        while self._queue and self._receiver is not None and self._receiver.ready:
            strings: list[str] = []
            size = 0
            while self._queue and (not strings or size + len(self._queue[0]) <= MAX_FRAME_BYTES):
                strings.append(self._queue.popleft())
                size += len(strings[-1])
            self._queued_bytes -= size
            self._sent_at = self._clock.seconds()
            self._receiver.send(sockjs.messages_frame(strings))
        if self._closed is None:
            self._look_at_queue()

    # --- time

    def tick(self) -> None:
        """Send a heartbeat when it is time, and end when nobody is there."""
        now = self._clock.seconds()
        if self._left_at is not None:
            if now - self._left_at >= sockjs.DISCONNECT_SECONDS:
                self._end()
        elif self._receiver is not None and now - self._sent_at >= sockjs.HEARTBEAT_SECONDS:
            if self._receiver.ready:
                self._sent_at = now
                self._receiver.send(sockjs.HEARTBEAT)
            elif now - self._sent_at >= STALL_SECONDS:
                self.close(sockjs.GO_AWAY)

    def close(self, reason: tuple[int, str]) -> None:
        """End the session; who asks for it again in the next seconds is told the reason."""
        if self._closed is not None:
            return
        self._closed = reason
        self._queue.clear()
        self._queued_bytes = 0
        self.multiplexer.close()
        receiver, self._receiver = self._receiver, None
        self._left_at = self._clock.seconds()
        if receiver is not None:
            receiver.send(sockjs.close_frame(reason))
            receiver.finish()

    def _end(self) -> None:
        self.close(sockjs.GO_AWAY)
        self._forget()


@implementer(IPushProducer)
class HttpReceiver:
    """An answer of one HTTP request that carries one frame, or a stream of them."""

    def __init__(
        self, request: Any, transport: Transport, response: Response, origin: str | None, session: SockJsSession
    ) -> None:
        self._request = request
        self._transport = transport
        self._session = session
        self._sent_bytes = 0
        self._paused = False
        self._over = False
        self._begun = False
        self._response = response
        self._origin = origin
        request.notifyFinish().addErrback(lambda _: self._lost())
        request.registerProducer(self, True)

    def start(self) -> None:
        """Begin the answer and join the session."""
        if not self._transport.single:
            self._begin()
            self._request.write(self._transport.prelude)
        self._session.attach(self)

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            begin(self._request, self._response, self._origin)

    @property
    def ready(self) -> bool:
        """Whether a frame can be sent now."""
        return not self._over and not self._paused

    def send(self, frame: str) -> None:
        """Send a frame; the answer may be complete with it."""
        if self._over:
            return
        self._begin()
        data = self._transport.wrap(frame).encode("utf-8")
        self._sent_bytes += len(data)
        self._request.write(data)
        if self._transport.single or self._sent_bytes >= sockjs.RESPONSE_LIMIT_BYTES:
            self._session.detach(self)
            self.finish()

    def finish(self) -> None:
        """End the answer."""
        if not self._over:
            self._over = True
            self._request.unregisterProducer()
            self._request.finish()

    def _lost(self) -> None:
        self._over = True
        self._session.detach(self, lost=True)

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted
        """Wait: the browser does not take more."""
        self._paused = True

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted
        """Go on."""
        self._paused = False
        if not self._over:
            self._session.flush()

    def stopProducing(self) -> None:  # noqa: N802 - Twisted
        """Do nothing: `notifyFinish` tells the end."""


class SockJsSocket(BrowserSocket):
    """A session that is one WebSocket; ``raw``: strings go without frames of SockJS."""

    def __init__(
        self,
        make: Callable[[Callable[[str], None]], Multiplexer],
        channel: Any,
        clock: Any,
        max_bytes: int,
        *,
        raw: bool,
        forget: Callable[[SockJsSocket], None],
    ) -> None:
        super().__init__(channel, clock, max_bytes)
        self._raw = raw
        self._forget = forget
        self._sent_at = clock.seconds()
        self._multiplexer = make(self._send_text)

    def opened(self) -> None:
        """Greet."""
        if not self._raw:
            self.send(sockjs.OPEN.encode("ascii"))

    def _send_text(self, text: str) -> None:
        self._sent_at = self._clock.seconds()
        self.send((text if self._raw else sockjs.messages_frame([text])).encode("utf-8"))

    def text_received(self, text: str) -> None:
        """Take messages; what is none ends the connection."""
        try:
            # an empty frame means nothing (SockJS 0.3, websocket transport)
            for message in [text] if self._raw else sockjs.parse_messages(text) if text else []:
                self._multiplexer.receive(message)
        except (BadRequest, InvalidMessage) as exc:
            log.info("SockJS message refused: {reason}", reason=exc.message)
            if not self._raw:
                self.send(sockjs.close_frame((3001, exc.message)).encode("utf-8"))
            self.close(1000 if not self._raw else 1008)

    def tick(self) -> None:
        """Send a heartbeat when it is time, and look whether the client is there."""
        super().tick()
        now = self._clock.seconds()
        if not self._raw and self._open and now - self._sent_at >= sockjs.HEARTBEAT_SECONDS:
            self._sent_at = now
            self.send(sockjs.HEARTBEAT.encode("ascii"))

    def left(self) -> None:
        """Leave every kernel."""
        self._multiplexer.close()
        self._forget(self)

    def full(self, *, full: bool) -> None:
        """Stop the kernels' messages, or let them come again."""
        self._multiplexer.full(full=full)
