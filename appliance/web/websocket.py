"""WebSocket connections of browsers: bounded messages, back-pressure towards the kernel, and an end that comes.

Twisted's `twisted.web.websocket` does the handshake and reads. What it leaves open in 26.10 is closed here: a message
has a maximum size (1009), data after the end of a connection is dropped instead of raising, a
producer can be registered (at the HTTP channel, which stays the transport's own producer), and a connection whose
client does not read, or is not there any more, is aborted. Kernels' messages are JSON bytes already, so a text frame
is written as header plus bytes (RFC 6455, section 5.2: servers do not mask) instead of through a str.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.web.websocket import WebSocketResource
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection
from wsproto.utilities import LocalProtocolError, RemoteProtocolError
from zope.interface import implementer

from appliance.errors import BadRequest, InvalidMessage
from appliance.log import kernel_name
from appliance.protocol.frames import KernelFrame, parse_client_message

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.web.live_kernel import LiveKernel

log = Logger()

#: A client that has not read for this long is disconnected.
STALL_SECONDS = 60.0

#: Bytes kept for a client that does not read while another one of the same kernel does; beyond it is disconnected.
MAX_UNREAD_BYTES = 8_388_608

#: A client that has sent nothing for this long, not even a pong, gets a ping; after twice that it is gone.
PING_SECONDS = 30.0
LOST_SECONDS = 75.0

#: Longest wait for a client to take the end of a connection.
CLOSE_SECONDS = 10.0

# close codes of RFC 6455, section 7.4.1
CLOSE_UNSUPPORTED = 1003
CLOSE_TOO_BIG = 1009

#: Messages that announce others wait this long for them, so that both cost one write: a write costs a tenth of a
#: millisecond, more than everything else that is done for a message.
HOLD_SECONDS = 0.004

#: Up to this size header and text are joined, which costs less than two writes.
JOINED_BYTES = 65_536

_FIN_TEXT = 0x81


def text_frame(payload: bytes) -> bytes:
    """Return the header of an unmasked text frame that is a whole message."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", _FIN_TEXT, length)
    if length < 65_536:
        return struct.pack("!BBH", _FIN_TEXT, 126, length)
    return struct.pack("!BBQ", _FIN_TEXT, 127, length)


class BoundedBuffer:
    """Collects the fragments of a message; takes the place of the unbounded buffer in Twisted's protocol.

    ``on_exceeded`` is called once when the message becomes too large; nothing is kept from then on.
    """

    def __init__(self, max_bytes: int, on_exceeded: Callable[[], None], make: Callable[[], Any]) -> None:
        self._max_bytes = max_bytes
        self._on_exceeded = on_exceeded
        self._make = make
        self._collected = make()
        self._size = 0
        self._exceeded = False

    def add(self, new: Any) -> None:
        """Take a fragment, or a part of one."""
        if self._exceeded:
            return
        self._size += len(new) if isinstance(new, bytes | bytearray) or new.isascii() else len(new.encode("utf-8"))
        if self._size > self._max_bytes:
            self._exceeded = True
            self._collected = self._make()
            self._on_exceeded()
        else:
            self._collected.write(new)

    def done(self) -> Any:
        """Return the message and begin the next."""
        message = self._collected.getvalue()
        self._collected = self._make()
        self._size = 0
        return message


@implementer(IPushProducer)
class ChannelsSocket:
    """One browser's connection to one kernel."""

    def __init__(self, kernel: LiveKernel, channel: Any, clock: Any, now: Callable[[], str], max_bytes: int) -> None:
        self._kernel = kernel
        self._channel = channel
        self._clock = clock
        self._now = now
        self._max_bytes = max_bytes
        self._wire: Any = None
        self._number = 0
        self._open = False
        self._full_since: float | None = None
        self._unread_bytes = 0
        self._heard = clock.seconds()
        self._pinged = False
        self._abort: Any = None
        self._held: list[bytes] = []
        self._hold: Any = None
        self._idle_after = ""

    # --- Twisted's side: WebSocketProtocol

    def negotiationStarted(self, transport: Any) -> None:  # noqa: N802 - Twisted
        """Bound what is collected of a message."""
        self._wire = transport
        transport._textBuffer = BoundedBuffer(self._max_bytes, self._too_big, io.StringIO)
        transport._bytesBuffer = BoundedBuffer(self._max_bytes, self._too_big, io.BytesIO)

    def negotiationFinished(self) -> None:  # noqa: N802 - Twisted
        """Join the session."""
        self._open = True
        self._channel.dataReceived = self._data_received
        self._channel.registerProducer(self, True)
        self._number = self._kernel.add_client(self)

    def textMessageReceived(self, message: str) -> None:  # noqa: N802 - Twisted
        """Take a Jupyter message."""
        if not self._open:
            return
        try:
            parsed = parse_client_message(message, self._now())
        except InvalidMessage as exc:
            self._kernel.client_invalid(self._number, exc)
            return
        self._kernel.client_message(self._number, parsed)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:  # noqa: N802 - Twisted
        """Refuse binary messages: the protocol of this address is JSON."""
        if self._open:
            log.info("binary message on a JSON connection refused")
            self.close(CLOSE_UNSUPPORTED)

    def pongReceived(self, payload: bytes) -> None:  # noqa: N802 - Twisted
        """Take an answer to a ping; any data counts as one."""

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted
        """Leave the session."""
        self._open = False
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
        self._channel.unregisterProducer()
        self._kernel.remove_client(self._number)

    def _data_received(self, data: bytes) -> None:
        self._heard = self._clock.seconds()
        self._pinged = False
        try:
            self._wire.dataReceived(data)
        except (LocalProtocolError, RemoteProtocolError) as exc:
            # data after a close frame, or no WebSocket at all: the client's fault
            log.info("WebSocket connection broken by its client: {exc}", exc=exc)
            self._wire.transport.abortConnection()
            return
        if self._open and self._wire._wsconn.state is not ConnectionState.OPEN:
            # the client is closing, and Twisted has answered it
            self._leave()

    def _leave(self) -> None:
        """Leave the session, and see to it that the connection ends."""
        self._open = False
        # a producer that is paused would keep the transport from closing once everything is written
        self._channel._networkProducer.unregisterProducer()
        self._abort = self._clock.callLater(CLOSE_SECONDS, self._abort_now)
        self._kernel.remove_client(self._number)

    def _too_big(self) -> None:
        log.info("message of more than {size} bytes refused", size=self._max_bytes)
        self.close(CLOSE_TOO_BIG)

    # --- the session's side: Client

    def deliver(self, frame: KernelFrame) -> None:
        """Send a message to the browser."""
        if not self._open:
            return
        text = frame.text
        transport = self._wire.transport
        if self._full_since is not None:
            self._unread_bytes += len(text)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                log.info("client of kernel {kernel} is too slow", kernel=kernel_name(self._kernel.kernel_id))
                self._open = False
                transport.abortConnection()
                return
        if len(text) >= JOINED_BYTES:
            transport.writeSequence((*self._held, text_frame(text), text))
            self._held.clear()
            return
        self._held.append(text_frame(text) + text)
        if not self._announces(frame):
            self._flush()
        elif self._hold is None:
            self._hold = self._clock.callLater(HOLD_SECONDS, self._flush_held)

    def _announces(self, frame: KernelFrame) -> bool:
        """Return whether another message follows this one closely: output after a busy, idle after a reply.

        Reply and idle come over two sockets: whichever comes second has nothing to wait for.
        """
        match frame.msg_type:
            case "status":
                state = frame.content.get("execution_state")
                if state == "idle":
                    self._idle_after = frame.parent_id
                return state == "busy"
            case "execute_reply":
                return frame.parent_id != self._idle_after
            case kind:
                return kind == "execute_input"

    def _flush(self) -> None:
        if self._held:
            self._wire.transport.write(self._held[0] if len(self._held) == 1 else b"".join(self._held))
            self._held.clear()

    def _flush_held(self) -> None:
        self._hold = None
        self._flush()

    def close(self, code: int) -> None:
        """End the connection, in the end by force.

        What the client is still sending is read until it has seen the end: a socket closed over unread data is reset,
        and the client would never learn the code.
        """
        if self._open:
            self._flush()
            self._wire.transport.write(self._wire._wsconn.send(CloseConnection(code)))
            self._leave()

    def tick(self) -> None:
        """End the connection of a client that does not read or is not there any more."""
        now = self._clock.seconds()
        if self._full_since is not None and now - self._full_since > STALL_SECONDS:
            log.info("client of kernel {kernel} does not read", kernel=kernel_name(self._kernel.kernel_id))
            self._wire.transport.abortConnection()
        elif now - self._heard > LOST_SECONDS:
            log.info("client of kernel {kernel} is gone", kernel=kernel_name(self._kernel.kernel_id))
            self._wire.transport.abortConnection()
        elif now - self._heard > PING_SECONDS and not self._pinged and self._open:
            self._pinged = True
            self._wire.ping()

    def _abort_now(self) -> None:
        self._abort = None
        self._wire.transport.abortConnection()

    # --- the connection's side: IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted
        """Stop the kernel's messages: the browser does not take them."""
        if self._full_since is None:
            self._full_since = self._clock.seconds()
            self._kernel.client_full(self._number, full=True)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted
        """Let the kernel's messages come again."""
        if self._full_since is not None:
            self._full_since = None
            self._unread_bytes = 0
            self._kernel.client_full(self._number, full=False)

    def stopProducing(self) -> None:  # noqa: N802 - Twisted
        """Do nothing: the end of the connection is told by `connectionLost`."""


class _OneSocket:
    """The factory that Twisted's resource wants."""

    def __init__(self, socket: ChannelsSocket) -> None:
        self._socket = socket

    def buildProtocol(self, request: Any) -> ChannelsSocket:  # noqa: N802 - Twisted
        """Return the protocol of the only connection."""
        return self._socket


def is_upgrade(request: Any) -> bool:
    """Return whether a request asks to become a WebSocket."""
    return (request.getHeader("upgrade") or "").lower() == "websocket"


def upgrade(request: Any, kernel: LiveKernel, clock: Any, now: Callable[[], str], max_bytes: int) -> None:
    """Make the connection of a request a client of a kernel.

    Raises `BadRequest` when the handshake is wrong and `ApplianceError` when the kernel has no room for another
    client.
    """
    kernel.check_room()
    socket = ChannelsSocket(kernel, request.channel, clock, now, max_bytes)
    answer: Any = WebSocketResource(_OneSocket(socket)).render_GET(request)
    if isinstance(answer, bytes):
        request.responseHeaders.removeHeader(b"content-type")
        raise BadRequest("The WebSocket handshake is malformed.")
