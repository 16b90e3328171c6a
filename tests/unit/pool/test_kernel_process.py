"""Heartbeats of kernels, on a clock of their own."""

from __future__ import annotations

import os

import pytest
from twisted.internet.task import Clock

from appliance.pool.kernel_process import BEAT_SECONDS, MAX_MISSED_BEATS, KernelProcess
from appliance.pool.records import Record


class Owner:
    def __init__(self):
        self.told = []

    def kernel_verified(self, slot):
        self.told.append("verified")

    def kernel_unresponsive(self, slot):
        self.told.append("unresponsive")

    def kernel_failed(self, slot, why):
        self.told.append(why)


class Heartbeat:
    def __init__(self):
        self.sent = []

    def send(self, parts):
        self.sent.append(parts)


def beating(*, beats_while_busy):
    clock, owner = Clock(), Owner()
    record = Record("id", 1000, "python", "default", b"key")
    process = KernelProcess(clock, None, "/nowhere", record, owner, beats_while_busy=beats_while_busy)
    process._heartbeat = Heartbeat()
    process._send_beat()
    process._read_beat([b"", b"beat"])
    assert owner.told == ["verified"]
    return process, clock, owner


def wait(clock, beats):
    for _ in range(beats):
        clock.advance(BEAT_SECONDS)


@pytest.mark.parametrize("busy", [False, True])
def test_a_kernel_that_misses_its_beats_is_unresponsive(busy):
    process, clock, owner = beating(beats_while_busy=True)
    process.evaluation(running=busy)
    wait(clock, MAX_MISSED_BEATS)
    assert owner.told == ["verified"]
    wait(clock, 1)
    assert owner.told == ["verified", "unresponsive"]


def test_one_that_cannot_beat_while_it_is_busy_need_not_and_must_afterwards():
    process, clock, owner = beating(beats_while_busy=False)
    process.evaluation(running=True)
    wait(clock, 10)
    assert owner.told == ["verified"]
    process.evaluation(running=False)
    wait(clock, MAX_MISSED_BEATS + 1)
    assert owner.told == ["verified", "unresponsive"]


def test_one_of_an_earlier_pool_that_cannot_beat_may_be_busy_since_before_it_was_taken_over():
    clock, owner = Clock(), Owner()
    record = Record("id", 1000, "r", "default", b"key")
    process = KernelProcess(clock, None, "/nowhere", record, owner, beats_while_busy=False)
    process.taken_over()
    process._heartbeat = Heartbeat()
    process._send_beat()
    wait(clock, 10)
    assert owner.told == []
    process._read_beat([b"", b"beat"])
    wait(clock, MAX_MISSED_BEATS + 1)
    assert owner.told == ["verified", "unresponsive"]


def test_what_a_kernel_of_an_earlier_pool_computes_before_its_first_word_counts_as_an_evaluation(monkeypatch):
    process, _, _ = beating(beats_while_busy=True)
    used = iter((5.0, 5.0, 7.5, 8.0, 8.0, 9.0))
    monkeypatch.setattr(process, "cpu_seconds", lambda: next(used))
    assert process.evaluation_cpu_seconds() == 0.0
    process.taken_over()
    assert process.evaluation_cpu_seconds() == 0.0
    assert process.evaluation_cpu_seconds() == 2.5
    process.evaluation(running=False)
    assert process.evaluation_cpu_seconds() == 0.0
    process.evaluation(running=True)
    assert process.evaluation_cpu_seconds() == 0.0
    assert process.evaluation_cpu_seconds() == 1.0


def test_a_beat_has_an_empty_part_first_as_rep_sockets_want_it():
    process, _, _ = beating(beats_while_busy=True)
    assert process._heartbeat.sent[0][0] == b""


def test_a_probe_is_answered_by_the_next_beat_or_the_end():
    process, _, _ = beating(beats_while_busy=True)
    sent = len(process._heartbeat.sent)
    first, given_up = process.probe(), process.probe()
    assert len(process._heartbeat.sent) == sent + 2
    given_up.addErrback(lambda _: None)
    given_up.cancel()
    assert not first.called
    process._read_beat([b"", b"beat"])
    assert first.called
    last = process.probe()
    process._heartbeat = None
    process.close()
    assert last.called


class Reactor(Clock):
    """Watches nothing: a test calls what a readable socket would."""

    def addReader(self, reader):  # noqa: N802 - Twisted
        pass

    def removeReader(self, reader):  # noqa: N802 - Twisted
        pass


@pytest.mark.parametrize(
    ("letter", "forked", "told"),
    [
        # passed over by a zygote that ends
        (b"", False, []),
        (b"", True, ["the kernel ended while it set itself up"]),
        (b'{"failed": "mounts", "error": "no space"}', False, ["mounts: no space"]),
    ],
)
def test_only_a_kernel_that_was_forked_can_fail_without_a_word(letter, forked, told):
    owner = Owner()
    process = KernelProcess(Reactor(), None, "/nowhere", Record("id", 1000, "python", "default", b"key"), owner)
    with process.expect() as theirs:
        if letter:
            theirs.send(letter)
    if forked:
        process.forked(os.pidfd_open(os.getpid()))
    process._read_birth()
    assert owner.told == told
    process.close()
