"""The iopub socket as ipykernel's shell sees it: any thread may send; nothing goes out before a fork attached one.

A message is sent whole from the calling thread under a lock. ipykernel's own IOPub thread would be woken about sixteen
times for each cell; this is where most of the time of a short cell went.
"""

from __future__ import annotations

import collections
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import zmq

from appliance.kernel.memory import Memory
from appliance.kernel.uninterrupted import Uninterrupted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from appliance.kernel.sage.interrupts import NativeHandler

# arithmetic with zmq's enumerations costs a microsecond for each part
_SNDMORE = int(zmq.SNDMORE)


class Publisher:
    """Sends messages on a PUB socket; a sink until `attach` is called."""

    def __init__(self) -> None:
        self._socket: Any = None
        self._lock = threading.RLock()
        self._pid = 0
        self._main_is_sending = False
        self._waiting: collections.deque[tuple[Sequence[Any], int, bool]] = collections.deque()
        #: Where visitor's code is not interrupted.
        self.uninterrupted = Uninterrupted()
        #: What was sent last; None before `attach`.
        self.memory: Memory | None = None
        #: True while visitor's code may be interrupted.
        self.interruptible = False
        #: Installs a handler of SIGINT below computations in C; None: Python's own does.
        self.native_handler: NativeHandler | None = None

    def attach(self, socket: Any) -> None:
        """Send on ``socket`` (a zmq.PUB) from now on."""
        self._socket = socket
        self._pid = os.getpid()
        self.memory = Memory()

    @property
    def attached(self) -> bool:
        """Whether this very process owns the socket: false in the zygote and in a visitor's own forks."""
        return self._socket is not None and self._pid == os.getpid()

    @property
    def forgetful(self) -> _Forgetful:
        """The same, for what need not be said again and is too large to be kept."""
        return _Forgetful(self)

    def send_multipart(
        self,
        parts: Sequence[Any],
        flags: int = 0,
        copy: bool = True,
        track: bool = False,
        *,
        remember: bool = True,
        **_: Any,
    ) -> None:
        """Send one message whole, as jupyter_client's Session expects of a socket."""
        if not self.attached:
            return
        if threading.current_thread() is not threading.main_thread():
            self._send(parts, flags, remember)
            return
        with self.uninterrupted:
            self._waiting.append((parts, flags, remember))
            # a visitor's signal handler may come between any two steps of this, and have something to say
            while self._waiting and not self._main_is_sending:
                self._main_is_sending = True
                try:
                    if self._waiting:
                        self._send(*self._waiting.popleft())
                finally:
                    self._main_is_sending = False

    def _send(self, parts: Sequence[Any], flags: int, remember: bool) -> None:
        with self._lock:
            if remember and self.memory is not None:
                self.memory.keep("iopub", parts)
            send = self._socket.send
            for part in parts[:-1]:
                send(part, flags | _SNDMORE)
            send(parts[-1], flags)

    def on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Handle SIGINT: interrupt visitor's code, but never in the middle of a message."""
        if not self.interruptible:
            return
        self.raise_between_messages(KeyboardInterrupt())

    def raise_between_messages(self, interruption: BaseException) -> None:
        """In a signal handler: raise now, or when the message is out that is just being made or sent."""
        self.uninterrupted.interrupt(interruption)

    def install_interrupt_handler(self) -> None:
        """Make `on_interrupt` the handler of SIGINT."""
        if self.native_handler is None:
            signal.signal(signal.SIGINT, self.on_interrupt)
        else:
            self.native_handler.install(self.on_interrupt)


class _Forgetful:
    """A publisher whose messages are not remembered."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def send_multipart(self, parts: Sequence[Any], *_: Any, **__: Any) -> None:
        """Send one message whole."""
        self._publisher.send_multipart(parts, remember=False)
