"""``python -m benchmarks``: start every server, measure, print, stop; exit status 1 when a bar fails.

``sandbox`` as the first argument: what the confinement costs, see `benchmarks.sandbox`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import pathlib
import signal
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks import machine, report, sandbox
from benchmarks.appliance_server import Appliance
from benchmarks.client import BenchmarkError
from benchmarks.contest import FULL, QUICK, Contestants, Sizes
from benchmarks.measures import cpu, memory, output, roundtrip, start, throughput
from benchmarks.peers import JupyterServer, KernelGateway
from benchmarks.series import Results
from benchmarks.server import ROOT, Interpreters

if TYPE_CHECKING:
    from collections.abc import Sequence

MEASURES: dict[str, Any] = {
    "start": start.measure,
    "roundtrip": roundtrip.measure,
    "throughput": throughput.measure,
    "print": output.measure,
    "memory": memory.measure,
    "cpu": cpu.measure,
}

#: The longest run; a full one takes less than five minutes on two cores.
RUN_SECONDS = 900.0

#: A bar failed; something could not be measured.
FAILED = 1
BROKEN = 2


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples: shows that everything works, little else")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write every sample to FILE")
    parser.add_argument("--only", action="append", choices=list(MEASURES), help="measure this alone; may be repeated")
    places = (
        ("--appliance-python", ".venv", "interpreter of the appliance's roles"),
        ("--kernel-python", ".envs/python", "interpreter of every server's kernels"),
        ("--peer-python", ".envs/bench", "interpreter of jupyter_server and jupyter_kernel_gateway"),
    )
    for option, place, text in places:
        default = ROOT / place / "bin" / "python"
        parser.add_argument(option, type=pathlib.Path, default=default, help=f"{text} (default: {place})")
    return parser.parse_args(arguments)


async def contest(interpreters: Interpreters, directory: pathlib.Path, names: Sequence[str], sizes: Sizes) -> Results:
    """Run the servers and measure. Raises `BenchmarkError`, `TimeoutError`."""
    appliance = Appliance(interpreters, directory / "a")
    peers = KernelGateway(interpreters, directory / "g"), JupyterServer(interpreters, directory / "s")
    contestants = Contestants(appliance, peers)
    results = Results()
    try:
        for server in contestants.servers:
            await server.start()
        # a collection in the client would be a pause of the server in the results
        gc.collect()
        gc.freeze()
        for name in names:
            tables, bars = await MEASURES[name](contestants, sizes)
            for table in tables:
                print(*report.table_lines(table), sep="\n", flush=True)
            results.tables += tables
            results.bars += bars
    finally:
        for server in contestants.servers:
            server.stop()
    return results


async def run(options: argparse.Namespace) -> Results:
    """Run with a limit on time, and end cleanly when told to."""
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    # not resolve(): the interpreter of a virtual environment is a link, and the link is what makes it one
    paths = (options.appliance_python, options.kernel_python, options.peer_python)
    interpreters = Interpreters(*(path.absolute() for path in paths))
    description = machine.describe(interpreters)
    print(*report.machine_lines(description), sep="\n", flush=True)
    # short, since names of sockets are limited; open, since roles and kernels have accounts of their own
    with tempfile.TemporaryDirectory(prefix="bench-", dir="/tmp") as name:
        directory = pathlib.Path(name)
        directory.chmod(0o755)
        async with asyncio.timeout(RUN_SECONDS):
            results = await contest(
                interpreters, directory, options.only or list(MEASURES), QUICK if options.quick else FULL
            )
    if options.json is not None:
        document = {
            "machine": description,
            "tables": {table.name: table.document() for table in results.tables},
            "bars": [bar.document() for bar in results.bars],
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return results


def main() -> int:
    """Measure; return the exit status."""
    if sys.argv[1:2] == ["sandbox"]:
        return sandbox.main(sys.argv[2:])
    options = parse()
    try:
        results = asyncio.run(run(options))
    except (BenchmarkError, OSError, TimeoutError) as exc:
        print(f"benchmarks: {exc or type(exc).__name__}", file=sys.stderr)
        return BROKEN
    except (asyncio.CancelledError, KeyboardInterrupt):
        with contextlib.suppress(BrokenPipeError):
            print("benchmarks: stopped", file=sys.stderr)
        return BROKEN
    if results.bars:
        print(*report.bar_lines(results.bars), sep="\n")
    if options.quick:
        print("  --quick: too few samples for a verdict that counts")
    return 0 if results.passed else FAILED


if __name__ == "__main__":
    sys.exit(main())
