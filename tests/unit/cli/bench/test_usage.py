from __future__ import annotations

import os

import pytest

from appliance.cli.bench.usage import Moment, Usage, between, blame, processor_time


def moment(at: float, web: float, kernels: float, bench: float, idle: float, waiting: float = 0.0) -> Moment:
    units = {
        "cell-web@0.service": ("web", int(web * 1e9)),
        "cell-web@1.service": ("web", int(web * 1e9)),
        "cell-zygote@python.service": ("zygote", int(kernels * 1e9)),
    }
    return Moment(at, units, bench, idle, waiting)


def usage(
    *,
    idle: float = 1.0,
    waiting: float = 0.0,
    thread: float = 0.3,
    ready: float = 4.0,
    starting: float = 0.0,
) -> Usage:
    roles = {"kernels": 0.9, "web": 0.4, "pool": 0.2, "haproxy": 0.1}
    pool = {"leased": 1.0, "ready": ready, "starting": starting, "in_line": 0.0, "limit": 40.0}
    return Usage(roles, 0.3, idle, waiting, 2, ("cell-web@0.service", thread), pool)


def test_what_was_used_is_told_in_cores() -> None:
    counts = [{"leased": 2, "ready": n, "starting": 1, "in_line": 0, "limit": 40} for n in (4, 0)]
    used = between(moment(10, 1, 1, 5, 100), moment(12, 2, 4, 6, 101, 0.5), counts)
    assert used.roles == {"web": 1.0, "kernels": 1.5}
    assert used.busiest_thread[1] == 0.5
    assert (used.bench, used.idle, used.waiting) == (0.5, 0.5, 0.25)
    assert used.pool["ready"] == 2


def test_a_unit_that_was_started_anew_has_used_nothing() -> None:
    assert between(moment(10, 5, 5, 0, 0), moment(11, 1, 1, 0, 0), []).roles == {"web": 0.0, "kernels": 0.0}


def test_processes_are_counted_where_no_cgroup_counts() -> None:
    assert processor_time(os.getpid()) > 0
    assert processor_time(0) == 0
    assert processor_time(2**22 + 1) == 0


@pytest.mark.parametrize(
    ("used", "failures", "reason"),
    [
        (usage(), {"503 busy": 50}, "CELL_COMPUTATIONS_IN_TOTAL"),
        (usage(), {"503 pool_exhausted": 50, "timeout": 1}, "pool.max_kernels"),
        (usage(), {"ConnectionResetError": 50}, "failures: ConnectionResetError"),
        (usage(idle=0.1), {}, "the processor: all of it is in use (kernels 45 %, web 20 %, this benchmark 15 %)"),
        # one failure among a thousand is not what ends it
        (usage(idle=0.1), {"503 busy": 1}, "the processor"),
        (usage(thread=0.95), {}, "the one thread of cell-web@0.service"),
        (usage(waiting=0.5), {}, "the disk"),
        (usage(ready=0.2, starting=2), {}, "pool.max_starting"),
        (usage(), {}, "answers are waited for"),
    ],
)
def test_what_is_to_blame(used: Usage, failures: dict[str, int], reason: str) -> None:
    assert reason in blame(used, failures, 1000)
