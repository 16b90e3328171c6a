"""``cellctl bench``: run the stages against the installed appliance, and say what they mean."""

from __future__ import annotations

import asyncio
import json
import math
import os
import platform
import random
from typing import TYPE_CHECKING, Any

import attrs
import psutil

import appliance
from appliance.cli import check, units
from appliance.cli.bench import stages
from appliance.cli.bench.usage import Watch
from appliance.cli.bench.visitor import Visitors
from appliance.cli.status import size
from appliance.cli.target import find_target
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.cli.bench.stages import Climb, Stage
    from appliance.config import Config

#: Part of the highest rate of computations at which the mixture is measured, and to which a machine should be planned.
PART = 0.7

#: The mixture runs longer than the other stages: percentiles need many visits.
MIXTURE_STAGES = 4

#: A day of visitors. Each makes so many computations; the busiest hour has this share of the day, and in its busiest
#: minutes (a class that begins) visitors come so much faster than on average.
COMPUTATIONS_PER_VISITOR = 10
BUSIEST_HOUR = 0.15
CLASS_BEGINS = 3.0


@attrs.frozen
class Report:
    """What a run found. ``mixture`` is empty when no computation went well."""

    target: str
    edge: bool
    machine: str
    web_roles: int
    climbs: Sequence[Climb]
    mixture: Sequence[Stage]
    mixture_rate: float
    admitted: float | None
    permalinks_made: int
    memory_bytes: int

    @property
    def visitors_per_day(self) -> int:
        """How many visitors a day this machine has room for."""
        return visitors_per_day(self.climbs[0].best.rate)


def visitors_per_day(highest_rate: float) -> int:
    """Return the visitors that a machine with this highest rate of computations serves in a day, in two digits."""
    per_visitor = COMPUTATIONS_PER_VISITOR * BUSIEST_HOUR * CLASS_BEGINS / 3600
    number = PART * highest_rate / per_visitor
    if number < 1:
        return 0
    unit = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return int(number // unit * unit)


def machine() -> str:
    """Return what this machine is."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            name = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), name)
    except OSError:
        pass
    return f"{os.cpu_count()} cores ({name}), {size(psutil.virtual_memory().total)} of memory"


async def measure(config: Config, *, seconds: float, lift: bool, share: bool) -> Report:
    """Run every stage. Raises `ApplianceError`."""
    target, edge = find_target()
    visitors = Visitors(target, share=share)
    climbs: list[Climb] = []
    mixed: list[Stage] = []
    rate = 0.0
    available = psutil.virtual_memory().available
    with Watch(config, lift=lift and edge) as watch:
        first = await visitors.visit("computation")
        if first.failure:
            raise ApplianceError(f"{target.url} does not evaluate: {first.failure}")
        for kind in visitors.kinds:
            climbs.append(await stages.climb(visitors, watch, kind, seconds))
        rate = PART * climbs[0].best.rate
        if rate:
            mixed = await stages.mixture(visitors, watch, rate, MIXTURE_STAGES * seconds, random.Random(0))  # noqa: S311
    memory = available - watch.least_available
    admitted = int(check.edge_environment()["CELL_COMPUTATIONS_IN_TOTAL"]) / 60 if edge else None
    web_roles = len(units.names(["web"]))
    return Report(target.url, edge, machine(), web_roles, climbs, mixed, rate, admitted, visitors.made, memory)


def _row(stage: Stage) -> str:
    def milliseconds(share: float) -> str:
        value = 1000 * stage.percentile(share)
        return "-" if math.isnan(value) else f"{value:.0f}"

    roles = sorted(stage.usage.roles.items(), key=lambda item: -item[1])
    used = ", ".join(f"{role} {cores:.2f}" for role, cores in roles if cores >= 0.01)
    failed = sum(stage.failures.values())
    return (
        f"{stage.crowd or '-':>9}{stage.rate:>9.1f}{milliseconds(0.5):>8}{milliseconds(0.95):>8}{milliseconds(0.99):>8}"
        f"{failed:>8}  {used}; bench {stage.usage.bench:.2f}; idle {stage.usage.idle:.2f}"
    )


_HEAD = f"{'visitors':>9}{'a second':>9}{'p50 ms':>8}{'p95':>8}{'p99':>8}{'failed':>8}  cores in use"


def render(report: Report) -> str:
    """Return the report as text."""
    through = "HAProxy" if report.edge else "the web roles alone (no edge)"
    lines = [
        f"Cell Appliance {appliance.__version__}, {report.target} through {through}; {report.web_roles} web roles",
        report.machine,
    ]
    for one in report.climbs:
        lines += ["", one.kind.capitalize(), _HEAD, *map(_row, one.stages)]
        best = one.best
        lines.append(f"at most {best.rate:.1f} a second, with {best.crowd} visitors at once; then: {one.reason}")
    if report.mixture:
        lines += ["", f"A mixture with {report.mixture_rate:.1f} computations a second, arriving at random moments"]
        lines += [_HEAD.replace("visitors", "kind".rjust(8))]
        for stage in report.mixture:
            lines += [stage.kind, _row(stage)]
    lines += [
        "",
        f"Room for about {report.visitors_per_day} visitors a day (docs/capacity.md says how that is counted).",
    ]
    highest = report.climbs[0].best.rate
    if report.admitted is not None and highest:
        lines.append(
            f"The edge admits {report.admitted:.0f} computations a second in total (CELL_COMPUTATIONS_IN_TOTAL): "
            + ("more than this machine does." if report.admitted > highest else "less than this machine does.")
        )
    lines.append(f"At most {size(report.memory_bytes)} more memory was in use than before.")
    lines.append(f"{report.permalinks_made} permalinks were made and stay in the database.")
    return "\n".join(lines)


def document(report: Report) -> dict[str, Any]:
    """Return the report for programs."""

    def of(stage: Stage) -> dict[str, Any]:
        percentiles = {f"p{share}": stage.percentile(share / 100) for share in (50, 90, 95, 99)}
        return {
            "visitors": stage.crowd,
            "rate": round(stage.rate, 3),
            "seconds": {name: None if math.isnan(value) else round(value, 4) for name, value in percentiles.items()},
            "failures": dict(stage.failures),
            "cores": {**{role: round(cores, 3) for role, cores in stage.usage.roles.items()}},
            "bench_cores": round(stage.usage.bench, 3),
            "idle_cores": round(stage.usage.idle, 3),
        }

    return {
        "version": appliance.__version__,
        "target": report.target,
        "edge": report.edge,
        "machine": report.machine,
        "web_roles": report.web_roles,
        "kinds": {
            one.kind: {"highest": of(one.best), "then": one.reason, "stages": [of(stage) for stage in one.stages]}
            for one in report.climbs
        },
        "mixture": {stage.kind: of(stage) for stage in report.mixture},
        "mixture_rate": round(report.mixture_rate, 3),
        "visitors_per_day": report.visitors_per_day,
        "permalinks_made": report.permalinks_made,
        "memory_bytes": report.memory_bytes,
    }


def run(config: Config, *, seconds: float, as_json: bool, keep_limits: bool, share: bool) -> int:
    """Measure and print; return 0. Raises `ApplianceError`."""
    report = asyncio.run(measure(config, seconds=seconds, lift=not keep_limits, share=share))
    print(json.dumps(document(report), indent=2) if as_json else render(report))
    return 0
