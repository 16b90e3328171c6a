"""``./dev bench sage``: kernels of Sage beside those of Python, in the units in which SageMathCell's are known.

Both environments are served by one appliance; starts alternate.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import pathlib
import sys
import tempfile
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import psutil

from benchmarks import machine, processes, report
from benchmarks.appliance_server import Appliance
from benchmarks.client import BenchmarkError, request
from benchmarks.measures.memory import MIB
from benchmarks.measures.memory import SETTLE_SECONDS as MEMORY_SETTLE_SECONDS
from benchmarks.measures.start import PACE_SECONDS, first_result
from benchmarks.series import Bar, Series, Table
from benchmarks.server import ROOT, Interpreters

if TYPE_CHECKING:
    from collections.abc import Sequence

PYTHON, SAGE = "python", "sage"

#: Starts of each environment, seconds of asking /service, and kernels whose memory is read.
STARTS = 40
SERVICE_SECONDS = 10.0
IDLE_KERNELS = 4
QUICK_DIVISOR = 8

#: How many times longer than Python's a first cell of Sage may take, and the private memory of an idle kernel.
SLOWER = 3.0
IDLE_MIB = 30.0

#: For a zygote that imports Sage from a cold disk.
READY_SECONDS = 180.0
RUN_SECONDS = 600.0

FAILED, BROKEN = 1, 2


class Both(Appliance):
    """The appliance with Sage."""

    environments = pathlib.Path()

    def prepare(self) -> None:
        """Write the configuration."""
        super().prepare()
        file = self._directory / "appliance.toml"
        text = f"environments_dir = {json.dumps(str(self.environments))}\n{file.read_text('utf-8')}"
        file.write_text(text.replace("max_kernels = 80", "max_kernels = 20\nstart_seconds = 60.0"), "utf-8")

    async def create(self, kernelspec: str = PYTHON) -> str:
        """Lease a kernel of an environment."""
        return await self._post(f"/kernel?{urlencode({'timeout': 'inf', 'environment': kernelspec})}", b"{}")

    async def service(self, environment: str) -> bool:
        """Evaluate by ``POST /service``; return whether a kernel was there. Raises `BenchmarkError`."""
        query = urlencode({"code": "print(1+1)", "environment": environment, "accepted_tos": "true"})
        status, body = await request(self.address, "POST", f"/service?{query}")
        if status == 503:
            return False
        answer = json.loads(body) if status == 200 else {}
        if answer.get("stdout") != "2\n":
            raise BenchmarkError(f"/service, {environment}: {status} {body[:200]!r}")
        return True

    async def wait_until_ready(self, environment: str) -> None:
        """Wait for the zygote. Raises `BenchmarkError`."""
        deadline = time.monotonic() + READY_SECONDS
        while not await self.service(environment):
            if time.monotonic() > deadline:
                raise BenchmarkError(f"no kernel of {environment} within {READY_SECONDS:g} s:\n{self._last_lines()}")
            await asyncio.sleep(1)

    def kernels_of(self, environment: str) -> list[psutil.Process]:
        """Return the processes of an environment's kernels, those that wait for a visitor included."""
        found = [process for process in processes.family(self.pid) if _environment(process) == environment]
        # kernels have accounts of their own; the zygote's is the first of the range
        root = min((process.uids().real for process in found), default=0)
        return [process for process in found if process.uids().real != root]


def _environment(process: psutil.Process) -> str:
    """Return the environment that a zygote, or a kernel that it has forked, was started with."""
    words = processes.arguments(process)
    return str(json.loads(words[3])["environment"]) if words[1:3] == ["-m", "appliance.zygote"] else ""


async def _starts(appliance: Both, count: int) -> Table:
    samples: dict[str, list[float]] = {PYTHON: [], SAGE: []}

    async def once(environment: str) -> float:
        return (await first_result(appliance, lambda: appliance.create(environment)))[1]

    for environment in samples:
        await once(environment)
    for _ in range(count):
        for environment, times in samples.items():
            await asyncio.sleep(PACE_SECONDS)
            times.append(await once(environment))
    return Table(
        "sage-start",
        "A ready kernel's first cell: POST, WebSocket, 1+1; until execute_result, execute_reply and idle are here",
        "ms",
        tuple(Series(environment, tuple(times)) for environment, times in samples.items()),
    )


async def _service(appliance: Both, seconds: float) -> Table:
    series = []
    for environment in (PYTHON, SAGE):
        rates = []
        for _ in range(3):
            await asyncio.sleep(1)
            count, begin = 0, time.monotonic()
            while (spent := time.monotonic() - begin) < seconds / 3:
                count += await appliance.service(environment)
            rates.append(count / spent)
        series.append(Series(environment, tuple(rates)))
    return Table(
        "sage-service",
        "POST /service, one after the other: each has a kernel of its own",
        "evaluations/s",
        tuple(series),
        more_is_better=True,
    )


async def _memory(appliance: Both, count: int) -> Table:
    if not processes.may_look_into_others():
        note = "Not measured: only root may read the memory of processes that have accounts of their own."
        return Table("sage-memory", "Private memory (USS) of an idle kernel", "MiB", (), notes=(note,))
    series = []
    for environment in (PYTHON, SAGE):
        ids = []
        for _ in range(count):
            ids.append(await appliance.create(environment))
            channels = await appliance.connect(ids[-1])
            await channels.execute("1+1")
            await channels.close()
        await asyncio.sleep(MEMORY_SETTLE_SECONDS)
        found = []
        for process in appliance.kernels_of(environment):
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(processes.private_bytes(process.pid) / MIB)
        if not found:
            raise BenchmarkError(f"{environment}: there are no kernels")
        series.append(Series(environment, tuple(found)))
        for kernel_id in ids:
            await appliance.delete(kernel_id)
    return Table(
        "sage-memory",
        "Private memory (USS) of an idle kernel: after 1+1, or ready",
        "MiB",
        tuple(series),
    )


async def run(options: argparse.Namespace) -> bool:
    """Measure and print; return whether every bar is reached."""
    interpreters = Interpreters(
        ROOT / ".venv/bin/python", ROOT / ".envs/python/bin/python", ROOT / ".envs/bench/bin/python"
    )
    print(*report.machine_lines(machine.describe(interpreters)), sep="\n", flush=True)
    divisor = QUICK_DIVISOR if options.quick else 1
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        Both.environments = options.environments
        appliance = Both(interpreters, directory / "a")
        try:
            async with asyncio.timeout(RUN_SECONDS):
                await appliance.start()
                for environment in (PYTHON, SAGE):
                    await appliance.wait_until_ready(environment)
                tables = [
                    await _starts(appliance, STARTS // divisor),
                    await _service(appliance, SERVICE_SECONDS / divisor),
                    await _memory(appliance, IDLE_KERNELS),
                ]
        finally:
            appliance.stop()
    for table in tables:
        print(*report.table_lines(table), sep="\n", flush=True)
    starts, _, memory = tables
    python, sage = starts.series
    bars = [Bar("a first cell of Sage as fast as Python's", 1 / SLOWER, python.median / sage.median, PYTHON)]
    if memory.series:
        bars.append(Bar(f"below {IDLE_MIB:g} MiB", 1.0, IDLE_MIB / memory.series[1].median, f"{IDLE_MIB:g} MiB"))
    print(*report.bar_lines(bars, "Sage beside the bar"), sep="\n")
    return all(bar.passed for bar in bars)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit status."""
    parser = argparse.ArgumentParser(prog="./dev bench sage", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: shows that everything works, little else")
    parser.add_argument("--environments", type=pathlib.Path, required=True, help="directory in which Sage was added")
    options = parser.parse_args(arguments)
    try:
        return 0 if asyncio.run(run(options)) else FAILED
    except (BenchmarkError, OSError, TimeoutError) as exc:
        print(f"benchmarks: {exc or type(exc).__name__}", file=sys.stderr)
        return BROKEN


if __name__ == "__main__":
    sys.exit(main())
