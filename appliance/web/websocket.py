"""WebSocket connections of browsers: bounded messages, back-pressure towards the kernel, and an end that comes.

Twisted's `twisted.web.websocket` does the handshake and reads. What it leaves open in 26.10 is closed here: a message
has a maximum size (1009), data after the end of a connection is dropped instead of raising, a
producer can be registered (at the HTTP channel, which stays the transport's own producer), a subprotocol can be agreed
on, and a connection whose client does not read, or is not there any more, is aborted. Kernels' messages are JSON bytes
already, so a frame is written as header plus bytes (RFC 6455, section 5.2: servers do not mask) instead of through a
str.
"""

from __future__ import annotations

import contextlib
import io
import struct
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.web._websocket_impl import _WebSocketWireProtocol, serverBootstrap
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, CloseConnection
from wsproto.handshake import H11Handshake
from wsproto.utilities import LocalProtocolError, RemoteProtocolError
from zope.interface import implementer

from appliance.errors import BadRequest, InvalidMessage
from appliance.protocol.jupyter_websocket import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.protocol.frames import ClientMessage, KernelFrame
    from appliance.protocol.jupyter_websocket import Framing
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
CLOSE_NORMAL = 1000
CLOSE_UNSUPPORTED = 1003
CLOSE_TOO_BIG = 1009

#: Messages that announce others wait this long for them, so that both cost one write: a write costs a tenth of a
#: millisecond, more than everything else that is done for a message.
HOLD_SECONDS = 0.004

#: Up to this size header and text are joined, which costs less than two writes.
JOINED_BYTES = 65_536

_FIN_TEXT = 0x81
_FIN_BINARY = 0x82


def frame_header(payload: bytes, *, binary: bool = False) -> bytes:
    """Return the header of an unmasked frame that is a whole message."""
    first = _FIN_BINARY if binary else _FIN_TEXT
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", first, length)
    if length < 65_536:
        return struct.pack("!BBH", first, 126, length)
    return struct.pack("!BBQ", first, 127, length)


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
class BrowserSocket:
    """One WebSocket of a browser: what every door's connections have in common."""

    def __init__(self, channel: Any, clock: Any, max_bytes: int) -> None:
        self._channel = channel
        self._clock = clock
        self._max_bytes = max_bytes
        self._wire: Any = None
        self._open = False
        self._said_goodbye = False
        self._full_since: float | None = None
        self._unread_bytes = 0
        self._heard = clock.seconds()
        self._pinged = False
        self._abort: Any = None
        self._held: list[bytes] = []
        self._hold: Any = None

    # --- what a door does with it

    def opened(self) -> None:
        """Begin: messages may be sent and come."""
        raise NotImplementedError

    def text_received(self, text: str) -> None:
        """Take a text message."""
        raise NotImplementedError

    def binary_received(self, data: bytes) -> None:
        """Refuse binary messages."""
        log.info("binary message on a connection of text refused")
        self.close(CLOSE_UNSUPPORTED)

    def left(self) -> None:
        """End: nothing can be sent any more. May be called again."""
        raise NotImplementedError

    def full(self, *, full: bool) -> None:
        """Take note that the browser does not read, or reads again."""
        raise NotImplementedError

    # --- Twisted's side: WebSocketProtocol

    def negotiationStarted(self, transport: Any) -> None:  # noqa: N802 - Twisted
        """Bound what is collected of a message."""
        self._wire = transport
        transport._textBuffer = BoundedBuffer(self._max_bytes, self._too_big, io.StringIO)
        transport._bytesBuffer = BoundedBuffer(self._max_bytes, self._too_big, io.BytesIO)

    def negotiationFinished(self) -> None:  # noqa: N802 - Twisted
        """Begin."""
        self._open = True
        self._channel.dataReceived = self._data_received
        self._channel.registerProducer(self, True)
        self.opened()

    def textMessageReceived(self, message: str) -> None:  # noqa: N802 - Twisted
        """Take a text message."""
        if self._open:
            self.text_received(message)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:  # noqa: N802 - Twisted
        """Take a binary message."""
        if self._open:
            self.binary_received(bytes(data))

    def pongReceived(self, payload: bytes) -> None:  # noqa: N802 - Twisted
        """Take an answer to a ping; any data counts as one."""

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted
        """End."""
        self._open = False
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None
        if self._abort is not None:
            self._abort.cancel()
            self._abort = None
        self._channel.unregisterProducer()
        self.left()

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
            self._said_goodbye = True
            self._leave()

    def _leave(self) -> None:
        """End, and see to it that the connection does."""
        self._open = False
        # a producer that is paused would keep the transport from closing once everything is written
        self._channel._networkProducer.unregisterProducer()
        self._abort = self._clock.callLater(CLOSE_SECONDS, self._abort_now)
        self.left()

    def _too_big(self) -> None:
        log.info("message of more than {size} bytes refused", size=self._max_bytes)
        self.close(CLOSE_TOO_BIG)

    # --- sending

    def send(self, payload: bytes, *, binary: bool = False, hold: bool = False) -> None:
        """Send a message; with ``hold``, wait a moment for the next one."""
        if not self._open:
            return
        transport = self._wire.transport
        if self._full_since is not None:
            self._unread_bytes += len(payload)
            if self._unread_bytes > MAX_UNREAD_BYTES:
                log.info("client is too slow")
                self._open = False
                transport.abortConnection()
                return
        if len(payload) >= JOINED_BYTES:
            transport.writeSequence((*self._held, frame_header(payload, binary=binary), payload))
            self._held.clear()
            return
        self._held.append(frame_header(payload, binary=binary) + payload)
        if not hold:
            self._flush()
        elif self._hold is None:
            self._hold = self._clock.callLater(HOLD_SECONDS, self._flush_held)

    def _flush(self) -> None:
        if self._held:
            self._wire.transport.write(self._held[0] if len(self._held) == 1 else b"".join(self._held))
            self._held.clear()

    def _flush_held(self) -> None:
        self._hold = None
        if self._open:
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
            log.info("client does not read")
            self._wire.transport.abortConnection()
        elif now - self._heard > LOST_SECONDS:
            log.info("client is gone")
            self._wire.transport.abortConnection()
        elif now - self._heard > PING_SECONDS and not self._pinged and self._open:
            self._pinged = True
            self._wire.ping()

    def _abort_now(self) -> None:
        self._abort = None
        self._wire.transport.abortConnection()

    # --- the connection's side: IPushProducer

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted
        """Take note that the browser does not take more."""
        if self._full_since is None:
            self._full_since = self._clock.seconds()
            self.full(full=True)

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted
        """Take note that the browser takes more again."""
        if self._full_since is not None:
            self._full_since = None
            self._unread_bytes = 0
            self.full(full=False)

    def stopProducing(self) -> None:  # noqa: N802 - Twisted
        """Do nothing: the end of the connection is told by `connectionLost`."""


def announces(frame: KernelFrame, idle_after: str) -> bool:
    """Return whether another message follows this one closely: output after a busy, idle after a reply.

    Reply and idle come over two sockets: whichever comes second has nothing to wait for. ``idle_after``: the id of the
    request after which the last idle came.
    """
    match frame.msg_type:
        case "status":
            return frame.content.get("execution_state") == "busy"
        case "execute_reply":
            return frame.parent_id != idle_after
        case kind:
            return kind == "execute_input"


@attrs.frozen
class Returning:
    """A client that comes back by itself: the name it chose, and the last messages it heard (of all, of the kernel)."""

    session_id: str
    after: str
    after_kernel: str


class ChannelsSocket(BrowserSocket):
    """One browser's connection to one kernel."""

    def __init__(
        self,
        kernel: LiveKernel | None,
        channel: Any,
        clock: Any,
        now: Callable[[], str],
        max_bytes: int,
        framing: Framing,
        returning: Returning | None = None,
    ) -> None:
        """Begin; without a kernel, whoever makes this one sees to it that there is one before a message comes."""
        super().__init__(channel, clock, max_bytes)
        self._kernel = kernel
        self._returning = returning
        self._now = now
        self._framing = framing
        self._number = 0
        self._idle_after = ""

    def opened(self) -> None:
        """Join the session, where this client left it if it did."""
        if self._kernel is None:
            return
        if self._returning is None:
            self._number = self._kernel.add_client(self)
        else:
            self._number = self._kernel.add_returning_client(self, self._returning)
        # what it missed may be more than it takes at once
        self._kernel.client_full(self._number, full=self._full_since is not None)

    def text_received(self, text: str) -> None:
        """Take a Jupyter message."""
        self._take(self._framing.decode_text, text)

    def binary_received(self, data: bytes) -> None:
        """Take a Jupyter message in binary form."""
        if self._framing.decode_binary is None:
            super().binary_received(data)
        else:
            self._take(self._framing.decode_binary, data)

    def _take(self, decode: Callable[[Any, str], ClientMessage], data: str | bytes) -> None:
        if self._kernel is None:
            return
        try:
            message = decode(data, self._now())
        except InvalidMessage as exc:
            self._kernel.client_invalid(self._number, exc)
            return
        self._kernel.client_message(self._number, message)

    def deliver(self, frame: KernelFrame) -> None:
        """Send a message of the kernel to the browser."""
        payload, binary = self._framing.encode(frame)
        if frame.msg_type == "status" and frame.content.get("execution_state") == "idle":
            self._idle_after = frame.parent_id
        self.send(payload, binary=binary, hold=announces(frame, self._idle_after))

    def move(self, successor: LiveKernel) -> None:
        """Join the session of the kernel that took the place of this one's."""
        self._kernel = successor
        if self._open:
            self._number = successor.add_client(self)
            successor.client_full(self._number, full=self._full_since is not None)

    def left(self) -> None:
        """Leave the session."""
        if self._kernel is not None:
            self._kernel.remove_client(self._number, lost=not self._said_goodbye)

    def full(self, *, full: bool) -> None:
        """Stop the kernel's messages, or let them come again."""
        if self._kernel is not None:
            self._kernel.client_full(self._number, full=full)


class FarewellSocket(BrowserSocket):
    """Tells a browser that comes back that its kernel is gone: it cannot read the status of a refused handshake."""

    def __init__(self, frame: KernelFrame, channel: Any, clock: Any, max_bytes: int) -> None:
        super().__init__(channel, clock, max_bytes)
        self._frame = frame

    def opened(self) -> None:
        """Say so, and end."""
        self.send(self._frame.text)
        self.close(CLOSE_NORMAL)

    def text_received(self, text: str) -> None:
        """Do nothing: it is over."""

    def left(self) -> None:
        """Do nothing: there is nothing to leave."""

    def full(self, *, full: bool) -> None:
        """Do nothing: nothing more is sent."""


def is_upgrade(request: Any) -> bool:
    """Return whether a request asks to become a WebSocket."""
    return (request.getHeader("upgrade") or "").lower() == "websocket"


def offered_subprotocols(request: Any) -> list[str]:
    """Return the subprotocols that a client offers (RFC 6455, section 11.3.4)."""
    return [name.strip() for name in (request.getHeader("sec-websocket-protocol") or "").split(",")]


def become_websocket(request: Any, socket: BrowserSocket, subprotocol: str | None = None) -> None:
    """Make the connection of a request a WebSocket; raises `BadRequest` when the handshake is wrong."""
    handshake = H11Handshake(ConnectionType.SERVER)
    headers = [(name, value) for name, values in request.requestHeaders.getAllRawHeaders() for value in values]
    try:
        handshake.initiate_upgrade_connection(headers, request.path)
        answer = handshake.send(AcceptConnection(subprotocol=subprotocol))
    except (RemoteProtocolError, LocalProtocolError) as exc:
        raise BadRequest("The WebSocket handshake is malformed.") from exc
    transport = request.channel.transport
    with contextlib.suppress(AttributeError):  # a Unix socket has no such option
        transport.setTcpNoDelay(True)
    request.channel._protocolUpgradeForWebsockets(
        _WebSocketWireProtocol(handshake.connection, serverBootstrap, socket)  # type: ignore[arg-type]
    )
    transport.write(answer)
    socket.negotiationFinished()


def upgrade(
    request: Any,
    kernel: LiveKernel,
    clock: Any,
    now: Callable[[], str],
    max_bytes: int,
    *,
    framing: Framing = TEXT,
    subprotocol: str | None = None,
    returning: Returning | None = None,
) -> None:
    """Make the connection of a request a client of a kernel.

    Raises `BadRequest` when the handshake is wrong and `ApplianceError` when the kernel has no room for another
    client.
    """
    if returning is None or not kernel.knows(returning):
        kernel.check_room()
    socket = ChannelsSocket(kernel, request.channel, clock, now, max_bytes, framing, returning)
    become_websocket(request, socket, subprotocol)
