"""ZeroMQ sockets that cannot freeze or fill the process: bounded txZMQ connections (trust line T6).

Theory of operation. A ZeroMQ descriptor is edge-triggered: it becomes readable when the mailbox of the socket gets
its first command, and ``EVENTS`` has to be looked at after *every* operation on the socket, since send and receive
process commands and thereby swallow an edge. txZMQ as shipped reads until the socket is empty, so a peer that floods
keeps the reactor for seconds, and its queues are unbounded. Here a turn ends after `MAX_MESSAGES_PER_TURN` messages
or `MAX_BYTES_PER_TURN` bytes and goes on in the next turn of the reactor; whenever reading stops for another reason
than "empty", something is left that will start it again: a delayed call, or `resume`. Queues have finite high-water
marks, messages a size limit, and what waits in libzmq is limited by bytes (`appliance.zmq_inlet`).

``import txzmq`` imports the global reactor: `appliance.main` installs its reactor before this module is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import zmq
from twisted.logger import Logger
from txzmq import ZmqConnection, ZmqEndpoint, ZmqEndpointType, ZmqFactory

from appliance.zmq_inlet import Inlet

log = Logger()

#: Messages read in one turn of the reactor, so that other connections get theirs (a message costs some 30 µs).
MAX_MESSAGES_PER_TURN = 50

#: Bytes read in one turn of the reactor.
MAX_BYTES_PER_TURN = 2_097_152

#: Messages queued towards a kernel that does not read; the next `send` fails.
SEND_HIGH_WATER_MARK = 64

#: Messages queued from a kernel while we do not read; a PUB socket then drops, a ROUTER socket too.
RECEIVE_HIGH_WATER_MARK = 1000

#: Largest part of a message; ZeroMQ closes the connection of a peer that sends a larger one.
MAX_PART_BYTES = 10_485_760

#: Largest message; the connection of a peer that sends a larger one is closed. More than `protocol.frames` takes, which
#: tells the visitor of a message that is too large.
MAX_MESSAGE_BYTES = 12_582_912

#: ZeroMQ sockets of one process; libzmq's own limit would be 1023.
MAX_SOCKETS = 65_000

#: Parts of a message: Jupyter's have six and their buffers.
MAX_PARTS = 64

#: Pause before ZeroMQ connects again, and what it grows to while nobody listens.
RECONNECT_MILLISECONDS = 10
MAX_RECONNECT_MILLISECONDS = 1000

# plain numbers: arithmetic with enumerations costs microseconds, several times for each message
_EVENTS = int(zmq.EVENTS)
_POLLIN = int(zmq.POLLIN)
_NOBLOCK = int(zmq.NOBLOCK)
_NOBLOCK_SNDMORE = int(zmq.NOBLOCK | zmq.SNDMORE)

_IPC = "ipc://"

MessageCallback = Callable[[list[bytes]], None]


class SendQueueFullError(Exception):
    """The peer does not read and the queue towards it is full."""


def _receive(socket: Any) -> list[bytes]:
    """Return the parts of a message. Raises `zmq.Again`.

    A frame knows whether another one follows; asking the socket for it is what `recv_multipart` spends its time on.
    """
    parts = []
    while True:
        frame = socket.recv(_NOBLOCK, copy=False)
        parts.append(frame.bytes)
        if not frame.more:
            return parts


class Sockets(ZmqFactory):  # type: ignore[misc]
    """The ZeroMQ context of a process; closes every socket on `shutdown`."""

    lingerPeriod = 0  # noqa: N815 - Twisted

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self.reactor = reactor
        self.context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)


class BoundedConnection(ZmqConnection):  # type: ignore[misc]
    """A ZeroMQ socket connected to one ``ipc://`` address, read in bounded turns.

    ``max_message_bytes``: largest message that the peer may send. ``on_message`` gets the parts of each message; when
    it raises, the message is lost, the failure logged, the socket goes on. ``on_failure`` is called once when the
    socket itself fails; it is closed then. Raises `OSError` when no descriptor is left.
    """

    reconnectInterval = RECONNECT_MILLISECONDS  # noqa: N815 - Twisted

    def __init__(
        self,
        sockets: Sockets,
        address: str,
        on_message: MessageCallback,
        on_failure: Callable[[Exception], None],
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._on_message = on_message
        self._on_failure = on_failure
        self._paused = False
        self._turn: Any = None
        self._reactor = sockets.reactor
        self._inlet: Inlet | None = None
        if address.startswith(_IPC):
            self._inlet = Inlet(self._reactor, address.removeprefix(_IPC), max_message_bytes)
            address = self._inlet.address
        try:
            super().__init__(sockets)
        except zmq.ZMQError as exc:
            if self._inlet is not None:
                self._inlet.close()
            raise OSError(exc.errno, exc.strerror) from exc
        self.socket.set(zmq.RECONNECT_IVL_MAX, MAX_RECONNECT_MILLISECONDS)
        self.socket.set(zmq.SNDHWM, SEND_HIGH_WATER_MARK)
        self.socket.set(zmq.RCVHWM, RECEIVE_HIGH_WATER_MARK)
        self.socket.set(zmq.MAXMSGSIZE, min(MAX_PART_BYTES, max_message_bytes))
        self._prepare()
        self.addEndpoints([ZmqEndpoint(ZmqEndpointType.connect, address)])
        self._schedule()

    def _prepare(self) -> None:
        """Set what the kind of socket needs before it connects."""

    @property
    def closed(self) -> bool:
        """Whether the socket is closed."""
        return self.factory is None

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""
        return self._paused

    def doRead(self) -> None:  # noqa: N802 - Twisted
        """Read what there is, up to the limits of a turn."""
        byte_count = 0
        for _ in range(MAX_MESSAGES_PER_TURN):
            # on_message may have paused or closed the socket
            if self._paused or self.factory is None:
                return
            try:
                if not self.socket.getsockopt(_EVENTS) & _POLLIN:
                    return
                parts = _receive(self.socket)
            except zmq.Again:
                # the edge is used up, so ask again in the next turn instead of waiting for another
                break
            except zmq.ZMQError as exc:
                # an exception here would make the reactor drop the descriptor, silently for the owner
                self._fail(exc)
                return
            size = sum(map(len, parts))
            byte_count += size
            if self._inlet is not None:
                self._inlet.delivered(size)
            self._deliver(parts)
            if byte_count >= MAX_BYTES_PER_TURN:
                break
        self._schedule()

    def _deliver(self, parts: list[bytes]) -> None:
        if len(parts) > MAX_PARTS:
            log.warn("message of {count} parts dropped", count=len(parts))
            return
        try:
            self._on_message(parts)
        except Exception:  # noqa: BLE001 - whatever one message does, the socket and the reactor go on
            log.failure("message from a kernel could not be processed")

    def _schedule(self) -> None:
        if self._turn is None and self.factory is not None:
            self._turn = self._reactor.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._turn = None
        self.doRead()

    def send(self, message: list[bytes]) -> None:
        """Send a message of several parts.

        Raises `SendQueueFullError` when the peer does not read, in which case nothing of the message was sent.
        """
        if self.factory is None:
            raise SendQueueFullError("the socket is closed")
        try:
            for part in message[:-1]:
                self.socket.send(part, _NOBLOCK_SNDMORE)
            self.socket.send(message[-1], _NOBLOCK)
        except zmq.Again as exc:
            raise SendQueueFullError("the peer does not read") from exc
        except zmq.ZMQError as exc:
            self._fail(exc)
            raise SendQueueFullError("the socket failed") from exc
        # the send has processed commands, and an edge with them
        if not self._paused and self.socket.getsockopt(_EVENTS) & _POLLIN:
            self._schedule()

    def pause(self) -> None:
        """Stop reading; ZeroMQ queues up to its high-water mark."""
        if not self._paused and self.factory is not None:
            self._paused = True
            # a descriptor that stays readable would make a level-triggered reactor spin
            self._reactor.removeReader(self)

    def resume(self) -> None:
        """Read again, beginning with what was queued."""
        if self._paused and self.factory is not None:
            self._paused = False
            self._reactor.addReader(self)
            self._schedule()

    def shutdown(self) -> None:
        """Close the socket; calling it again does nothing."""
        if self.factory is None:
            return
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        if self._inlet is not None:
            self._inlet.close()
        super().shutdown()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted
        """Close the socket: the reactor is giving up its descriptor."""
        self.shutdown()

    def _fail(self, exc: Exception) -> None:
        log.error("ZeroMQ socket {endpoints} failed: {exc}", endpoints=self.endpoints, exc=exc)
        self.shutdown()
        self._on_failure(exc)


class DealerConnection(BoundedConnection):
    """The client side of a kernel's shell, stdin or control socket; ``routing_id``: the name the kernel knows it by."""

    socketType = zmq.DEALER  # noqa: N815 - Twisted

    def __init__(
        self,
        sockets: Sockets,
        address: str,
        on_message: MessageCallback,
        on_failure: Callable[[Exception], None],
        routing_id: bytes = b"",
        *,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        self._routing_id = routing_id
        super().__init__(sockets, address, on_message, on_failure, max_message_bytes=max_message_bytes)

    def _prepare(self) -> None:
        if self._routing_id:
            self.socket.set(zmq.ROUTING_ID, self._routing_id)


class SubscriberConnection(BoundedConnection):
    """The client side of a kernel's iopub socket, subscribed to everything."""

    socketType = zmq.SUB  # noqa: N815 - Twisted

    def _prepare(self) -> None:
        self.socket.set(zmq.SUBSCRIBE, b"")
