from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock

from appliance import main
from appliance.errors import ConfigError, PoolUnavailable

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable


class FakeReactor(Clock):
    """Runs what `main.run` schedules, then stops as soon as someone asks, or when ``on_idle`` does."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        super().__init__()
        self.running = False
        self._at_start: list[Callable[[], None]] = []
        self._shutdown: list[tuple[Any, ...]] = []
        self._on_idle = on_idle

    def callWhenRunning(self, call: Callable[[], None]) -> None:  # noqa: N802
        self._at_start.append(call)

    def addSystemEventTrigger(self, phase: str, event: str, *call: Any) -> None:  # noqa: N802
        assert (phase, event) == ("before", "shutdown")
        self._shutdown.append(call)

    def stop(self) -> None:
        self.running = False

    def run(self) -> None:
        self.running = True
        for call in self._at_start:
            call()
        if self.running:
            self._on_idle()
        waiting = [call[0](*call[1:]) for call in self._shutdown]
        self.advance(main.STOP_SECONDS)
        assert all(deferred.called for deferred in waiting)


class FakeService(Service):
    def __init__(self, error: Exception | None = None, stopping: Deferred[None] | None = None) -> None:
        self.error = error
        self.stopping = stopping
        self.stopped = False

    def startService(self) -> None:  # noqa: N802
        if self.error is not None:
            raise self.error
        super().startService()

    def stopService(self) -> Deferred[None] | None:  # noqa: N802
        super().stopService()
        self.stopped = True
        return self.stopping


@pytest.fixture(autouse=True)
def no_alarm(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    alarms: list[int] = []
    monkeypatch.setattr(main.signal, "alarm", alarms.append)
    monkeypatch.setattr(main.signal, "signal", lambda *_: None)
    return alarms


def run(service: FakeService, on_idle: Callable[[], None] = lambda: None) -> int:
    return main.run(lambda *_: service, FakeReactor(on_idle))


def test_a_service_runs_and_is_stopped(no_alarm: list[int]) -> None:
    service = FakeService()
    seen: list[int] = []
    assert run(service, lambda: seen.append(service.running)) == 0
    assert seen == [1]
    assert service.stopped
    assert no_alarm == [4]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("web.listen: wrong"), 78),
        (PoolUnavailable(), 1),
        (CannotListenError("127.0.0.1", 80, OSError(98, "in use")), 1),
        (RuntimeError("unforeseen"), 1),
    ],
)
def test_a_service_that_cannot_start_ends_the_run_with_a_status(error: Exception, status: int) -> None:
    service = FakeService(error)
    assert run(service) == status
    assert service.stopped


def test_a_service_that_cannot_be_built_ends_the_run() -> None:
    def build(*_: Any) -> Any:
        raise ConfigError("no")

    assert main.run(build, FakeReactor(lambda: None)) == 78


def test_a_service_that_does_not_stop_is_left_behind_in_time() -> None:
    assert run(FakeService(stopping=Deferred())) == 0


def test_the_first_failure_is_the_status() -> None:
    def build(_reactor: Any, leave: main.Exit) -> FakeService:
        leave.fail(78)
        leave.fail(1)
        return FakeService()

    assert main.run(build, FakeReactor(lambda: None)) == 78


def test_roles_are_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        @staticmethod
        def make_service(config: Any, reactor: Any) -> Any:
            return (config, reactor)

    names: list[str] = []
    monkeypatch.setattr(main.importlib, "import_module", lambda name: (names.append(name), Module)[1])
    config: Any = object()
    role: Any = main.make_role("pool", config, "reactor")
    assert role == (config, "reactor")
    assert names == ["appliance.pool.service"]


def test_the_command_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(["king"])
    assert caught.value.code == 2
    (tmp_path / "bad.toml").write_text("colour = 1")
    assert main.main(["web", "--config", str(tmp_path / "bad.toml")]) == 78
    assert "unknown key colour" in capsys.readouterr().err


def test_a_role_whose_supervisor_is_gone_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(main.SUPERVISOR_VARIABLE, "1")
    monkeypatch.setattr(main.os, "getppid", lambda: 99)
    assert main.main(["web", "--config", "/nowhere"]) == 1
