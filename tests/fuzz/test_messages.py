"""What kernels and browsers send: `protocol.frames`, both directions."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import InvalidMessage
from appliance.protocol import frames
from tests.fuzz.budget import ROUND, fuzz, seconds

pytestmark = pytest.mark.timeout(seconds() + 120)

KEY = b"key"

ANY_TEXT = st.text(st.characters(), max_size=40)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4), max_leaves=12
)
#: Texts that are nearly JSON: numbers without end, deep nests, keys twice, bytes that are no UTF-8.
NEARLY = st.sampled_from(
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"{",
        b"{}{}",
        b"{} ",
        b"\xef\xbb\xbf{}",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b"{'a':1}",
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
        b'{"a":\xff}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":1e999}',
        b'{"a":"\\ud800"}',
        b'{"a":"\n"}',
        b'{"msg_id":"\\u0000"}',
        b'{"a":-}',
        b"\x00",
        b'{"a":"' + b"x" * 70_000 + b'"}',
        b"\xed\xa0\x80",
        b'{"a":"\xed\xa0\x80"}',
    ]
)


def dumped(value: object) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


TYPES = [
    *sorted(frames.KERNEL_TYPES["iopub"] | frames.KERNEL_TYPES["shell"] | frames.CLIENT_TYPES),
    "x",
    "",
    "status\n",
]
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "msg_id": ANY_TEXT | SCALARS,
        "msg_type": st.sampled_from(TYPES) | SCALARS,
        "session": JSON,
        "username": JSON,
        "date": JSON,
        "version": JSON,
    },
)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={"execution_state": SCALARS, "code": ANY_TEXT | SCALARS, "data": JSON, "name": SCALARS, "text": ANY_TEXT},
)
PARTS = st.binary(max_size=60) | NEARLY | JSON.map(dumped) | HEADERS.map(dumped) | CONTENTS.map(dumped)


def check_code(code: str) -> None:
    assert code.isidentifier()


def check_sentence(message: str) -> None:
    assert message.endswith(".")


def strict(text: bytes) -> object:
    """Decode as a browser does: neither NaN nor bytes that are no UTF-8."""

    def refuse(name: str) -> object:
        raise AssertionError(f"{name} reached the browser")

    return json.loads(text.decode("utf-8"), parse_constant=refuse)


def check_kernel_message(channel: str, parts: list[bytes]) -> None:
    try:
        frame = frames.parse_kernel_message(channel, parts, KEY)
    except frames.FrameRejectedError as exc:
        check_code(exc.code)
        return
    assert frame.msg_type in frames.KERNEL_TYPES[channel]
    assert len(frame.msg_id) <= frames.MAX_ID_CHARS
    message = strict(frame.text)
    assert isinstance(message, dict)
    # nothing that a kernel writes can change what the frame says of itself
    assert (message["channel"], message["msg_type"], message["msg_id"]) == (channel, frame.msg_type, frame.msg_id)
    assert set(message) == {"channel", "msg_type", "msg_id", "header", "parent_header", "metadata", "content"}
    assert all(type(message[name]) is dict for name in ("header", "parent_header", "metadata", "content"))
    assert b"\n" not in frame.text or b"\n" in b"".join(parts)


@ROUND
@given(st.sampled_from(["shell", "iopub"]), st.lists(st.binary(max_size=40) | st.just(frames.DELIMITER), max_size=12))
def any_parts(channel: str, parts: list[bytes]) -> None:
    check_kernel_message(channel, parts)


@ROUND
@given(
    st.sampled_from(["shell", "iopub"]),
    st.lists(st.binary(max_size=9), max_size=10),
    st.tuples(HEADERS.map(dumped) | PARTS, PARTS, PARTS, CONTENTS.map(dumped) | PARTS),
    st.lists(st.binary(max_size=9), max_size=3),
    st.booleans(),
)
def signed_parts(channel: str, topic: list[bytes], parts: tuple[bytes, ...], buffers: list[bytes], whole: bool) -> None:
    signature = frames.sign(KEY, parts) if whole else frames.sign(b"other", parts)
    if not whole:
        with pytest.raises(frames.FrameRejectedError):
            frames.parse_kernel_message(channel, [*topic, frames.DELIMITER, signature, *parts, *buffers], KEY)
        return
    check_kernel_message(channel, [*topic, frames.DELIMITER, signature, *parts, *buffers])


MESSAGES = st.fixed_dictionaries(
    {},
    optional={
        "header": HEADERS | JSON,
        "parent_header": JSON,
        "metadata": JSON,
        "content": CONTENTS | JSON,
        "channel": JSON,
    },
)


@ROUND
@given(ANY_TEXT | PARTS | MESSAGES.map(dumped) | MESSAGES.map(lambda value: json.dumps(value, ensure_ascii=False)))
def any_client_message(text: str | bytes) -> None:
    try:
        message = frames.parse_client_message(text, "2026-01-01T00:00:00Z")
    except InvalidMessage as exc:
        check_sentence(exc.message)
        return
    assert message.msg_type in frames.CLIENT_TYPES
    assert 0 < len(message.msg_id) <= frames.MAX_ID_CHARS
    for part in message.parts:
        assert type(strict(part)) is dict
    # a kernel reads it with another parser: what is signed is what was understood
    header = strict(message.parts[0])
    assert isinstance(header, dict)
    assert (header["msg_id"], header["msg_type"]) == (message.msg_id, message.msg_type)
    parts = frames.serialize(KEY, message)
    assert parts[0] == frames.DELIMITER
    assert parts[1] == frames.sign(KEY, parts[2:])
    if message.msg_type == "execute_request":
        content = strict(message.parts[3])
        assert isinstance(content, dict)
        assert content["allow_stdin"] is False
        assert type(content["code"]) is str


def test_any_parts_of_a_kernel() -> None:
    fuzz(any_parts)


def test_signed_parts_of_a_kernel() -> None:
    fuzz(signed_parts)


def test_any_message_of_a_browser() -> None:
    fuzz(any_client_message)
