"""Non-blocking sockets of the relay: a small loop, streams with a bounded backlog, and pairs of streams that copy.

A stream whose other side does not take more stops being read, so that no more than a stated number of bytes piles up
here and ZeroMQ's own limits hold from end to end. Standard library only.
"""

from __future__ import annotations

import contextlib
import heapq
import selectors
import socket
import time
from typing import TYPE_CHECKING

from appliance.kernel import zmtp

if TYPE_CHECKING:
    from collections.abc import Callable

#: Bytes read at once, and so what can be on its way in one direction of a pair.
CHUNK_BYTES = 65536


class Loop:
    """Waits for descriptors and times."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._made = 0

    def watch(self, fd: int, events: int, ready: Callable[[int], None]) -> None:
        """Call ``ready(events)`` when the descriptor is ready; no events means not to watch it any more."""
        known = fd in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(fd)
        elif known:
            self._selector.modify(fd, events, ready)
        else:
            self._selector.register(fd, events, ready)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call once, in so many seconds."""
        self._made += 1
        heapq.heappush(self._timers, (time.monotonic() + seconds, self._made, call))

    def turn(self) -> None:
        """Wait until something is due and do it."""
        timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
        for key, events in self._selector.select(timeout):
            # One that came before may have closed it.
            if self._selector.get_map().get(key.fd) is key:
                key.data(events)
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()


class Stream:
    """A connected socket in the loop.

    ``received(data)`` gets what comes, ``closed()`` is called once when the other side is gone, ``drained()`` when all
    that was written has left.
    """

    def __init__(self, loop: Loop, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.received: Callable[[bytes], None] = lambda _: None
        self.closed: Callable[[], None] = lambda: None
        self.drained: Callable[[], None] = lambda: None
        self._loop = loop
        self._socket = sock
        self._fd = sock.fileno()
        self._backlog = bytearray()
        self._reading = True
        self._ending = False
        self._update()

    @property
    def open(self) -> bool:
        """Whether the socket is there."""
        return self._fd >= 0

    @property
    def backlog(self) -> int:
        """Bytes that the other side has not taken yet."""
        return len(self._backlog)

    def write(self, data: bytes) -> None:
        """Send, now or when the other side takes it."""
        if not self.open:
            return
        if not self._backlog:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                self._lost()
                return
        self._backlog += data
        self._update()

    def read(self, *, wanted: bool) -> None:
        """Begin or cease to read."""
        self._reading = wanted and not self._ending
        self._update()

    def end(self) -> None:
        """Close when everything written has left."""
        self._ending, self._reading = True, False
        if self._backlog:
            self._update()
        else:
            self.close()

    def close(self) -> None:
        """Close now; `closed` is not called."""
        if self.open:
            self._loop.watch(self._fd, 0, self._ready)
            self._fd = -1
            self._socket.close()

    def _update(self) -> None:
        if self.open:
            events = selectors.EVENT_READ if self._reading else 0
            if self._backlog:
                events |= selectors.EVENT_WRITE
            self._loop.watch(self._fd, events, self._ready)

    def _ready(self, events: int) -> None:
        if events & selectors.EVENT_WRITE and self._backlog:
            self._flush()
        if events & selectors.EVENT_READ and self.open and self._reading:
            self._receive()

    def _flush(self) -> None:
        try:
            del self._backlog[: self._socket.send(self._backlog)]
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        if self._backlog:
            return
        if self._ending:
            self.close()
            return
        self._update()
        self.drained()

    def _receive(self) -> None:
        try:
            data = self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.received(data)
        else:
            self._lost()

    def _lost(self) -> None:
        self.close()
        self.closed()


def join(
    one: Stream, other: Stream, *, backlog_bytes: int = 0, change: Callable[[bytes], bytes] = lambda data: data
) -> None:
    """Copy between two streams until either is gone; what the other was still to get is delivered first.

    ``one`` may be ``backlog_bytes`` behind before ``other`` is no longer read, and gets what ``change`` makes of it.
    """
    _copy(one, other, 0, lambda data: data)
    _copy(other, one, backlog_bytes, change)


def _copy(source: Stream, target: Stream, backlog_bytes: int, change: Callable[[bytes], bytes]) -> None:
    def received(data: bytes) -> None:
        target.write(change(data))
        if target.backlog > backlog_bytes:
            source.read(wanted=False)

    source.received = received
    source.closed = target.end
    target.drained = lambda: source.read(wanted=True)


def connect(loop: Loop, path: str) -> Stream:
    """Return a stream connected to a Unix socket. Raises `OSError` when nobody listens there or many wait already."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(path)
    except OSError:
        sock.close()
        raise
    return Stream(loop, sock)


class Peer:
    """One ZeroMQ socket at the other end of a stream. What is sent before it has greeted is sent then.

    ``received(parts)`` gets its messages, ``lost()`` is called when it is gone or speaks nonsense.
    """

    def __init__(
        self,
        stream: Stream,
        socket_type: str,
        max_message_bytes: int,
        received: Callable[[list[bytes]], None],
        lost: Callable[[], None],
    ) -> None:
        self.stream = stream
        self._decoder = zmtp.Decoder(max_message_bytes)
        self._unsent = b""
        self._received = received
        self._lost = lost
        stream.received, stream.closed = self._take, lost
        stream.write(zmtp.opening(socket_type))

    @property
    def established(self) -> bool:
        """Whether the other side has said what it is."""
        return self._decoder.established

    @property
    def rest(self) -> bytes:
        """Bytes that came after the last message."""
        return self._decoder.rest

    def send(self, parts: list[bytes]) -> None:
        """Send a message."""
        if self._decoder.established:
            self.stream.write(zmtp.message(parts))
        else:
            # libzmq ends a connection over which a message comes while it has not sent its own READY.
            self._unsent += zmtp.message(parts)

    def _take(self, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            if self._unsent and self._decoder.greeted():
                self.stream.write(self._unsent)
                self._unsent = b""
            # A message may hand the stream to somebody else.
            while self.stream.received == self._take and (parts := self._decoder.next_message()) is not None:
                self._received(parts)
        except zmtp.ProtocolError:
            self.stream.close()
            self._lost()


def accept(loop: Loop, listener: socket.socket) -> Stream | None:
    """Return the next connection of a listener, or None when it has gone away."""
    with contextlib.suppress(OSError):
        connection, _ = listener.accept()
        return Stream(loop, connection)
    return None
