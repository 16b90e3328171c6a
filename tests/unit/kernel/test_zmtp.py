"""ZMTP as bytes; what libzmq 4.3 sends was recorded."""

from __future__ import annotations

import pytest

from appliance.kernel import zmtp

#: A PUB socket of libzmq 4.3.5, up to its READY.
LIBZMQ = (
    bytes.fromhex("ff00000000000000017f03014e554c4c")
    + bytes(48)
    + bytes.fromhex("0419055245414459")
    + b"\x0bSocket-Type\x00\x00\x00\x03PUB"
)


def decoder(limit=1000):
    made = zmtp.Decoder(limit)
    made.feed(LIBZMQ)
    return made


def test_an_opening_is_a_greeting_and_what_the_socket_is():
    assert len(zmtp.GREETING) == zmtp.GREETING_BYTES
    assert zmtp.opening("SUB")[64:] == (
        b"\x04\x26\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB\x08Identity\x00\x00\x00\x00"
    )
    other = zmtp.Decoder(1000)
    other.feed(zmtp.opening("DEALER"))
    assert other.greeted()


def test_a_peer_has_greeted_when_its_ready_is_there_and_not_before():
    made = zmtp.Decoder(1000)
    for byte in LIBZMQ[:-1]:
        made.feed(bytes((byte,)))
        assert not made.greeted()
    made.feed(LIBZMQ[-1:])
    assert made.greeted()


def test_nothing_after_the_ready_is_taken_by_looking_at_it():
    made = decoder()
    made.feed(b"\x00\x01x")
    assert made.greeted()
    assert made.rest == b"\x00\x01x"


@pytest.mark.parametrize("parts", [[b""], [b"a"], [b"a", b"", b"c" * 255], [b"d" * 256, b"e" * 700]])
def test_a_message_is_read_as_it_was_written_whatever_the_pieces(parts):
    data = zmtp.message(parts)
    made = decoder()
    found = []
    for number in range(0, len(data), 7):
        made.feed(data[number : number + 7])
        while (message := made.next_message()) is not None:
            found.append(message)
    assert found == [parts]
    assert made.rest == b""


def test_a_message_that_is_too_large_is_not_kept_and_the_next_one_is_read():
    made = decoder(100)
    made.feed(zmtp.message([b"a", b"b" * 101, b"c" * 50]) + zmtp.message([b"next"]))
    assert made.next_message() == [b"next"]
    made.feed(zmtp.message([b"d" * 60, b"e" * 60])[:70])
    assert made.next_message() is None
    assert made.rest == b""
    made.feed(zmtp.message([b"d" * 60, b"e" * 60])[70:] + zmtp.message([b"last"]))
    assert made.next_message() == [b"last"]


def test_commands_between_messages_are_ignored():
    made = decoder()
    made.feed(b"\x04\x07\x04PINGxx" + zmtp.message([b"a"]))
    assert made.next_message() == [b"a"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n".ljust(64),
        LIBZMQ[:10] + b"\x01\x00" + LIBZMQ[12:],
        LIBZMQ[:12] + b"CURVE".ljust(20, b"\0") + LIBZMQ[32:],
        LIBZMQ[:64] + zmtp.message([b"too early"]),
        LIBZMQ[:64] + b"\x04\x0a\x05ERROR\x03why",
        LIBZMQ[:64] + b"\x06" + (1 << 40).to_bytes(8, "big"),
    ],
)
def test_what_is_not_the_protocol_is_refused(data):
    made = zmtp.Decoder(1000)
    made.feed(data)
    with pytest.raises(zmtp.ProtocolError):
        made.next_message()
