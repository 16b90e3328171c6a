"""Which zygote serves, decided from what they say; processes are a table."""

from __future__ import annotations

import pytest

from appliance.zygote import keeper
from appliance.zygote.keeper import SILENCE_SECONDS, Lineage

#: Process groups: that of 10 and its spares, and that of 20.
FIRST, SECOND = 10, 20


@pytest.fixture
def processes(monkeypatch):
    """Return the processes that live, with their groups; who is killed is gone."""
    living = {10: FIRST, 11: FIRST, 12: FIRST, 20: SECOND, 21: SECOND}

    def getpgid(pid):
        if pid not in living:
            raise ProcessLookupError
        return living[pid]

    def killpg(group, number):
        for pid in [pid for pid, its_group in living.items() if its_group == group]:
            del living[pid]

    monkeypatch.setattr(keeper.os, "getpgid", getpgid)
    monkeypatch.setattr(keeper.os, "killpg", killpg)
    monkeypatch.setattr(keeper.os, "kill", lambda pid, number: living.pop(pid))
    return living


def ended(lineage, processes, pid):
    del processes[pid]
    lineage.ended()


def test_a_spare_takes_over(processes):
    lineage = Lineage()
    lineage.started(10)
    lineage.heard(10, 1.0)
    ended(lineage, processes, 10)
    assert lineage.zygote == 0
    # said before its end
    lineage.heard(10, 2.0)
    assert lineage.zygote == 0
    lineage.heard(11, 2.0)
    assert lineage.zygote == 11


def test_a_spare_may_be_heard_before_the_end_of_the_zygote_is_seen(processes):
    lineage = Lineage()
    lineage.started(10)
    lineage.heard(10, 1.0)
    lineage.heard(11, 2.0)
    assert lineage.zygote == 11
    assert 12 in processes


def test_a_spare_that_comes_late_goes_with_its_own_spare(processes):
    lineage = Lineage()
    lineage.started(10)
    ended(lineage, processes, 10)
    lineage.started(20)
    lineage.heard(20, 1.0)
    lineage.heard(11, 2.0)
    assert lineage.zygote == 20
    assert set(processes) == {20, 21}


def test_a_spare_comes_before_a_zygote_that_only_starts(processes):
    lineage = Lineage()
    lineage.started(10)
    ended(lineage, processes, 10)
    lineage.started(20)
    lineage.heard(11, 1.0)
    assert lineage.zygote == 11
    assert set(processes) == {11, 12}
    # the keeper is told of the end of the other
    lineage.heard(20, 2.0)
    assert lineage.zygote == 11


def test_a_zygote_that_has_served_and_fallen_silent_is_killed_and_leaves_its_spare(processes):
    lineage = Lineage()
    lineage.started(10)
    lineage.end_silent(1000.0)
    assert 10 in processes
    lineage.heard(10, 1000.0)
    lineage.end_silent(1000.0 + SILENCE_SECONDS)
    assert 10 in processes
    lineage.end_silent(1000.1 + SILENCE_SECONDS)
    assert 10 not in processes
    assert 11 in processes
