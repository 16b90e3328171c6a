"""What is counted of a ZeroMQ peer's bytes, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel import zmtp
from appliance.protocol.zmtp_meter import FRAME_COST, MAX_COMMAND_BYTES, ZmtpError, ZmtpMeter

OPENING = zmtp.opening("PUB")


@given(
    messages=st.lists(st.lists(st.binary(max_size=600), min_size=1, max_size=5), max_size=5),
    cuts=st.lists(st.integers(1, 400), min_size=1),
)
def test_whole_messages_are_counted_however_their_bytes_come(messages, cuts):
    meter = ZmtpMeter(10_000)
    data = OPENING + b"".join(zmtp.message(parts) for parts in messages)
    position = 0
    while position < len(data):
        cut = cuts[position % len(cuts)]
        meter.feed(data[position : position + cut])
        position += cut
    assert meter.completed == sum(len(part) for parts in messages for part in parts)


def test_a_message_up_to_the_limit_passes_and_a_larger_one_does_not():
    meter = ZmtpMeter(1000 + 2 * FRAME_COST)
    meter.feed(OPENING + zmtp.message([b"x" * 400, b"x" * 600]))
    assert meter.completed == 1000
    with pytest.raises(ZmtpError, match="more than"):
        meter.feed(zmtp.message([b"x" * 400, b"x" * 601]))


@pytest.mark.parametrize("body", [b"x" * 300, b""])
def test_a_message_that_never_ends_is_refused(body):
    meter = ZmtpMeter(100_000)
    meter.feed(OPENING)
    frames = zmtp.frame(body, 1) * (100_000 // FRAME_COST + 1)
    with pytest.raises(ZmtpError, match="more than"):
        meter.feed(frames)


def test_a_frame_that_announces_too_much_is_refused_before_it_comes():
    meter = ZmtpMeter(100_000)
    meter.feed(OPENING)
    with pytest.raises(ZmtpError, match="more than"):
        meter.feed(b"\x02" + (1 << 62).to_bytes(8, "big"))


@pytest.mark.parametrize(
    "command",
    [
        zmtp.frame(b"\x09SUBSCRIBEtopic", 4),
        zmtp.frame(b"\x05READY", 5),
        zmtp.frame(b"\x05READY" + bytes(MAX_COMMAND_BYTES), 4),
        zmtp.frame(b"", 4),
        zmtp.frame(b"x", 8),
    ],
    ids=["one that is queued", "one that goes on", "one too large", "none", "a flag that is none"],
)
def test_other_commands_are_refused(command):
    meter = ZmtpMeter(100_000)
    meter.feed(OPENING + zmtp.frame(b"\x04PING\0\0", 4))
    with pytest.raises(ZmtpError):
        meter.feed(command)


@pytest.mark.parametrize(
    "greeting",
    [b"\x01\x00", b"\xff" + bytes(8) + b"\x7e", b"\xff" + bytes(8) + b"\x7f\x01"],
    ids=["ZMTP 1", "a long identity of ZMTP 1", "ZMTP 2"],
)
def test_older_protocols_are_refused(greeting):
    with pytest.raises(ZmtpError, match="ZMTP 3"):
        ZmtpMeter(1000).feed(greeting)
