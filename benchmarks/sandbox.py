"""``./dev bench sandbox``: what each layer of the confinement costs, in a fork and for a visitor.

The product has no switch that would leave a layer out and no clock in the set-up: copies of it are measured, one whose
`appliance.zygote.sandbox.enter` times each step, one whose forks take none of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import pathlib
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING, ClassVar

from benchmarks import machine, report
from benchmarks.appliance_server import Appliance
from benchmarks.client import BenchmarkError
from benchmarks.measures.start import PACE_SECONDS, first_result
from benchmarks.series import Bar, Series, Table
from benchmarks.server import ROOT, Interpreters

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Forks whose steps are timed, and starts on each server.
FORKS = 100
STARTS = 60
QUICK_DIVISOR = 10

#: Most that all layers together may add to a fork, and to a visitor's first result.
FORK_MILLISECONDS = 5.0
START_MILLISECONDS = 10.0

RUN_SECONDS = 300.0

FAILED, BROKEN = 1, 2

_TIMED = """

def enter(uid, limits, confinement, keep_fds, egress=""):
    import json, time
    spent = {}
    for name, step in steps(uid, limits, confinement, keep_fds, egress):
        begin = time.perf_counter_ns()
        step()
        spent[name] = time.perf_counter_ns() - begin
    os.write(2, (json.dumps({"steps": spent}) + "\\n").encode())
"""

_NO_LAYER = """

def enter(uid, limits, confinement, keep_fds, egress=""):
    _close_descriptors(keep_fds)
    os.setsid()
"""


class Copy(Appliance):
    """The appliance from a copy of the package in which a kernel's set-up is another."""

    enter: ClassVar[str]

    def prepare(self) -> None:
        """Copy the package and write the configuration."""
        super().prepare()
        self.root = self._directory / "copy"
        ignore = shutil.ignore_patterns("node_modules", "__pycache__", "src", "test")
        shutil.copytree(ROOT / "appliance", self.root / "appliance", ignore=ignore)
        with open(self.root / "appliance/zygote/sandbox.py", "a", encoding="utf-8") as file:
            file.write(self.enter)

    def log(self) -> list[str]:
        """Return what the server has printed."""
        return (self._directory / "log").read_text("utf-8", "replace").splitlines()


class Timed(Copy):
    """Every layer, each timed."""

    label = "timed"
    enter = _TIMED


class Unconfined(Copy):
    """No layer but the process's own pid namespace."""

    label = "no layer"
    enter = _NO_LAYER


def _steps(server: Timed) -> dict[str, list[float]]:
    """Return the milliseconds of each step of each fork so far, and of all together."""
    found: dict[str, list[float]] = {"all steps": []}
    for line in server.log():
        _, mark, rest = line.partition('{"steps": ')
        if mark:
            spent = json.loads(mark + rest)["steps"]
            found["all steps"].append(sum(spent.values()) / 1e6)
            for name, nanoseconds in spent.items():
                found.setdefault(name, []).append(nanoseconds / 1e6)
    return found


async def measure(interpreters: Interpreters, directory: pathlib.Path, divisor: int) -> tuple[list[Table], list[Bar]]:
    """Run the copies and measure. Raises `BenchmarkError`, `TimeoutError`."""
    timed, shipped = Timed(interpreters, directory / "t"), Appliance(interpreters, directory / "a")
    unconfined = Unconfined(interpreters, directory / "u")
    try:
        await timed.start()
        while len(_steps(timed)["all steps"]) < FORKS // divisor:
            await first_result(timed, timed.create)
            await asyncio.sleep(PACE_SECONDS)
        steps = _steps(timed)
    finally:
        timed.stop()
    starts: dict[str, list[float]] = {}
    servers = {"as shipped": shipped, "without any layer": unconfined}
    try:
        for server in servers.values():
            await server.start()
            await first_result(server, server.create)
        for _ in range(STARTS // divisor):
            for label, server in servers.items():
                await asyncio.sleep(PACE_SECONDS)
                starts.setdefault(label, []).append((await first_result(server, server.create))[1])
    finally:
        for server in servers.values():
            server.stop()
    fork_table = Table(
        "sandbox-steps",
        "Steps of a kernel's set-up, in the fork, before anybody asks for it",
        "ms",
        tuple(Series(name, tuple(values)) for name, values in steps.items()),
        notes=("The last column is the share of the whole.",),
    )
    start_table = Table(
        "sandbox-start",
        "Start to first result on a ready kernel: POST, WebSocket, 1+1; until everything is here",
        "ms",
        tuple(Series(label, tuple(values)) for label, values in starts.items()),
    )
    total = fork_table.series[0].median
    confined, bare = (series.median for series in start_table.series)
    return [fork_table, start_table], [
        Bar(f"all steps of a fork below {FORK_MILLISECONDS:g} ms", 1.0, FORK_MILLISECONDS / total, f"{total:.2f} ms"),
        Bar(
            f"first result less than {START_MILLISECONDS:g} ms above no layer",
            1.0,
            START_MILLISECONDS / max(confined - bare, 0.01),
            f"{confined - bare:+.2f} ms",
        ),
    ]


async def _run(options: argparse.Namespace) -> list[Bar]:
    paths = (ROOT / ".venv", ROOT / ".envs/python", ROOT / ".envs/bench")
    interpreters = Interpreters(*(path / "bin" / "python" for path in paths))
    print(*report.machine_lines(machine.describe(interpreters)), sep="\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        async with asyncio.timeout(RUN_SECONDS):
            tables, bars = await measure(interpreters, directory, QUICK_DIVISOR if options.quick else 1)
    for table in tables:
        print(*report.table_lines(table), sep="\n")
    print(*report.bar_lines(bars, "how far below what is allowed"), sep="\n")
    return bars


def main(arguments: Sequence[str]) -> int:
    """Measure; return the exit status: 1 when a bar fails, 2 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="./dev bench sandbox", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: shows that everything works, little else")
    options = parser.parse_args(arguments)
    try:
        bars = asyncio.run(_run(options))
    except (BenchmarkError, OSError, TimeoutError) as exc:
        print(f"benchmarks: {exc or type(exc).__name__}", file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        return BROKEN
    return 0 if all(bar.passed for bar in bars) else FAILED
