"""The Debian package on a machine with real systemd, from the installation to the purge.

The tests of this file tell one story on one machine and run in their order.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from .inside import SHOW_TABLE, ask, evaluate, files, show, turn_edge_on
from .machine import ROOT
from .outside import MACHINE, OUTSIDE, wired

if TYPE_CHECKING:
    from .nspawn import Machine

#: The first test may have to make the root and the Python trees.
pytestmark = pytest.mark.timeout(900)

UNITS = (
    "cell.target",
    "cell.slice",
    "cell-web.socket",
    "cell-web-sockjs.socket",
    "cell-web@0.service",
    "cell-pool.service",
    "cell-permalink.service",
    "cell-zygote@python.service",
)
ACCOUNTS = tuple(
    f"cell-{name}" for name in ("web", "pool", "permalink", "egress", "requestlog", "network", "static", "edge")
)
FIRST_ID = 1_879_048_192
#: Lines at priority "warning" or worse that a healthy run may have.
EXPECTED_WARNINGS = (
    # the pool, when the environment is stopped or killed under it
    r"cell-pool\[\d+\]: zygote python went away",
    # systemd, about the processes that the tests kill
    r"systemd\[1\]: cell-[\w@]+\.service: Failed with result 'signal'",
    r"systemd\[1\]: cell-[\w@]+\.service: Main process exited, code=killed, status=9/KILL",
    # the wrong configuration that a test writes
    r"cell-permalink\[\d+\]: permalink: .*unknown key no_such_key",
    r"systemd\[1\]: cell-permalink\.service: Failed with result 'exit-code'",
    r"systemd\[1\]: Failed to start cell-permalink\.service",
)


#: Asks a socket for metrics.
ASK_METRICS = """
import socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect(sys.argv[1])
door.sendall(b"GET /metrics HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
print(door.makefile().read())
"""


@pytest.fixture(scope="module")
def before(machine: Machine) -> set[str]:
    """Return what was there before the installation."""
    return files(machine)


def test_install(machine: Machine, before: set[str]) -> None:
    assert not any("cell-appliance" in path for path in before)
    machine.must("dpkg -i /packages/cell-appliance_*.deb", seconds=180)
    states = {unit: machine.run(["systemctl", "is-active", unit]).output.strip() for unit in UNITS}
    assert states == dict.fromkeys(UNITS, "active"), machine.run("journalctl -b -u 'cell*' --no-pager").output
    assert machine.must("systemctl is-enabled cell.target") == "enabled"
    restarts = {unit: show(machine, unit, "NRestarts") for unit in UNITS if unit.endswith(".service")}
    assert set(restarts.values()) == {"0"}, restarts


def test_the_page_and_its_files(machine: Machine) -> None:
    status, headers, text = ask(machine, "GET", "/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert "<code-cell" in text
    status, headers, text = ask(machine, "GET", "/static/embedded_cell.js")
    assert status == 200
    assert headers["access-control-allow-origin"] == "*"
    assert "code-cell" in text


def test_an_evaluation_goes_through_a_real_kernel(machine: Machine) -> None:
    assert evaluate(machine, "print(2+2)")["stdout"] == "4\n"
    assert evaluate(machine, "import numpy; print(numpy.arange(4).sum())")["stdout"] == "6\n"
    status, _, text = ask(machine, "GET", "/healthz")
    assert (status, json.loads(text)["status"]) == (200, "ok")


def test_the_kernel_is_confined(machine: Machine) -> None:
    code = (
        "import os, re, json\n"
        "status = dict(re.findall(r'(\\w+):\\s+(.*)', open('/proc/self/status').read()))\n"
        "maps = open('/proc/self/uid_map').read().split()\n"
        "print(json.dumps([os.getuid(), maps, status['CapEff'], status['CapBnd'], status['NoNewPrivs'],"
        " status['Seccomp'], os.path.exists('/etc/cell-appliance'), os.path.exists('/run/cell-appliance/pool')]))"
    )
    uid, maps, effective, bounding, no_new_privs, seccomp, conf, pool = json.loads(evaluate(machine, code)["stdout"])
    assert uid >= 1000
    assert int(maps[1]) == FIRST_ID
    assert int(effective, 16) == int(bounding, 16) == 0
    assert (no_new_privs, seccomp) == ("1", "2")
    assert (conf, pool) == (False, False)


def test_a_permalink(machine: Machine) -> None:
    status, _, text = ask(machine, "POST", "/permalink", "code=print(1)")
    assert status == 200
    link = json.loads(text)["query"]
    status, _, text = ask(machine, "GET", f"/permalink?q={link}")
    assert json.loads(text)[0] == "print(1)"


def test_nothing_runs_as_root(machine: Machine) -> None:
    """After the start, the appliance's processes belong to the roles' accounts or to the range of ids."""
    processes = machine.must("find /sys/fs/cgroup -path '*cell.slice*' -name cgroup.procs -exec cat {} + | sort -u")
    uids = set()
    for pid in processes.split():
        uids.add(int(machine.must(["stat", "-c", "%u", f"/proc/{pid}"])))
    roles = {int(machine.must(["id", "-u", name])) for name in ("cell-web", "cell-pool", "cell-permalink")}
    assert roles < uids
    assert all(uid in roles or FIRST_ID <= uid < FIRST_ID + 65_536 for uid in uids), uids


def test_systemctl_status_says_how_it_is(machine: Machine) -> None:
    assert re.search(r"\d+ leased, \d+ ready, \d+ starting of 40", show(machine, "cell-pool.service", "StatusText"))
    assert "pool connected" in show(machine, "cell-web@0.service", "StatusText")
    assert "permalinks" in show(machine, "cell-permalink.service", "StatusText")
    assert "ready" in show(machine, "cell-zygote@python.service", "StatusText")


def test_each_web_role_shows_its_numbers(machine: Machine) -> None:
    for number in (0, 1):
        path = f"/run/cell-appliance/metrics/web-{number}.sock"
        assert "cell_http_requests_total" in machine.must(["python3", "-c", ASK_METRICS, path])
        assert machine.must(["stat", "-c", "%U:%G %a", path]) == "root:root 660"


def test_administrators_command(machine: Machine) -> None:
    assert "valid" in machine.must("cellctl config --check /etc/cell-appliance/appliance.toml")
    doctor = machine.run("cellctl doctor")
    assert doctor.status == 0, doctor.output


@pytest.mark.parametrize("role", ["web@0", "pool", "permalink", "zygote@python"])
def test_a_killed_role_comes_back(machine: Machine, role: str) -> None:
    unit = f"cell-{role}.service"
    first = show(machine, unit, "MainPID")
    machine.must(["kill", "-9", first])
    began = time.monotonic()
    # in this order: a service is still "active" for a moment after its process was killed
    machine.wait(f"[ $(systemctl show -P NRestarts {unit}) = 1 ] && systemctl is-active --quiet {unit}")
    seconds = time.monotonic() - began
    # a zygote imports its libraries again
    assert seconds < (20 if role.startswith("zygote") else 4), seconds
    assert show(machine, unit, "MainPID") != first
    machine.wait("python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8888/healthz')\"")
    assert evaluate(machine, "print(6*7)")["stdout"] == "42\n"


def test_a_wrong_configuration_is_not_tried_again(machine: Machine) -> None:
    file = "/etc/cell-appliance/appliance.toml"
    machine.must(f"cp -a {file} /root/kept && echo 'no_such_key = 1' | cat - /root/kept > {file}")
    machine.must("systemctl restart cell-permalink.service || true")
    machine.wait("[ $(systemctl is-failed cell-permalink.service) = failed ]")
    said = machine.must("journalctl -b -u cell-permalink.service -o cat --no-pager -n 20")
    assert "unknown key no_such_key" in said
    assert show(machine, "cell-permalink.service", "ExecMainStatus") == "78"
    machine.must(f"cp -a /root/kept {file} && systemctl restart cell-permalink.service")


def test_the_edge(machine: Machine) -> None:
    """The three steps of administration.md, then the same page through HAProxy and nginx."""
    turn_edge_on(machine)
    for unit in ("cell-haproxy.service", "cell-nginx.service"):
        assert machine.must(["systemctl", "is-active", unit]) == "active"
    edge = "http://127.0.0.1:80"
    machine.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{edge}/healthz')\"")
    assert evaluate(machine, "print(2+2)", at=edge)["stdout"] == "4\n"
    status, _, text = ask(machine, "GET", "/", at=edge)
    assert (status, "<code-cell" in text) == (200, True)
    status, headers, _ = ask(machine, "GET", "/static/output_frame.html", at=edge)
    assert status == 200
    assert headers["server"] == "nginx"
    assert "sandbox allow-scripts" in headers["content-security-policy"]
    # the limit belongs to this address, not to all of IPv4
    table = machine.must(["python3", "-c", SHOW_TABLE, "show table computations_by_address"])
    assert "key=::ffff:127.0.0.1 " in table
    assert machine.must("stat -c '%U:%G %a' /run/cell-appliance/web/web.sock") == "root:cell-edge 660"
    assert machine.run("systemctl is-active --quiet cell-web@0.service").status == 0
    closed = machine.run("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 8888), 2)\"")
    assert "ConnectionRefusedError" in closed.output


def test_a_browser_from_outside_evaluates(machine: Machine) -> None:
    """Chromium in a network of its own, to HAProxy over a wire."""
    with wired(machine) as outside:
        done = subprocess.run(
            [*outside, sys.executable, "-m", "tests.packaging.visit", f"http://{MACHINE}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        table = machine.must(["python3", "-c", SHOW_TABLE, "show table computations_by_address"])
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["output"] == "4"
    assert "Finished in" in seen["status"]
    assert seen["complaints"] == []
    # the visitor has been counted by the address outside
    assert f"key=::ffff:{OUTSIDE} " in table
    (script,) = (headers for name, headers in seen["files"].items() if name.startswith("/static/embedded_cell-"))
    assert script["server"] == "nginx"
    assert script["cache-control"] == "public, max-age=31536000, immutable"


def test_the_journal_has_nothing_unexpected(machine: Machine) -> None:
    lines = machine.must("journalctl -b -p warning -o short --no-pager -q").splitlines()
    ours = [line for line in lines if re.search(r"\bcell[-.]", line)]
    unexpected = [line for line in ours if not any(re.search(pattern, line) for pattern in EXPECTED_WARNINGS)]
    assert unexpected == [], "\n".join(unexpected)
    assert machine.run("journalctl -b -o short --no-pager -q | grep -A15 Traceback").output == ""


def test_stop_leaves_nothing(machine: Machine) -> None:
    machine.must("systemctl stop cell-edge.target cell.target 'cell-*.service' 'cell-*.socket'", seconds=60)
    alive = machine.run("find /sys/fs/cgroup -path '*cell.slice*' -name cgroup.procs -exec cat {} +").output.strip()
    assert alive == ""
    left = machine.run("find /run/cell-appliance -mindepth 2").output.strip()
    assert left == ""
    assert "cell-appliance" not in machine.must("cat /proc/mounts").replace("/packages", "")


def test_remove_keeps_what_is_the_administrators(machine: Machine) -> None:
    machine.must("systemctl start cell.target", seconds=120)
    machine.must("dpkg --remove cell-appliance", seconds=60)
    assert machine.run("systemctl is-active cell-web@0.service").output.strip() == "inactive"
    assert machine.run("pgrep -u cell-web,cell-pool,cell-permalink").output == ""
    machine.must("test -s /var/lib/cell-appliance/permalinks.sqlite3")
    machine.must("grep -q 'proxy_protocol = true' /etc/cell-appliance/appliance.toml")
    machine.must("test ! -e /run/cell-appliance && test ! -e /usr/lib/cell-appliance")


def test_purge_leaves_nothing(machine: Machine, before: set[str]) -> None:
    machine.must("rm -r /etc/systemd/system/cell-web.socket.d")  # the administrator's own
    machine.must("dpkg --purge cell-appliance", seconds=60)
    left = files(machine) - before
    # copies that the tools for accounts make of the files they change
    copies = {path for path in left if re.fullmatch(r"/etc/(passwd|group|shadow|gshadow|subuid|subgid)-?", path)}
    assert left - copies == set()
    for account in ACCOUNTS:
        assert machine.run(["getent", "passwd", account]).status != 0
        assert machine.run(["getent", "group", account]).status != 0
