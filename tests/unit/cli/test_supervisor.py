from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from appliance.cli import supervisor as module
from appliance.cli.printable import printable
from appliance.cli.supervisor import MAX_EARLY_ENDS, MAX_LINE_BYTES, Child, Supervisor


class FakeProcess:
    def __init__(self, reactor: FakeReactor, protocol: Any, command: list[str]) -> None:
        self.reactor, self.protocol, self.command = reactor, protocol, command
        self.pid: int | None = 1
        self.signals: list[str] = []
        self.deaf = False

    def signalProcess(self, name: str) -> None:  # noqa: N802
        self.signals.append(name)
        if name == "KILL" or not self.deaf:
            self.reactor.callLater(0, self.end, signal=9 if name == "KILL" else 15)

    def end(self, status: int = 0, signal: int | None = None) -> None:
        self.reactor.running.remove(self)
        error = ProcessDone(0) if not status and signal is None else ProcessTerminated(status or None, signal)
        self.protocol.processEnded(Failure(error))


class FakeReactor(Clock):
    def __init__(self) -> None:
        super().__init__()
        self.running: list[FakeProcess] = []

    def spawnProcess(self, protocol: Any, executable: str, args: list[str], **options: Any) -> None:  # noqa: N802
        assert executable == args[0]
        assert options == {"env": {"A": "b"}, "path": "/"}
        process = FakeProcess(self, protocol, args)
        protocol.transport = process
        self.running.append(process)

    def process(self, name: str) -> FakeProcess:
        (found,) = (process for process in self.running if process.command == [f"/bin/{name}"])
        return found


class Fixture:
    def __init__(self) -> None:
        self.reactor = FakeReactor()
        self.lines: list[tuple[str, str]] = []
        self.given_up: list[tuple[str, int]] = []
        children = [Child(name, [f"/bin/{name}"], {"A": "b"}, last=name == "zygote") for name in ("web", "zygote")]
        self.service = Supervisor(
            self.reactor,
            children,
            lambda name, line: self.lines.append((name, line)),
            lambda reason, status: self.given_up.append((reason, status)),
        )
        self.service.startService()


@pytest.fixture
def fixture() -> Fixture:
    return Fixture()


def test_children_start_and_are_restarted_at_once_after_a_long_life(fixture: Fixture) -> None:
    assert {process.command[0] for process in fixture.reactor.running} == {"/bin/web", "/bin/zygote"}
    fixture.reactor.advance(60)
    fixture.reactor.process("web").end(signal=9)
    assert fixture.lines == [("web", "ended (signal 9)")]
    fixture.reactor.advance(0)
    assert fixture.reactor.process("web").signals == []


def test_restarts_become_ever_slower_up_to_a_limit(fixture: Fixture) -> None:
    fixture.service.ready()
    waits = []
    for _ in range(10):
        fixture.reactor.process("web").end(status=1)
        (restart,) = fixture.reactor.getDelayedCalls()
        waits.append(restart.getTime() - fixture.reactor.seconds())
        fixture.reactor.advance(waits[-1])
    assert waits[:4] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert waits[-1] == 5
    assert fixture.given_up == []


def test_a_wrong_configuration_is_given_up_at_once_while_starting(fixture: Fixture) -> None:
    fixture.reactor.process("web").end(status=78)
    ((reason, status),) = fixture.given_up
    assert status == 78
    assert "web" in reason


def test_a_child_that_keeps_ending_is_given_up_while_starting(fixture: Fixture) -> None:
    for count in range(MAX_EARLY_ENDS):
        assert fixture.given_up == [], count
        fixture.reactor.process("web").end(status=1)
        fixture.reactor.advance(5)
    assert fixture.given_up == [(f"web ended {MAX_EARLY_ENDS} times while starting; its last words are above", 1)]


def test_roles_end_before_launchers_and_nothing_is_restarted(fixture: Fixture) -> None:
    web, zygote = fixture.reactor.process("web"), fixture.reactor.process("zygote")
    web.deaf = True
    stopped = fixture.service.stopService()
    assert (web.signals, zygote.signals) == (["TERM"], [])
    fixture.reactor.pump([module.ROLE_STOP_SECONDS, 0, 0])
    assert web.signals == ["TERM", "KILL"]
    assert zygote.signals == ["TERM"]
    assert stopped.called
    assert fixture.reactor.running == []
    fixture.reactor.advance(60)
    assert fixture.reactor.running == []


def test_the_longest_stop_is_below_five_seconds(fixture: Fixture) -> None:
    for process in fixture.reactor.running:
        process.deaf = True
    stopped = fixture.service.stopService()
    fixture.reactor.pump([0.1] * 48)
    assert stopped.called


def test_stopping_while_a_restart_waits_cancels_it(fixture: Fixture) -> None:
    fixture.reactor.process("web").end(status=1)
    stopped = fixture.service.stopService()
    fixture.reactor.advance(0)
    assert stopped.called
    fixture.reactor.advance(60)
    assert fixture.reactor.running == []


def test_output_is_passed_on_by_line(fixture: Fixture) -> None:
    protocol = fixture.reactor.process("web").protocol
    protocol.childDataReceived(2, b"one\ntw")
    protocol.childDataReceived(1, b"other\n")
    protocol.childDataReceived(2, b"o\n\xff\nrest")
    fixture.reactor.process("web").end()
    assert fixture.lines == [
        ("web", "one"),
        ("web", "other"),
        ("web", "two"),
        ("web", r"\xff"),
        ("web", "rest"),
        ("web", "ended (exit status 0)"),
    ]


def test_a_line_without_end_is_not_kept(fixture: Fixture) -> None:
    protocol = fixture.reactor.process("web").protocol
    for _ in range(5):
        protocol.childDataReceived(1, b"x" * MAX_LINE_BYTES)
    assert [len(line) for _, line in fixture.lines] == [MAX_LINE_BYTES] * 4


def test_lines_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b[2J\tb\x07\r") == "a\\x1b[2J\tb\\x07"
