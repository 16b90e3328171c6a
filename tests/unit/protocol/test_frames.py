from __future__ import annotations

import json

import pytest

from appliance.errors import InvalidMessage
from appliance.protocol import frames
from appliance.protocol.frames import FrameRejectedError

KEY = b"0123456789abcdef"
DATE = "2026-01-01T00:00:00+00:00"


def wire(msg_type="stream", content=b'{"name":"stdout","text":"x"}', parent=b'{"msg_id":"p1"}', *, key=KEY, **changes):
    header = changes.get("header", json.dumps({"msg_id": "m1", "msg_type": msg_type}).encode())
    parts = [header, parent, changes.get("metadata", b"{}"), content]
    return [b"topic", frames.DELIMITER, frames.sign(key, parts), *parts, *changes.get("buffers", [])]


def code_of(channel, parts):
    with pytest.raises(FrameRejectedError) as caught:
        frames.parse_kernel_message(channel, parts, KEY)
    return caught.value.code


def test_a_kernel_message_becomes_the_text_of_its_parts():
    frame = frames.parse_kernel_message("iopub", wire(buffers=[b"\xff\x00"]), KEY)
    assert (frame.channel, frame.msg_type, frame.msg_id, frame.parent_id) == ("iopub", "stream", "m1", "p1")
    assert json.loads(frame.text) == {
        "channel": "iopub",
        "msg_id": "m1",
        "msg_type": "stream",
        "header": {"msg_id": "m1", "msg_type": "stream"},
        "parent_header": {"msg_id": "p1"},
        "metadata": {},
        "content": {"name": "stdout", "text": "x"},
    }


def test_the_text_of_a_part_is_not_changed():
    content = '{ "text" : "é\\ud800 \u2028",\n"name":"stdout"}'.encode()
    assert content in frames.parse_kernel_message("iopub", wire(content=content), KEY).text


def test_a_shell_reply_has_no_topic():
    parts = wire("execute_reply", b'{"status":"ok"}')[1:]
    assert frames.parse_kernel_message("shell", parts, KEY).msg_type == "execute_reply"


def test_msg_id_is_escaped_at_top_level():
    header = json.dumps({"msg_id": 'a"},"x":{', "msg_type": "stream"}).encode()
    text = frames.parse_kernel_message("iopub", wire(header=header), KEY).text
    assert json.loads(text)["msg_id"] == 'a"},"x":{'


@pytest.mark.parametrize("part", ["metadata", "content", "parent"])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"[]", "not_an_object"),
        (b"1", "not_an_object"),
        (b"", "not_json"),
        (b"{}}", "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":Infinity}', "not_json"),
        (b'{"a":"\xff"}', "not_json"),
        (b'{"a":"\xed\xa0\x80"}', "not_json"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not_json"),
    ],
)
def test_a_part_that_is_no_json_object_is_rejected(part, data, code):
    assert code_of("iopub", wire(**{part: data})) == code


def test_a_message_of_another_kernel_is_rejected():
    assert code_of("iopub", wire(key=b"another")) == "bad_signature"


def test_a_changed_message_is_rejected():
    parts = wire()
    parts[-1] = b'{"name":"stdout","text":"y"}'
    assert code_of("iopub", parts) == "bad_signature"


@pytest.mark.parametrize("parts", [[], [b"x"], [frames.DELIMITER], wire()[:-1], [b"t"] * 9 + wire()])
def test_what_is_no_message_is_rejected(parts):
    assert code_of("iopub", parts) == "not_a_message"


@pytest.mark.parametrize(
    ("channel", "msg_type"),
    [("iopub", "execute_reply"), ("shell", "stream"), ("iopub", "iopub_welcome"), ("shell", "shutdown_reply")],
)
def test_only_listed_types_reach_a_browser(channel, msg_type):
    assert code_of(channel, wire(msg_type)) == "type_not_allowed"


@pytest.mark.parametrize(
    "header", [{}, {"msg_type": "stream"}, {"msg_type": ["stream"], "msg_id": "1"}, {"msg_type": "stream", "msg_id": 1}]
)
def test_a_header_without_type_and_id_is_rejected(header):
    assert code_of("iopub", wire(header=json.dumps(header).encode())) == "bad_header"


def test_an_endless_msg_id_is_rejected():
    header = {"msg_type": "stream", "msg_id": "x" * (frames.MAX_ID_CHARS + 1)}
    assert code_of("iopub", wire(header=json.dumps(header).encode())) == "bad_header"


def test_a_large_message_is_rejected_before_it_is_parsed():
    content = b'{"text":"' + b"x" * frames.MAX_KERNEL_MESSAGE_BYTES + b'"}'
    assert code_of("iopub", wire(content=content)) == "too_large"


@pytest.mark.parametrize("part", ["header", "parent", "metadata", "content"])
def test_a_message_of_very_many_lists_is_rejected_before_it_is_parsed(part):
    many = b'{"a":[' + b"[]," * frames.MAX_CONTAINERS + b"1]}"
    assert code_of("iopub", wire(**{part: many})) == "too_large"


def test_lists_are_counted_in_all_parts_of_a_message_together():
    third = b'{"a":[' + b"[]," * (frames.MAX_CONTAINERS // 3) + b"1]}"
    assert code_of("iopub", wire(content=third, metadata=third, parent=third)) == "too_large"
    assert frames.parse_kernel_message("iopub", wire(content=third, metadata=third), KEY).msg_type == "stream"


def test_a_parent_id_that_is_no_text_is_no_parent():
    assert frames.parse_kernel_message("iopub", wire(parent=b'{"msg_id":["p"]}'), KEY).parent_id == ""


def client(**changes):
    message = {
        "header": {"msg_id": "1", "msg_type": "execute_request"},
        "content": {"code": "1+1"},
        "channel": "shell",
    }
    return json.dumps({**message, **changes})


def reason(text):
    with pytest.raises(InvalidMessage) as caught:
        frames.parse_client_message(text, DATE)
    return caught.value.message


def test_a_client_message_gets_what_its_header_lacks():
    message = frames.parse_client_message(client(), DATE)
    assert message.header == {
        "msg_id": "1",
        "msg_type": "execute_request",
        "date": DATE,
        "version": "5.3",
        "username": "",
        "session": "",
    }
    header, parent, metadata, content = map(json.loads, message.parts)
    assert header == message.header
    assert (parent, metadata) == ({}, {})
    assert content == {"code": "1+1", "allow_stdin": False}


def test_a_client_cannot_ask_for_standard_input():
    text = client(content={"code": "input()", "allow_stdin": True})
    assert json.loads(frames.parse_client_message(text, DATE).parts[3])["allow_stdin"] is True
    text = client(content={"code": "input()", "allow_stdin": "yes"})
    assert json.loads(frames.parse_client_message(text, DATE).parts[3])["allow_stdin"] is False


def test_what_a_header_has_is_kept():
    header = {"msg_id": "1", "msg_type": "kernel_info_request", "date": "d", "version": "5.2", "session": "s"}
    assert frames.parse_client_message(client(header=header), DATE).header == {**header, "username": ""}


def test_a_client_message_is_signed_for_the_kernel():
    message = frames.parse_client_message(client(), DATE)
    delimiter, signature, *parts = frames.serialize(KEY, message)
    assert delimiter == frames.DELIMITER
    assert signature == frames.sign(KEY, parts)
    assert tuple(parts) == message.parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ('{"header":NaN}', "not JSON"),
        ("[" * 100_000, "too deeply"),
        ("[]", "not a JSON object"),
        ("{}", "has no header"),
        (client(header=[]), "has no header"),
        (client(header={"msg_id": "1"}), "msg_type is missing"),
        (client(header={"msg_id": "1", "msg_type": 1}), "msg_type is missing"),
        (client(header={"msg_id": "1", "msg_type": "debug_request"}), "'debug_request' is not one of"),
        (client(header={"msg_type": "execute_request"}), "header.msg_id"),
        (client(header={"msg_type": "execute_request", "msg_id": ""}), "header.msg_id"),
        (client(header={"msg_type": "execute_request", "msg_id": "x" * 129}), "header.msg_id"),
        (client(header={"msg_type": "execute_request", "msg_id": "1", "date": {}}), "strings and numbers"),
        ('{"header":{"msg_type":"execute_request","msg_id":"1","n":1e999},"content":{"code":""}}', "too large"),
        ('{"header":{"msg_type":"comm_msg","msg_id":"1"},"content":{"data":[-1e999]}}', "too large"),
        (client(content=[]), "content is not an object"),
        (client(metadata=1), "metadata is not an object"),
        (client(parent_header="p"), "parent_header is not an object"),
        (client(content={}), "content.code"),
        (client(content={"code": 1}), "content.code"),
    ],
)
def test_a_client_learns_what_is_wrong_with_its_message(text, words):
    assert words in reason(text)


def test_a_message_of_our_own_has_the_form_of_a_kernels():
    frame = frames.make_frame(
        "iopub", "status", {"execution_state": "idle"}, parent={"msg_id": "p"}, msg_id="m", session="s", date=DATE
    )
    document = json.loads(frame.text)
    assert (frame.parent_id, document["parent_header"]) == ("p", {"msg_id": "p"})
    assert document["header"]["msg_type"] == document["msg_type"] == "status"
    assert document["header"]["date"] == DATE
    assert document["content"] == {"execution_state": "idle"}


def test_a_request_of_our_own_is_serialized_like_a_clients():
    message = frames.make_client_message({"msg_id": "1", "msg_type": "execute_request"}, {"code": "1"})
    assert message.parts == (b'{"msg_id":"1","msg_type":"execute_request"}', b"{}", b"{}", b'{"code":"1"}')
