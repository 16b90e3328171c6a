from __future__ import annotations

import json

import pytest
from twisted.internet.task import Clock

from appliance.kernel.memory import Memory
from appliance.protocol.frames import DELIMITER, parse_client_message, sign
from appliance.web import kernel_connection
from appliance.web.kernel_connection import (
    FIRST_REPLY_SECONDS,
    MAX_DEAF_ROUND_TRIPS,
    MAX_FIRST_ROUND_TRIPS,
    MAX_LOGGED_REJECTIONS,
    RESEND_SECONDS,
    KernelConnection,
)
from appliance.web.pool_client import KernelAddress
from appliance.zmq_sockets import SEND_HIGH_WATER_MARK
from tests.unit.web.fakes import KEY, FakeKernel, FakeSocket

ADDRESS = KernelAddress("k", KEY, "/k")
REQUEST = parse_client_message('{"header":{"msg_id":"a","msg_type":"execute_request"},"content":{"code":"1"}}', "now")


class Listener:
    def __init__(self):
        self.events = []

    def kernel_recovered(self, frames, *, forgot):
        self.events.append(("recovered", [frame.msg_type for frame in frames], forgot))

    def kernel_said_again(self, frames):
        self.events.append(("again", [frame.msg_type for frame in frames]))

    def kernel_frame(self, frame):
        self.events.append(frame.msg_type)

    def kernel_frame_rejected(self, channel, code):
        self.events.append((channel, code))

    def round_trip_done(self):
        self.events.append("done")

    def kernel_unreachable(self):
        self.events.append("unreachable")


class World:
    def __init__(self, **how):
        self.clock = Clock()
        self.listener = Listener()
        self.connection = KernelConnection(None, self.clock, ADDRESS, self.listener, **how)
        self.kernel = FakeKernel(ADDRESS)
        self.connection.start()

    @property
    def events(self):
        return self.listener.events

    def header(self, number=-1):
        return self.kernel.requests[number][0]


@pytest.fixture
def sockets(monkeypatch):
    FakeSocket.made = []
    monkeypatch.setattr(kernel_connection, "SubscriberConnection", FakeSocket)
    monkeypatch.setattr(kernel_connection, "DealerConnection", FakeSocket)


@pytest.fixture
def world(sockets):
    return World()


@pytest.fixture
def proved(world):
    world.kernel.answer()
    world.events.clear()
    return world


def test_iopub_connects_before_shell(world):
    assert [socket.address for socket in FakeSocket.made] == ["ipc:///k/iopub", "ipc:///k/stdin", "ipc:///k/shell"]


@pytest.mark.parametrize("first", ["reply", "idle"])
def test_a_round_trip_is_done_when_reply_and_idle_are_there(world, first):
    header = world.header()
    assert header["msg_type"] == "kernel_info_request"
    steps = {"reply": world.kernel.reply, "idle": world.kernel.idle}
    steps.pop(first)(header)
    assert world.events == []
    next(iter(steps.values()))(header)
    assert world.events == ["done"]
    assert world.clock.getDelayedCalls() == []


def test_a_late_subscription_is_tried_again(world):
    world.kernel.reply(world.header())
    world.clock.advance(RESEND_SECONDS)
    assert len(world.kernel.requests) == 2
    world.kernel.idle(world.header(0))
    assert world.events == []
    world.kernel.answer()
    assert world.events == ["done"]


def test_a_kernel_that_replies_and_publishes_nothing_is_unreachable(world):
    for number in range(MAX_FIRST_ROUND_TRIPS):
        assert len(world.kernel.requests) == number + 1
        world.kernel.reply(world.header())
        world.clock.advance(kernel_connection.MAX_RESEND_SECONDS)
    assert world.events == ["unreachable"]


def test_a_silent_kernel_is_unreachable(world):
    world.clock.advance(FIRST_REPLY_SECONDS)
    assert world.events == ["unreachable"]


def test_what_answers_our_own_requests_is_not_passed_on(world):
    world.kernel.say("iopub", "status", world.header(), {"execution_state": "busy"})
    world.kernel.answer()
    world.connection.round_trip()
    world.kernel.say("iopub", "status", world.header(0), {"execution_state": "idle"})
    assert world.events == ["done"]


def test_messages_of_clients_are_signed_and_their_answers_passed_on(proved):
    assert proved.connection.send(REQUEST)
    assert proved.kernel.requests[-1] == (dict(REQUEST.header), {"code": "1", "allow_stdin": False})
    proved.kernel.print("x")
    proved.kernel.answer()
    assert proved.events == ["stream", "execute_reply", "status"]


def test_bad_messages_are_told_a_few_times_and_unlisted_types_never(proved):
    for _ in range(2 * MAX_LOGGED_REJECTIONS):
        proved.kernel.socket("iopub").on_message([b"x"])
        proved.kernel.say("iopub", "iopub_welcome", {}, {})
    assert proved.events == [("iopub", "not_a_message")] * MAX_LOGGED_REJECTIONS


def test_a_kernel_that_does_not_read_is_told_to_the_caller(proved):
    for _ in range(SEND_HIGH_WATER_MARK):
        assert proved.connection.send(REQUEST)
    proved.kernel.socket("shell").full = True
    assert not proved.connection.send(REQUEST)
    proved.connection.round_trip()
    assert len(FakeSocket.made) == 3


def test_a_round_trip_that_could_not_be_sent_is_tried_again(proved):
    for _ in range(SEND_HIGH_WATER_MARK):
        assert proved.connection.send(REQUEST)
    shell = proved.kernel.socket("shell")
    shell.full = True
    proved.connection.round_trip()
    shell.full = False
    proved.clock.advance(kernel_connection.MAX_RESEND_SECONDS)
    proved.kernel.answer()
    assert proved.events == ["done"]


def test_a_shell_socket_that_zeromq_gave_up_is_replaced(proved):
    proved.kernel.socket("shell").dead = True
    old = proved.kernel.socket("shell")
    assert proved.connection.send(REQUEST)
    assert old.closed
    assert proved.kernel.requests == [(dict(REQUEST.header), {"code": "1", "allow_stdin": False})]


def test_an_iopub_socket_that_hears_nothing_more_is_replaced(proved):
    old = proved.kernel.socket("iopub")
    proved.connection.round_trip()
    for _ in range(MAX_DEAF_ROUND_TRIPS):
        proved.kernel.reply(proved.header())
        proved.clock.advance(kernel_connection.MAX_RESEND_SECONDS)
    assert old.closed
    assert not proved.kernel.socket("iopub").closed
    proved.kernel.answer()
    assert proved.events == ["done"]


def test_a_round_trip_through_a_busy_kernel_takes_its_time(proved):
    proved.connection.round_trip()
    proved.clock.advance(3600)
    assert proved.events == []
    proved.kernel.answer()
    assert proved.events == ["done"]


def test_pausing_stops_both_sockets(proved):
    sockets = [proved.kernel.socket("shell"), proved.kernel.socket("iopub")]
    proved.connection.pause()
    assert [socket.paused for socket in sockets] == [True, True]
    proved.connection.resume()
    assert [socket.paused for socket in sockets] == [False, False]


def test_a_failing_socket_makes_the_kernel_unreachable(proved):
    proved.kernel.socket("shell").on_failure(OSError())
    assert proved.events == ["unreachable"]


def test_closing_closes_both_sockets_and_forgets_what_was_awaited(world):
    world.connection.close()
    assert all(socket.closed for socket in FakeSocket.made)
    assert world.clock.getDelayedCalls() == []


def test_a_used_kernel_is_given_the_time_that_its_evaluation_takes(sockets):
    world = World(used=True)
    world.clock.advance(3600)
    assert world.events == []
    world.kernel.answer()
    assert world.events == ["done"]


class Remembering(World):
    """A kernel of ours that another process used, and what it says on control."""

    def __init__(self):
        super().__init__(used=True, recover=True)
        self.memory = Memory()

    @property
    def questions(self):
        return [json.loads(parts[2]) for parts in self.kernel.socket("control").sent]

    def parts(self, msg_type, parent, content):
        header = {"msg_id": f"own-{msg_type}", "msg_type": msg_type}
        parts = [json.dumps(part).encode() for part in (header, parent, {}, content)]
        return [DELIMITER, sign(KEY, parts), *parts]

    def remember(self, channel, msg_type, **content):
        topic = [b"topic"] if channel == "iopub" else []
        self.memory.keep(channel, [*topic, *self.parts(msg_type, {"msg_id": "a"}, content)])

    def mark(self, number=-1):
        self.kernel.say("iopub", "replay_mark", self.questions[number], {})

    def reply(self, number=-1):
        packed, forgot = self.memory.packed()
        parts = self.parts("replay_reply", self.questions[number], {"forgot": forgot})
        self.kernel.socket("control").on_message([*parts, packed])


@pytest.fixture
def remembering(sockets):
    return Remembering()


def test_a_kernel_at_work_tells_what_it_said_and_is_heard_from_there_on(remembering):
    remembering.remember("iopub", "stream", name="stdout", text="x")
    assert [question["msg_type"] for question in remembering.questions] == ["replay_request"]
    remembering.mark()
    remembering.kernel.say("iopub", "error", {"msg_id": "a"}, {})
    assert remembering.events == []
    remembering.reply()
    assert remembering.events == [("recovered", ["stream", "error"], False), "done"]
    # nothing went over shell, which the kernel does not read
    assert remembering.kernel.socket("shell").sent == []
    assert remembering.clock.getDelayedCalls() == []


def test_an_answer_without_its_mark_means_that_the_subscription_was_late(remembering):
    remembering.reply()
    assert remembering.events == []
    remembering.clock.advance(RESEND_SECONDS)
    assert len(remembering.questions) == 2
    remembering.reply()
    remembering.mark()
    assert remembering.events == [("recovered", [], False), "done"]


def test_the_mark_of_another_process_is_nobodys(remembering):
    remembering.kernel.say("iopub", "replay_mark", {"msg_id": "others", "username": "cell-web"}, {})
    remembering.reply()
    assert remembering.events == []


def test_marks_and_answers_that_nobody_asked_for_are_nobodys(remembering):
    for number in range(10):
        remembering.kernel.say("iopub", "replay_mark", {"msg_id": f"{remembering.questions[0]['session']}{number}"}, {})
    assert remembering.connection._marks == set()
    parts = remembering.parts("replay_reply", {"msg_id": "unasked"}, {})
    remembering.kernel.socket("control").on_message(parts)
    remembering.mark()
    assert remembering.events == []
    remembering.reply()
    assert remembering.events == [("recovered", [], False), "done"]


def test_what_comes_before_the_answer_is_bounded_and_said_to_be_incomplete(remembering):
    for _ in range(5):
        remembering.kernel.say("iopub", "stream", {"msg_id": "a"}, {"name": "stdout", "text": "x" * 500_000})
    remembering.mark()
    remembering.reply()
    assert remembering.events == [("recovered", ["stream"] * 4, True), "done"]


def test_a_kernel_that_never_marks_is_believed_after_some_attempts(remembering):
    for _ in range(MAX_FIRST_ROUND_TRIPS):
        assert remembering.events == []
        remembering.reply()
        remembering.clock.advance(kernel_connection.MAX_RESEND_SECONDS)
    assert remembering.events == [("recovered", [], False), "done"]


def test_a_kernel_that_does_not_come_to_answering_is_asked_again_and_never_given_up(remembering):
    remembering.clock.pump([1.0] * 60)
    assert remembering.events == []
    assert 5 < len(remembering.questions) < 20
    remembering.mark(0)
    remembering.reply(0)
    assert remembering.events == [("recovered", [], False), "done"]


def test_what_was_replied_to_another_process_is_said_again(remembering):
    remembering.mark()
    remembering.reply()
    remembering.events.clear()
    remembering.remember("shell", "execute_reply", status="ok")
    remembering.connection.round_trip()
    remembering.mark()
    remembering.reply()
    assert remembering.events == [("again", ["execute_reply"]), "done"]
    remembering.connection.close()
    assert all(socket.closed for socket in FakeSocket.made)
    assert remembering.clock.getDelayedCalls() == []
