"""`protocol.session` as a machine: whatever happens in whatever order, it never raises and owes no reply."""

from __future__ import annotations

import collections
from typing import Any

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from appliance.errors import InvalidMessage, PoolUnavailable
from appliance.protocol import frames, session, session_effects
from appliance.protocol.death import DeathReason
from appliance.protocol.output_budget import OutputLimits
from tests.fuzz.budget import ROUND, fuzz, seconds

pytestmark = pytest.mark.timeout(seconds() + 120)

CLIENTS = st.integers(1, 4)
IDS = st.integers(1, 200).map(str)
TYPES = st.sampled_from(["execute_request"] * 4 + sorted(frames.CLIENT_TYPES))
#: So low that many programs reach them.
LIMITS = OutputLimits(
    max_bytes=5000,
    max_messages=20,
    max_displays=5,
    stream_characters=500,
    text_characters=100,
    messages_per_second=3,
)
EFFECTS = session_effects.Effect.__args__  # type: ignore[attr-defined]


@attrs.define
class Asked:
    """A request that the machine accepted, as an honest kernel sees it."""

    msg_id: str
    kind: str
    sent: bool = False
    replied: bool = False
    idle: bool = False


class Machine(RuleBasedStateMachine):
    """Plays clients and a kernel. ``honest`` kernels answer what they were asked, once, or lose it."""

    honest = True

    def __init__(self) -> None:
        super().__init__()
        self.clock = 0.0
        self.session = self.made(single=False)
        self.asked: list[Asked] = []
        self.accepted: collections.Counter[str] = collections.Counter()
        self.replies: collections.Counter[str] = collections.Counter()
        self.synchronizing = False
        self.closed = False

    def made(self, *, single: bool) -> session.Session:
        return session.Session("kernel", single=single, now=lambda: "now", seconds=lambda: self.clock, limits=LIMITS)

    @initialize(single=st.booleans())
    def begin(self, single: bool) -> None:
        self.session = self.made(single=single)
        self.take(self.session.leased())

    def take(self, effects: Any) -> None:
        for effect in effects:
            assert isinstance(effect, EFFECTS)
            if isinstance(effect, session_effects.Deliver):
                frame = effect.frame
                assert frame.channel in ("shell", "iopub", "control", "error")
                if frame.channel == "shell" and frame.msg_type == "execute_reply":
                    self.replies[frame.parent_id] += 1
            elif isinstance(effect, session_effects.Send):
                for one in self.asked:
                    if one.msg_id == effect.message.msg_id and not one.sent:
                        one.sent = True
                        break
            elif isinstance(effect, session_effects.Synchronize):
                assert not self.synchronizing, "one synchronization at a time"
                self.synchronizing = True
            elif isinstance(effect, session_effects.Close) and effect.client is None:
                self.closed = True

    # --- clients

    @rule(client=CLIENTS)
    def client_opened(self, client: int) -> None:
        self.take(self.session.client_opened(client))

    @rule(client=CLIENTS)
    def client_closed(self, client: int) -> None:
        self.take(self.session.client_closed(client))

    @rule(client=CLIENTS)
    def client_invalid(self, client: int) -> None:
        self.take(self.session.client_invalid(client, InvalidMessage()))

    @rule(client=CLIENTS, msg_id=IDS, kind=TYPES)
    def client_message(self, client: int, msg_id: str, kind: str) -> None:
        header = {"msg_id": msg_id, "msg_type": kind, "session": "s"}
        message = frames.make_client_message(header, {"code": "1"} if kind == "execute_request" else {})
        alive = self.session.phase is not session.Phase.DEAD
        known = any(one.msg_id == msg_id for one in self.asked)
        if alive and kind in frames.REQUEST_TYPES and not known:
            self.asked.append(Asked(msg_id, kind))
            if kind == "execute_request":
                self.accepted[msg_id] += 1
        replies = self.replies[msg_id]
        effects = self.session.client_message(client, message)
        self.take(effects)
        if alive and kind == "execute_request" and not known and self.replies[msg_id] > replies:
            # refused at once, by a reply
            self.asked = [one for one in self.asked if one.msg_id != msg_id]
        elif (
            alive
            and not known
            and any(
                isinstance(effect, session_effects.Deliver) and effect.frame.channel == "error" for effect in effects
            )
        ):
            self.asked = [one for one in self.asked if one.msg_id != msg_id]

    @rule(client=CLIENTS, failed=st.booleans())
    def interrupt_answered(self, client: int, failed: bool) -> None:
        message = frames.make_client_message({"msg_id": "i", "msg_type": "interrupt_request"}, {})
        self.take(self.session.interrupt_answered(client, message, PoolUnavailable() if failed else None))

    # --- the kernel

    def frame(self, channel: str, kind: str, content: dict[str, Any], parent: str) -> frames.KernelFrame:
        return frames.make_frame(channel, kind, content, parent={"msg_id": parent}, msg_id="k", session="k", date="now")

    @rule()
    def subscription_confirmed(self) -> None:
        self.take(self.session.subscription_confirmed())
        assert self.session.phase is session.Phase.DEAD or all(one.sent for one in self.asked), (
            "a queued message was lost"
        )

    def pending(self, end: str) -> list[Asked]:
        return [one for one in self.asked if one.sent and not getattr(one, end)]

    @rule(data=st.data(), lost=st.booleans())
    def kernel_replies(self, data: st.DataObject, lost: bool) -> None:
        self._end("replied", data, lost)

    @rule(data=st.data(), lost=st.booleans())
    def kernel_is_idle(self, data: st.DataObject, lost: bool) -> None:
        self._end("idle", data, lost)

    def _end(self, end: str, data: st.DataObject, lost: bool) -> None:
        pending = self.pending(end)
        if not pending or self.session.phase is session.Phase.DEAD:
            return
        one = data.draw(st.sampled_from(pending))
        setattr(one, end, True)
        if not lost:
            kind = one.kind.replace("_request", "_reply")
            frame = (
                self.frame("shell", kind, {"status": "ok"}, one.msg_id)
                if end == "replied"
                else self.frame("iopub", "status", {"execution_state": "idle"}, one.msg_id)
            )
            self.take(self.session.kernel_frame(frame))
        self._forget()

    def _forget(self) -> None:
        # an id may be used again when the machine has closed its request
        self.asked = [one for one in self.asked if one.msg_id in self.session._open]

    @rule(
        msg_id=IDS,
        kind=st.sampled_from(["stream", "display_data", "update_display_data", "status", "error"]),
        text=st.none() | st.integers(0, 300).map("x".__mul__),
    )
    def kernel_says(self, msg_id: str, kind: str, text: str | None) -> None:
        content = {"execution_state": "busy", "name": "stdout", "text": text, "traceback": [text], "transient": text}
        self.take(self.session.kernel_frame(self.frame("iopub", kind, content, msg_id)))

    @rule(channel=st.sampled_from(["iopub", "shell"]))
    def frame_rejected(self, channel: str) -> None:
        self.take(self.session.frame_rejected(channel, "too_large"))

    @rule(data=st.data())
    def kernel_does_not_read(self, data: st.DataObject) -> None:
        fresh = [one for one in self.asked if one.sent and not one.replied and not one.idle]
        if fresh:
            one = data.draw(st.sampled_from(fresh))
            message = frames.make_client_message({"msg_id": one.msg_id, "msg_type": one.kind}, {})
            self.take(self.session.send_refused(message))
            self._forget()

    @rule(seconds=st.floats(0.0, 10.0))
    def tick(self, seconds: float) -> None:
        self.clock += seconds
        self.take(self.session.tick())

    @precondition(lambda self: self.synchronizing)
    @rule()
    def synchronized(self) -> None:
        # a round trip has passed: of a request with one end, the other has come or is lost
        self.synchronizing = False
        for one in self.asked:
            if one.replied or one.idle:
                one.replied = one.idle = True
        self.take(self.session.synchronized())
        self._forget()

    # --- the end

    @rule()
    def grace_expired(self) -> None:
        self.take(self.session.grace_expired())
        self._forget()

    @precondition(lambda self: len(self.accepted) > 8)
    @rule(reason=st.sampled_from(DeathReason), stop=st.booleans())
    def ends(self, reason: DeathReason, stop: bool) -> None:
        self.take((self.session.stop if stop else self.session.kernel_died)(reason))
        self._forget()

    @invariant()
    def tables_are_bounded(self) -> None:
        assert len(self.session._open) <= session.MAX_OPEN_REQUESTS
        assert len(self.session._queue) <= session.MAX_QUEUED_MESSAGES
        if self.honest:
            late = {msg_id: count for msg_id, count in self.replies.items() if count > self.accepted[msg_id]}
            assert late == {}, "more replies than requests"

    def teardown(self) -> None:
        """End the kernel: now each evaluation must have its reply."""
        self.take(self.session.kernel_died(DeathReason.CRASHED))
        assert self.closed
        assert self.session.kernel_died(DeathReason.CRASHED) == []
        if self.honest:
            assert +self.replies == +self.accepted
        else:
            assert all(self.replies[msg_id] >= 1 for msg_id in self.accepted)


class HostileMachine(Machine):
    """A kernel that says anything about anything."""

    honest = False

    @rule(
        channel=st.sampled_from(["iopub", "shell"]),
        kind=st.sampled_from(sorted(frames.KERNEL_TYPES["iopub"] | frames.KERNEL_TYPES["shell"])),
        state=st.none() | st.sampled_from(["idle", "busy", "dead", "starting"]) | st.integers() | st.lists(st.none()),
        msg_id=IDS | st.just(""),
    )
    def kernel_lies(self, channel: str, kind: str, state: object, msg_id: str) -> None:
        self.take(self.session.kernel_frame(self.frame(channel, kind, {"execution_state": state}, msg_id)))
        self._forget()


def test_an_honest_kernel() -> None:
    fuzz(lambda: run_state_machine_as_test(Machine, settings=ROUND))  # type: ignore[no-untyped-call]


def test_a_hostile_kernel() -> None:
    fuzz(lambda: run_state_machine_as_test(HostileMachine, settings=ROUND))  # type: ignore[no-untyped-call]
