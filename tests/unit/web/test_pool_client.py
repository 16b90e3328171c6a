from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols import amp
from twisted.test.iosim import connect, makeFakeClient, makeFakeServer
from zope.interface import implementer

from appliance import errors
from appliance.config import Config, Users
from appliance.pool_commands import (
    Attach,
    Claim,
    Interrupt,
    Keep,
    KernelDied,
    Lease,
    LeaveQueue,
    LetGo,
    PoolStatus,
    Release,
    Usage,
)
from appliance.web import pool_client
from appliance.web.pool_client import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    MAX_ATTEMPTS,
    KernelAddress,
    Place,
    PoolClient,
    Used,
    Visitor,
    retry_seconds,
)
from tests.unit.web.running import start

ANSWER = {"kernel_id": "k", "key": b"key", "directory": "/k", "environment": "python"}


class Server(amp.AMP):
    """A pool that answers with what the test put there."""

    def __init__(self, world):
        super().__init__()
        self.world = world

    def _answer(self, name, arguments):
        self.world.calls.append((name, arguments))
        answer = self.world.answers.get(name, {})
        if isinstance(answer, Exception):
            raise answer
        return answer

    @Lease.responder
    def lease(self, **arguments):
        return self._answer("lease", arguments)

    @Claim.responder
    def claim(self, **arguments):
        return self._answer("claim", arguments)

    @LeaveQueue.responder
    def leave_queue(self, **arguments):
        return self._answer("leave_queue", arguments)

    @Attach.responder
    def attach(self, **arguments):
        return self._answer("attach", arguments)

    @Keep.responder
    def keep(self, **arguments):
        return self._answer("keep", arguments)

    @Release.responder
    def release(self, **arguments):
        return self._answer("release", arguments)

    @Interrupt.responder
    def interrupt(self, **arguments):
        return self._answer("interrupt", arguments)

    @Usage.responder
    def usage(self, **arguments):
        return self._answer("usage", arguments)

    @PoolStatus.responder
    def status(self):
        return {"status": json.dumps({"leased": 3})}


class World:
    def __init__(self, monkeypatch):
        world = self
        self.clock = Clock()
        self.up = True
        self.calls = []
        self.answers = {"lease": ANSWER, "attach": ANSWER}
        self.deaths = []
        self.links = 0
        self.pump = None

        @implementer(IStreamClientEndpoint)
        class Endpoint:
            def __init__(self, endpoint, uids):
                world.uids = uids

            def connect(self, factory):
                if not world.up:
                    return fail(ConnectionRefusedError())
                protocol = factory.buildProtocol(None)
                world.server = Server(world)
                world.pump = connect(
                    world.server, makeFakeServer(world.server), protocol, makeFakeClient(protocol), greet=False
                )
                protocol.transport.connected = True
                return succeed(protocol)

        monkeypatch.setattr(pool_client, "CheckedEndpoint", Endpoint)
        config = Config(users=Users(pool="123"))
        self.used = set()
        self.client = PoolClient(
            config,
            self.clock,
            on_died=lambda *death: self.deaths.append(death),
            on_wanted_elsewhere=lambda kernel_id: kernel_id not in self.used,
            on_connected=self.connected,
        )

    def connected(self):
        self.links += 1

    def begin(self, coroutine):
        results = start(coroutine)
        self.flush()
        return results

    def flush(self):
        if self.pump is not None:
            self.pump.flush()


@pytest.fixture
def world(monkeypatch):
    world = World(monkeypatch)
    world.client.startService()
    world.clock.advance(0)
    yield world
    world.client.stopService()


def test_the_pool_runs_under_its_account_or_was_started_by_root(world):
    assert world.uids == frozenset({0, 123})


def test_a_lease_brings_an_address(world):
    (address,) = world.begin(world.client.lease("visitor", "python", "default", 60.0))
    assert address == KernelAddress("k", b"key", "/k", "python")
    assert "key=" not in repr(address)
    assert world.calls == [
        (
            "lease",
            {
                "kind": "visitor",
                "environment": "python",
                "profile": "default",
                "idle_seconds": 60.0,
                "page": "",
                "address": "",
                "queue": False,
                "single": False,
            },
        )
    ]


def test_whether_a_kernel_is_for_one_evaluation_is_said_and_learned(world):
    world.answers["lease"] = world.answers["attach"] = {**ANSWER, "single": True}
    (address,) = world.begin(world.client.lease("visitor", "python", "default", 60.0, single=True))
    assert address.single
    assert world.calls[0][1]["single"] is True
    (attached,) = world.begin(world.client.attach("k"))
    assert attached == address


def test_a_kernel_that_another_web_role_was_asked_for_is_left_unless_it_is_used(world):
    world.used = {"used"}
    answers = [world.server.callRemote(LetGo, kernel_id=name) for name in ("used", "unused")]
    world.flush()
    assert [answer.result for answer in answers] == [{"left": False}, {"left": True}]


def test_a_quota_that_is_used_up_says_when_it_eases(world):
    world.answers["lease"] = {"refusal": "Enough.", "retry_after": 90.0}
    visitor = Visitor("p", "192.0.2.7")
    (result,) = world.begin(world.client.lease("visitor", "python", "default", 60.0, visitor))
    assert (type(result), result.message, result.retry_after_seconds) == (errors.QuotaExceeded, "Enough.", 90.0)
    assert world.calls[0][1]["page"] == "p"
    assert world.calls[0][1]["address"] == "192.0.2.7"


def test_who_waits_in_line_gets_a_place_and_then_a_kernel(world):
    world.answers["lease"] = world.answers["claim"] = {"ticket": "t", "place": 3, "poll_seconds": 1.3}
    queued = world.client.lease_or_queue("visitor", "python", "default", 60.0, Visitor())
    assert world.begin(queued) == [Place("t", 3, 1.3)]
    assert world.calls[0][1]["queue"] is True
    assert world.begin(world.client.claim("t")) == [Place("t", 3, 1.3)]
    world.answers["claim"] = ANSWER
    assert world.begin(world.client.claim("t")) == [KernelAddress("k", b"key", "/k", "python")]
    world.answers["claim"] = errors.UnknownTicket()
    (error,) = world.begin(world.client.claim("t"))
    assert type(error) is errors.UnknownTicket
    assert world.begin(world.client.leave_queue("t")) == [None]
    assert world.calls[-1] == ("leave_queue", {"ticket": "t"})


def test_the_other_commands(world):
    world.begin(world.client.attach("k"))
    world.begin(world.client.keep("k"))
    world.begin(world.client.release("k", "released"))
    world.begin(world.client.interrupt("k"))
    assert world.begin(world.client.pool_status()) == [{"leased": 3}]
    world.answers["usage"] = {"cpu_seconds": 1.5, "memory_bytes": 1000}
    assert world.begin(world.client.usage("k")) == [Used(1.5, 1000)]
    assert world.calls == [
        ("attach", {"kernel_id": "k"}),
        ("keep", {"kernel_id": "k"}),
        ("release", {"kernel_id": "k", "reason": "released"}),
        ("interrupt", {"kernel_id": "k"}),
        ("usage", {"kernel_id": "k"}),
    ]


@pytest.mark.parametrize(
    "error",
    [errors.PoolExhausted(), errors.EnvironmentUnavailable("Not now."), errors.UnknownKernel(), errors.BadRequest()],
)
def test_errors_of_the_pool_keep_their_class_and_sentence(world, error):
    world.answers["lease"] = error
    (result,) = world.begin(world.client.lease("visitor", "python", "default", 60.0))
    assert (type(result), result.message) == (type(error), error.message)


def test_a_bug_in_the_pool_is_the_pool_being_away(world):
    world.answers["attach"] = {"kernel_id": 3}
    (result,) = world.begin(world.client.attach("k"))
    assert type(result) is errors.PoolUnavailable


def test_a_death_is_passed_on(world):
    world.server.callRemote(KernelDied, kernel_id="k", reason="idle", detail="d")
    world.server.callRemote(
        KernelDied, kernel_id="l", reason="memory_limit", detail="", cpu_seconds=1.5, memory_bytes=1000
    )
    world.flush()
    assert world.deaths == [("k", "idle", "d", Used()), ("l", "memory_limit", "", Used(1.5, 1000))]


def lose_link(world):
    world.server.transport.loseConnection()
    world.flush()


def test_what_was_asked_is_asked_again_when_the_link_is_made_again(world):
    world.answers["attach"] = Deferred()
    results = world.begin(world.client.attach("k"))
    assert world.client.connected
    lose_link(world)
    assert results == []
    assert not world.client.connected
    world.answers["attach"] = ANSWER
    world.clock.pump([0.1] * 10)
    world.flush()
    assert world.client.connected
    assert world.links == 2
    assert results == [KernelAddress("k", b"key", "/k", "python")]
    assert [name for name, _ in world.calls] == ["attach", "attach"]


def test_a_question_that_no_pool_survives_is_given_up(world):
    world.answers["attach"] = Deferred()
    results = world.begin(world.client.attach("k"))
    for _ in range(MAX_ATTEMPTS):
        assert results == []
        lose_link(world)
        world.clock.pump([0.1] * 10)
        world.flush()
    assert type(results[0]) is errors.PoolUnavailable
    assert len(world.calls) == MAX_ATTEMPTS


def test_a_question_waits_for_the_link_a_little(world):
    world.up = False
    world.server.transport.loseConnection()
    world.flush()
    waiting, lost = world.begin(world.client.attach("k")), world.begin(world.client.attach("k"))
    world.clock.advance(CONNECT_SECONDS / 4)
    assert waiting == []
    world.up = True
    world.clock.pump([0.1] * 12)
    world.flush()
    assert [type(result) for result in (*waiting, *lost)] == [KernelAddress, KernelAddress]


def test_a_question_does_not_wait_for_ever(world):
    world.up = False
    world.server.transport.loseConnection()
    world.flush()
    results = world.begin(world.client.attach("k"))
    world.clock.pump([0.1] * 25)
    assert type(results[0]) is errors.PoolUnavailable


def test_an_answer_does_not_take_for_ever(world):
    world.answers["attach"] = Deferred()
    results = world.begin(world.client.attach("k"))
    world.clock.advance(ANSWER_SECONDS)
    assert type(results[0]) is errors.PoolUnavailable
    world.answers["attach"].callback(ANSWER)
    world.flush()


def test_a_kernel_that_comes_too_late_is_given_back(world):
    world.answers["lease"] = Deferred()
    results = world.begin(world.client.lease("visitor", "python", "default", 60.0))
    world.clock.advance(10 + ANSWER_SECONDS)
    assert type(results[0]) is errors.PoolUnavailable
    world.answers["lease"].callback(ANSWER)
    world.flush()
    world.flush()
    assert world.calls[-1] == ("release", {"kernel_id": "k", "reason": "released"})


def test_a_stopped_client_answers_at_once(monkeypatch):
    world = World(monkeypatch)
    world.up = False
    world.client.startService()
    results = world.begin(world.client.attach("k"))
    world.client.stopService()
    assert type(results[0]) is errors.PoolUnavailable


def test_retries_begin_fast_and_stay_within_a_second():
    pauses = [retry_seconds(failures) for failures in range(100)]
    assert pauses[0] == 0.05
    assert sum(pauses[:5]) < CONNECT_SECONDS
    assert max(pauses) == 1.0


def test_the_factory_is_quiet():
    assert pool_client.PoolFactory(lambda *_: None, lambda _: True).noisy is False
    assert issubclass(pool_client.PoolFactory, Factory)
