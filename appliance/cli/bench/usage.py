"""What the machine does meanwhile: processor time of each role, of the host, and the pool's counts."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import attrs
import psutil

from appliance.cli import pool_question, units
from appliance.cli.admin import edge_tables
from appliance.errors import ApplianceError
from appliance.pool_commands import PoolStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from appliance.config import Config

#: Seconds between two looks at the pool, and between two liftings of the limits.
LOOK_SECONDS = 0.25

#: Roles whose work is done by one thread of each instance.
SINGLE_THREADED = ("web", "pool", "permalink")

#: The host's processor is in use when less than this share of it is idle.
IDLE_SHARE = 0.08

#: A thread is in use all the time from this share of a core on: a rest is lost to whatever shares the core.
BUSY_THREAD = 0.85

#: Share of failed visits from which on what refused them is what ends the appliance's service.
REFUSED_SHARE = 0.02

#: Share of the time that waits for the disk.
WAITING_SHARE = 0.15

_REFUSALS = {
    "429 too_many_requests": "the edge's limit for one address (edge.env)",
    "503 busy": "the edge's limits in total (CELL_COMPUTATIONS_IN_TOTAL, CELL_PERMALINKS_IN_TOTAL in edge.env)",
    "503 pool_exhausted": "the number of kernels (pool.max_kernels)",
    "503 kernel_late": "the time that a kernel needs to start (pool.ready, pool.lease_wait_seconds)",
    "503 draining": "the appliance drains (cellctl undrain)",
    "507 storage_full": "the size of the permalink database (permalink.max_database_bytes)",
}


@attrs.frozen
class Usage:
    """What was used between two moments, in cores; ``pool`` are means of the pool's counts."""

    roles: Mapping[str, float]
    bench: float
    idle: float
    waiting: float
    cores: int
    busiest_thread: tuple[str, float]
    pool: Mapping[str, float]


@attrs.frozen
class Moment:
    """What had been used by then."""

    at: float
    units: Mapping[str, tuple[str, int]]
    bench: float
    idle: float
    waiting: float


def now(at: float) -> Moment:
    """Look. Raises `units.SystemdUnavailable`."""
    times = psutil.cpu_times()
    own = os.times()
    services = {
        unit.name: (unit.role, processor_time(unit.pid) if unit.cpu_nanoseconds is None else unit.cpu_nanoseconds)
        for unit in units.services()
    }
    return Moment(at, services, own.user + own.system, times.idle, getattr(times, "iowait", 0.0))


def processor_time(pid: int) -> int:
    """Return nanoseconds of a process, those it started and those of them that ended: where no cgroup counts them."""
    seconds = 0.0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid) if pid else None
        for one in [process, *process.children(recursive=True)] if process else []:
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                seconds += times.user + times.system + times.children_user + times.children_system
    return int(seconds * 1e9)


def between(before: Moment, after: Moment, counts: Sequence[Mapping[str, Any]]) -> Usage:
    """Return what was used from one moment to the other."""
    seconds = max(0.001, after.at - before.at)
    roles: collections.defaultdict[str, float] = collections.defaultdict(float)
    threads: dict[str, float] = {}
    for name, (role, used) in after.units.items():
        cores = max(0.0, (used - before.units.get(name, (role, used))[1]) / 1e9 / seconds)
        roles["kernels" if role == "zygote" else role] += cores
        if role in SINGLE_THREADED:
            threads[name] = cores
    busiest = max(threads.items(), key=lambda item: item[1], default=("", 0.0))
    keys = ("leased", "ready", "starting", "in_line", "limit")
    means = {key: sum(count[key] for count in counts) / len(counts) for key in keys} if counts else {}
    return Usage(
        roles=dict(roles),
        bench=(after.bench - before.bench) / seconds,
        idle=(after.idle - before.idle) / seconds,
        waiting=(after.waiting - before.waiting) / seconds,
        cores=os.cpu_count() or 1,
        busiest_thread=busiest,
        pool=means,
    )


def blame(usage: Usage, failures: Mapping[str, int], visits: int) -> str:
    """Return what kept the appliance from doing more, as a phrase."""
    if visits and sum(failures.values()) > REFUSED_SHARE * visits:
        code = max(failures, key=lambda one: failures[one])
        return _REFUSALS.get(code, f"failures: {code}")
    if usage.idle + usage.waiting < IDLE_SHARE * usage.cores:
        shares = {**usage.roles, "this benchmark": usage.bench}
        rest = usage.cores - usage.idle - usage.waiting - sum(shares.values())
        shares["other programs"] = max(0.0, rest)
        most = sorted(shares, key=lambda one: shares[one], reverse=True)[:3]
        told = ", ".join(f"{one} {100 * shares[one] / usage.cores:.0f} %" for one in most)
        return f"the processor: all of it is in use ({told})"
    name, cores = usage.busiest_thread
    if cores >= BUSY_THREAD:
        return f"the one thread of {name}"
    if usage.waiting > WAITING_SHARE * usage.cores:
        return "the disk"
    if usage.pool and usage.pool["ready"] < 1 and usage.pool["starting"] > 0:
        return "the start of kernels (pool.max_starting)"
    return "nothing of the machine: answers are waited for"


class Watch:
    """Looks at the pool again and again in a thread of its own.

    With ``lift`` another one holds the edge's limits in total off meanwhile.
    """

    def __init__(self, config: Config, *, lift: bool) -> None:
        self._config = config
        self._counts: list[Mapping[str, Any]] = []
        #: The least memory, in bytes, that was available at any time.
        self.least_available = psutil.virtual_memory().available
        self._stopped = threading.Event()
        # the pool may be slow to answer: the limits do not wait for it
        work = [self._look, self._lift] if lift else [self._look]
        self._threads = [threading.Thread(target=one, daemon=True) for one in work]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def take(self) -> list[Mapping[str, Any]]:
        """Return what was seen since the last call."""
        taken, self._counts = self._counts, []
        return taken

    def _look(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            self.least_available = min(self.least_available, psutil.virtual_memory().available)
            with contextlib.suppress(ApplianceError):
                self._counts.append(json.loads(pool_question.ask(self._config, PoolStatus)["status"]))

    def _lift(self) -> None:
        while not self._stopped.wait(LOOK_SECONDS):
            # without an edge there are no such limits
            with contextlib.suppress(OSError):
                edge_tables.forget_totals()
