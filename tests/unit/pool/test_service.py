"""What the pool role makes of what its zygotes tell, without zygotes, kernels and sockets."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import tempfile
from types import SimpleNamespace

import pytest
from twisted.internet.testing import MemoryReactorClock

from appliance import errors
from appliance.config import Config, Environment, Users
from appliance.config import Pool as PoolSettings
from appliance.pool import service as module
from appliance.pool.records import Directories, Record
from appliance.pool.service import FIRST_SLOT, REMIND_SECONDS, PoolService
from appliance.protocol.kernel_life import LeaseRequest, State
from appliance.protocol.pool import INTERRUPT_GRACE

IDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(9)]


class FakeLink:
    """A zygote that is connected: what it was asked for."""

    def __init__(self, environment):
        self.environment = environment
        self.layers = {}
        self.retired = False
        self.last_slot = None
        self.closed = False
        self.full = False
        self.forks = []
        self.signals = []

    def _send(self):
        if self.full:
            raise BlockingIOError(11, "it does not read")

    def fork(self, slot, limits, egress, data, descriptors):
        self._send()
        self.forks.append(slot)

    def signal(self, slot, number, pidfd):
        self._send()
        self.signals.append((slot, number))

    def retire(self):
        self.retired = True

    def settled(self, slot):
        pass

    def set_background(self, slot, *, on):
        pass

    def close(self):
        self.closed = True


class FakePool:
    """A pool role and its zygotes, on a clock of their own."""

    def __init__(self, config, reactor):
        self.reactor = reactor
        self.role = PoolService(config, reactor)
        self.role._zygotes = SimpleNamespace(inherited=None, start=lambda: None, stop=lambda: None)
        self.role.startService()

    def connect(self, environment, alive=()):
        """Have a zygote connect and tell which kernels run."""
        link = FakeLink(environment)
        self.role.zygote_hello(link)
        for slot in alive:
            self.role.zygote_alive(link, slot, a_pidfd())
        self.role.zygote_ready(link)
        return link

    def start(self, link, slot):
        """Have a zygote fork the kernel that it was asked for, which then answers."""
        self.role.zygote_forked(link, slot, a_pidfd())
        self.role.kernel_verified(slot)

    def lease(self, environment="python"):
        request = LeaseRequest(object(), "visitor", environment, "default", 0.0)
        answers = []
        self.role.lease(request).addBoth(answers.append)
        return answers

    def state(self, slot):
        kernel = self.role._pool.in_slot(slot)
        return None if kernel is None else kernel.state


def a_pidfd():
    return os.pidfd_open(os.getpid())


@pytest.fixture
def runtime():
    """Return a directory whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as path:
        yield pathlib.Path(path)


@pytest.fixture
def make(runtime, monkeypatch):
    monkeypatch.setattr(module, "Sockets", lambda reactor: SimpleNamespace(shutdown=lambda: None))
    monkeypatch.setattr(module.KernelProcess, "connect", lambda self: None)
    monkeypatch.setattr(module.unix_socket, "listen", lambda *_, **__: SimpleNamespace(stopListening=lambda: None))
    monkeypatch.setattr(module.psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 40))
    monkeypatch.setattr(module.pressure, "memory_percent", lambda: 0.0)
    (runtime / "pool").mkdir()
    (runtime / "kernels").mkdir()
    reactor = MemoryReactorClock()
    reactor.addReader = reactor.removeReader = lambda reader: None
    running = []

    def made(*left, **settings):
        """Start a pool that finds the records ``left`` by an earlier one."""
        directories = Directories(runtime / "kernels")
        for record in left:
            for listener in directories.create(record):
                listener.close()
            if record.leased:
                directories.mark_leased(record.kernel_id, record.page, record.address)
        pool = PoolSettings(**{"max_kernels": 4, "ready": 1, "ready_max": 1, "memory_reserve_bytes": 0, **settings})
        config = Config(
            runtime_dir=str(runtime),
            users=Users(pool="123", permalink="123", web="123"),
            pool=pool,
            environment={"python": Environment(), "sage": Environment()},
        )
        running.append(FakePool(config, reactor))
        return running[-1]

    yield made
    for pool in running:
        pool.role.stopService()


def left(number, environment, *, leased=True):
    """Return the record of an earlier pool's kernel."""
    slot = FIRST_SLOT + number
    return Record(IDS[number], slot, environment, "default", b"key", leased, "page" if leased else "")


def test_a_slot_of_an_earlier_pools_kernel_is_not_taken_before_its_zygote_tells_of_it(make):
    pool = make(left(0, "sage"), left(1, "sage", leased=False))
    python = pool.connect("python")
    assert python.forks == [FIRST_SLOT + 2]
    waiting = pool.role.attach(IDS[0])
    sage = pool.connect("sage", alive=[FIRST_SLOT, FIRST_SLOT + 1])
    assert waiting.result.kernel_id == IDS[0]
    assert (pool.state(FIRST_SLOT), pool.state(FIRST_SLOT + 1)) == (State.LEASED, State.READY)
    assert python.signals == sage.signals == []


def test_the_slot_of_one_that_no_longer_runs_may_be_taken(make):
    pool = make(left(0, "sage"))
    sage = pool.connect("sage")
    assert sage.forks == [FIRST_SLOT]
    assert os.listdir(pool.role._config.kernels_path) != [IDS[0]]


def test_kernels_of_an_earlier_pool_count_before_their_zygote_tells_of_them(make):
    pool = make(*[left(number, "sage") for number in range(3)])
    python = pool.connect("python")
    pool.start(python, python.forks[0])
    (granted,) = pool.lease()
    assert isinstance(granted, Record)
    (refused,) = pool.lease()
    assert refused.check(errors.PoolExhausted)


def test_a_zygote_speaks_of_kernels_of_its_own_environment_only(make):
    pool = make()
    python = pool.connect("python")
    (slot,) = python.forks
    pool.start(python, slot)
    sage = pool.connect("sage", alive=[slot])
    assert sage.signals == [(slot, signal.SIGKILL)]
    pool.role.zygote_exited(sage, slot, 9, oom=False)
    pool.role.zygote_failed(sage, slot, "fork: no")
    pool.role.zygote_forked(sage, slot, a_pidfd())
    assert pool.state(slot) is State.READY
    assert sage.signals == [(slot, signal.SIGKILL)] * 2
    pool.role.zygote_exited(python, slot, 9, oom=False)
    assert pool.state(slot) is None


def test_what_was_given_up_before_it_was_forked_goes_with_its_zygote(make):
    pool = make(start_seconds=5.0)
    link = pool.connect("python")
    (slot,) = link.forks
    pool.reactor.advance(5.0)
    assert pool.state(slot) is State.ENDING
    pool.role.zygote_lost(link)
    assert pool.state(slot) is None
    assert os.listdir(pool.role._config.kernels_path) == []


def test_a_zygote_is_asked_for_no_kernel_after_its_last(make):
    pool = make()
    link = pool.connect("python")
    (slot,) = link.forks
    link.last_slot = slot
    pool.role.zygote_forked(link, slot, a_pidfd())
    pool.lease()
    pool.reactor.advance(1.0)
    assert link.forks == [slot]
    assert pool.state(slot) is State.STARTING
    pool.role.kernel_verified(slot)
    assert pool.state(slot) is State.LEASED
    pool.role.zygote_lost(link)
    assert len(pool.connect("python", alive=[slot]).forks) == 1


def computing(pool):
    """Return a kernel that is leased and runs an evaluation, and its zygote."""
    link = pool.connect("python")
    pool.start(link, link.forks[0])
    (record,) = pool.lease()
    pool.role.kernel_status(record.slot, busy=True)
    return record, link


def test_an_interrupt_waits_for_a_zygote_and_must_be_obeyed_from_then_on(make):
    pool = make()
    record, link = computing(pool)
    pool.role.zygote_lost(link)
    pool.role.interrupt(record.kernel_id)
    pool.reactor.advance(10.0)
    assert pool.state(record.slot) is State.LEASED
    link = pool.connect("python", alive=[record.slot])
    assert link.signals == [(record.slot, signal.SIGINT)]
    pool.reactor.advance(INTERRUPT_GRACE)
    assert pool.state(record.slot) is State.ENDING


def test_an_interrupt_of_what_is_over_is_not_sent(make):
    pool = make()
    record, link = computing(pool)
    pool.role.zygote_lost(link)
    pool.role.interrupt(record.kernel_id)
    pool.role.kernel_status(record.slot, busy=False)
    pool.role.kernel_status(record.slot, busy=True)
    assert pool.connect("python", alive=[record.slot]).signals == []


def test_a_zygote_that_did_not_read_is_asked_again(make):
    pool = make()
    record, link = computing(pool)
    link.full = True
    pool.role.interrupt(record.kernel_id)
    link.full = False
    pool.reactor.advance(REMIND_SECONDS)
    assert link.signals == [(record.slot, signal.SIGINT)]
    link.full = True
    pool.role.release(record.kernel_id, "stopped")
    link.full = False
    pool.reactor.advance(REMIND_SECONDS)
    assert link.signals[1:] == [(record.slot, signal.SIGKILL)]


def test_a_zygote_that_cannot_be_told_to_end_an_unknown_kernel_starts_over(make):
    pool = make()
    link = pool.connect("python")
    link.full = True
    pool.role.zygote_alive(link, FIRST_SLOT + 5, a_pidfd())
    assert link.closed
    assert pool.connect("python", alive=[FIRST_SLOT + 5]).signals == [(FIRST_SLOT + 5, signal.SIGKILL)]


def test_one_environment_is_renewed_and_the_pool_tells_since_when_each_has_its_zygote(make):
    pool = make()
    python = pool.connect("python")
    pool.reactor.advance(2.0)
    sage = pool.connect("sage")
    assert json.loads(pool.role.status_document())["connected"] == {"python": 2.0, "sage": 0.0}
    pool.role.renew("sage")
    assert (python.retired, sage.retired) == (False, True)
    pool.role.zygote_lost(sage)
    assert json.loads(pool.role.status_document())["connected"] == {"python": 2.0}
    pool.role.renew()
    assert python.retired
