"""ZMTP 3.0 without input or output: as much of it as the relay needs (ZeroMQ RFC 23, NULL mechanism, standard library).

A connection begins with a greeting of 64 bytes from each side, then a READY command, then come frames: one byte of
flags, a length of one byte or eight, a body. A message is one or more frames.
"""

from __future__ import annotations

import struct

GREETING_BYTES = 64
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)

_MORE, _LONG, _COMMAND = 1, 2, 4
_MAX_SHORT = 255

SUBSCRIBE, CANCEL = b"\x01", b"\x00"


class ProtocolError(Exception):
    """The other side does not speak ZMTP 3 with the NULL mechanism."""


def frame(body: bytes, flags: int = 0) -> bytes:
    """Return one frame."""
    if len(body) > _MAX_SHORT:
        return struct.pack("!BQ", flags | _LONG, len(body)) + body
    return bytes((flags, len(body))) + body


def message(parts: list[bytes]) -> bytes:
    """Return the frames of a message of several parts."""
    return b"".join(frame(part, _MORE) for part in parts[:-1]) + frame(parts[-1])


def opening(socket_type: str) -> bytes:
    """Return what a socket of this type sends first: greeting and READY command."""
    properties = b""
    for name, value in ((b"Socket-Type", socket_type.encode("ascii")), (b"Identity", b"")):
        properties += bytes((len(name),)) + name + struct.pack("!I", len(value)) + value
    return GREETING + frame(b"\x05READY" + properties, _COMMAND)


def check_greeting(data: bytes) -> None:
    """Raise `ProtocolError` when the 64 bytes are not the greeting of a peer to talk to."""
    if data[0] != 0xFF or not data[9] & 1 or data[10] < 3:
        raise ProtocolError("the peer speaks an older protocol than ZMTP 3")
    if data[12:32].rstrip(b"\0") != b"NULL":
        raise ProtocolError("the peer asks for authentication")


class Decoder:
    """Turns the bytes of a peer into messages; one above ``max_message_bytes`` is thrown away as it comes."""

    def __init__(self, max_message_bytes: int) -> None:
        #: Whether the peer has said what it is: from then on messages may be exchanged.
        self.established = False
        self._max = max_message_bytes
        self._greeted = False
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._size = 0
        self._dropping = False
        self._skip: tuple[int, int] | None = None

    def feed(self, data: bytes) -> None:
        """Take bytes; `next_message` makes messages of them."""
        self._buffer += data

    @property
    def rest(self) -> bytes:
        """Bytes that no message has been made of yet."""
        return bytes(self._buffer)

    def greeted(self) -> bool:
        """Take greeting and READY, and nothing after; return whether both have come. Raises `ProtocolError`."""
        if not self._greeted:
            if len(self._buffer) < GREETING_BYTES:
                return False
            check_greeting(bytes(self._buffer[:GREETING_BYTES]))
            del self._buffer[:GREETING_BYTES]
            self._greeted = True
        while not self.established and (found := self._next_frame()) is not None:
            flags, body = found
            if not flags & _COMMAND:
                raise ProtocolError("the peer sent a message before it was ready")
            self._take_command(body)
        return self.established

    def next_message(self) -> list[bytes] | None:
        """Return the next message, or None until more bytes come. Raises `ProtocolError`."""
        if not self.greeted():
            return None
        while (found := self._next_frame()) is not None:
            flags, body = found
            if flags & _COMMAND:
                self._take_command(body)
                continue
            self._parts.append(body)
            if not flags & _MORE:
                parts, dropped = self._parts, self._dropping
                self._parts, self._size, self._dropping = [], 0, False
                if not dropped:
                    return parts
        return None

    def _take_command(self, body: bytes) -> None:
        if body.startswith(b"\x05READY"):
            self.established = True
        elif body.startswith(b"\x05ERROR"):
            raise ProtocolError("the peer refused the connection")

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Return flags and body of the next frame; the body is empty when it is thrown away."""
        if self._skip is None:
            if len(self._buffer) < 2 or (self._buffer[0] & _LONG and len(self._buffer) < 9):
                return None
            flags, start, length = self._buffer[0], 2, self._buffer[1]
            if flags & _LONG:
                start, length = 9, int.from_bytes(self._buffer[1:9], "big")
            if self._dropping or self._size + length > self._max:
                if flags & _COMMAND:
                    raise ProtocolError("the peer sent a command that is too large")
                self._dropping, self._parts = True, []
                self._skip = (flags, length)
                del self._buffer[:start]
            else:
                if len(self._buffer) < start + length:
                    return None
                body = bytes(self._buffer[start : start + length])
                del self._buffer[: start + length]
                if not flags & _COMMAND:
                    self._size += length
                return flags, body
        flags, left = self._skip
        taken = min(left, len(self._buffer))
        del self._buffer[:taken]
        self._skip = (flags, left - taken) if left > taken else None
        return None if self._skip else (flags, b"")
