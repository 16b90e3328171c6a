"""What a kernel said last, kept for a web role that starts anew while an evaluation runs (`replay_request` on control).

The web role that listened knows it all; when it is killed, this is what its successor can still tell a browser that
comes back. Messages are kept whole, newest last, as the parts that went over ZeroMQ.
"""

from __future__ import annotations

import struct
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Everything together; a larger message is not kept. Text of a minute, or a few pictures.
MAX_BYTES = 2_097_152
MAX_MESSAGES = 4096

CHANNELS = ("iopub", "shell")

_HEAD = struct.Struct("<BH")
_LENGTH = struct.Struct("<I")


class Memory:
    """The last messages of this kernel; any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._messages: deque[tuple[str, list[bytes], int]] = deque()
        self._bytes = 0
        self._forgot = False

    def keep(self, channel: str, parts: Sequence[bytes]) -> None:
        """Remember a message, and forget the oldest ones as need be."""
        kept = [bytes(part) for part in parts]
        size = sum(map(len, kept))
        with self._lock:
            self._messages.append((channel, kept, size))
            self._bytes += size
            while self._bytes > MAX_BYTES or len(self._messages) > MAX_MESSAGES:
                self._bytes -= self._messages.popleft()[2]
                self._forgot = True

    def clear(self) -> None:
        """Forget everything, as if it had not been."""
        with self._lock:
            self._messages.clear()
            self._bytes = 0
            self._forgot = False

    def packed(self) -> tuple[bytes, bool]:
        """Return the messages as bytes, and whether older ones were forgotten.

        Each is its channel (an index into `CHANNELS`, one byte), the number of parts (two bytes), and for each part its
        length (four bytes) and itself; numbers have the least significant byte first.
        """
        with self._lock:
            messages, forgot = list(self._messages), self._forgot
        pieces: list[bytes] = []
        for channel, parts, _ in messages:
            pieces.append(_HEAD.pack(CHANNELS.index(channel), len(parts)))
            for part in parts:
                pieces += (_LENGTH.pack(len(part)), part)
        return b"".join(pieces), forgot


class RememberedSocket:
    """A shell socket (zmq.ROUTER) whose replies are kept; it is otherwise the socket itself."""

    def __init__(self, socket: object, memory: Memory) -> None:
        self._socket = socket
        self._memory = memory

    @property
    def forgetful(self) -> object:
        """The socket, for what need not be said again and is too large to be kept."""
        return self._socket

    def send_multipart(self, parts: Sequence[bytes], *arguments: object, **options: object) -> object:
        """Send a message to the client named in its first part, and keep what follows."""
        self._memory.keep("shell", parts[1:])
        return self._socket.send_multipart(parts, *arguments, **options)  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)
