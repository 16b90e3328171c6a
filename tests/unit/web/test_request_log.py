from __future__ import annotations

import json
from unittest import mock

import pytest
from twisted.internet.defer import Deferred

from appliance.config import RequestLog as Settings
from appliance.errors import PoolUnavailable
from appliance.protocol.frames import KernelFrame, make_client_message
from appliance.web.pool_client import Used, Visitor
from appliance.web.request_log import GONE, MAX_OPEN, RequestLog, Watch

VISITOR = Visitor("p", "192.0.2.7", "https://a.example/x")


class World:
    def __init__(self, **settings: object) -> None:
        self.now = 0.0
        self.events = []
        self.log = RequestLog(Settings(**settings), self.events.append, lambda: 1.8e9, lambda: self.now)

    def watch(self, kind="visitor"):
        return Watch(self.log, "id", kind, "python", "default", VISITOR)


def request(msg_id, msg_type="execute_request", code="1+1"):
    return make_client_message({"msg_id": msg_id, "msg_type": msg_type}, {"code": code})


def frame(parent, msg_type, **content):
    return KernelFrame("iopub", msg_type, "m", parent, content, b"")


def test_an_evaluation_is_one_event_with_what_came_of_it():
    world = World()
    watch = world.watch()
    watch.sent(request("a"))
    world.now = 1.5
    watch.delivered(frame("a", "stream", text="2"))
    watch.delivered(frame("other", "execute_reply", status="ok"))
    assert world.events == []
    watch.delivered(frame("a", "execute_reply", status="ok"))
    watch.delivered(frame("a", "status", execution_state="idle"))
    watch.ended()
    (event,) = world.events
    assert (event.kind, event.outcome, event.seconds, event.time) == ("evaluate", "ok", 1.5, 1.8e9)
    assert (event.page, event.address) == ("https://a.example/x", "192.0.2.0/24")
    assert (event.language, event.profile, event.code) == ("python", "default", "")
    assert "id" not in event.kernel


def test_the_first_result_counts_once_even_after_the_reply():
    world = World()
    world.log.metrics = metrics = mock.Mock()
    watch = world.watch()
    watch.sent(request("a"))
    world.now = 0.25
    watch.delivered(frame("a", "execute_reply", status="ok"))
    watch.delivered(frame("a", "stream", text="2"))
    watch.delivered(frame("a", "stream", text="3"))
    metrics.first_result.assert_called_once_with(0.25)


def test_what_failed_says_how_and_what_never_ended_is_gone():
    world = World()
    watch = world.watch("service")
    watch.sent(request("a"))
    watch.sent(request("b"))
    watch.delivered(frame("a", "execute_reply", status="error", ename="NameError"))
    watch.ended()
    assert [(event.kind, event.outcome) for event in world.events] == [("service", "NameError"), ("service", GONE)]


def test_a_message_of_an_interact_ends_with_idle():
    world = World()
    watch = world.watch()
    watch.sent(request("a", "comm_msg"))
    watch.sent(request("c", "complete_request"))
    watch.delivered(frame("a", "status", execution_state="busy"))
    watch.delivered(frame("a", "status", execution_state="idle"))
    watch.delivered(frame("c", "status", execution_state="idle"))
    assert [event.kind for event in world.events] == ["interact"]


@pytest.mark.parametrize("kept", [True, False])
def test_code_is_kept_only_if_the_administrator_wants_it(kept):
    world = World(code=kept)
    watch = world.watch()
    watch.sent(request("a", code="secret"))
    watch.delivered(frame("a", "execute_reply", status="ok"))
    world.log.record("permalink", VISITOR, code="secret")
    assert [event.code for event in world.events] == ["secret" if kept else ""] * 2
    assert ("secret" in json.dumps([event.code for event in world.events])) is kept


def test_what_is_followed_is_bounded():
    world = World()
    watch = world.watch()
    for number in range(MAX_OPEN + 10):
        watch.sent(request(str(number)))
    watch.ended()
    assert len(world.events) == MAX_OPEN


class Pool:
    """Answers what a kernel has used, when it is told to."""

    def __init__(self) -> None:
        self.asked = []

    def use_of(self, kernel_id):
        self.asked.append(Deferred())
        return self.asked[-1]


def test_an_event_tells_what_the_kernel_used_meanwhile():
    world, pool = World(), Pool()
    watch = Watch(world.log, "id", "visitor", "python", "default", VISITOR, pool.use_of)
    watch.sent(request("a"))
    watch.sent(request("b"))
    for asked in pool.asked:
        asked.callback(Used(1.0, 50))
    watch.delivered(frame("a", "execute_reply", status="ok"))
    world.now = 9.0
    assert world.events == []
    pool.asked[-1].callback(Used(3.0, 100))
    watch.delivered(frame("b", "execute_reply", status="ok"))
    pool.asked[-1].callback(Used(3.5, 200))
    assert [(event.cpu_seconds, event.memory_bytes) for event in world.events] == [(2.0, 100), (0.5, 200)]


def test_an_evaluation_whose_kernel_was_ended_tells_why_and_what_was_seen_last():
    world, pool = World(), Pool()
    watch = Watch(world.log, "id", "visitor", "python", "default", VISITOR, pool.use_of)
    watch.sent(request("a"))
    pool.asked[0].callback(Used(1.0, 50))
    watch.ending("memory_limit", Used(4.0, 1000))
    watch.delivered(frame("a", "execute_reply", status="error", ename="KernelDied"))
    (event,) = world.events
    assert (event.outcome, event.cpu_seconds, event.memory_bytes) == ("memory_limit", 3.0, 1000)
    assert len(pool.asked) == 1


def test_an_event_without_an_answer_of_the_pool_is_still_one():
    world, pool = World(), Pool()
    watch = Watch(world.log, "id", "visitor", "python", "default", VISITOR, pool.use_of)
    watch.sent(request("a"))
    watch.sent(request("b"))
    watch.delivered(frame("a", "execute_reply", status="ok"))
    for asked in pool.asked:
        asked.errback(PoolUnavailable())
    watch.ended()
    assert [(event.outcome, event.memory_bytes) for event in world.events] == [("ok", 0), (GONE, 0)]


def test_without_a_log_the_pool_is_not_asked():
    pool = Pool()
    assert RequestLog(Settings(), None, lambda: 0.0, lambda: 0.0).use_of(pool) is None
