"""The bounded sockets over ``inproc://``: ZeroMQ's queues in memory, a clock for a reactor, no descriptor is polled."""

from __future__ import annotations

import contextlib

import pytest
import zmq
from twisted.internet.task import Clock

from appliance import zmq_sockets
from appliance.zmq_sockets import (
    MAX_MESSAGES_PER_TURN,
    MAX_PARTS,
    RECEIVE_HIGH_WATER_MARK,
    SEND_HIGH_WATER_MARK,
    DealerConnection,
    SendQueueFullError,
    Sockets,
    SubscriberConnection,
)


class Reactor(Clock):
    def __init__(self):
        super().__init__()
        self.readers = set()

    def addReader(self, reader):  # noqa: N802 - Twisted
        self.readers.add(reader)

    def removeReader(self, reader):  # noqa: N802 - Twisted
        self.readers.discard(reader)


class World:
    """A kernel's socket and our end of it."""

    def __init__(self, ours, theirs):
        self.reactor = Reactor()
        self.sockets = Sockets(self.reactor)
        self.peer = self.sockets.context.socket(theirs)
        self.peer.setsockopt(zmq.LINGER, 0)
        self.peer.setsockopt(zmq.RCVHWM, 10)
        self.peer.bind("inproc://kernel")
        self.messages = []
        self.failures = []
        self.connection = ours(self.sockets, "inproc://kernel", self.take, self.failures.append)

    def take(self, parts):
        self.messages.append(parts)

    def turn(self):
        """Make what is due now happen, not what that schedules; the descriptor is not readable."""
        for call in self.reactor.getDelayedCalls():
            if call.active():
                self.reactor.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)

    def close(self):
        self.connection.shutdown()
        self.peer.close()
        self.sockets.shutdown()


@pytest.fixture
def dealer():
    world = World(DealerConnection, zmq.DEALER)
    yield world
    world.close()


@pytest.fixture
def subscriber():
    world = World(SubscriberConnection, zmq.PUB)
    yield world
    world.close()


def test_limits_are_set_before_the_socket_connects(dealer):
    get = dealer.connection.socket.getsockopt
    assert get(zmq.SNDHWM) == SEND_HIGH_WATER_MARK
    assert get(zmq.RCVHWM) == RECEIVE_HIGH_WATER_MARK
    assert get(zmq.MAXMSGSIZE) == zmq_sockets.MAX_PART_BYTES
    assert get(zmq.LINGER) == 0
    assert get(zmq.RECONNECT_IVL) == zmq_sockets.RECONNECT_MILLISECONDS


def test_a_turn_reads_a_bounded_number_of_messages_and_the_next_goes_on(dealer):
    for number in range(2 * MAX_MESSAGES_PER_TURN + 1):
        dealer.peer.send(str(number).encode())
    counts = []
    for _ in range(4):
        dealer.turn()
        counts.append(len(dealer.messages))
    assert counts == [50, 100, 101, 101]
    assert dealer.messages[-1] == [b"100"]
    assert dealer.reactor.getDelayedCalls() == []


def test_a_turn_reads_a_bounded_number_of_bytes(dealer):
    for _ in range(4):
        dealer.peer.send(b"x" * (zmq_sockets.MAX_BYTES_PER_TURN // 2))
    dealer.turn()
    assert len(dealer.messages) == 2
    dealer.turn()
    assert len(dealer.messages) == 4


def test_a_readable_descriptor_and_the_next_turn_lose_and_repeat_nothing(dealer):
    for number in range(120):
        dealer.peer.send(str(number).encode())
    dealer.connection.doRead()
    dealer.connection.doRead()
    dealer.turn()
    assert dealer.messages == [[str(number).encode()] for number in range(120)]


def test_what_arrives_during_a_send_is_read_although_its_edge_is_gone(dealer):
    dealer.turn()
    dealer.peer.send(b"reply")
    dealer.connection.send([b"request"])
    dealer.turn()
    assert dealer.messages == [[b"reply"]]
    assert dealer.peer.recv_multipart() == [b"request"]


def test_a_send_schedules_nothing_when_nothing_arrived(dealer):
    dealer.turn()
    dealer.connection.send([b"request"])
    assert dealer.reactor.getDelayedCalls() == []


def test_a_paused_socket_reads_nothing_and_resuming_begins_with_what_was_queued(dealer):
    dealer.connection.pause()
    assert dealer.connection not in dealer.reactor.readers
    dealer.peer.send(b"1")
    dealer.turn()
    dealer.connection.doRead()
    dealer.connection.send([b"x"])
    dealer.turn()
    assert dealer.messages == []
    dealer.connection.resume()
    assert dealer.connection in dealer.reactor.readers
    dealer.turn()
    assert dealer.messages == [[b"1"]]


def test_pausing_in_the_middle_of_a_turn_stops_it(dealer):
    dealer.connection._on_message = lambda parts: (dealer.messages.append(parts), dealer.connection.pause())
    for number in range(3):
        dealer.peer.send(str(number).encode())
    dealer.turn()
    dealer.turn()
    assert dealer.messages == [[b"0"]]


def test_closing_in_the_middle_of_a_turn_stops_it(dealer):
    dealer.connection._on_message = lambda parts: (dealer.messages.append(parts), dealer.connection.shutdown())
    for number in range(3):
        dealer.peer.send(str(number).encode())
    dealer.turn()
    dealer.turn()
    assert dealer.messages == [[b"0"]]
    assert dealer.connection.closed
    assert dealer.reactor.getDelayedCalls() == []


def test_a_full_queue_refuses_a_whole_message(dealer):
    sent = 0
    with contextlib.suppress(SendQueueFullError):
        while sent < 10_000:
            dealer.connection.send([b"a", b"b"])
            sent += 1
    assert sent <= SEND_HIGH_WATER_MARK + 10
    received = [dealer.peer.recv_multipart() for _ in range(sent)]
    assert received == [[b"a", b"b"]] * sent
    with pytest.raises(zmq.Again):
        dealer.peer.recv(zmq.NOBLOCK)


def test_a_closed_socket_refuses_messages(dealer):
    dealer.connection.shutdown()
    dealer.connection.shutdown()
    with pytest.raises(SendQueueFullError):
        dealer.connection.send([b"x"])


def test_a_message_that_cannot_be_processed_is_no_end(dealer):
    def take(parts):
        if parts == [b"bad"]:
            raise ValueError
        dealer.messages.append(parts)

    dealer.connection._on_message = take
    dealer.peer.send(b"bad")
    dealer.peer.send(b"good")
    dealer.turn()
    assert dealer.messages == [[b"good"]]
    assert dealer.failures == []


def test_a_message_of_very_many_parts_is_dropped(dealer):
    dealer.peer.send_multipart([b""] * (MAX_PARTS + 1))
    dealer.peer.send_multipart([b""] * MAX_PARTS)
    dealer.turn()
    assert dealer.messages == [[b""] * MAX_PARTS]


def test_a_socket_that_fails_is_closed_and_its_owner_told_once(dealer):
    real = dealer.connection.socket

    class Failing:
        def __getattr__(self, name):
            return getattr(real, name)

        def getsockopt(self, option):
            raise zmq.ZMQError(zmq.ETERM)

    dealer.connection.socket = Failing()
    dealer.connection.doRead()
    dealer.connection.doRead()
    assert len(dealer.failures) == 1
    assert dealer.connection.closed
    assert dealer.connection not in dealer.reactor.readers


def test_a_subscriber_gets_everything(subscriber):
    subscriber.peer.send_multipart([b"any topic", b"1"])
    subscriber.peer.send_multipart([b"", b"2"])
    subscriber.turn()
    assert subscriber.messages == [[b"any topic", b"1"], [b"", b"2"]]


def test_closing_the_context_closes_every_socket():
    world = World(DealerConnection, zmq.DEALER)
    world.peer.close()
    world.sockets.shutdown()
    assert world.connection.closed
