"""The permalink role as its own process, spoken to over its Unix socket."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.running import ROOT, Directories, wait_for

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

NOBODY = 65_534

#: Rounds of load and SIGKILL: a few seconds here, 100 with CELL_KILL_ROUNDS=100.
KILL_ROUNDS = int(os.environ.get("CELL_KILL_ROUNDS", "3"))

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes accounts")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: pathlib.Path) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(self._path))


class Role:
    """One permalink process and the directories it works in."""

    def __init__(self) -> None:
        self.directories = Directories()
        me = os.geteuid()
        users = f'[users]\nweb = "{me}"\npool = "{me}"\npermalink = "{me}"\n'
        self.config = self.directories.write_config(users)
        self.socket = self.directories.runtime / "permalink" / "permalink.sock"
        self.socket.parent.mkdir()
        self.database = self.directories.state / "permalinks.sqlite3"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [sys.executable, "-m", "appliance.main", "permalink", "--config", str(self.config)]

    def start(self, *prefix: str, **options: Any) -> subprocess.Popen[bytes]:
        self.process = subprocess.Popen([*prefix, *self.command()], cwd=ROOT, stderr=subprocess.DEVNULL, **options)
        wait_for("the role answers", self.healthy, 20)
        return self.process

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(5)
        self.process = None
        return status

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.directories.remove()

    def request(self, method: str, path: str, document: object = None) -> tuple[int, dict[str, Any]]:
        connection = UnixConnection(self.socket)
        try:
            connection.request(method, path, None if document is None else json.dumps(document))
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def healthy(self) -> bool:
        try:
            return self.request("GET", "/healthz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False


@pytest.fixture
def role() -> Iterator[Role]:
    made = Role()
    yield made
    made.close()


def test_cells_are_kept_across_a_clean_stop(role: Role) -> None:
    role.start()
    cell = {"code": "\tπ\x00\n", "language": "python", "interacts": "[1]"}
    status, answer = role.request("POST", "/permalinks", cell)
    assert status == 200
    assert role.request("POST", "/permalinks", cell) == (200, answer)
    started = time.monotonic()
    assert role.stop() == 0
    assert time.monotonic() - started < 2
    assert not role.socket.exists()
    assert [path.name for path in role.directories.state.iterdir()] == ["permalinks.sqlite3"]
    role.start()
    assert role.request("GET", f"/permalinks/{answer['id']}") == (200, cell)
    assert role.request("GET", "/permalinks/none")[0] == 404


@pytest.mark.attack(39, "an acknowledged write is on disk", "kill -9 in the middle of writing")
@pytest.mark.timeout(60 + 20 * KILL_ROUNDS)
def test_every_acknowledged_permalink_survives_a_kill_in_the_middle_of_writing(role: Role) -> None:
    """Rounds of load and SIGKILL on the same database; everything that was ever acknowledged is read at the end."""
    acknowledged: dict[str, str] = {}
    for round_number in range(KILL_ROUNDS):
        process = role.start()
        stop = threading.Event()
        before = len(acknowledged)

        def write(worker: int, round_number: int = round_number, stop: threading.Event = stop) -> None:
            number = 0
            while not stop.is_set():
                code = f"{round_number}-{worker}-{number}"
                try:
                    status, answer = role.request("POST", "/permalinks", {"code": code})
                except (OSError, http.client.HTTPException):
                    return
                assert status == 200
                acknowledged[answer["id"]] = code
                number += 1

        with concurrent.futures.ThreadPoolExecutor(8) as workers:
            writing = [workers.submit(write, worker) for worker in range(8)]
            # another moment of the commit in each round
            enough = before + 40 + 7 * (round_number % 10)
            wait_for("permalinks are written", lambda enough=enough: len(acknowledged) > enough, 20)
            process.kill()
            process.wait()
            stop.set()
            for done in writing:
                done.result()
        assert role.socket.exists()  # nobody removed it: the next process must cope
    role.start()
    for permalink_id, code in acknowledged.items():
        assert role.request("GET", f"/permalinks/{permalink_id}")[1]["code"] == code
    with contextlib.closing(sqlite3.connect(role.database)) as rows:
        assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_many_at_once_are_all_answered(role: Role) -> None:
    role.start()

    def write(number: int) -> str:
        status, answer = role.request("POST", "/permalinks", {"code": str(number % 50)})
        assert status == 200
        return str(answer["id"])

    with concurrent.futures.ThreadPoolExecutor(32) as workers:
        ids = list(workers.map(write, range(200)))
    assert len(set(ids)) == 50


@pytest.mark.attack(36, "peer credentials", "write permalinks from another account")
@as_root
def test_a_process_of_another_account_is_refused(role: Role) -> None:
    role.start()
    os.chmod(role.socket, 0o666)
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(sys.argv[1]);"
        "s.sendall(b'GET /healthz HTTP/1.0\\r\\n\\r\\n'); print(len(s.recv(100)))"
    )
    command = ["/usr/bin/python3", "-c", program, str(role.socket)]

    def ask(*prefix: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=20, check=False)

    assert ask().stdout == "100\n"  # the same program works as the account that may
    refused = ask("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    assert refused.stdout in ("", "0\n"), refused.stdout
    assert "PermissionError" not in refused.stderr
    assert role.healthy()


@pytest.mark.attack(39, "a 503 that passes", "a locked database")
def test_a_locked_database_is_a_503_and_passes(role: Role) -> None:
    role.start()
    status, answer = role.request("POST", "/permalinks", {"code": "before"})
    assert status == 200
    blocker = sqlite3.connect(role.database, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    status, refusal = role.request("POST", "/permalinks", {"code": "x"})
    assert (status, refusal["error"]) == (503, "permalinks_unavailable")
    assert "locked" in refusal["message"]
    assert role.request("GET", f"/permalinks/{answer['id']}")[0] == 200
    blocker.execute("ROLLBACK")
    blocker.close()
    assert role.request("POST", "/permalinks", {"code": "x"})[0] == 200


@as_root
def test_a_full_disk_is_a_503_and_passes(role: Role) -> None:
    place = role.directories.base / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "small", str(place)], check=True)
    try:
        database = place / "permalinks.sqlite3"
        role.config.write_text(role.config.read_text() + f'[permalink]\ndatabase = "{database}"\n')
        role.start()
        (place / "other").write_bytes(b"x" * 600_000)
        acknowledged: dict[str, str] = {}
        for number in range(200):
            code = f"{number} " + "x" * 20_000
            status, answer = role.request("POST", "/permalinks", {"code": code})
            if status != 200:
                break
            acknowledged[answer["id"]] = code
        assert (status, answer["error"]) == (503, "permalinks_unavailable")
        assert "full" in answer["message"]
        assert acknowledged
        for permalink_id, code in acknowledged.items():
            assert role.request("GET", f"/permalinks/{permalink_id}")[1]["code"] == code
        (place / "other").unlink()
        assert role.request("POST", "/permalinks", {"code": "there is room again"})[0] == 200
        assert role.stop() == 0
        with contextlib.closing(sqlite3.connect(database)) as rows:
            assert rows.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert rows.execute("SELECT count(*) FROM permalink").fetchone() == (len(acknowledged) + 1,)
    finally:
        if role.process is not None:
            role.stop(signal.SIGKILL)
        subprocess.run(["umount", str(place)], check=True)


def test_a_database_that_is_not_ours_ends_the_role_with_a_configuration_status(role: Role) -> None:
    role.database.write_bytes(b"something else" * 100)
    result = subprocess.run(role.command(), cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 78
    assert "permalinks.sqlite3: file is not a database" in result.stderr
    assert role.database.read_bytes() == b"something else" * 100


def test_a_socket_passed_in_is_used_and_left_alone_and_readiness_is_told(role: Role) -> None:
    """As systemd does it: LISTEN_FDS, LISTEN_FDNAMES, NOTIFY_SOCKET, WATCHDOG_USEC."""
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        listener.bind(str(role.socket))
        os.chmod(role.socket, 0o640)
        listener.listen()
        manager.bind(str(role.directories.base / "notify"))
        manager.settimeout(20)
        environment = {
            "PATH": os.environ["PATH"],
            "LISTEN_FDS": "1",
            "LISTEN_FDNAMES": "permalink",
            "NOTIFY_SOCKET": str(role.directories.base / "notify"),
            "WATCHDOG_USEC": "1000000",
            "FD": str(listener.fileno()),
        }
        # The descriptor must be number 3 of the process whose id is in LISTEN_PID.
        script = 'eval "exec 3<&$FD"; LISTEN_PID=$$ exec "$@"'
        process = role.start("/bin/bash", "-c", script, "bash", env=environment, pass_fds=(listener.fileno(),))
        told = ""
        while "WATCHDOG=1" not in told:
            told += manager.recv(4096).decode() + "\n"
        assert "READY=1" in told
        assert "STATUS=serving permalinks" in told
        inode = role.socket.stat().st_ino
        assert role.stop() == 0
        assert process.returncode == 0
        while "STOPPING=1" not in told:
            told += manager.recv(4096).decode() + "\n"
        assert role.socket.stat().st_ino == inode
        assert role.socket.stat().st_mode & 0o777 == 0o640
