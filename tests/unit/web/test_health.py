from __future__ import annotations

import json

import pytest

from appliance.errors import PermalinksUnavailable, PoolUnavailable
from appliance.web.health import Health
from tests.unit.web.fakes import NOW, FakePermalinks
from tests.unit.web.serving import Answer, Connection, ask


class Probing:
    def __init__(self, world):
        self.world = world
        self.permalinks = FakePermalinks()
        factors = iter(range(1000, 2000))
        self.health = Health(
            world.config, world.kernels, world.pool, self.permalinks, world.clock, lambda: next(factors), lambda: NOW
        )
        self.answers = []

    def ask(self, path="/healthz"):
        """Ask in a connection that stays open; return what there is of an answer."""
        connection = Connection(self.health.routes(), self.world.config, self.world.clock)
        answer = connection.ask("GET", path)
        self.answers.append(connection)
        return answer

    def answer(self, text=None, **content):
        kernel = self.world.start()
        code = kernel.requests[-1][1]["code"]
        kernel.print(
            f"{eval(code.removeprefix('print'))}\n" if text is None else text
        )  # arithmetic of the probe itself
        kernel.answer(**content)


@pytest.fixture
def probing(world):
    return Probing(world)


def received(connection):
    answer = Answer(connection.received())
    return answer.status, json.loads(answer.body), answer.headers


def test_health_is_an_evaluation_in_the_slot_for_probes(probing):
    assert probing.ask() is None
    assert probing.world.pool.leases[0][0] == "probe"
    probing.world.clock.advance(0.25)
    probing.answer()
    status, document, headers = received(probing.answers[0])
    assert status == 200
    assert document == {
        "status": "ok",
        "evaluation": {"environment": "python", "status": "ok", "seconds": 0.25},
        "pool": {"status": "ok", "leased": 1},
        "permalinks": {"status": "ok"},
    }
    assert headers["cache-control"] == "no-store"


def test_everybody_who_asks_meanwhile_shares_the_probe(probing):
    assert [probing.ask() for _ in range(5)] == [None] * 5
    probing.answer()
    assert [received(connection)[0] for connection in probing.answers] == [200] * 5
    assert len(probing.world.pool.leases) == 1


def test_an_answer_is_kept_for_a_while(probing):
    probing.ask()
    probing.answer()
    assert probing.ask().status == 200
    probing.world.clock.advance(probing.world.config.web.health_cache_seconds)
    assert probing.ask() is None
    probing.answer()
    assert len(probing.world.pool.leases) == 2


@pytest.mark.parametrize(
    ("text", "content", "expected"),
    [
        ("42\n", {}, "wrong_output"),
        ("", {"status": "error", "evalue": "x" * 1000}, "failed"),
    ],
)
def test_a_wrong_evaluation_is_unhealthy(probing, text, content, expected):
    probing.ask()
    probing.answer(text, **content)
    status, document, headers = received(probing.answers[0])
    assert (status, document["status"], document["evaluation"]["status"]) == (503, "failing", expected)
    assert headers["retry-after"] == "5"
    assert len(document["evaluation"].get("message", "")) <= 200


def test_a_slow_evaluation_is_unhealthy(probing):
    probing.ask()
    probing.world.start()
    probing.world.clock.advance(probing.world.config.web.health_seconds)
    status, document, _ = received(probing.answers[0])
    assert (status, document["evaluation"]["status"]) == (503, "timeout")


def test_a_pool_that_does_not_answer_is_named(probing):
    probing.world.pool.error = PoolUnavailable()
    answer = ask(probing.health.routes(), "GET", "/healthz")
    document = json.loads(answer.body)
    assert answer.status == 503
    assert document["evaluation"]["status"] == document["pool"]["status"] == "pool_unavailable"


def test_permalinks_that_do_not_answer_are_named_and_evaluations_go_on(probing):
    probing.permalinks.error = PermalinksUnavailable()
    probing.ask()
    probing.answer()
    status, document, _ = received(probing.answers[0])
    assert (status, document["permalinks"]["status"]) == (200, "permalinks_unavailable")


def test_a_probe_that_breaks_breaks_for_all_and_the_next_is_made_anew(probing):
    class Broken(Exception):
        pass

    probing.world.pool.error = Broken()
    assert ask(probing.health.routes(), "GET", "/healthz").status == 500
    probing.world.pool.error = None
    assert probing.ask() is None
    probing.answer()
    assert received(probing.answers[0])[0] == 200


@pytest.mark.parametrize(("draining", "wanted"), [(False, 200), (True, 404)])
def test_a_balancer_is_told_to_send_nothing_new_while_the_pool_drains(probing, monkeypatch, draining, wanted):
    async def pool_status():
        return {"draining": draining}

    monkeypatch.setattr(type(probing.world.pool), "pool_status", lambda _: pool_status())
    assert probing.ask("/readyz") is None
    probing.answer()
    status, document, _ = received(probing.answers[0])
    assert (status, document["status"]) == (wanted, "ok")


def test_that_a_process_lives_needs_nobody_else(probing):
    assert probing.ask("/livez").status == 200
    assert probing.world.pool.leases == []
