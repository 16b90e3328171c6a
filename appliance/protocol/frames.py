"""Messages between kernels (ZeroMQ parts) and browsers (JSON text): parsed once, on the line they cross.

A kernel's message is the parts ``[topic..., b"<IDS|MSG>", signature, header, parent_header, metadata, content,
buffers...]``; the signature is the HMAC-SHA256 of the four JSON parts (Jupyter messaging, "The wire protocol"). A
browser gets one JSON object with ``channel``, ``msg_type``, ``msg_id`` and those four. The four parts of a kernel are
UTF-8 JSON already, so the text for the browser is their concatenation; since kernels are hostile, each part is first
parsed and must be an object. Buffers (binary, unsigned) are kept beside it, for the doors that carry them
(`protocol.jupyter_websocket`).
"""

from __future__ import annotations

import functools
import hmac
import json
import struct
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import InvalidMessage
from appliance.signature import Signer

if TYPE_CHECKING:
    from collections.abc import Mapping

DELIMITER = b"<IDS|MSG>"

#: header, parent_header, metadata, content
Parts = tuple[bytes, bytes, bytes, bytes]

#: Version of the messaging protocol put into headers that have none.
PROTOCOL_VERSION = "5.3"

#: Topic or routing parts before the delimiter.
MAX_TOPIC_PARTS = 8

#: The four JSON parts of a kernel's message together: a large image fits, and parsing it stays below a tenth of a
#: second.
MAX_KERNEL_MESSAGE_BYTES = 10_485_760

#: Opening brackets in a kernel's message: objects and lists are what makes parsing expensive in memory.
MAX_CONTAINERS = 1_000_000

#: Buffers of one message, either way; widgets use a few.
MAX_BUFFERS = 32

#: What a kernel may say again: bytes, messages, and parts of all together. It keeps half as much.
MAX_REPLAY_BYTES = 4_194_304
MAX_REPLAYED = 8192
MAX_REPLAYED_PARTS = 131_072

_REPLAY_CHANNELS = ("iopub", "shell")
_REPLAY_HEAD = struct.Struct("<BH")
_REPLAY_LENGTH = struct.Struct("<I")

#: Characters of a msg_id: clients use a uuid, the kernel a uuid and a counter.
MAX_ID_CHARS = 128

#: Keys of kernels whose signers are kept: more than one process has.
MAX_RECENT_KEYS = 1024

#: Parsed parent headers that are remembered, and the largest of them: together at most a megabyte.
MAX_RECENT_PARENTS = 512
MAX_RECENT_PARENT_BYTES = 1024

#: What a browser may send to a kernel, and whether an answer is due.
REQUEST_TYPES = frozenset(
    {
        "execute_request",
        "inspect_request",
        "complete_request",
        "history_request",
        "is_complete_request",
        "comm_info_request",
        "kernel_info_request",
        "sagenb.interact.update_interact",
    }
)
COMM_TYPES = frozenset({"comm_open", "comm_msg", "comm_close"})
INTERRUPT_REQUEST = "interrupt_request"
SHUTDOWN_REQUEST = "shutdown_request"
INPUT_REPLY = "input_reply"
CLIENT_TYPES = REQUEST_TYPES | COMM_TYPES | {INTERRUPT_REQUEST, SHUTDOWN_REQUEST, INPUT_REPLY}

#: What a kernel says to this server alone: that it is to be kept although its evaluations end.
KERNEL_TIMEOUT = "kernel_timeout"

#: ... and what is in a file that its program left: its name in ``name``, the bytes in a buffer. Over shell before the
#: reply that tells of it, over iopub before what displays it.
SESSION_FILE = "session_file"

#: What a kernel says to the process that asks what it said before, on iopub: from here on, that hears it itself.
REPLAY_MARK = "replay_mark"


def reply_type(request_type: str) -> str:
    """Return the type of the message that answers a request."""
    return request_type.removesuffix("_request") + "_reply"


#: What a kernel may send, by channel.
KERNEL_TYPES: Mapping[str, frozenset[str]] = {
    "shell": frozenset(map(reply_type, REQUEST_TYPES)) | {SESSION_FILE},
    "stdin": frozenset({"input_request"}),
    "control": frozenset({"replay_reply"}),
    "iopub": COMM_TYPES
    | {
        "stream",
        "display_data",
        "update_display_data",
        "execute_input",
        "execute_result",
        "error",
        "status",
        "clear_output",
        KERNEL_TIMEOUT,
        REPLAY_MARK,
        SESSION_FILE,
    },
}


class FrameRejectedError(Exception):
    """A kernel's message is not one; the kernel's fault, never shown to a client as an error of the server."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@attrs.frozen
class KernelFrame:
    """A message for the browser: what decisions need of it, its JSON text in UTF-8, its four JSON parts and buffers."""

    channel: str
    msg_type: str
    msg_id: str
    parent_id: str
    content: Mapping[str, Any]
    text: bytes
    parts: Parts = (b"{}", b"{}", b"{}", b"{}")
    buffers: tuple[bytes, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of the message, buffers included."""
        return len(self.text) + sum(map(len, self.buffers)) if self.buffers else len(self.text)


@attrs.frozen
class ClientMessage:
    """A message of a browser: its header, and the four JSON parts for the kernel and the buffers."""

    msg_type: str
    msg_id: str
    header: Mapping[str, Any]
    parts: Parts
    buffers: tuple[bytes, ...] = ()

    @property
    def channel(self) -> str:
        """The socket of the kernel that the message is for; control is the pool's business."""
        return "stdin" if self.msg_type == INPUT_REPLY else "shell"


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# Python's JSON takes NaN and Infinity, which browsers refuse
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)
_decode = _decoder.decode

#: What JSON allows around a value (RFC 8259, section 2).
_BLANKS = " \t\n\r"

_encode_string = json.encoder.encode_basestring_ascii
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


_signer = functools.lru_cache(MAX_RECENT_KEYS)(Signer)


def sign(key: bytes, parts: tuple[bytes, ...] | list[bytes]) -> bytes:
    """Return the signature of the four JSON parts."""
    return _signer(key).sign(parts)


def serialize(key: bytes, message: ClientMessage) -> list[bytes]:
    """Return the parts of a browser's message for a socket of a kernel."""
    return [DELIMITER, sign(key, message.parts), *message.parts, *message.buffers]


def _object(part: bytes) -> dict[str, Any]:
    """Return the JSON object in ``part``; raises `FrameRejectedError`."""
    if part == b"{}":
        return {}
    try:
        text = part.decode("utf-8")
        if text.startswith("{"):
            # looking for blanks on both sides costs more than reading a short object
            value, end = _decoder.raw_decode(text)
            if text[end:].strip(_BLANKS):
                raise ValueError("Extra data")
        else:
            value = _decode(text)
    except (ValueError, RecursionError) as exc:
        raise FrameRejectedError("not_json") from exc
    if type(value) is not dict:
        raise FrameRejectedError("not_an_object")
    return value


def _parent_id(part: bytes) -> str:
    """Return the msg_id in a parent header, or empty; raises `FrameRejectedError`."""
    parent_id = _object(part).get("msg_id", "")
    return parent_id if type(parent_id) is str else ""


#: The messages of a cell all have the same parent.
_recent_parent_id = functools.lru_cache(MAX_RECENT_PARENTS)(_parent_id)


def parse_kernel_message(channel: str, parts: list[bytes], key: bytes) -> KernelFrame:
    """Return the message in the ZeroMQ ``parts`` read from ``channel`` (a key of `KERNEL_TYPES`).

    Raises `FrameRejectedError` when it is not signed with ``key``, not a message, too large, or of a type that
    browsers do not get.
    """
    try:
        start = parts.index(DELIMITER, 0, MAX_TOPIC_PARTS + 1)
        signature, header_part, parent_part, metadata_part, content_part = parts[start + 1 : start + 6]
    except ValueError as exc:
        raise FrameRejectedError("not_a_message") from exc
    signed = (header_part, parent_part, metadata_part, content_part)
    buffers = tuple(parts[start + 6 :])
    size = sum(map(len, signed))
    if size + sum(map(len, buffers)) > MAX_KERNEL_MESSAGE_BYTES or len(buffers) > MAX_BUFFERS:
        raise FrameRejectedError("too_large")
    if not hmac.compare_digest(sign(key, signed), signature):
        raise FrameRejectedError("bad_signature")
    # a shorter one cannot hold so many
    if size > MAX_CONTAINERS and sum(part.count(b"[") + part.count(b"{") for part in signed) > MAX_CONTAINERS:
        raise FrameRejectedError("too_large")
    header = _object(header_part)
    msg_type = header.get("msg_type")
    msg_id = header.get("msg_id")
    if type(msg_type) is not str or type(msg_id) is not str or len(msg_id) > MAX_ID_CHARS:
        raise FrameRejectedError("bad_header")
    if msg_type not in KERNEL_TYPES[channel]:
        raise FrameRejectedError("type_not_allowed")
    parent_id = (_recent_parent_id if len(parent_part) <= MAX_RECENT_PARENT_BYTES else _parent_id)(parent_part)
    _object(metadata_part)
    content = _object(content_part)
    return KernelFrame(
        channel,
        msg_type,
        msg_id,
        parent_id,
        content,
        _text(channel, msg_type, msg_id, signed),
        signed,
        buffers,
    )


def parse_replay(packed: bytes, key: bytes) -> list[KernelFrame]:
    """Return the messages that a kernel says again (`appliance.kernel.memory` packs them), as far as they are any.

    Each is checked like one that comes by itself. Raises `FrameRejectedError` when the packing is broken.
    """
    if len(packed) > MAX_REPLAY_BYTES:
        raise FrameRejectedError("bad_replay")
    found: list[KernelFrame] = []
    position = part_count = 0
    try:
        for _ in range(MAX_REPLAYED):
            if position == len(packed):
                return found
            channel, count = _REPLAY_HEAD.unpack_from(packed, position)
            position += _REPLAY_HEAD.size
            part_count += count
            if part_count > MAX_REPLAYED_PARTS:
                break
            parts = []
            for _ in range(count):
                (length,) = _REPLAY_LENGTH.unpack_from(packed, position)
                start = position + _REPLAY_LENGTH.size
                position = start + length
                parts.append(packed[start:position])
            if position > len(packed):
                raise FrameRejectedError("bad_replay")
            try:
                found.append(parse_kernel_message(_REPLAY_CHANNELS[channel], parts, key))
            except FrameRejectedError:
                continue
    except (struct.error, IndexError) as exc:
        raise FrameRejectedError("bad_replay") from exc
    raise FrameRejectedError("bad_replay")


def _text(channel: str, msg_type: str, msg_id: str, signed: Parts) -> bytes:
    """Return the JSON text of a message whose four parts are known to be JSON objects."""
    return b'{"channel":"%b","msg_type":"%b","msg_id":%b,"header":%b,"parent_header":%b,"metadata":%b,"content":%b}' % (
        channel.encode("ascii"),
        msg_type.encode("ascii"),
        _encode_string(msg_id).encode("ascii"),
        *signed,
    )


def make_frame(
    channel: str,
    msg_type: str,
    content: Mapping[str, Any],
    *,
    parent: Mapping[str, Any],
    msg_id: str,
    session: str,
    date: str,
) -> KernelFrame:
    """Return a message that the server itself says, in the form of a kernel's; ``parent`` is the header answered."""
    header = {
        "msg_id": msg_id,
        "msg_type": msg_type,
        "username": "",
        "session": session,
        "date": date,
        "version": PROTOCOL_VERSION,
    }
    signed: Parts = tuple(_encode(part).encode("ascii") for part in (header, parent, {}, content))  # type: ignore[assignment]
    parent_id = parent.get("msg_id", "")
    return KernelFrame(channel, msg_type, msg_id, parent_id, content, _text(channel, msg_type, msg_id, signed), signed)


def parent_header(frame: KernelFrame) -> dict[str, Any]:
    """Return the header of the request that a message belongs to; empty when it is none."""
    try:
        return _object(frame.parts[1])
    except FrameRejectedError:
        return {}


def make_client_message(header: Mapping[str, Any], content: Mapping[str, Any]) -> ClientMessage:
    """Return a message that the server itself sends to a kernel."""
    parts = (_encode(header).encode("ascii"), b"{}", b"{}", _encode(content).encode("ascii"))
    return ClientMessage(header["msg_type"], header["msg_id"], header, parts)


def parse_client_message(text: str | bytes, date: str, buffers: tuple[bytes, ...] = ()) -> ClientMessage:
    """Return the message in the JSON ``text`` of a browser; ``date`` (ISO 8601) goes into a header that has none.

    Raises `InvalidMessage` with a sentence for the author of the client.
    """
    message = decode_client_json(text)
    if type(message) is not dict:
        raise InvalidMessage("The message is not a JSON object.")
    header = message.get("header")
    if type(header) is not dict:
        raise InvalidMessage("The message has no header: an object with msg_id and msg_type.")
    return checked_client_message(header, [message.get(name) for name in _OTHER_PARTS], date, buffers)


_OTHER_PARTS = ("parent_header", "metadata", "content")


def decode_client_json(text: str | bytes) -> Any:
    """Return what a client's JSON text holds; raises `InvalidMessage`."""
    try:
        return _decode(text if isinstance(text, str) else text.decode("utf-8"))
    except ValueError as exc:
        raise InvalidMessage(f"The message is not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise InvalidMessage("The message is nested too deeply.") from exc


def checked_client_message(
    header: dict[str, Any], others: list[Any], date: str, buffers: tuple[bytes, ...]
) -> ClientMessage:
    """Return the message made of a client's header and its parent_header, metadata and content.

    Raises `InvalidMessage`.
    """
    msg_type = header.get("msg_type")
    if type(msg_type) is not str:
        raise InvalidMessage("header.msg_type is missing or not a string.")
    if msg_type not in CLIENT_TYPES:
        raise InvalidMessage(f"header.msg_type {msg_type[:64]!r} is not one of {', '.join(sorted(CLIENT_TYPES))}.")
    msg_id = header.get("msg_id")
    if type(msg_id) is not str or not 0 < len(msg_id) <= MAX_ID_CHARS:
        raise InvalidMessage(f"header.msg_id must be a string of 1 to {MAX_ID_CHARS} characters.")
    if not all(value is None or isinstance(value, str | int | float) for value in header.values()):
        raise InvalidMessage("header may hold strings and numbers only.")
    if len(buffers) > MAX_BUFFERS:
        raise InvalidMessage(f"A message has at most {MAX_BUFFERS} buffers.")
    header.setdefault("date", date)
    header.setdefault("version", PROTOCOL_VERSION)
    header.setdefault("username", "")
    header.setdefault("session", "")
    objects: list[dict[str, Any]] = []
    for name, given in zip(_OTHER_PARTS, others, strict=True):
        value = {} if given is None else given
        if type(value) is not dict:
            raise InvalidMessage(f"{name} is not an object.")
        objects.append(value)
    content = objects[2]
    if msg_type == "execute_request":
        if type(content.get("code")) is not str:
            raise InvalidMessage("content.code is missing or not a string.")
        # a client that does not say that it can answer cannot: input() must fail instead of waiting for ever
        content["allow_stdin"] = content.get("allow_stdin") is True
    if msg_type == INPUT_REPLY and type(content.get("value")) is not str:
        raise InvalidMessage("content.value is missing or not a string.")
    try:
        parts = tuple(_encode(value).encode("ascii") if value else b"{}" for value in (header, *objects))
    except RecursionError as exc:
        raise InvalidMessage("The message is nested too deeply.") from exc
    except ValueError as exc:
        # Python reads 1e999 and does not write what it read
        raise InvalidMessage("The message holds a number that is too large.") from exc
    return ClientMessage(msg_type, msg_id, header, parts, buffers)  # type: ignore[arg-type]
