"""How one message is framed on a WebSocket of Jupyter's: as JSON, as JSON with buffers, or in separate parts.

Without a subprotocol a message is JSON text; one with buffers is binary: the number of parts and the offset of each, as
unsigned 32-bit integers, most significant byte first, then the JSON and the buffers. With the subprotocol
``v1.kernel.websocket.jupyter.org`` every message is binary: number of offsets and offsets as unsigned 64-bit integers,
least significant byte first, then channel, header, parent_header, metadata, content and the buffers; the last offset is
the end of the message. Source: the documentation of Jupyter Server, "WebSocket kernel wire protocols".
"""

from __future__ import annotations

import itertools
import struct
from typing import TYPE_CHECKING

import attrs

from appliance.errors import InvalidMessage
from appliance.protocol.frames import (
    MAX_BUFFERS,
    ClientMessage,
    KernelFrame,
    checked_client_message,
    decode_client_json,
    parse_client_message,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

V1 = "v1.kernel.websocket.jupyter.org"

#: What a client may say is the channel of its message; it is only looked at for being one.
CLIENT_CHANNELS = ("shell", "control", "stdin")

#: Parts before the buffers in version 1: channel, header, parent_header, metadata, content.
_V1_PARTS = 5


@attrs.frozen
class Framing:
    """How messages look on a connection: ``encode`` returns the payload and whether it is binary."""

    name: str
    encode: Callable[[KernelFrame], tuple[bytes, bool]]
    decode_text: Callable[[str, str], ClientMessage]
    decode_binary: Callable[[bytes, str], ClientMessage] | None


def _encode_text(frame: KernelFrame) -> tuple[bytes, bool]:
    return frame.text, False


def _encode_json(frame: KernelFrame) -> tuple[bytes, bool]:
    if not frame.buffers:
        return frame.text, False
    parts = (frame.text, *frame.buffers)
    offsets, end = [], 4 * (len(parts) + 1)
    for part in parts:
        offsets.append(end)
        end += len(part)
    return b"".join((struct.pack(f">{len(parts) + 1}I", len(parts), *offsets), *parts)), True


def _encode_v1(frame: KernelFrame) -> tuple[bytes, bool]:
    parts = (frame.channel.encode("ascii"), *frame.parts, *frame.buffers)
    count = len(parts) + 1
    offsets = [8 * (count + 1)]
    for part in parts:
        offsets.append(offsets[-1] + len(part))
    return b"".join((struct.pack(f"<{count + 1}Q", count, *offsets), *parts)), True


def _slices(data: bytes, offsets: Sequence[int], first: int) -> list[bytes]:
    """Return what lies between the offsets, which must grow from at least ``first`` to the end of the data."""
    if offsets[0] < first or offsets[-1] > len(data) or any(a > b for a, b in itertools.pairwise(offsets)):
        raise InvalidMessage("The offsets of the binary message do not fit it.")
    return [data[start:end] for start, end in itertools.pairwise(offsets)]


def _offsets(data: bytes, number: str, most: int) -> list[int]:
    """Return the offsets at the beginning of a message, each packed as the struct format ``number``."""
    size = struct.calcsize(number)
    if len(data) < size:
        raise InvalidMessage("The binary message is too short.")
    (count,) = struct.unpack_from(number, data)
    if not 1 <= count <= most or len(data) < size * (count + 1):
        raise InvalidMessage(f"The binary message must have 1 to {most} offsets.")
    return list(struct.unpack_from(f"{number[0]}{count}{number[1]}", data, size))


def _decode_json(data: bytes, date: str) -> ClientMessage:
    offsets = _offsets(data, ">I", 1 + MAX_BUFFERS)
    text, *buffers = _slices(data, [*offsets, len(data)], 4 * (len(offsets) + 1))
    return parse_client_message(text, date, tuple(buffers))


def _decode_v1(data: bytes, date: str) -> ClientMessage:
    offsets = _offsets(data, "<Q", _V1_PARTS + 1 + MAX_BUFFERS)
    if len(offsets) < _V1_PARTS + 1:
        raise InvalidMessage("The binary message has too few parts.")
    channel, *parts = _slices(data, offsets, 8 * (len(offsets) + 1))
    if channel.decode("latin-1") not in CLIENT_CHANNELS:
        raise InvalidMessage(f"The channel must be one of {', '.join(CLIENT_CHANNELS)}.")
    header, *others = (decode_client_json(part) for part in parts[: _V1_PARTS - 1])
    if type(header) is not dict:
        raise InvalidMessage("The header is not a JSON object.")
    return checked_client_message(header, others, date, tuple(parts[_V1_PARTS - 1 :]))


def _no_text(text: str, date: str) -> ClientMessage:
    raise InvalidMessage(f"Messages of {V1} are binary.")


#: What cells speak: text only, buffers are left out.
TEXT = Framing("text", _encode_text, parse_client_message, None)

#: What clients of Jupyter speak that name no subprotocol.
JSON = Framing("json", _encode_json, parse_client_message, _decode_json)

VERSION_1 = Framing("v1", _encode_v1, _no_text, _decode_v1)
