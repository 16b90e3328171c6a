from __future__ import annotations

import json

import pytest

from appliance.config import RequestLog as Settings
from appliance.protocol.frames import KernelFrame, make_client_message
from appliance.web.pool_client import Visitor
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
