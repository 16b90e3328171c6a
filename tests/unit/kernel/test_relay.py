"""Pairs of streams and peers, over streams that only remember."""

from __future__ import annotations

from appliance.kernel import relay, zmtp


class FakeStream:
    """What `relay.Stream` promises, without a socket; ``room``: bytes that the other side takes."""

    def __init__(self, room=1 << 30):
        self.received = self.closed = self.drained = None
        self.room = room
        self.written = b""
        self.backlog = 0
        self.reading = True
        self.ended = False
        self.open = True

    def write(self, data):
        taken = min(self.room, len(data))
        self.room -= taken
        self.backlog += len(data) - taken
        self.written += data

    def read(self, *, wanted):
        self.reading = wanted

    def end(self):
        self.ended = True

    def close(self):
        self.open = False


def test_two_joined_streams_copy_both_ways():
    one, other = FakeStream(), FakeStream()
    relay.join(one, other)
    one.received(b"ab")
    other.received(b"c")
    assert (other.written, one.written) == (b"ab", b"c")


def test_one_that_takes_no_more_stops_the_other_until_it_has_drained():
    one, other = FakeStream(), FakeStream(room=3)
    relay.join(one, other)
    one.received(b"abc")
    assert one.reading
    one.received(b"d")
    assert not one.reading
    assert other.reading
    other.drained()
    assert one.reading


def test_one_may_be_a_stated_number_of_bytes_behind():
    one, other = FakeStream(room=3), FakeStream(room=0)
    relay.join(one, other, backlog_bytes=2)
    other.received(b"abcde")
    assert other.reading
    other.received(b"f")
    assert not other.reading
    one.received(b"x")
    assert not one.reading


def test_when_one_is_gone_the_other_ends_after_what_it_was_still_to_get():
    one, other = FakeStream(), FakeStream()
    relay.join(one, other)
    one.closed()
    assert other.ended
    assert other.open


def test_what_is_sent_to_a_peer_before_it_has_greeted_is_sent_then():
    stream, heard = FakeStream(), []
    peer = relay.Peer(stream, "DEALER", 1000, heard.append, lambda: heard.append("lost"))
    peer.send([b"question"])
    assert stream.written == zmtp.opening("DEALER")
    stream.received(zmtp.opening("ROUTER") + zmtp.message([b"hello"]))
    assert peer.established
    assert stream.written == zmtp.opening("DEALER") + zmtp.message([b"question"])
    assert heard == [[b"hello"]]


def test_a_peer_that_speaks_nonsense_is_lost():
    stream, heard = FakeStream(), []
    relay.Peer(stream, "DEALER", 1000, heard.append, lambda: heard.append("lost"))
    stream.received(b"x" * 64)
    assert heard == ["lost"]
    assert not stream.open


def test_a_message_may_hand_the_stream_on():
    stream, heard = FakeStream(), []

    def take(parts):
        heard.append(parts)
        stream.received = heard.append

    peer = relay.Peer(stream, "PUB", 1000, take, lambda: None)
    stream.received(zmtp.opening("SUB") + zmtp.message([b"a"]) + zmtp.message([b"b"]))
    assert heard == [[b"a"]]
    assert peer.rest == zmtp.message([b"b"])
