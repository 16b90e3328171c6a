from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from appliance import notify
from appliance.notify import LOOK_SECONDS, MAX_LAG_SECONDS, NotifyingService

if TYPE_CHECKING:
    from collections.abc import Callable


class FakeRole(Service):
    def __init__(self) -> None:
        self.well = False
        self.text = "starting"
        self.stopped: Deferred[None] = Deferred()
        self.work: Callable[[], Deferred[None]] | None = None
        self.proofs = 0

    async def prove(self) -> None:
        self.proofs += 1
        if self.work is not None:
            await self.work()

    def healthy(self) -> bool:
        return self.well

    def status(self) -> str:
        return self.text

    def stopService(self) -> Deferred[None]:  # noqa: N802
        super().stopService()
        return self.stopped


class Fixture:
    def __init__(self, watchdog: float | None = None) -> None:
        self.role = FakeRole()
        self.clock = Clock()
        self.sent: list[str] = []
        self.service = NotifyingService(self.role, self.clock, self.sent.append, watchdog)
        self.service.startService()

    def advance(self, seconds: float) -> list[str]:
        self.sent.clear()
        for _ in range(round(seconds / LOOK_SECONDS)):
            self.clock.advance(LOOK_SECONDS)
        return self.sent


def test_readiness_is_told_once_when_the_role_is_up() -> None:
    fixture = Fixture()
    assert fixture.role.running
    assert fixture.sent == ["STATUS=starting"]
    assert fixture.advance(5) == []
    fixture.role.well, fixture.role.text = True, "4 kernels\nready"
    assert fixture.advance(0.2) == ["READY=1\nSTATUS=4 kernels ready"]
    fixture.role.well = False
    fixture.advance(1)
    fixture.role.well = True
    assert fixture.advance(1) == []


def test_the_watchdog_beats_twice_in_its_time_while_the_role_is_well() -> None:
    fixture = Fixture(watchdog=10)
    fixture.role.well = True
    fixture.advance(0.2)
    assert fixture.advance(20).count("WATCHDOG=1") == 4
    fixture.role.well = False
    assert fixture.advance(20) == []
    fixture.role.well = True
    assert fixture.advance(LOOK_SECONDS) == ["WATCHDOG=1"]


def test_without_a_watchdog_there_is_no_beat_and_no_proof() -> None:
    fixture = Fixture()
    fixture.role.well = True
    assert "WATCHDOG=1" not in fixture.advance(60)
    assert fixture.role.proofs == 0


def test_a_beat_needs_work_that_went_through_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, object]] = []
    monkeypatch.setattr(notify.log, "warn", lambda _format, **fields: said.append(fields))
    fixture = Fixture(watchdog=12)
    fixture.role.well = True
    assert fixture.advance(12.5).count("WATCHDOG=1") == 2
    assert fixture.role.proofs >= 2 * notify.PROOFS_PER_BEAT
    fixture.role.work = lambda: defer.fail(ValueError("the disk is gone"))
    fixture.advance(6)  # the last good proof may carry one more beat
    assert fixture.advance(20) == []
    assert said[0]["unproved"] == "ValueError the disk is gone"
    fixture.role.work = None
    assert "WATCHDOG=1" in fixture.advance(2.5)


def test_work_that_hangs_is_given_up_and_tried_again() -> None:
    fixture = Fixture(watchdog=12)
    fixture.role.well = True
    fixture.advance(2)
    fixture.role.work = Deferred
    fixture.advance(6)
    assert fixture.advance(20) == []
    tried = fixture.role.proofs
    fixture.role.work = None
    assert "WATCHDOG=1" in fixture.advance(8)
    assert fixture.role.proofs > tried


def test_stopping_gives_running_work_up() -> None:
    fixture = Fixture(watchdog=12)
    fixture.role.well = True
    cancelled: list[object] = []
    fixture.role.work = lambda: Deferred(cancelled.append)
    fixture.advance(1)
    fixture.service.stopService()
    assert len(cancelled) == 1


def test_a_reactor_that_is_late_gets_no_beat() -> None:
    fixture = Fixture(watchdog=6)
    fixture.role.well = True
    fixture.advance(0.2)
    fixture.sent.clear()
    for _ in range(10):
        fixture.clock.advance(MAX_LAG_SECONDS + 1)
    assert fixture.sent == []
    fixture.clock.advance(LOOK_SECONDS)
    assert fixture.sent == ["WATCHDOG=1"]


def test_a_role_that_cannot_tell_its_state_gets_no_beat_until_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[str] = []
    monkeypatch.setattr(notify.log, "failure", failures.append)
    fixture = Fixture(watchdog=4)
    fixture.role.well = True
    fixture.advance(0.2)
    with monkeypatch.context() as broken:
        broken.setattr(fixture.role, "status", lambda: 1 / 0)
        assert fixture.advance(10) == []
    assert len(failures) == 1
    assert fixture.advance(LOOK_SECONDS) == ["WATCHDOG=1"]


def test_stopping_is_told_and_waits_for_the_role() -> None:
    fixture = Fixture()
    fixture.sent.clear()
    stopped = fixture.service.stopService()
    assert fixture.sent == ["STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC=1000000"]
    assert not stopped.called
    fixture.role.stopped.callback(None)
    assert stopped.called
    assert fixture.clock.getDelayedCalls() == []


def test_a_status_is_cut() -> None:
    fixture = Fixture()
    fixture.role.text = "x" * 1000
    assert fixture.advance(LOOK_SECONDS) == ["STATUS=" + "x" * notify.MAX_STATUS_CHARACTERS]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, 2.0),
        ({"WATCHDOG_USEC": "2000000"}, 2.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_of_the_environment(environ: dict[str, str], seconds: float | None) -> None:
    assert notify.watchdog_seconds(environ, 7) == seconds


def test_inherited_sockets_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[bool] = []

    def passed(*, unset_environment: bool) -> dict[int, str]:
        calls.append(unset_environment)
        return {3: "web", 4: "permalink"}

    monkeypatch.setattr(notify.daemon, "listen_fds_with_names", passed)
    notify._inherited.cache_clear()
    try:
        assert notify.inherited_socket("permalink") == 4
        assert notify.inherited_socket("web") == 3
        assert notify.inherited_socket("pool") is None
        assert calls == [True]
    finally:
        notify._inherited.cache_clear()


def test_inherited_sockets_outlast_what_twisted_does_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [{3: "web"}, {}]
    monkeypatch.setattr(notify.daemon, "listen_fds_with_names", lambda **_: names.pop(0))
    notify._inherited.cache_clear()
    try:
        notify.keep_inherited_sockets()
        assert notify.inherited_socket("web") == 3
    finally:
        notify._inherited.cache_clear()
