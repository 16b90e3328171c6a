"""``./dev bench lookups``: whether a permalink is found as fast among ten millions as among a thousand."""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from benchmarks import report
from benchmarks.client import BenchmarkError
from benchmarks.permalinks.load import LoadError, drive
from benchmarks.permalinks.servers import Role, cycle, get_request
from benchmarks.plot import svg
from benchmarks.series import Bar, Series
from benchmarks.server import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Permalinks that are read, spread over the whole database.
SAMPLES = 4000

#: Seconds of each round over HTTP.
ROUND_SECONDS = 2.0

#: The role looks through its file after a start, in a thread that ends then. Among a thousand permalinks that has ended
#: before the first of these seconds has.
SETTLE_SECONDS = 1.0
MAX_SETTLE_SECONDS = 300.0

#: A read among the most permalinks takes at most so many times as long as among the fewest.
BAR = 2.0

#: 12 characters at random, as ids are, and a cell of ordinary length. A collision among ten millions is not impossible.
_GROW = """
WITH RECURSIVE number(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :last)
INSERT OR IGNORE INTO permalink (id, code, language, interacts, created)
SELECT lower(hex(randomblob(6))),
       printf('var(''x y'')%splot3d(sin(x)*cos(y), (x, -3, 3), (y, -3, 3)) # %d %s', char(10), n, hex(randomblob(32))),
       'sage', '[]', 1700000000 + n FROM number
"""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(prog="./dev bench lookups", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="most permalinks (default: 10000000, 2.5 GB)")
    parser.add_argument("--directory", default="/var/tmp", help="where the database is made (default: /var/tmp)")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write the results to FILE")
    parser.add_argument("--plot", type=pathlib.Path, metavar="FILE", help="also draw them as SVG")
    parser.add_argument("--appliance-python", type=pathlib.Path, default=ROOT / ".venv/bin/python")
    return parser.parse_args(arguments)


def sizes(most: int) -> list[int]:
    """Return powers of ten from a thousand on, and ``most``."""
    found = [1000]
    while found[-1] * 10 <= most:
        found.append(found[-1] * 10)
    return found if found[-1] == most else [*found, most]


def grow(database: pathlib.Path, last: int) -> int:
    """Add rows until there are about ``last``; return their exact number."""
    connection = sqlite3.connect(database, isolation_level=None)
    try:
        for pragma in ("synchronous = OFF", "cache_size = -2000000", "wal_autocheckpoint = 100000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        first = connection.execute("SELECT count(*) FROM permalink").fetchone()[0]
        while first < last:
            step = min(last, first + 1_000_000)
            connection.execute(_GROW, {"first": first, "last": step})
            first = step
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return int(connection.execute("SELECT count(*) FROM permalink").fetchone()[0])
    finally:
        connection.close()


def sample(database: pathlib.Path) -> list[str]:
    """Return ids spread over the whole database."""
    connection = sqlite3.connect(database)
    try:
        last = connection.execute("SELECT max(rowid) FROM permalink").fetchone()[0]
        chosen = (random.randint(1, last) for _ in range(SAMPLES))
        rows = (connection.execute("SELECT id FROM permalink WHERE rowid >= ? LIMIT 1", (one,)) for one in chosen)
        return [row.fetchone()[0] for row in rows]
    finally:
        connection.close()


def settle(role: Role, threads: int | None) -> int:
    """Wait until the role has looked through its file: it has ``threads`` then, if that is known; return their number.

    Raises `BenchmarkError`.
    """
    end = time.monotonic() + MAX_SETTLE_SECONDS
    while time.monotonic() < end:
        time.sleep(SETTLE_SECONDS)
        if threads is None or role.threads <= threads:
            return role.threads
    raise BenchmarkError("the role does not come to the end of its file")


def measure(options: argparse.Namespace, directory: pathlib.Path) -> list[dict[str, float]]:
    """Return a row of figures for each size. Raises `BenchmarkError` or `LoadError`."""
    role = Role(directory / "role", options.appliance_python.absolute())
    database = directory / "role" / "state" / "permalinks.sqlite3"
    role.start()  # makes the database
    role.stop()
    rows = []
    threads: int | None = None
    print(f"\n{'permalinks':>12}{'file':>10}{'in process':>13}{'p99':>10}{'over HTTP':>12}{'p99':>10}{'processor':>12}")
    for size in sizes(options.rows):
        exact = grow(database, size)
        ids = sample(database)
        command = [str(options.appliance_python.absolute()), "-m", "benchmarks.permalinks.reader", str(database)]
        done = subprocess.run(command, input="\n".join(ids), capture_output=True, text=True, cwd=ROOT, check=True)
        inside = Series("in process", tuple(1e6 * seconds for seconds in json.loads(done.stdout)))
        role.socket.unlink(missing_ok=True)
        role.start()
        try:
            threads = settle(role, threads)
            requests = cycle([get_request(f"/permalinks/{permalink_id}") for permalink_id in ids])
            drive(role.socket, 1, 0.5, requests)
            before = role.cpu_seconds
            load = drive(role.socket, 1, ROUND_SECONDS, requests)
            processor = 1e6 * (role.cpu_seconds - before) / len(load.latencies)
        finally:
            role.stop()
        outside = Series("over HTTP", tuple(1e6 * seconds for seconds in load.latencies))
        row = {
            "permalinks": exact,
            "megabytes": database.stat().st_size / 1e6,
            "in_process": inside.median,
            "in_process_p99": inside.p99,
            "over_http": outside.median,
            "over_http_p99": outside.p99,
            "processor": processor,
        }
        rows.append(row)
        number = report.number
        print(
            f"{exact:>12,}{number(row['megabytes']) + ' MB':>10}{number(inside.median) + ' µs':>13}"
            f"{number(inside.p99) + ' µs':>10}{number(outside.median) + ' µs':>12}{number(outside.p99) + ' µs':>10}"
            f"{number(processor) + ' µs':>12}",
            flush=True,
        )
    return rows


def main() -> int:
    """Measure; return 0, 1 when lookups become slower than the bar, or 2 when they could not be measured."""
    options = parse()
    try:
        with tempfile.TemporaryDirectory(prefix="lookups-", dir=options.directory) as name:
            rows = measure(options, pathlib.Path(name))
    except (BenchmarkError, LoadError, OSError, subprocess.CalledProcessError) as exc:
        print(f"benchmarks: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("benchmarks: stopped", file=sys.stderr)
        return 2
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    if options.plot is not None:
        names = {
            "over_http": "over HTTP, median",
            "processor": "processor time of the role",
            "in_process": "in process",
        }
        series = {label: [(row["permalinks"], row[key]) for row in rows] for key, label in names.items()}
        options.plot.write_text(svg("Read of a permalink", "permalinks in the database", "µs", series), "utf-8")
    few, many = rows[0]["over_http"], rows[-1]["over_http"]
    bar = Bar("a read over HTTP among the most", 1 / BAR, few / many, "among the fewest")
    print(*report.bar_lines([bar], "how many times as fast"), sep="\n")
    return 0 if bar.passed else 1


if __name__ == "__main__":
    sys.exit(main())
