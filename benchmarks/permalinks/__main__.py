"""``./dev bench permalinks``: cells shared and read a second; exit status 1 when a bar fails."""

from __future__ import annotations

import argparse
import gc
import json
import pathlib
import sys
import tempfile
from typing import TYPE_CHECKING

from benchmarks import machine, report
from benchmarks.client import BenchmarkError
from benchmarks.permalinks.load import LoadError, drive
from benchmarks.permalinks.servers import Nginx, Role, Server, StandIn, cycle
from benchmarks.series import Bar, Results, Series, Table
from benchmarks.server import ROOT, Interpreters

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Cells that are read, one after the other.
READ_CELLS = 500

#: How many times better than SageMathCell's design writes and reads must be, and which share of nginx's rate for files
#: reads through its cache must have.
WRITE_BAR = 10.0
READ_BAR = 10.0
CACHE_BAR = 0.5

FAILED = 1
BROKEN = 2


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="./dev bench permalinks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds: shows that everything works, little else")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write every sample to FILE")
    for option, place in (
        ("--appliance-python", ".venv"),
        ("--kernel-python", ".envs/python"),
        ("--peer-python", ".envs/bench"),
    ):
        default = ROOT / place / "bin" / "python"
        parser.add_argument(option, type=pathlib.Path, default=default, help=f"an interpreter (default: {place})")
    return parser.parse_args(arguments)


class Contender:
    """One row: a server and what it is asked; rounds of it give rates, latencies and processor time."""

    def __init__(self, label: str, server: Server, requests: Callable[[], bytes]) -> None:
        self.label = label
        self._server = server
        self._requests = requests
        self.rates: list[float] = []
        self.latencies: list[float] = []
        self.cpu: list[float] = []

    def round(self, connections: int, seconds: float) -> None:
        """Measure for some seconds."""
        before = self._server.cpu_seconds
        load = drive(self._server.socket, connections, seconds, self._requests)
        self.cpu.append(1e6 * (self._server.cpu_seconds - before) / len(load.latencies))
        self.rates.append(load.rate)
        self.latencies += [1000 * latency for latency in load.latencies]


def contest(
    name: str, title: str, contenders: Sequence[Contender], connections: int, rounds: int, seconds: float
) -> list[Table]:
    """Let contenders take turns; return and print tables of rates, latencies and processor time."""
    for contender in contenders:  # caches are filled, files are in memory
        contender.round(connections, min(seconds, 0.3))
        contender.rates, contender.latencies, contender.cpu = [], [], []
    for _ in range(rounds):
        for contender in contenders:
            contender.round(connections, seconds)
    tables = [
        Table(
            name,
            f"{title}, {connections} connections",
            "requests/s",
            tuple(Series(contender.label, tuple(contender.rates)) for contender in contenders),
            more_is_better=True,
        ),
        Table(
            f"{name}-latency",
            "the same, until the answer",
            "ms",
            tuple(Series(contender.label, tuple(contender.latencies)) for contender in contenders),
        ),
        Table(
            f"{name}-cpu",
            "the same, processor time of the server a request",
            "µs",
            tuple(Series(contender.label, tuple(contender.cpu)) for contender in contenders),
        ),
    ]
    for table in tables:
        print(*report.table_lines(table), sep="\n", flush=True)
    return tables


def measure(options: argparse.Namespace, directory: pathlib.Path) -> Results:
    """Start every server and measure. Raises `BenchmarkError`."""
    role = Role(directory / "role", options.appliance_python.absolute())
    designs = [StandIn(directory / name.lower(), options.peer_python.absolute(), name) for name in ("DELETE", "WAL")]
    nginx = Nginx(directory / "nginx", role)
    servers: list[Server] = [role, *designs, nginx]
    rounds, seconds = (2, 0.5) if options.quick else (5, 2.0)
    results = Results()
    try:
        for server in servers:
            server.start()
        gc.collect()
        gc.freeze()
        for connections in (1, 64):
            writers = [Contender(role.label, role, role.write_request)]
            writers += [Contender(server.label, server, server.write_request) for server in designs]
            tables = contest(f"write-{connections}", "cells shared", writers, connections, rounds, seconds)
            results.tables += tables
        results.bars.append(tables[0].bar("writes/s, 64 connections", WRITE_BAR, (designs[0].label,)))
        reads = role.read_requests(READ_CELLS)
        readers = [Contender(role.label, role, cycle(reads))]
        readers += [Contender(server.label, server, cycle(server.read_requests(READ_CELLS))) for server in designs]
        tables = contest("read", "cells read", readers, 64, rounds, seconds)
        results.tables += tables
        results.bars.append(tables[0].bar("reads/s from the role, 64 connections", READ_BAR, (designs[0].label,)))
        cached = [
            Contender("nginx's cache", nginx, cycle(nginx.cached(reads))),
            Contender("nginx, files", nginx, cycle(nginx.files(reads))),
        ]
        tables = contest("cache", "cells read through nginx", cached, 64, rounds, seconds)
        results.tables += tables
        results.bars.append(tables[0].bar("reads/s through nginx's cache", CACHE_BAR, ("nginx, files",)))
        processor = tables[2].bar("processor time of that", CACHE_BAR, ("nginx, files",))
        results.bars.append(Bar(processor.name, processor.wanted, processor.found, processor.against))
    finally:
        for server in servers:
            server.stop()
    return results


def main() -> int:
    """Measure; return the exit status."""
    options = parse()
    interpreters = Interpreters(options.appliance_python, options.kernel_python, options.peer_python)
    description = machine.describe(interpreters)
    print(*report.machine_lines(description), sep="\n", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:
            results = measure(options, pathlib.Path(name))
    except (BenchmarkError, LoadError, OSError) as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        return BROKEN
    except KeyboardInterrupt:
        print("benchmarks: stopped", file=sys.stderr)
        return BROKEN
    if options.json is not None:
        document = {
            "machine": description,
            "tables": {table.name: table.document() for table in results.tables},
            "bars": [bar.document() for bar in results.bars],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    print(*report.bar_lines(results.bars), sep="\n")
    if options.quick:
        print("  --quick: too few samples for a verdict that counts")
    return 0 if results.passed else FAILED


if __name__ == "__main__":
    sys.exit(main())
