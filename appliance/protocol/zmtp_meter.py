"""Counts what a ZeroMQ peer sends, without input or output: how much of a message has come, how much in whole ones.

libzmq limits a frame (``ZMQ_MAXMSGSIZE``) and the number of messages (``ZMQ_RCVHWM``), but not how many frames a
message has: a hostile peer that never sends the last one fills our memory, and nobody who reads messages sees it.
Source of the format: ZMTP 3.0 and 3.1 (ZeroMQ RFC 23 and 37), as `appliance.kernel.zmtp` speaks it.
"""

from __future__ import annotations

GREETING_BYTES = 64

#: What libzmq needs for a frame beside its bytes.
FRAME_COST = 64

#: Largest command: READY has the socket's type and an identity of at most 255 bytes.
MAX_COMMAND_BYTES = 1024

#: The commands of a peer that only sends messages. SUBSCRIBE and CANCEL would be queued like messages.
_COMMANDS = (b"\x05READY", b"\x05ERROR", b"\x04PING", b"\x04PONG")

_MORE, _LONG, _COMMAND = 1, 2, 4
_HEAD_BYTES = (2, 9)


class ZmtpError(Exception):
    """The peer sent what no peer of ours sends, or a message that is too large; says which."""


class ZmtpMeter:
    """Takes the bytes of one peer as they come."""

    def __init__(self, max_message_bytes: int) -> None:
        """``max_message_bytes``: largest message, with `FRAME_COST` for each frame."""
        #: Bytes in the messages that are complete.
        self.completed = 0
        self._max = max_message_bytes
        self._greeting = 0
        self._head = b""
        self._command = bytearray()
        self._flags = 0
        self._left = 0
        self._payload = 0
        self._cost = 0

    def feed(self, data: bytes) -> None:
        """Take bytes. Raises `ZmtpError`."""
        position = self._greet(data) if self._greeting < GREETING_BYTES else 0
        end = len(data)
        while position < end:
            if self._left == 0:
                position = self._whole_frames(data, position) or self._begin_frame(data, position)
                continue
            taken = min(self._left, end - position)
            if self._flags & _COMMAND:
                self._command += data[position : position + taken]
            position += taken
            self._left -= taken
            if self._left == 0:
                self._end_frame()

    def _greet(self, data: bytes) -> int:
        """Look at the greeting, of which each side sends the rest only after it has seen the other's beginning."""
        taken = min(len(data), GREETING_BYTES - self._greeting)
        for index in range(taken):
            at, byte = self._greeting + index, data[index]
            # a peer that announces less than version 3 frames its messages in another way
            if (at == 0 and byte != 0xFF) or (at == 9 and not byte & 1) or (at == 10 and byte < 3):
                raise ZmtpError("it does not speak ZMTP 3")
            if at == 12:
                break
        self._greeting += taken
        return taken

    def _whole_frames(self, data: bytes, position: int) -> int:
        """Take the short frames of messages that are all there; return where the next frame begins, 0 if there is none.

        That is most of what kernels send, and what the general way spends most of its time on.
        """
        if self._head:
            return 0
        began, end = position, len(data)
        while position + 1 < end and data[position] <= _MORE:
            size = data[position + 1]
            if position + 2 + size > end:
                break
            self._payload += size
            self._cost += size + FRAME_COST
            if self._cost > self._max:
                raise ZmtpError(f"it sent a message of more than {self._max} bytes")
            if not data[position]:
                self.completed += self._payload
                self._payload = self._cost = 0
            position += 2 + size
        return position if position > began else 0

    def _begin_frame(self, data: bytes, position: int) -> int:
        """Read the head of a frame, which may have begun in earlier bytes; return where its body begins."""
        size = _HEAD_BYTES[bool((self._head[0] if self._head else data[position]) & _LONG)]
        taken = data[position : position + size - len(self._head)]
        head, position = self._head + taken, position + len(taken)
        if len(head) < size:
            self._head = head
            return position
        self._head = b""
        self._flags, self._left = head[0], int.from_bytes(head[1:], "big")
        if self._flags & _COMMAND:
            if self._flags & _MORE or self._left > MAX_COMMAND_BYTES:
                raise ZmtpError("it sent a command that is none")
        else:
            self._payload += self._left
            self._cost += self._left + FRAME_COST
            if self._flags & ~(_MORE | _LONG) or self._cost > self._max:
                raise ZmtpError(f"it sent a message of more than {self._max} bytes")
        if self._left == 0:
            self._end_frame()
        return position

    def _end_frame(self) -> None:
        if self._flags & _COMMAND:
            if not self._command.startswith(_COMMANDS):
                raise ZmtpError("it sent a command that is none")
            self._command.clear()
        elif not self._flags & _MORE:
            self.completed += self._payload
            self._payload = self._cost = 0
