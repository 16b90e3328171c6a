from __future__ import annotations

import json
import struct

import pytest

from appliance.errors import InvalidMessage
from appliance.protocol import frames
from appliance.protocol.jupyter_websocket import JSON, TEXT, VERSION_1

DATE = "2026-01-01T00:00:00+00:00"
HEADER = {"msg_id": "a", "msg_type": "comm_msg"}


def kernel_frame(*buffers):
    parts = [json.dumps(part).encode() for part in ({"msg_id": "m", "msg_type": "comm_msg"}, {}, {}, {"n": 1})]
    return frames.parse_kernel_message("iopub", [frames.DELIMITER, frames.sign(b"k", parts), *parts, *buffers], b"k")


def v1(*parts, offsets=None):
    ends = [8 * (len(parts) + 2)]
    for part in parts:
        ends.append(ends[-1] + len(part))
    ends = ends if offsets is None else offsets
    return struct.pack(f"<{len(ends) + 1}Q", len(ends), *ends) + b"".join(parts)


def json_frame(*parts, offsets=None):
    ends = [4 * (len(parts) + 1)]
    for part in parts[:-1]:
        ends.append(ends[-1] + len(part))
    ends = ends if offsets is None else offsets
    return struct.pack(f">{len(ends) + 1}I", len(ends), *ends) + b"".join(parts)


def test_text_leaves_buffers_out():
    assert TEXT.encode(kernel_frame(b"x")) == (kernel_frame().text, False)
    assert TEXT.decode_binary is None


def test_json_is_binary_only_with_buffers():
    assert JSON.encode(kernel_frame()) == (kernel_frame().text, False)
    assert JSON.encode(kernel_frame(b"xy", b"")) == (json_frame(kernel_frame().text, b"xy", b""), True)


def test_version_1_has_every_part_by_itself():
    frame = kernel_frame(b"xy")
    assert VERSION_1.encode(frame) == (v1(b"iopub", *frame.parts, b"xy"), True)


def test_what_one_side_frames_the_other_reads():
    text = json.dumps({"header": HEADER, "content": {"n": 1}}).encode()
    by_json = JSON.decode_binary(json_frame(text, b"\0\xff", b""), DATE)
    parts = (json.dumps(HEADER).encode(), b"{}", b"{}", b'{"n": 1}')
    by_parts = VERSION_1.decode_binary(v1(b"shell", *parts, b"\0\xff", b""), DATE)
    assert by_json == by_parts
    assert by_json.buffers == (b"\0\xff", b"")
    assert frames.serialize(b"k", by_json)[-2:] == [b"\0\xff", b""]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0\0\0\0",
        struct.pack(">I", 1),
        struct.pack(">I", 4_000_000_000),
        json_frame(b"{}", offsets=[0]),
        json_frame(b"{}", offsets=[100]),
        json_frame(b"{}", b"", offsets=[14, 12]),
        json_frame(b"[]"),
        json_frame(b"{}", *[b""] * 33),
    ],
)
def test_binary_json_that_is_none_is_refused(data):
    with pytest.raises(InvalidMessage):
        JSON.decode_binary(data, DATE)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        struct.pack("<Q", 2**63),
        v1(b"shell", b"{}", b"{}", b"{}"),
        v1(b"shell", b"[]", b"{}", b"{}", b"{}"),
        v1(b"iopub", json.dumps(HEADER).encode(), b"{}", b"{}", b"{}"),
        v1(b"shell", json.dumps(HEADER).encode(), b"{}", b"{}", b"{"),
        v1(b"shell", json.dumps(HEADER).encode(), b"{}", b"{}", b"{}", offsets=[0, 1, 2, 3, 4, 5]),
        v1(b"shell", json.dumps(HEADER).encode(), b"{}", b"{}", b"{}", offsets=[56, 60, 58, 70, 70, 70]),
        v1(b"shell", json.dumps(HEADER).encode(), b"{}", b"{}", b"{}", *[b""] * 33),
    ],
)
def test_version_1_that_is_none_is_refused(data):
    with pytest.raises(InvalidMessage):
        VERSION_1.decode_binary(data, DATE)


def test_version_1_has_no_text():
    with pytest.raises(InvalidMessage, match="binary"):
        VERSION_1.decode_text("{}", DATE)


def test_buffers_count_for_the_size_and_have_a_limit():
    assert kernel_frame(b"xyz").size == kernel_frame().size + 3
    with pytest.raises(frames.FrameRejectedError, match="too_large"):
        kernel_frame(*[b""] * (frames.MAX_BUFFERS + 1))
    with pytest.raises(frames.FrameRejectedError, match="too_large"):
        kernel_frame(b"x" * frames.MAX_KERNEL_MESSAGE_BYTES)
