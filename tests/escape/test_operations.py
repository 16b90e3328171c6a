"""Lines 39 to 41: roles that stop, hosts that fail them, and what is written into logs.

Roles that are killed: tests/integration/test_killed_roles.py and test_serve.py. The watchdog: tests/packaging.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from urllib.parse import quote

import psutil
import pytest
from twisted.logger import Logger, LogPublisher

from appliance import log
from tests.escape.scene import end_kernel
from tests.integration.running import Appliance, wait_for
from tests.integration.sage_client import SageClient
from tests.integration.test_killed_roles import zygote_pid

SMALL = "[pool]\nmax_kernels = 8\nready = 1\nready_max = 1\n[environment.python]\npreload = []\n"


@contextlib.contextmanager
def stopped(appliance, role):
    pid = zygote_pid(appliance) if role == "zygote" else appliance.pid_of(role)
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_for("it is stopped", lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, 5)
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("role", ["web", "pool", "permalink", "zygote"])
@pytest.mark.attack(39, "roles do not wait for each other without a limit", "SIGSTOP of a role")
def test_a_stopped_role_stops_no_other_and_no_kernel(small, role):
    client = SageClient(small.url)
    client.run("kept = 6 * 7")
    running = client.start("import time\nfor n in range(10): print(n, flush=True); time.sleep(0.1)")
    with stopped(small, role):
        if role == "web":
            time.sleep(1.5)
        else:
            # the cell that was running never noticed, and the next one runs as well
            assert client.finish(running).stdout.split() == [str(n) for n in range(10)]
            assert client.run("print(kept)").stdout == "42\n"
            assert small.request("GET", "/static/embedded_cell.js")[0] == 200
        if role == "permalink":
            status, _, body = small.request("POST", "/permalink", {"code": "1"}, seconds=30)
            assert (status, json.loads(body)["error"]) == (503, "permalinks_unavailable")
    if role == "web":
        assert client.finish(running).stdout.split() == [str(n) for n in range(10)]
    wait_for("everything is served again", small.evaluates, 15)
    assert client.run("print(kept)").stdout == "42\n"
    assert small.request("POST", "/permalink", {"code": "1"})[0] == 200
    end_kernel(small, client)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
@pytest.mark.attack(39, "a 503 that passes", "a full disk")
def test_a_full_disk_stops_permalinks_only():
    with tempfile.TemporaryDirectory(prefix="ct-", dir="/tmp") as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=0777", "small", name], check=True)
        try:
            appliance = Appliance(f'{SMALL}[permalink]\ndatabase = "{name}/permalinks.sqlite3"\n')
            try:
                _, _, body = appliance.request("POST", "/permalink", {"code": "print('kept')"})
                kept = json.loads(body)["query"]
                filler = pathlib.Path(name, "filler")
                with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
                statuses = [
                    appliance.request("POST", "/permalink", {"code": secrets.token_hex(20_000)})[0] for _ in range(4)
                ]
                assert statuses[-1] == 503
                assert appliance.evaluates()
                assert json.loads(appliance.request("GET", f"/permalink?q={kept}")[2])[0] == "print('kept')"
                filler.unlink()
                wait_for(
                    "permalinks are kept again",
                    lambda: appliance.request("POST", "/permalink", {"code": "print('again')"})[0] == 200,
                    15,
                )
            finally:
                appliance.stop()
        finally:
            subprocess.run(["umount", name], check=True)


@pytest.mark.attack(39, "the reactor's clock cannot be set", "the clock jumps")
def test_no_limit_of_time_follows_the_clock_on_the_wall():
    program = (
        "import time\nfrom appliance.main import install_reactor\nreactor = install_reactor()\n"
        "assert abs(reactor.seconds() - time.monotonic()) < 1\n"
        "time.time = lambda: 4e9\n"
        "started = time.monotonic()\n"
        "reactor.callLater(3600, print, 'too early')\n"
        "reactor.callLater(0.2, reactor.stop)\nreactor.run()\n"
        "print(0.1 < time.monotonic() - started < 2)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "True\n", done.stderr


@pytest.mark.attack(39, "a log that cannot be written ends nothing", "journald is down")
def test_a_journal_that_is_down_ends_nothing():
    def send(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("no journal")

    closed = io.StringIO()
    closed.close()
    for observer in (log.JournalObserver("web", send), log.LineObserver(closed)):
        Logger(namespace="here", observer=LogPublisher(observer)).info("an event")


# --- line 40

EVIL = "x\n2026-01-01T00:00:00 info appliance.pool: FORGED\r\x1b[2J\x1b]0;title\x07\x9b31m\u2028\u202e"


@pytest.mark.attack(40, "one line an event, controls escaped", "write lines and commands of terminals into the log")
def test_nothing_that_a_visitor_sends_makes_a_line_or_a_command(small):
    mark = len(small.output)
    evil = quote(EVIL)
    for path in (
        f"/{evil}",
        f"/static/{evil}",
        f"/kernel/{evil}/channels",
        f"/?c=1&lang={evil}",
        f"/permalink?q={evil}",
    ):
        small.request("GET", path)
    small.request("POST", "/permalink", {"code": "1", "language": EVIL * 10, "n": EVIL})
    small.request("POST", "/service", {"code": "1", "user_expressions": EVIL})
    client = SageClient(small.url)
    for kind in (EVIL, "execute_request"):
        client.socket.send(json.dumps({"header": {"msg_id": EVIL * 9, "msg_type": kind}, "content": {}}))
        assert client.receive()["channel"] == "error"
    client.run(f"print({EVIL!r})\nraise ValueError({EVIL!r})")
    client.run(
        "import os, sys\n"
        "for stream in (sys.__stdout__, sys.__stderr__):\n"
        f"    print({EVIL!r}, file=stream, flush=True)\n"
        f"os.write(1, {EVIL.encode()!r}); os.write(2, {EVIL.encode()!r})\n"
    )
    end_kernel(small, client)
    wait_for("refusals are logged", lambda: any("refused" in line for line in small.output[mark:]), 5)
    lines = small.output[mark:]
    assert [line for line in lines if line.startswith(("2026-01-01", "x\n")) or "| 2026-01-01T" in line] == []
    assert [line for line in lines if not line.isprintable()] == []


@pytest.mark.attack(40, "code, keys and ids are not logged", "find secrets in the log")
def test_no_code_no_key_and_no_id_is_in_the_log(small):
    secret = f"secret-{secrets.token_hex(8)}"
    client = SageClient(small.url)
    document = json.loads((small.config.kernels_path / client.kernel_id / "record.json").read_text())
    client.run(f"print('{secret}')")
    client.run(f"raise ValueError('{secret}')")
    small.request("POST", "/service", {"code": f"print('{secret}'"})
    _, _, body = small.request("POST", "/permalink", {"code": secret})
    small.request("GET", f"/?c={secret}")
    small.request("GET", f"/nothing?c={secret}")
    client.socket.send(json.dumps({"header": {"msg_id": "1", "msg_type": "execute_request"}, "content": {"code": 1}}))
    client.receive()
    end_kernel(small, client)
    time.sleep(0.5)
    text = small.text()
    for hidden in (secret, document["key"], client.kernel_id, json.loads(body)["query"]):
        assert hidden not in text
    assert "released" in text or "stopped" in text  # the control: the log is not empty
