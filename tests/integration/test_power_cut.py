"""The permalink role on a disk whose power is cut in the middle of commits: what was acknowledged is still there."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import os
import random
import sqlite3
import subprocess
import sys
import threading

import pytest

from tests.integration.flaky_disk import AVAILABLE, FlakyDisk
from tests.integration.running import wait_for
from tests.integration.test_permalink import Role

#: Rounds of load and power cut: a few seconds here, more with CELL_CUT_ROUNDS=100.
CUT_ROUNDS = int(os.environ.get("CELL_CUT_ROUNDS", "3"))

pytestmark = [
    pytest.mark.skipif(not AVAILABLE, reason="needs root, FUSE, loop devices, losetup and mkfs.ext4"),
    pytest.mark.timeout(60 + 20 * CUT_ROUNDS),
]


def write_until(role: Role, disk: FlakyDisk, acknowledged: dict[str, str], enough: int, chance: random.Random) -> bytes:
    """Share cells from eight clients, cut the power when ``enough`` are acknowledged; return what the disk kept."""
    stop = threading.Event()
    mark = f"{chance.getrandbits(64):x}"

    def write(worker: int) -> None:
        number = 0
        while not stop.is_set():
            code = f"{mark}-{worker}-{number} " + "x" * (number % 7 * 300)
            try:
                status, answer = role.request("POST", "/permalinks", {"code": code})
            except (OSError, http.client.HTTPException):
                return
            if status == 200 and not stop.is_set():
                acknowledged[answer["id"]] = code
            number += 1

    assert role.process is not None
    with concurrent.futures.ThreadPoolExecutor(8) as workers:
        writing = [workers.submit(write, worker) for worker in range(8)]
        before = len(acknowledged)
        wait_for("cells are shared", lambda: len(acknowledged) >= before + enough, 30)
        # whatever is acknowledged from here on need not be kept
        stop.set()
        kept = disk.cut(chance)
        role.process.kill()
        role.process.wait()
        for done in writing:
            done.result()
    return kept


def test_every_acknowledged_permalink_survives_a_power_cut_in_the_middle_of_writing() -> None:
    seed = int(os.environ.get("CELL_CUT_SEED", str(random.SystemRandom().getrandbits(32))))
    print(f"CELL_CUT_SEED={seed}")
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    kept: bytes | None = None
    lost = 0
    for _ in range(CUT_ROUNDS + 1):
        disk = FlakyDisk(kept)
        role = Role()
        database = disk.path / "permalinks.sqlite3"
        role.config.write_text(role.config.read_text() + f'[permalink]\ndatabase = "{database}"\n')
        try:
            if kept is not None:
                with contextlib.closing(sqlite3.connect(database)) as rows:
                    assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                    found = dict(rows.execute("SELECT id, code FROM permalink"))
                assert {name: found.get(name) for name in acknowledged} == acknowledged
            role.start()
            for permalink_id in random.Random(seed).sample(sorted(acknowledged), min(50, len(acknowledged))):
                assert role.request("GET", f"/permalinks/{permalink_id}")[1]["code"] == acknowledged[permalink_id]
            kept = write_until(role, disk, acknowledged, 40 + chance.randrange(60), chance)
            assert disk.flushes > 10
            lost += disk.unflushed_bytes
        finally:
            role.close()
            disk.remove()
    assert len(acknowledged) >= 40 * CUT_ROUNDS
    # the cuts came while something was on its way
    assert lost > 0


#: Writes rows that are on disk before it says so, then some that it does not wait for.
CARELESS = """
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1], isolation_level=None)
rows.execute("PRAGMA journal_mode = WAL")
rows.execute("PRAGMA synchronous = FULL")
rows.execute("CREATE TABLE t (x)")
rows.executemany("INSERT INTO t VALUES (?)", [("waited for",)] * 10)
rows.execute("PRAGMA synchronous = OFF")
rows.executemany("INSERT INTO t VALUES (?)", [("not waited for",)] * 10)
print("all are written", flush=True)
input()
"""


def test_the_disk_does_lose_what_nobody_waited_for() -> None:
    """The same cut takes away commits that were not synchronized: the disk of the test above is no better than one."""
    disk = FlakyDisk()
    try:
        program = subprocess.Popen(
            [sys.executable, "-c", CARELESS, str(disk.path / "careless")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert program.stdout is not None
        assert program.stdout.readline() == "all are written\n"
        kept = disk.cut(random.Random(1))
        program.kill()
        program.communicate()
    finally:
        disk.remove()
    disk = FlakyDisk(kept)
    try:
        with contextlib.closing(sqlite3.connect(disk.path / "careless")) as rows:
            assert rows.execute("SELECT x, count(*) FROM t GROUP BY x").fetchall() == [("waited for", 10)]
    finally:
        disk.remove()
