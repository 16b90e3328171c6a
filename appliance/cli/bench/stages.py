"""The stages of a benchmark: ever more visitors at once, then an ordinary mixture at a part of what was reached."""

from __future__ import annotations

import asyncio
import collections
import math
import time
from typing import TYPE_CHECKING

import attrs

from appliance.cli.bench import usage

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from appliance.cli.bench.usage import Usage, Watch
    from appliance.cli.bench.visitor import Visit, Visitors

#: Visitors at once, from stage to stage.
CROWDS = (1, 2, 4, 8, 16, 32, 64)

#: More visitors must bring so much more throughput; after two stages that do not, the kind is at its end.
GAIN = 1.05
STAGES_WITHOUT_GAIN = 2

#: Seconds that each stage runs before it is measured.
WARM_SECONDS = 1.0

#: The mixture: visits of each kind for one computation. A page has three cells that are evaluated once each.
MIXTURE: Mapping[str, float] = {"computation": 1.0, "page": 1 / 3, "permalink made": 1 / 30, "permalink opened": 1 / 10}

#: Visits of the mixture at once: those beyond it are not made, and count as failed.
MAX_AT_ONCE = 500


@attrs.frozen
class Stage:
    """What one stage brought. ``crowd``: visitors at once; 0 for arrivals at a rate."""

    kind: str
    crowd: int
    seconds: float
    latencies: Sequence[float]
    failures: Mapping[str, int]
    usage: Usage

    @property
    def rate(self) -> float:
        """Visits that went well, per second."""
        return len(self.latencies) / self.seconds

    @property
    def visits(self) -> int:
        """All visits."""
        return len(self.latencies) + sum(self.failures.values())

    def percentile(self, share: float) -> float:
        """Return the latency in seconds below which ``share`` of the visits were; nan when there were none."""
        if not self.latencies:
            return math.nan
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@attrs.frozen
class Climb:
    """The stages of one kind. ``best``: that with the most throughput."""

    kind: str
    stages: Sequence[Stage]

    @property
    def best(self) -> Stage:
        """The stage with the highest rate."""
        return max(self.stages, key=lambda stage: stage.rate)

    @property
    def reason(self) -> str:
        """What kept more visitors from being served, as seen in the last stage."""
        last = self.stages[-1]
        return usage.blame(last.usage, last.failures, last.visits)


def stage_of(kind: str, crowd: int, seconds: float, visits: Sequence[Visit], used: Usage) -> Stage:
    """Return a stage of the visits that ended within it."""
    failures = collections.Counter(visit.failure for visit in visits if visit.failure)
    latencies = [visit.seconds for visit in visits if not visit.failure]
    return Stage(kind, crowd, seconds, latencies, dict(failures), used)


async def crowd_of(visitors: Visitors, watch: Watch, kind: str, size: int, seconds: float) -> Stage:
    """Have ``size`` visitors do the same again and again."""
    visits: list[Visit] = []
    stop = asyncio.Event()

    async def go_on() -> None:
        while not stop.is_set():
            visits.append(await visitors.visit(kind))

    goers = [asyncio.create_task(go_on()) for _ in range(size)]
    try:
        await asyncio.sleep(WARM_SECONDS)
        watch.take()
        before, first = await asyncio.to_thread(usage.now, time.monotonic()), len(visits)
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        measured, elapsed = visits[first:], time.perf_counter() - began
        after = await asyncio.to_thread(usage.now, time.monotonic())
    finally:
        stop.set()
        await asyncio.gather(*goers, return_exceptions=True)
    return stage_of(kind, size, elapsed, measured, usage.between(before, after, watch.take()))


async def climb(visitors: Visitors, watch: Watch, kind: str, seconds: float) -> Climb:
    """Have ever more visitors do the same until more of them bring no more."""
    stages: list[Stage] = []
    best, without_gain = 0.0, 0
    for size in CROWDS:
        stage = await crowd_of(visitors, watch, kind, size, seconds)
        stages.append(stage)
        without_gain = 0 if stage.rate > GAIN * best else without_gain + 1
        best = max(best, stage.rate)
        if without_gain == STAGES_WITHOUT_GAIN:
            break
    return Climb(kind, stages)


async def mixture(visitors: Visitors, watch: Watch, rate: float, seconds: float, chance: random.Random) -> list[Stage]:
    """Have visitors come at random moments, ``rate`` computations a second; return a stage for each kind.

    They come whether or not those before them have been served (an open model): what waits makes others wait.
    """
    visits: list[Visit] = []
    under_way: set[asyncio.Task[None]] = set()

    async def one(kind: str) -> None:
        visits.append(await visitors.visit(kind))

    watch.take()
    before = await asyncio.to_thread(usage.now, time.monotonic())
    began = time.monotonic()
    ends = began + seconds
    kinds = tuple(kind for kind in MIXTURE if kind in visitors.kinds)
    weights = [MIXTURE[kind] for kind in kinds]
    due = began
    missed = 0
    while (due := due + chance.expovariate(rate * sum(weights))) < ends:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if len(under_way) >= MAX_AT_ONCE:
            missed += 1
            continue
        task = asyncio.create_task(one(chance.choices(kinds, weights)[0]))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    after = await asyncio.to_thread(usage.now, time.monotonic())
    await asyncio.gather(*under_way, return_exceptions=True)
    used = usage.between(before, after, watch.take())
    stages = [stage_of(kind, 0, seconds, [visit for visit in visits if visit.kind == kind], used) for kind in kinds]
    if missed:
        stages[0] = attrs.evolve(stages[0], failures={**stages[0].failures, "not served in time": missed})
    return stages
