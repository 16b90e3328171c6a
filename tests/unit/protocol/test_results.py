"""Kept results: which request is made, what is kept, and when nothing is."""

from __future__ import annotations

import json

import attrs
import pytest

from appliance.errors import InvalidMessage
from appliance.protocol.frames import checked_client_message, make_frame
from appliance.protocol.results import REQUEST_ID, Recording, Step, pack, result_key, result_request, unpack

DATE = "2026-01-01T00:00:00+00:00"
KERNEL = "0b8f5f0c-6b0b-4f0e-9d4f-3d1c5a1f2b77"


def asked(code="1+1", metadata=None, **header):
    head = {"msg_id": "of-the-visitor", "msg_type": "execute_request", **header}
    return checked_client_message(head, [{"msg_id": "x"}, metadata or {}, {"code": code}], DATE, ())


def frame(msg_type, content, *, channel="iopub", parent=REQUEST_ID, session="s", buffers=()):
    made = make_frame(
        channel, msg_type, content, parent={"msg_id": parent}, msg_id=f"{session}_1", session=session, date=DATE
    )
    return attrs.evolve(made, buffers=buffers)


def status(state):
    return frame("status", {"execution_state": state})


def text(words="2\n", **kwargs):
    return frame("stream", {"name": "stdout", "text": words}, **kwargs)


REPLY = frame("execute_reply", {"status": "ok"}, channel="shell")


def steps(*frames, max_bytes=10_000):
    recording = Recording(KERNEL, max_bytes)
    return [recording.take(one) for one in frames], recording


# --- the request


def test_of_a_visitors_request_only_content_and_metadata_reach_a_kernel():
    visitors = asked(metadata={"widgets": True}, username="<b>", session="mine", date="never", extra=7)
    made = result_request(visitors, DATE)
    header, parent, metadata, content = map(json.loads, made.parts)
    assert header == {
        "msg_id": REQUEST_ID,
        "msg_type": "execute_request",
        "username": "cell",
        "session": "result",
        "date": DATE,
        "version": "5.3",
    }
    assert made.msg_id == REQUEST_ID
    assert parent == {}
    assert metadata == {"widgets": True}
    assert content == {"code": "1+1", "allow_stdin": False}


def test_only_an_evaluation_has_a_result():
    other = checked_client_message({"msg_id": "a", "msg_type": "complete_request"}, [None, None, None], DATE, ())
    with pytest.raises(InvalidMessage):
        result_request(other, DATE)


def test_everything_that_reaches_the_kernel_is_in_the_key():
    base = (asked(), "python", b"1", "default", b"{}")
    keys = {result_key(*base)}
    for number, other in enumerate((asked("1+2"), "sage", b"2", "large", b"{1}")):
        keys.add(result_key(*base[:number], other, *base[number + 1 :]))
    keys.add(result_key(asked(metadata={"checks": []}), *base[1:]))
    assert len(keys) == 7
    assert all(len(key) == 64 for key in keys)


def test_who_asks_is_not_in_the_key():
    mine, yours = (result_request(asked(session=name, msg_id=name), DATE) for name in ("a", "b"))
    assert result_key(mine, "python", b"", "default", b"") == result_key(yours, "python", b"", "default", b"")


def test_parts_of_a_key_do_not_run_into_each_other():
    assert result_key(asked(), "ab", b"c", "d", b"") != result_key(asked(), "a", b"bc", "d", b"")


# --- the recording


def test_a_result_is_complete_with_reply_and_idle_in_either_order():
    expected = [Step.GOES_ON, Step.GOES_ON, Step.GOES_ON, Step.COMPLETE]
    first, recording = steps(status("busy"), text(), REPLY, status("idle"))
    assert first == expected
    assert recording.texts == [one.text for one in (status("busy"), text(), REPLY, status("idle"))]
    assert steps(status("busy"), text(), status("idle"), REPLY)[0] == expected


@pytest.mark.parametrize("kind", ["display_data", "update_display_data", "execute_result", "clear_output"])
def test_what_can_be_shown_again_is_kept(kind):
    assert steps(frame(kind, {"data": {"image/png": "iVBO"}}))[0] == [Step.GOES_ON]


@pytest.mark.parametrize(
    "said",
    [
        frame("error", {"ename": "E"}),
        frame("execute_reply", {"status": "error"}, channel="shell"),
        frame("execute_reply", {"status": "aborted"}, channel="shell"),
        frame("input_request", {"prompt": "?"}, channel="stdin"),
        frame("comm_open", {"comm_id": "c"}),
        frame("comm_msg", {"comm_id": "c"}),
        text(parent="of another request"),
        text(parent=""),
        text(buffers=(b"\x00",)),
        text("x" * 10_001),
        text(f"I am {KERNEL}"),
        text(session=KERNEL),
    ],
    ids=[
        *("an error", "a reply that is one", "a reply of none", "a question", "a widget", "news of a widget"),
        *("of another request", "of none", "binary", "too large", "the id", "of the server itself"),
    ],
)
def test_what_cannot_is_not(said):
    assert steps(said)[0] == [Step.GIVEN_UP]


def test_all_messages_together_have_a_limit():
    size = len(text().text)
    assert steps(text(), text(), max_bytes=2 * size + 8)[0] == [Step.GOES_ON, Step.GOES_ON]
    assert steps(text(), text(), max_bytes=2 * size + 7)[0] == [Step.GOES_ON, Step.GIVEN_UP]


# --- as kept


def test_what_is_packed_is_unpacked():
    assert unpack(pack([b"one", b"", b"three"])) == [b"one", b"", b"three"]
    assert unpack(b"") == []


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0", b"\0\0\0\5abcd", b"\xff\xff\xff\xffx"])
def test_what_is_cut_off_is_told(data):
    with pytest.raises(ValueError, match="cut off"):
        unpack(data)
