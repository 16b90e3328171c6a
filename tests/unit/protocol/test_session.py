from __future__ import annotations

import json

import attrs
import pytest

from appliance.errors import InvalidMessage, PoolUnavailable
from appliance.protocol import session as machine
from appliance.protocol.death import DeathReason
from appliance.protocol.frames import KernelFrame, make_frame, parse_client_message
from appliance.protocol.output_budget import OutputLimits
from appliance.protocol.session import Phase, Session
from appliance.protocol.session_effects import (
    CancelGrace,
    Close,
    Deliver,
    InterruptKernel,
    Keep,
    KeepFile,
    Release,
    Send,
    StartGrace,
    Synchronize,
)

NOW = "2026-01-01T00:00:00+00:00"
LIMITS = OutputLimits(
    max_bytes=1_000_000,
    max_messages=100,
    max_displays=10,
    stream_characters=50_000,
    text_characters=10_000,
    messages_per_second=100,
)


def make(*, single=True, started=True, limits=LIMITS, clock=(0.0,)):
    session = Session("k", single=single, now=lambda: NOW, seconds=lambda: clock[0], limits=limits)
    session.leased()
    session.client_opened(1)
    if started:
        session.subscription_confirmed()
    return session


def request(msg_id="a", msg_type="execute_request"):
    content = {"code": "1"} if msg_type == "execute_request" else {}
    return parse_client_message(
        json.dumps({"header": {"msg_id": msg_id, "msg_type": msg_type}, "content": content}), NOW
    )


def frame(channel, msg_type, parent, **content):
    return KernelFrame(channel, msg_type, "m", parent, content, b"{}")


def reply(parent="a", msg_type="execute_reply"):
    return frame("shell", msg_type, parent, status="ok")


def status(state, parent="a"):
    return frame("iopub", "status", parent, execution_state=state)


def said(effects):
    """What the session itself says: type, parent and the telling part of the content of each frame."""
    lines = []
    for effect in effects:
        if isinstance(effect, Deliver):
            content = effect.frame.content
            word = content.get("execution_state") or content.get("ename") or content.get("text") or content.get("error")
            lines.append((effect.frame.msg_type, effect.frame.parent_id, word or content.get("status")))
    return lines


RELEASED = [Close(1000), CancelGrace(), Release(DeathReason.RELEASED)]


@pytest.mark.parametrize("order", [(reply(), status("idle")), (status("idle"), reply())])
def test_a_single_session_ends_when_reply_and_idle_are_there_in_either_order(order):
    session = make()
    assert session.client_message(1, request()) == [Send(request())]
    assert list(session.kernel_frame(status("busy"))) == [Deliver(status("busy"))]
    assert list(session.kernel_frame(order[0])) == [Deliver(order[0])]
    last, dead, *rest = session.kernel_frame(order[1])
    assert last == Deliver(order[1])
    assert said([dead]) == [("status", "", "dead")]
    assert dead.frame.content["reason"] == "released"
    assert rest == RELEASED


@pytest.mark.parametrize(("kind", "told"), [("comm_open", 1), ("kernel_timeout", 0)])
def test_a_kernel_with_something_to_use_on_the_page_is_kept_and_that_is_told_once(kind, told):
    session = make()
    session.client_message(1, request())
    effects = session.kernel_frame(frame("iopub", kind, "a"))
    assert effects[0] == Keep()
    assert [type(effect) for effect in effects[1:]] == [Deliver] * told
    assert Keep() not in session.kernel_frame(frame("iopub", kind, "a"))
    effects = [*session.kernel_frame(reply()), *session.kernel_frame(status("idle"))]
    assert Release(DeathReason.RELEASED) not in effects
    assert session.phase is Phase.OPEN


def test_a_session_that_is_not_single_goes_on():
    session = make(single=False)
    session.client_message(1, request())
    session.kernel_frame(reply())
    assert list(session.kernel_frame(status("idle"))) == [Deliver(status("idle"))]
    assert session.phase is Phase.OPEN
    assert not session.busy


def test_a_lone_kernel_info_request_does_not_end_a_single_session():
    session = make()
    session.client_message(1, request("i", "kernel_info_request"))
    session.kernel_frame(reply("i", "kernel_info_reply"))
    assert list(session.kernel_frame(status("idle", "i"))) == [Deliver(status("idle", "i"))]
    assert session.phase is Phase.OPEN


def test_a_single_session_waits_for_the_kernel_info_that_follows_its_evaluation():
    session = make()
    session.client_message(1, request("a"))
    session.client_message(1, request("i", "kernel_info_request"))
    session.kernel_frame(reply("a"))
    session.kernel_frame(status("idle", "a"))
    assert session.phase is Phase.OPEN
    session.kernel_frame(reply("i", "kernel_info_reply"))
    assert session.kernel_frame(status("idle", "i"))[-1] == Release(DeathReason.RELEASED)


def test_a_single_session_waits_for_every_evaluation():
    session = make()
    session.client_message(1, request("a"))
    session.client_message(1, request("b"))
    session.kernel_frame(reply("a"))
    session.kernel_frame(status("idle", "a"))
    assert session.phase is Phase.OPEN
    session.kernel_frame(reply("b"))
    session.kernel_frame(status("idle", "b"))
    assert session.phase is Phase.DEAD


@pytest.mark.parametrize(
    "other",
    [
        status("idle", "x"),
        reply("x"),
        reply("a", "kernel_info_reply"),
        frame("iopub", "execute_result", "a"),
        frame("iopub", "status", "a", execution_state=["idle"]),
    ],
)
def test_other_messages_answer_nothing(other):
    session = make()
    session.client_message(1, request())
    session.kernel_frame(reply())
    assert list(session.kernel_frame(other)) == [Deliver(other)]
    assert session.busy


def test_messages_wait_until_output_is_known_to_arrive():
    session = make(started=False)
    assert session.client_message(1, request("a")) == []
    assert session.client_message(1, request("c", "comm_msg")) == []
    assert session.subscription_confirmed() == [Send(request("a")), Send(request("c", "comm_msg"))]
    assert session.subscription_confirmed() == []
    assert session.client_message(1, request("b")) == [Send(request("b"))]


def test_only_so_many_messages_wait():
    session = make(started=False)
    for number in range(machine.MAX_QUEUED_MESSAGES):
        session.client_message(1, request(str(number)))
    effects = session.client_message(1, request("late"))
    assert said(effects) == [("execute_reply", "late", "RequestRefused"), ("status", "late", "idle")]
    assert {effect.client for effect in effects} == {1}
    assert len(session.subscription_confirmed()) == machine.MAX_QUEUED_MESSAGES


def test_only_so_many_requests_are_open():
    session = make()
    for number in range(machine.MAX_OPEN_REQUESTS):
        session.client_message(1, request(str(number), "complete_request"))
    assert said(session.client_message(1, request("x"))) == [
        ("execute_reply", "x", "RequestRefused"),
        ("status", "x", "idle"),
    ]
    assert said(session.client_message(1, request("y", "inspect_request"))) == [("refused", "y", "refused")]
    assert session.client_message(1, request("z", "comm_msg")) == [Send(request("z", "comm_msg"))]


def test_an_id_in_use_is_refused():
    session = make()
    session.client_message(1, request("a"))
    assert said(session.client_message(1, request("a"))) == [("invalid_message", "", "invalid_message")]


def test_a_kernel_that_does_not_read_is_answered_for():
    session = make()
    session.client_message(1, request("a"))
    effects = session.send_refused(request("a"))
    assert said(effects) == [
        ("execute_reply", "a", "RequestRefused"),
        ("status", "a", "idle"),
        ("status", "", "dead"),
    ]
    assert effects[-1] == Release(DeathReason.RELEASED)


def test_an_interrupt_goes_to_the_pool_and_is_answered():
    session = make()
    session.client_message(1, request("a"))
    interrupt = request("i", "interrupt_request")
    assert session.client_message(1, interrupt) == [InterruptKernel(1, interrupt)]
    (answer,) = session.interrupt_answered(1, interrupt, None)
    assert (answer.client, answer.frame.channel, answer.frame.parent_id) == (1, "control", "i")
    assert answer.frame.content == {"status": "ok"}
    (answer,) = session.interrupt_answered(1, interrupt, PoolUnavailable())
    assert answer.frame.content["ename"] == "pool_unavailable"


def test_death_answers_every_evaluation_then_tells_why_then_closes():
    session = make(single=False)
    for msg_id in ("a", "b", "c"):
        session.client_message(1, request(msg_id))
    session.client_message(1, request("i", "kernel_info_request"))
    session.kernel_frame(reply("a"))
    session.kernel_frame(status("idle", "b"))
    effects = session.kernel_died(DeathReason.MEMORY_LIMIT)
    assert said(effects) == [
        ("status", "a", "idle"),
        ("execute_reply", "b", "KernelDied"),
        ("execute_reply", "c", "KernelDied"),
        ("status", "c", "idle"),
        ("status", "", "dead"),
    ]
    assert effects[1].frame.content["evalue"] == DeathReason.MEMORY_LIMIT.sentence
    dead = json.loads(effects[4].frame.text)
    assert dead["channel"] == "iopub"
    assert dead["msg_type"] == dead["header"]["msg_type"] == "status"
    assert (dead["parent_header"], dead["metadata"]) == ({}, {})
    assert dead["content"] == {
        "execution_state": "dead",
        "reason": "memory_limit",
        "message": DeathReason.MEMORY_LIMIT.sentence,
    }
    assert effects[5:] == [Close(1000), CancelGrace()]


def test_death_drops_what_waited_for_the_start():
    session = make(started=False)
    session.client_message(1, request("a"))
    assert said(session.kernel_died(DeathReason.CRASHED))[0] == ("execute_reply", "a", "KernelDied")
    assert session.subscription_confirmed() == []


def test_after_death_nothing_happens():
    session = make()
    session.kernel_died(DeathReason.CRASHED)
    assert session.kernel_died(DeathReason.IDLE) == []
    assert session.stop(DeathReason.STOPPED) == []
    assert session.client_message(1, request()) == []
    assert session.kernel_frame(reply()) == []
    assert session.client_closed(1) == []
    assert session.grace_expired() == []
    assert session.tick() == []
    assert session.send_refused(request()) == []
    assert session.frame_rejected("iopub", "not_json") == []


def test_who_comes_after_death_learns_why():
    session = make()
    session.kernel_died(DeathReason.IDLE)
    deliver, close = session.client_opened(2)
    assert (deliver.client, deliver.frame.content["reason"]) == (2, "idle")
    assert close == Close(1000, 2)


def test_a_kernel_waits_for_its_first_client_and_then_for_its_last_one_to_come_back():
    session = Session("k", single=False, now=lambda: NOW, seconds=lambda: 0.0, limits=LIMITS)
    assert session.leased() == [StartGrace(machine.ATTACH_SECONDS)]
    assert session.client_opened(1) == [CancelGrace()]
    assert session.client_opened(2) == [CancelGrace()]
    assert session.client_closed(1) == []
    assert session.client_closed(2) == [StartGrace(machine.GRACE_SECONDS)]
    assert session.client_closed(2) == []
    assert session.client_opened(3) == [CancelGrace()]
    assert session.grace_expired() == []
    session.client_closed(3)
    assert session.grace_expired()[-1] == Release(DeathReason.CLIENT_GONE)


def test_bad_messages_are_explained_and_counted_for_each_client():
    session = make()
    session.client_opened(2)
    for _ in range(machine.MAX_INVALID_MESSAGES - 1):
        (deliver,) = session.client_invalid(1, InvalidMessage("No."))
    assert deliver.client == 1
    assert deliver.frame.channel == "error"
    assert deliver.frame.content == {"error": "invalid_message", "message": "No."}
    assert len(session.client_invalid(2, InvalidMessage("No."))) == 1
    assert session.client_invalid(1, InvalidMessage("No."))[1:] == [Close(1008, 1)]
    assert session.client_invalid(3, InvalidMessage("No.")) == []


def test_a_dropped_message_is_told_in_the_running_evaluation():
    session = make()
    session.client_message(1, request("a"))
    session.client_message(1, request("b"))
    session.kernel_frame(status("idle", "a"))
    (line,) = said(session.frame_rejected("iopub", "too_large"))
    assert line[:2] == ("stream", "b")
    assert "too_large" in line[2]
    assert session.frame_rejected("shell", "too_large") == []


def test_an_idle_that_was_lost_is_supplied_after_a_round_trip():
    session = make()
    session.client_message(1, request("a"))
    session.kernel_frame(reply("a"))
    assert session.tick() == []
    assert session.tick() == [Synchronize()]
    assert session.tick() == []
    effects = session.synchronized()
    assert said(effects) == [
        ("stream", "a", machine.OUTPUT_LOST),
        ("status", "a", "idle"),
        ("status", "", "dead"),
    ]
    assert effects[-1] == Release(DeathReason.RELEASED)


def test_a_reply_that_was_lost_is_supplied_after_a_round_trip():
    session = make(single=False)
    session.client_message(1, request("a"))
    session.client_message(1, request("c", "complete_request"))
    session.kernel_frame(status("idle", "a"))
    session.kernel_frame(status("idle", "c"))
    session.tick()
    assert session.tick() == [Synchronize()]
    assert said(session.synchronized()) == [("execute_reply", "a", "ReplyLost")]
    assert not session.busy


def test_an_idle_that_comes_before_the_round_trip_ends_is_not_supplied_again():
    session = make(single=False)
    session.client_message(1, request("a"))
    session.kernel_frame(reply("a"))
    session.tick()
    session.tick()
    session.kernel_frame(status("idle", "a"))
    assert session.synchronized() == []


def test_an_evaluation_that_runs_or_has_just_ended_is_not_suspected():
    session = make(single=False)
    session.client_message(1, request("a"))
    assert session.tick() == []
    assert session.tick() == []
    session.kernel_frame(reply("a"))
    assert session.tick() == []


def test_a_request_is_not_taken_for_lost_by_a_round_trip_that_began_before_its_reply():
    session = make(single=False)
    session.client_message(1, request("a"))
    session.kernel_frame(reply("a"))
    session.tick()
    assert session.tick() == [Synchronize()]
    session.client_message(1, request("b"))
    session.kernel_frame(reply("b"))
    assert ("status", "b", "idle") not in said(session.synchronized())


def stream(text, parent="a"):
    content = {"name": "stdout", "text": text}
    return KernelFrame("iopub", "stream", "m", parent, content, json.dumps(content).encode())


def limited(**changes):
    session = make(single=False, limits=attrs.evolve(LIMITS, **changes))
    session.client_message(1, request())
    return session


def test_output_above_a_limit_is_told_once_counted_and_closed_before_the_idle():
    session = limited(max_messages=2)
    effects = [effect for _ in range(5) for effect in session.kernel_frame(frame("iopub", "clear_output", "a"))]
    effects += session.kernel_frame(reply())
    effects += session.kernel_frame(status("idle"))
    kinds = [line[0] for line in said(effects)]
    assert kinds == ["clear_output", "clear_output", "stream", "execute_reply", "stream", "status"]
    assert "limited to 2 messages" in said(effects)[2][2]
    assert "Left out of this output: 3 messages." in said(effects)[4][2]
    assert {line[1] for line in said(effects)} == {"a"}
    assert not session.busy


def test_each_evaluation_has_a_budget_of_its_own():
    session = limited(stream_characters=3)
    session.client_message(1, request("b"))
    assert said(session.kernel_frame(stream("12345")))[0] == ("stream", "a", "123")
    assert said(session.kernel_frame(stream("12", "b"))) == [("stream", "b", "12")]


def test_output_that_answers_nothing_has_one_budget_until_a_client_asks_for_more():
    session = limited(max_messages=2)
    strays = [frame("iopub", "comm_msg", parent) for parent in ("x", "y", "z", "")]
    assert [len(list(session.kernel_frame(one))) for one in strays] == [1, 1, 1, 0]
    assert said(session.kernel_frame(frame("iopub", "comm_msg", "q"))) == []
    session.client_message(1, request("c", "comm_msg"))
    assert len(session.kernel_frame(frame("iopub", "comm_msg", "c"))) == 1
    session.client_message(1, request("i", "complete_request"))
    session.kernel_frame(frame("iopub", "comm_msg", "i"))
    assert said(session.kernel_frame(frame("iopub", "display_data", "i")))[0][0] == "stream"


def test_busy_idle_and_reply_pass_when_nothing_else_does_and_only_once():
    session = limited(max_messages=1)
    session.kernel_frame(stream("x"))
    session.kernel_frame(stream("y"))
    assert said(session.kernel_frame(status("busy"))) == [("status", "a", "busy")]
    assert said(session.kernel_frame(status("busy"))) == []
    assert said(session.kernel_frame(reply())) == [("execute_reply", "a", "ok")]
    assert said(session.kernel_frame(reply())) == []
    assert said(session.kernel_frame(status("starting"))) == []
    assert said(session.kernel_frame(status("idle"))) == [
        ("stream", "a", "\n[Left out of this output: 3 messages. Its end follows.]\n"),
        ("stream", "a", "y"),
        ("status", "a", "idle"),
    ]


def test_huge_replies_and_states_are_replaced():
    session = limited()
    big = "x" * 2_000_000
    effects = session.kernel_frame(KernelFrame("iopub", "status", "m", "a", {"execution_state": "busy"}, big.encode()))
    effects += session.kernel_frame(
        KernelFrame("shell", "execute_reply", "m", "a", {"status": "error", "evalue": big}, big.encode())
    )
    effects += session.kernel_frame(KernelFrame("iopub", "status", "m", "a", {"execution_state": "idle"}, big.encode()))
    assert [effect.frame.msg_type for effect in effects] == ["status", "execute_reply", "status"]
    assert all(len(effect.frame.text) < 20_000 for effect in effects)
    assert "left out" in effects[1].frame.content["evalue"]


def test_what_cannot_be_written_again_is_replaced_by_a_notice():
    session = limited()
    content = {"data": {"text/plain": "x" * 20_000}, "metadata": {"size": float("inf")}}
    effects = session.kernel_frame(KernelFrame("iopub", "display_data", "m", "a", content, b"x" * 20_100))
    assert said(effects) == [("stream", "a", "[A message of this kernel could not be shortened.]\n")]


def test_text_that_was_held_back_comes_with_a_tick():
    clock = [0.0]
    session = make(single=False, limits=attrs.evolve(LIMITS, messages_per_second=1), clock=clock)
    session.client_message(1, request())
    for number in range(7):
        session.kernel_frame(stream(f"{number} "))
    assert session.tick() == []
    clock[0] = 2.0
    assert said(session.tick()) == [("stream", "a", "5 6 ")]


def test_death_tells_what_was_left_out():
    session = limited(max_messages=1)
    session.kernel_frame(frame("iopub", "clear_output", "a"))
    session.kernel_frame(frame("iopub", "clear_output", "a"))
    lines = said(session.kernel_died(DeathReason.BUSY))
    assert [line[0] for line in lines] == ["stream", "execute_reply", "status", "status"]
    assert "output: 1 message." in lines[0][2]


def test_a_lost_idle_tells_what_was_left_out():
    session = limited(max_messages=1)
    session.kernel_frame(stream("x"))
    session.kernel_frame(stream("y"))
    session.kernel_frame(reply())
    session.tick()
    session.tick()
    assert said(session.synchronized()) == [
        ("stream", "a", "y"),
        ("stream", "a", machine.OUTPUT_LOST),
        ("status", "a", "idle"),
    ]


def replayed(msg_type, parent, channel="iopub", **content):
    header = {"msg_id": f"{msg_type}-{len(parent)}-{content}", "msg_type": msg_type}
    return make_frame(channel, msg_type, content, parent=parent, msg_id=header["msg_id"], session="k", date="now")


def test_a_session_begun_anew_learns_from_the_kernel_what_is_open():
    asked = {"msg_id": "a", "msg_type": "execute_request", "username": "visitor"}
    session = make()
    effects = session.recover(
        [replayed("status", asked, execution_state="busy"), replayed("stream", asked, name="stdout", text="x")]
    )
    assert [effect.frame.msg_type for effect in effects] == ["status", "stream"]
    assert session.busy
    session.recover([replayed("execute_reply", asked, "shell", status="ok")])
    assert session.busy
    effects = session.recover([replayed("status", asked, execution_state="idle")])
    assert Release(DeathReason.RELEASED) in effects


def busy_for(parent):
    """A busy whose parent header is what a kernel made of it."""
    parent_id = json.loads(parent).get("msg_id", "")
    content = {"execution_state": "busy"}
    return KernelFrame("iopub", "status", "m", parent_id, content, b"{}", (b"{}", parent.encode(), b"{}", b"{}"))


def test_of_a_header_that_a_kernel_tells_is_kept_what_can_be_written_again():
    session = make()
    session.recover([busy_for('{"msg_id": "a", "msg_type": "execute_request", "n": 1e999, "l": [], "i": 1}')])
    effects = list(session.stop(DeathReason.CLIENT_GONE))
    assert effects[-1] == Release(DeathReason.CLIENT_GONE)
    assert json.loads(effects[0].frame.parts[1]) == {"msg_id": "a", "msg_type": "execute_request", "i": 1}


@pytest.mark.parametrize(
    "parent", ['{"msg_id": "a", "msg_type": ["execute_request"]}', '{"msg_id": "a"}', '{"msg_type": "execute_request"}']
)
def test_what_a_kernel_tells_of_no_request_opens_none(parent):
    session = make()
    session.recover([busy_for(parent)])
    assert not session.busy


def test_the_reply_to_another_process_is_asked_for_when_the_evaluation_ends():
    asked = {"msg_id": "a", "msg_type": "execute_request", "username": "visitor"}
    session = make()
    session.recover([replayed("status", asked, execution_state="busy")])
    effects = session.kernel_frame(replayed("status", asked, execution_state="idle"))
    assert effects[-1] == Synchronize()
    # asked once, whatever else is missing
    assert Synchronize() not in session.tick()
    said = [
        replayed("execute_reply", {"msg_id": "other"}, "shell", status="ok"),
        replayed("stream", asked, name="stdout", text="heard before"),
        replayed("execute_reply", asked, "shell", status="ok"),
    ]
    effects = session.said_again(said)
    assert next(effect.frame.msg_type for effect in effects if isinstance(effect, Deliver)) == "execute_reply"
    assert effects[-1] == Release(DeathReason.RELEASED)
    assert session.synchronized() == []


def test_a_reply_that_nobody_remembers_is_told_as_lost():
    asked = {"msg_id": "a", "msg_type": "execute_request", "username": "visitor"}
    session = make()
    session.recover([replayed("status", asked, execution_state="busy")])
    session.kernel_frame(replayed("status", asked, execution_state="idle"))
    assert session.said_again([]) == []
    (delivered, *_) = session.synchronized()
    assert delivered.frame.content["ename"] == "ReplyLost"


def test_an_evaluation_that_is_over_is_not_open_again():
    asked = {"msg_id": "a", "msg_type": "execute_request"}
    session = make()
    session.recover(
        [
            replayed("status", asked, execution_state="busy"),
            replayed("execute_reply", asked, "shell", status="ok"),
            replayed("status", asked, execution_state="idle"),
        ]
    )
    assert not session.busy


def test_a_client_that_comes_back_is_waited_for_longer():
    session = make()
    assert session.client_closed(1, returns=True) == [StartGrace(machine.RETURN_SECONDS)]


def file_message(name, data=b"x", channel="shell", parent="a"):
    return KernelFrame(channel, "session_file", "m", parent, {"name": name}, b"{}", buffers=(data,))


@pytest.mark.parametrize("channel", ["shell", "iopub"])
def test_files_are_kept_and_no_client_s_business(channel):
    session = make()
    session.client_message(1, request())
    assert session.kernel_frame(file_message("d/a", b"data", channel)) == [KeepFile("d/a", b"data")]
    assert session.kernel_frame(file_message("b", b"", channel)) == [KeepFile("b", b"")]


@pytest.mark.parametrize("name", ["../a", "/a", "", None, 5, "a\n"])
def test_files_of_other_names_are_not(name):
    assert make().kernel_frame(file_message(name)) == []


def test_a_message_without_exactly_one_buffer_is_no_file():
    content = {"name": "a"}
    for buffers in ((), (b"a", b"b")):
        assert (
            make().kernel_frame(KernelFrame("shell", "session_file", "m", "a", content, b"{}", buffers=buffers)) == []
        )


def test_a_kernel_leaves_no_more_than_a_limit_until_it_is_asked_again(monkeypatch):
    monkeypatch.setattr(machine, "MAX_FILE_BYTES", 3)
    monkeypatch.setattr(machine, "LEAST_FILE_BYTES", 1)
    session = make(single=False)
    session.client_message(1, request())
    assert len(session.kernel_frame(file_message("a", b"123"))) == 1
    assert session.kernel_frame(file_message("b", b"1")) == []
    session.client_message(1, request("b"))
    assert len(session.kernel_frame(file_message("b", b"1"))) == 1


def test_small_files_count_as_what_it_costs_to_keep_one():
    session = make(single=False)
    session.client_message(1, request())
    kept = [session.kernel_frame(file_message(str(number), b"")) != [] for number in range(9000)]
    assert (kept.count(True), kept.index(False)) == (8192, 8192)
