"""``cellctl top``: kernels, roles and recent deaths, again every few seconds, until a key or Ctrl-C."""

from __future__ import annotations

import json
import select
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

import attrs
import psutil

from appliance.cli import pool_question, units
from appliance.cli.printable import printable
from appliance.cli.status import pool_line, size
from appliance.errors import ApplianceError
from appliance.pool_commands import Overview, PoolStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from appliance.cli.units import Unit
    from appliance.config import Config

#: Deaths that are shown.
MAX_DEATHS = 8

#: Clears the screen and moves the cursor home (ECMA-48, ED and CUP).
_CLEAR = "\x1b[2J\x1b[H"


@attrs.frozen
class Sample:
    """What was measured at one moment."""

    at: float
    cpu: Mapping[str, int]


def sample(services: Sequence[Unit], at: float) -> Sample:
    """Return the processor time of each unit."""
    return Sample(at, {unit.name: unit.cpu_nanoseconds or 0 for unit in services})


def duration(seconds: float) -> str:
    """Return a time for people."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"


def screen(
    services: Sequence[Unit],
    before: Sample,
    now: Sample,
    pool: Mapping[str, Any] | None,
    overview: Mapping[str, Any] | None,
    rows: int,
) -> list[str]:
    """Return the lines of one screen, ``rows`` at most."""
    lines = [f"host: load {psutil.getloadavg()[0]:.2f}, {size(psutil.virtual_memory().available)} memory available"]
    lines += [pool_line(pool) if pool is not None else "kernels: the pool does not answer", ""]
    elapsed = max(0.001, now.at - before.at)
    lines.append(f"{'role':<28}{'state':<12}{'cpu %':>7}{'memory':>12}  says")
    for unit in services:
        used = now.cpu.get(unit.name, 0) - before.cpu.get(unit.name, 0)
        percent = max(0.0, used / 1e7 / elapsed)
        lines.append(
            f"{unit.name:<28}{unit.active:<12}{percent:>7.1f}{size(unit.memory_bytes):>12}  {printable(unit.status)}"
        )
    if overview is not None:
        lines += ["", *_deaths(overview), "", *_kernels(overview)]
    return lines[:rows]


def _deaths(overview: Mapping[str, Any]) -> list[str]:
    counts = overview["death_counts"]
    told = ", ".join(f"{reason} {number}" for reason, number in sorted(counts.items())) or "none"
    lines = [f"ended since the pool started: {told}"]
    for death in overview["deaths"][:MAX_DEATHS]:
        why = printable(f"{death['reason']} {death['detail']}".rstrip())
        lines.append(f"  {duration(death['seconds']):>6} ago  slot {death['slot']}  {death['environment']}: {why}")
    return lines


def _kernels(overview: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{'kernel':<12}{'slot':>6}  {'environment':<14}{'profile':<12}{'state':<10}{'for':>8}{'busy':>8}{'cpu':>9}"
    ]
    for kernel in overview["kernels"]:
        busy = "-" if kernel["busy_seconds"] is None else duration(kernel["busy_seconds"])
        lines.append(
            f"{kernel['kernel']:<12}{kernel['slot']:>6}  {kernel['environment']:<14}{kernel['profile']:<12}"
            f"{kernel['state']:<10}{duration(kernel['seconds']):>8}{busy:>8}{kernel['cpu_seconds']:>7.1f} s"
        )
    if overview["kernel_count"] > len(overview["kernels"]):
        lines.append(f"and {overview['kernel_count'] - len(overview['kernels'])} more")
    return lines


def _look(config: Config) -> tuple[list[Unit], Mapping[str, Any] | None, Mapping[str, Any] | None]:
    services = units.services()
    try:
        pool = json.loads(pool_question.ask(config, PoolStatus)["status"])
        overview = json.loads(pool_question.ask(config, Overview)["overview"])
    except ApplianceError:
        return services, None, None
    return services, pool, overview


def run(config: Config, *, seconds: float, once: bool) -> int:
    """Show the screen every ``seconds`` until Enter or Ctrl-C, or ``once``. Raises `units.SystemdUnavailable`."""
    before = sample(units.services(), time.monotonic())
    pause = min(seconds, 1.0)
    try:
        while True:
            if once:
                time.sleep(pause)
            elif _key_within(pause):
                return 0
            services, pool, overview = _look(config)
            now = sample(services, time.monotonic())
            rows = 10_000 if once else shutil.get_terminal_size().lines - 1
            text = "\n".join(screen(services, before, now, pool, overview, rows))
            print(text if once else f"{_CLEAR}{text}", flush=True)
            if once:
                return 0
            before, pause = now, seconds
    except KeyboardInterrupt:
        return 0


def _key_within(seconds: float) -> bool:
    """Wait; return whether Enter was pressed meanwhile."""
    if not sys.stdin.isatty():
        time.sleep(seconds)
        return False
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable)
