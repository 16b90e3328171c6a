"""The way of a kernel's bytes into libzmq, which itself has no limit on them (trust line T6).

A ZeroMQ socket of ours does not connect to the kernel but to an `Inlet`, a listening socket of this process; for each
connection the inlet makes one to the kernel and passes bytes on, both ways. `ZmtpMeter` counts what the kernel sends:
a message that is too large ends the connection for good, as libzmq ends one with a frame that is too large, and while
`WINDOW_BYTES` of whole messages wait to be read, nothing more is taken from the kernel. So libzmq never holds more for
one socket than the window and one message.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IReadWriteDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from appliance.protocol.zmtp_meter import ZmtpError, ZmtpMeter

if TYPE_CHECKING:
    from collections.abc import Callable

log = Logger()

#: Bytes of whole messages that may wait in libzmq.
WINDOW_BYTES = 2_097_152

#: Bytes taken from a socket at once.
CHUNK_BYTES = 65_536

#: Pause before the kernel is connected to again; doubled each time up to the maximum, until a connection has lasted as
#: long as that: a kernel that ends each at once costs little.
RETRY_SECONDS = 0.01
MAX_RETRY_SECONDS = 1.0


@implementer(IReadWriteDescriptor)
class _End:
    """A connected socket; what comes over it goes to ``take``, what is written to it waits until it is taken."""

    def __init__(self, inlet: Inlet, connection: socket.socket, take: Callable[[bytes], None]) -> None:
        self._inlet = inlet
        self._socket = connection
        self._take = take
        self._waiting = b""
        self._reading = False

    @property
    def full(self) -> bool:
        """Whether something waits to be taken by the other side."""
        return bool(self._waiting)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted
        """Return the name in Twisted's own log lines."""
        return "inlet"

    def read(self, *, on: bool) -> None:
        """Watch the socket for bytes, or stop watching."""
        if on != self._reading:
            self._reading = on
            reactor = self._inlet.reactor
            (reactor.addReader if on else reactor.removeReader)(self)

    def write(self, data: bytes) -> None:
        """Pass bytes on."""
        if not self._waiting:
            try:
                data = data[self._socket.send(data) :]
            except BlockingIOError:
                pass
            except OSError:
                self._inlet.lost()
                return
            if data:
                self._inlet.reactor.addWriter(self)
        self._waiting += data

    def doRead(self) -> None:  # noqa: N802 - Twisted
        """Take what there is."""
        try:
            data = self._socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._take(data)
        else:
            self._inlet.lost()

    def doWrite(self) -> None:  # noqa: N802 - Twisted
        """Write what waits."""
        try:
            self._waiting = self._waiting[self._socket.send(self._waiting) :]
        except BlockingIOError:
            return
        except OSError:
            self._inlet.lost()
            return
        if not self._waiting:
            self._inlet.reactor.removeWriter(self)
            self._inlet.balance()

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted
        """Give up: the reactor is giving up the descriptor."""
        self._inlet.lost()

    def close(self) -> None:
        """Close the socket."""
        reactor = self._inlet.reactor
        self.read(on=False)
        reactor.removeWriter(self)
        self._socket.close()


@implementer(IReadWriteDescriptor)
class Inlet:
    """Stands between a ZeroMQ socket of this process and the kernel's socket at ``path``."""

    def __init__(self, reactor: Any, path: str, max_message_bytes: int) -> None:
        self.reactor = reactor
        self._path = path
        self._max = max_message_bytes
        self._near: _End | None = None
        self._far: _End | None = None
        self._meter = ZmtpMeter(max_message_bytes)
        self._delivered = 0
        self._held = False
        self._retry: Any = None
        self._pause = RETRY_SECONDS
        self._connected_at = 0.0
        # Linux gives it an abstract name of its own (unix(7), "Autobind feature")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._listener.bind("")
        self._listener.listen(1)
        reactor.addReader(self)

    @property
    def address(self) -> str:
        """Where the ZeroMQ socket connects to."""
        return f"ipc://@{self._listener.getsockname()[1:].decode('ascii')}"

    def delivered(self, size: int) -> None:
        """Note that a message of ``size`` bytes was read from the ZeroMQ socket."""
        self._delivered += size
        if self._held:
            self.balance()

    def close(self) -> None:
        """Close everything; calling it again does nothing."""
        self._end()
        if self._listener.fileno() >= 0:
            self.reactor.removeReader(self)
            self._listener.close()

    # --- the listening socket

    def fileno(self) -> int:
        """Return the descriptor of the listening socket."""
        return self._listener.fileno()

    def logPrefix(self) -> str:  # noqa: N802 - Twisted
        """Return the name in Twisted's own log lines."""
        return "inlet"

    def doRead(self) -> None:  # noqa: N802 - Twisted
        """Take the ZeroMQ socket's connection, and nobody else's: the name is open to every account of this host."""
        try:
            near, _ = self._listener.accept()
        except OSError:
            return
        credentials = near.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        if struct.unpack("3i", credentials)[0] != os.getpid():
            near.close()
            return
        self._end()
        near.setblocking(False)
        self._near = _End(self, near, self._to_kernel)
        self._meter = ZmtpMeter(self._max)
        self._delivered = 0
        if self._pause > RETRY_SECONDS:
            self._retry = self.reactor.callLater(self._pause, self._connect)
        else:
            self._connect()

    def doWrite(self) -> None:  # noqa: N802 - Twisted
        """Do nothing: a listening socket is not written to."""

    def connectionLost(self, reason: Any) -> None:  # noqa: N802 - Twisted
        """Give up: the reactor is giving up the descriptor."""
        self.close()

    # --- the pair of connections

    def _connect(self) -> None:
        self._retry = None
        far = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            far.connect(self._path)
        except OSError:
            far.close()
            self._retry = self.reactor.callLater(self._pause, self._connect)
            self._pause = min(MAX_RETRY_SECONDS, 2 * self._pause)
            return
        self._connected_at = self.reactor.seconds()
        self._far = _End(self, far, self._from_kernel)
        self.balance()

    def _to_kernel(self, data: bytes) -> None:
        assert self._far is not None  # noqa: S101 - else nothing is read
        self._far.write(data)
        if self._far is not None and self._far.full:
            self.balance()

    def _from_kernel(self, data: bytes) -> None:
        assert self._near is not None  # noqa: S101 - else nothing is read
        try:
            self._meter.feed(data)
        except ZmtpError as exc:
            log.info("connection to {path} ended: {why}", path=self._path, why=str(exc))
            self.close()
            return
        self._near.write(data)
        if self._near is not None and not self._takes_more():
            self.balance()

    def _takes_more(self) -> bool:
        """Return whether the ZeroMQ socket may get more of the kernel's bytes."""
        assert self._near is not None  # noqa: S101 - else there is nothing to give
        return not self._near.full and self._meter.completed - self._delivered < WINDOW_BYTES

    def balance(self) -> None:
        """Read from each side what the other takes."""
        if self._near is not None and self._far is not None:
            self._held = not self._takes_more()
            self._near.read(on=not self._far.full)
            self._far.read(on=not self._held)

    def lost(self) -> None:
        """End both connections; the ZeroMQ socket makes another by itself.

        Not when something of the old one still waits to be read: a peer that comes back fills no second window.
        """
        lasted = self.reactor.seconds() - self._connected_at
        self._pause = RETRY_SECONDS if lasted >= MAX_RETRY_SECONDS else min(MAX_RETRY_SECONDS, 2 * self._pause)
        if self._meter.completed > self._delivered:
            self.close()
        else:
            self._end()

    def _end(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        ends, self._near, self._far = (self._near, self._far), None, None
        for end in ends:
            if end is not None:
                with contextlib.suppress(OSError):
                    end.close()
