"""What the health check blames for what it saw."""

from __future__ import annotations

import attrs
import pytest

from appliance.cli import healthcheck, pool_question, units
from appliance.cli.edge_question import Edge
from appliance.cli.health_question import Answer
from appliance.cli.healthcheck import YOUNG_SECONDS, ZYGOTE_SECONDS, Finding, Seen, act, diagnose
from appliance.cli.units import Unit
from appliance.config import Config
from appliance.pool_commands import Renew

RIGHT = {"evaluation": {"status": "ok"}, "permalinks": {"status": "ok"}}
POOL = {"environments": ["python"], "missing": {}, "limit": 40}


def unit(name: str, active: str = "active", exit_status: int = 0, since: float = 0.0) -> Unit:
    return Unit(name, active, "", "success", 0, 1, "", None, None, since, exit_status)


SERVICES = [
    unit("cell-permalink.service"),
    unit("cell-pool.service"),
    unit("cell-web@0.service"),
    unit("cell-web@1.service"),
    unit("cell-nginx.service"),
    unit("cell-haproxy.service"),
    unit("cell-zygote@python.service"),
]


def seen(web: Answer, pool: dict[str, object] | None = POOL, services: list[Unit] | None = None) -> Seen:
    return Seen(web, pool, services or SERVICES, "python")


def document(**parts: object) -> Answer:
    return Answer(503, {**RIGHT, **parts})


def blamed(findings: list[Finding]) -> list[str]:
    return [finding.unit for finding in findings]


def test_nothing_is_to_blame_when_the_evaluation_was_right() -> None:
    assert diagnose(seen(Answer(200, RIGHT))) == []


def test_silence_blames_every_web_role() -> None:
    found = diagnose(seen(Answer(0, error="no answer in 20 s")))
    assert blamed(found) == ["cell-web@0.service", "cell-web@1.service"]
    assert "no answer in 20 s" in found[0].why


def test_a_role_that_was_stopped_is_not_started() -> None:
    services = [unit("cell-web@0.service"), unit("cell-web@1.service", "inactive")]
    assert blamed(diagnose(seen(Answer(0), services=services))) == ["cell-web@0.service"]


def test_a_silent_pool_is_to_blame_and_kernels_are_not() -> None:
    found = diagnose(seen(document(evaluation={"status": "pool_unavailable"}), pool=None))
    assert blamed(found) == ["cell-pool.service"]


def test_permalinks_are_to_blame_alone() -> None:
    found = diagnose(seen(Answer(200, {**RIGHT, "permalinks": {"status": "permalinks_unavailable"}})))
    assert blamed(found) == ["cell-permalink.service"]


def test_an_environment_without_zygote_is_restarted() -> None:
    answer = document(evaluation={"status": "environment_unavailable"})
    (finding,) = diagnose(seen(answer, pool={"environments": [], "missing": {"python": ZYGOTE_SECONDS}}))
    assert finding.unit == "cell-zygote@python.service"
    assert "no zygote for python for 45 s" in finding.why


def test_a_zygote_that_starts_in_an_active_unit_is_left_to_its_keeper() -> None:
    answer = document(evaluation={"status": "environment_unavailable"})
    (finding,) = diagnose(seen(answer, pool={"environments": [], "missing": {"python": ZYGOTE_SECONDS - 1}}))
    assert finding.starting
    assert finding.why.endswith("one is starting")
    assert act(Config(), finding, seen(answer), 1000.0) == "cell-zygote@python.service is left to its keeper"


def test_a_zygote_that_is_missing_is_to_blame_while_kernels_are_still_ready() -> None:
    found = diagnose(seen(Answer(200, RIGHT), pool={**POOL, "missing": {"python": ZYGOTE_SECONDS, "r": 1.0}}))
    assert blamed(found) == ["cell-zygote@python.service"]


@pytest.mark.parametrize("status", ["timeout", "failed", "wrong_output", "environment_unavailable"])
def test_kernels_that_do_not_evaluate_are_renewed_not_ended(status: str) -> None:
    (finding,) = diagnose(seen(document(evaluation={"status": status})))
    assert (finding.unit, finding.renew) == ("cell-zygote@python.service", "python")


def test_the_environment_that_was_evaluated_is_to_blame_and_others_that_have_no_zygote() -> None:
    answer = document(evaluation={"status": "failed", "environment": "sage"})
    pool = {**POOL, "missing": {"r": ZYGOTE_SECONDS}}
    assert [(finding.unit, finding.renew) for finding in diagnose(seen(answer, pool))] == [
        ("cell-zygote@sage.service", "sage"),
        ("cell-zygote@r.service", ""),
    ]


def test_without_a_zygote_its_evaluation_is_no_other_finding() -> None:
    answer = document(evaluation={"status": "environment_unavailable", "environment": "python"})
    pool = {**POOL, "missing": {"sage": ZYGOTE_SECONDS, "python": ZYGOTE_SECONDS}}
    assert blamed(diagnose(seen(answer, pool))) == ["cell-zygote@python.service", "cell-zygote@sage.service"]


def test_a_zygote_that_came_a_moment_ago_is_not_renewed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(pool_question, "ask", lambda config, command, **arguments: asked.append((command, arguments)))
    answer = document(evaluation={"status": "timeout", "environment": "python"})
    for connected in ({"python": YOUNG_SECONDS - 1}, {"python": YOUNG_SECONDS}, None):
        state = seen(answer, POOL if connected is None else {**POOL, "connected": connected})
        (finding,) = diagnose(state)
        act(Config(), finding, state, YOUNG_SECONDS)
        # a pool of an earlier version does not tell
        assert asked == ([] if connected == {"python": YOUNG_SECONDS - 1} else [(Renew, {"environment": "python"})])
        asked.clear()


def test_a_full_server_is_nobodys_fault() -> None:
    assert blamed(diagnose(seen(document(evaluation={"status": "pool_exhausted"})))) == [""]
    assert blamed(diagnose(seen(document(evaluation={"status": "kernel_late"})))) == [""]


def test_a_wrong_configuration_is_named_and_nothing_restarted() -> None:
    services = [*SERVICES[1:], unit("cell-permalink.service", "failed", 78)]
    (finding,) = diagnose(seen(Answer(200, RIGHT), services=services))
    assert finding.unit == ""
    assert "cell-permalink.service" in finding.why


def test_what_came_up_a_moment_ago_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    restarted: list[str] = []
    monkeypatch.setattr(units, "restart", restarted.append)
    young, old = unit("cell-pool.service", since=1000.0), unit("cell-permalink.service", since=1.0)
    state = seen(Answer(0), services=[young, old])
    now = 1000.0 + YOUNG_SECONDS - 1
    assert "not restarted" in act(Config(), Finding("cell-pool.service", ""), state, now)
    assert restarted == []
    act(Config(), Finding("cell-permalink.service", ""), state, now)
    act(Config(), Finding("cell-pool.service", ""), state, now + 1)
    assert restarted == ["cell-permalink.service", "cell-pool.service"]


def test_what_is_starting_is_left_to_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    restarted: list[str] = []
    monkeypatch.setattr(units, "restart", restarted.append)
    state = seen(Answer(0), services=[unit("cell-zygote@python.service", "activating", since=1.0)])
    assert "is starting" in act(Config(), Finding("cell-zygote@python.service", ""), state, 1000.0)
    assert restarted == []


def test_it_acts_only_on_what_two_looks_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = [seen(Answer(0)), seen(document(evaluation={"status": "pool_unavailable"}), pool=None)]
    restarted: list[str] = []
    monkeypatch.setattr(healthcheck, "look", lambda _: looks.pop(0))
    monkeypatch.setattr(units, "restart", restarted.append)
    assert healthcheck.run(Config(), restart=True, sleep=lambda _: None) == 1
    assert restarted == []
    assert "the pool does not answer" in capsys.readouterr().err


def test_a_role_that_was_just_restarting_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [seen(Answer(0)), seen(Answer(200, RIGHT))]
    monkeypatch.setattr(healthcheck, "look", lambda _: looks.pop(0))
    assert healthcheck.run(Config(), restart=True, sleep=lambda _: None) == 0


@pytest.mark.parametrize(
    ("edge", "unit_name"),
    [(Edge(haproxy=False), "cell-haproxy.service"), (Edge(nginx=False), "cell-nginx.service")],
)
def test_a_proxy_that_hangs_is_killed(monkeypatch: pytest.MonkeyPatch, edge: Edge, unit_name: str) -> None:
    done: list[str] = []
    monkeypatch.setattr(units, "kill", lambda name: done.append(f"kill {name}"))
    monkeypatch.setattr(units, "restart", lambda name: done.append(f"restart {name}"))
    state = attrs.evolve(seen(Answer(200, RIGHT)), edge=edge)
    (finding,) = diagnose(state)
    assert "killed" in act(Config(), finding, state, YOUNG_SECONDS)
    assert done == [f"kill {unit_name}", f"restart {unit_name}"]


def test_an_edge_that_answers_is_left_alone() -> None:
    assert diagnose(attrs.evolve(seen(Answer(200, RIGHT)), edge=Edge())) == []
