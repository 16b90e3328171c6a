"""A SockJS session between kernels and answers that come and go."""

from __future__ import annotations

from twisted.internet.task import Clock

from appliance.errors import InvalidMessage
from appliance.protocol import sockjs
from appliance.web.sockjs_session import PAUSE_BYTES, SockJsSession
from appliance.web.websocket import MAX_UNREAD_BYTES, STALL_SECONDS


class Kernels:
    def __init__(self):
        self.received, self.full_calls, self.closed = [], [], 0

    def receive(self, text):
        if text == "bad":
            raise InvalidMessage("Bad.")
        self.received.append(text)

    def full(self, *, full):
        self.full_calls.append(full)

    def close(self):
        self.closed += 1


class Answer:
    def __init__(self, *, ready=True):
        self.frames, self.finished, self.ready = [], False, ready

    def send(self, frame):
        self.frames.append(frame)

    def finish(self):
        self.finished = True


class World:
    def __init__(self):
        self.clock, self.kernels, self.forgotten = Clock(), Kernels(), 0
        self.session = SockJsSession(self.make, self.clock, self.forget)

    def make(self, send):
        self.say = send
        return self.kernels

    def forget(self):
        self.forgotten += 1

    def tick(self, seconds):
        self.clock.advance(seconds)
        self.session.tick()


def test_the_first_answer_opens_and_later_ones_carry_what_waited():
    world = World()
    first = Answer()
    world.session.attach(first)
    world.session.detach(first)
    world.say("one")
    world.say("two")
    second = Answer()
    world.session.attach(second)
    world.say("three")
    assert (first.frames, second.frames) == (["o"], ['a["one","two"]', 'a["three"]'])


def test_a_client_that_comes_back_in_time_keeps_its_session():
    world = World()
    answer = Answer()
    world.session.attach(answer)
    world.session.detach(answer)
    world.tick(sockjs.DISCONNECT_SECONDS - 0.1)
    assert not world.kernels.closed
    world.session.attach(Answer())
    world.tick(sockjs.DISCONNECT_SECONDS)
    assert not world.kernels.closed


def test_a_client_that_does_not_come_back_loses_its_session():
    world = World()
    answer = Answer()
    world.session.attach(answer)
    world.session.detach(answer)
    world.tick(sockjs.DISCONNECT_SECONDS)
    assert (world.kernels.closed, world.forgotten) == (1, 1)


def test_a_client_that_goes_away_in_the_middle_of_an_answer_ends_the_session():
    world = World()
    answer = Answer()
    world.session.attach(answer)
    world.session.detach(answer, lost=True)
    late = Answer()
    world.session.attach(late)
    assert late.frames == ['c[1002,"Connection interrupted"]']
    assert late.finished


def test_silence_is_broken_by_a_heartbeat():
    world = World()
    answer = Answer()
    world.session.attach(answer)
    for _ in range(3):
        world.tick(sockjs.HEARTBEAT_SECONDS)
    assert answer.frames == ["o", "h", "h", "h"]


def test_a_second_answer_is_turned_away_and_the_first_goes_on():
    world = World()
    first, second = Answer(), Answer()
    world.session.attach(first)
    world.session.attach(second)
    world.say("x")
    assert (second.frames, second.finished) == (['c[2010,"Another connection still open"]'], True)
    assert first.frames == ["o", 'a["x"]']


def test_kernels_pause_while_much_waits_and_the_session_ends_when_it_is_too_much():
    world = World()
    answer = Answer(ready=False)
    world.session.attach(answer)
    world.say("x" * (PAUSE_BYTES + 1))
    assert world.kernels.full_calls == [True]
    answer.ready = True
    world.session.flush()
    assert world.kernels.full_calls == [True, False]
    answer.ready = False
    world.say("x")
    world.say("x" * MAX_UNREAD_BYTES)
    assert not world.kernels.closed
    world.say("x")
    assert (world.kernels.closed, answer.finished) == (1, True)


def test_a_large_message_reaches_who_reads_and_waits_for_who_comes_back():
    world = World()
    large = "x" * (MAX_UNREAD_BYTES + 1)
    first, second = Answer(), Answer()
    world.session.attach(first)
    world.say(large)
    assert first.frames == ["o", sockjs.messages_frame([large])]
    assert world.kernels.full_calls == []
    world.session.detach(first)
    world.say(large)
    world.say("y")
    assert world.kernels.full_calls == [True]
    world.session.attach(second)
    assert second.frames == [sockjs.messages_frame([large]), 'a["y"]']
    assert world.kernels.full_calls == [True, False]
    assert not world.kernels.closed


def test_a_client_that_does_not_read_is_given_up():
    world = World()
    answer = Answer(ready=False)
    world.session.attach(answer)
    world.tick(STALL_SECONDS)
    assert world.kernels.closed == 1


def test_a_message_for_nobody_ends_the_session_with_its_reason():
    world = World()
    answer = Answer()
    world.session.attach(answer)
    world.session.receive(["good", "bad", "late"])
    assert world.kernels.received == ["good"]
    assert answer.frames == ["o", 'c[3001,"Bad."]']
