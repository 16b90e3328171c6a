"""What browsers send in the framings of Jupyter's WebSocket and of SockJS, and what a kernel says again."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadRequest, InvalidMessage
from appliance.protocol import frames, sockjs
from appliance.protocol.jupyter_websocket import JSON, VERSION_1
from appliance.web.completer import modern_question
from tests.fuzz.budget import ROUND, fuzz, seconds

pytestmark = pytest.mark.timeout(seconds() + 120)

PARTS = st.lists(st.binary(max_size=30) | st.sampled_from([b"{}", b"shell", b'{"msg_id":"a","msg_type":"comm_msg"}']))
OFFSETS = st.lists(st.integers(0, 200) | st.integers(0, 2**32 - 1), max_size=45)


@ROUND
@given(offsets=OFFSETS, parts=PARTS, junk=st.binary(max_size=20))
def binary_messages_are_messages_or_refused(offsets, parts, junk):
    for number, framing in ((">I", JSON), ("<Q", VERSION_1)):
        head = struct.pack(f"{number[0]}{len(offsets) + 1}{number[1]}", len(offsets), *offsets)
        for data in (head + b"".join(parts), junk, head[: len(junk)]):
            try:
                message = framing.decode_binary(data, "now")
            except InvalidMessage:
                continue
            assert message.msg_type in frames.CLIENT_TYPES


@ROUND
@given(text=st.text() | st.sampled_from(['["x"]', '"x"', "[[]]", "[" * 9000, '{"a":1}']))
def payloads_are_strings_or_refused(text):
    try:
        strings = sockjs.parse_messages(text)
    except BadRequest:
        return
    assert all(isinstance(string, str) for string in strings)
    assert sockjs.messages_frame(strings).isascii()


@ROUND
@given(name=st.text(max_size=20), text=st.text(max_size=50))
def a_script_holds_no_markup(name, text):
    try:
        script = sockjs.jsonp(name, text)
    except BadRequest:
        return
    assert script.isascii()
    assert not set("<>&\n") & set(script[:-2])


@ROUND
@given(
    packed=st.binary(max_size=60), channel=st.integers(0, 255), lengths=st.lists(st.integers(0, 2**32 - 1), max_size=8)
)
def what_a_kernel_says_again_is_messages_or_refused(packed, channel, lengths):
    made = struct.pack("<BH", channel, len(lengths)) + b"".join(
        struct.pack("<I", length) + packed for length in lengths
    )
    for data in (packed, made):
        try:
            said = frames.parse_replay(data, b"key")
        except frames.FrameRejectedError:
            continue
        assert said == []  # nothing of it is signed


VALUES = st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.lists(st.integers(), max_size=2)


@ROUND
@given(
    kind=st.sampled_from(["complete_request", "inspect_request", "object_info_request", "execute_request", 1, None]),
    content=st.dictionaries(
        st.sampled_from(["code", "cursor_pos", "text", "line", "oname", "detail_level", "mode"]), VALUES, max_size=7
    ),
)
def questions_are_questions_or_refused(kind, content):
    try:
        found, question = modern_question({"header": {"msg_type": kind}, "content": content})
    except InvalidMessage:
        return
    assert found in ("complete_request", "inspect_request")
    assert isinstance(question["code"], str)


def test_whatever_comes_in_a_framing_is_a_message_or_refused():
    def attempt() -> None:
        binary_messages_are_messages_or_refused()
        payloads_are_strings_or_refused()
        a_script_holds_no_markup()
        what_a_kernel_says_again_is_messages_or_refused()
        questions_are_questions_or_refused()

    fuzz(attempt)
