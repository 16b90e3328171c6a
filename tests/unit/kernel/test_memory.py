from __future__ import annotations

import json

import pytest

from appliance.kernel import memory
from appliance.kernel.memory import Memory, RememberedSocket
from appliance.protocol import frames
from appliance.protocol.frames import DELIMITER, FrameRejectedError, parse_replay, sign

KEY = b"key"


def message(number, kind="stream"):
    parts = [json.dumps(part).encode() for part in ({"msg_id": f"m{number}", "msg_type": kind}, {}, {}, {})]
    return [b"topic", DELIMITER, sign(KEY, parts), *parts]


def ids(packed):
    return [(frame.channel, frame.msg_id) for frame in parse_replay(packed, KEY)]


def test_what_was_said_is_said_again_in_order():
    kept = Memory()
    kept.keep("iopub", message(1))
    kept.keep("shell", message(2, "execute_reply"))
    kept.keep("iopub", [*message(3), b"a buffer"])
    packed, forgot = kept.packed()
    assert ids(packed) == [("iopub", "m1"), ("shell", "m2"), ("iopub", "m3")]
    assert parse_replay(packed, KEY)[2].buffers == (b"a buffer",)
    assert not forgot
    kept.clear()
    assert kept.packed() == (b"", False)


def test_the_oldest_is_forgotten_and_that_is_known(monkeypatch):
    monkeypatch.setattr(memory, "MAX_MESSAGES", 2)
    kept = Memory()
    for number in range(3):
        kept.keep("iopub", message(number))
    packed, forgot = kept.packed()
    assert (ids(packed), forgot) == ([("iopub", "m1"), ("iopub", "m2")], True)


def test_what_is_too_large_is_not_kept():
    kept = Memory()
    kept.keep("iopub", [b"x" * (memory.MAX_BYTES + 1)])
    assert kept.packed() == (b"", True)


def test_replies_are_kept_without_their_address():
    sent = []

    class Socket:
        fd = 7

        def send_multipart(self, parts, copy=True):
            sent.append((parts, copy))

    kept = Memory()
    socket = RememberedSocket(Socket(), kept)
    socket.send_multipart([b"client", *message(1, "execute_reply")[1:]], copy=False)
    assert sent == [([b"client", *message(1, "execute_reply")[1:]], False)]
    assert ids(kept.packed()[0]) == [("shell", "m1")]
    assert socket.fd == 7


def test_a_kernel_cannot_pass_off_anything_as_its_past():
    """Kernels are hostile: what they pack is checked like what they send."""
    kept = Memory()
    kept.keep("iopub", message(1))
    kept.keep("iopub", message(2, "execute_reply"))  # of a type that this channel does not carry
    forged = message(3)
    forged[2] = b"0" * 64
    kept.keep("iopub", forged)
    packed, _ = kept.packed()
    assert ids(packed) == [("iopub", "m1")]
    for broken in (packed[:-1], packed + b"\0", packed + b"\x07\x01\0\0\0\0\0", b"\0\xff\xff" + b"\xff" * 8):
        with pytest.raises(FrameRejectedError):
            parse_replay(broken, KEY)


@pytest.mark.parametrize(
    ("packed", "looked_at"),
    [
        (bytes(frames.MAX_REPLAY_BYTES + 1), 0),
        (bytes(frames.MAX_REPLAY_BYTES), frames.MAX_REPLAYED),
        ((b"\0\xff\xff" + bytes(4 * 0xFFFF)) * 4, frames.MAX_REPLAYED_PARTS // 0xFFFF),
    ],
    ids=["too many bytes", "messages of no parts", "messages of many parts"],
)
def test_no_more_is_looked_at_than_a_kernel_may_keep(packed, looked_at, monkeypatch):
    looked = []

    def parse(channel, parts, key):
        looked.append(parts)
        raise FrameRejectedError("not_a_message")

    monkeypatch.setattr(frames, "parse_kernel_message", parse)
    with pytest.raises(FrameRejectedError, match="bad_replay"):
        parse_replay(packed, KEY)
    assert len(looked) == looked_at


def test_a_forgetful_socket_sends_and_nothing_is_kept():
    class Socket:
        sent = ()

        def send_multipart(self, parts):
            self.sent = parts

    kept, socket = Memory(), Socket()
    RememberedSocket(socket, kept).forgetful.send_multipart([b"client", b"a"])
    assert socket.sent == [b"client", b"a"]
    assert kept.packed() == (b"", False)
