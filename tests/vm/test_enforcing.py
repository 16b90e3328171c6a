"""The installed package where cgroup v2 is pure and SELinux enforces.

The tests of this file tell one story on one machine and run in their order: what follows the law is done before any
attack, so that a denial until then is a mistake of the policy.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.packaging.machine import ROOT
from tests.packaging.test_installed import ask, evaluate, show

from .denials import KERNEL, distinct, of_ours

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Inside
    from .guest import Guest

#: The first test may have to make the root, the Python trees and the image; one run in the guest counts as one test.
pytestmark = pytest.mark.timeout(2400)

UNITS = ("cell.target", "cell-web.socket", "cell-web@0.service", "cell-pool.service", "cell-permalink.service")
UNITS += ("cell-zygote@python.service",)
CONFIGURATION = "/etc/cell-appliance/appliance.toml"
READY = "python3 -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:8888/healthz', timeout=40)\""
BROWSER = {
    "a click on Evaluate": (
        "tests/browser/test_first_cell.py",
        "-k",
        "two_and_two or stop_interrupts or share_gives",
    ),
    "attacks on pages": (
        "tests/browser/test_isolation.py",
        "tests/escape/test_browser.py",
        "-k",
        "test_isolation or cannot_touch_its_page or in_a_foreign_frame or page_of_another_site",
    ),
}
#: What an administrator calls, in this order.
VERBS = (
    "config --check /etc/cell-appliance/appliance.toml",
    "doctor",
    "status",
    "healthcheck",
    "permalinks check",
    "permalinks stats",
    "permalinks export /root/permalinks.jsonl",
    "backup /root/backup.tar.gz",
    "restore /root/backup.tar.gz",
    "drain",
    "undrain",
    "restart",
    "support-bundle /root/support.tar.gz",
)
#: Lines at priority "warning" or worse that a healthy run may have.
EXPECTED_WARNINGS = (
    # the pool, when the environment is stopped or killed under it
    r"cell-pool\[\d+\]: zygote python went away",
    # the web role, when asked for its health after cellctl restart, until zygotes that start anew are ready
    r"cell-web\[\d+\]: health: \{.*'status': 'environment_unavailable'",
    # ... or their first kernels, which an emulated processor starts slowly
    r"cell-web\[\d+\]: health: \{.*'status': 'kernel_late'",
    # systemd, about the processes that the tests kill
    r"systemd\[1\]: cell-[\w@]+\.service: Failed with result 'signal'",
    r"systemd\[1\]: cell-[\w@]+\.service: Main process exited, code=killed, status=9/KILL",
    r"systemd\[1\]: cell-[\w@]+\.service: A process of this unit has been killed by the OOM killer",
)
#: Further lines that attacks cause: sockets that they may not use, no message at all, permalinks that they stopped.
WARNINGS_OF_ATTACKS = (
    r"cell-permalink\[\d+\]: peer refused: client runs as uid \d+, expected",
    r"cell-pool\[\d+\]: zygote refused: its uid is \d+, expected one of",
    r"cell-web\[\d+\]: message of 100000 parts dropped",
    r"cell-web\[\d+\]: permalinks did not answer POST: ResponseNeverReceived",
)


def denials(guest: Guest) -> list[str]:
    """Return what SELinux denied to, or on, one of our domains since the boot, and errors of contexts."""
    assert re.search(r"^lost 0$", guest.must("auditctl -s"), re.MULTILINE), "the audit log is not complete"
    # journald hears of them from the kernel, whatever becomes of auditd
    return of_ours(
        guest.must("journalctl -b -o cat --no-pager -q | grep -E 'avc: +denied|SELINUX_ERR|invalid_context' || true")
    )


def unexpected_lines(guest: Guest, expected: tuple[str, ...]) -> list[str]:
    """Return the lines of our units at "warning" or worse that are not ``expected``, and tracebacks."""
    lines = guest.must("journalctl -b -p warning -o short --no-pager -q | grep -E '\\bcell[-.]' || true").splitlines()
    unexpected = [line for line in lines if not any(re.search(pattern, line) for pattern in expected)]
    tracebacks = guest.run("journalctl -b -o short --no-pager -q -u 'cell*' | grep -A15 Traceback").output
    return unexpected + tracebacks.splitlines()


def test_it_has_booted(guest: Guest, permissive: bool) -> None:
    assert guest.must("getenforce") == ("Permissive" if permissive else "Enforcing")
    assert guest.must("systemctl is-system-running") == "running"
    states = {unit: guest.run(["systemctl", "is-active", unit]).output.strip() for unit in UNITS}
    assert states == dict.fromkeys(UNITS, "active"), guest.run("journalctl -b -u 'cell*' --no-pager").output
    restarts = {unit: show(guest, unit, "NRestarts") for unit in UNITS if unit.endswith(".service")}
    assert set(restarts.values()) == {"0"}, restarts


@pytest.fixture(scope="module")
def link(guest: Guest) -> str:
    """Return the id of a permalink, made when the appliance was ready first."""
    guest.wait(READY, seconds=120)
    status, _, text = ask(guest, "POST", "/permalink", "code=print(1)")
    assert status == 200
    return str(json.loads(text)["query"])


def test_the_page_an_evaluation_and_a_permalink(guest: Guest, link: str) -> None:
    status, _, text = ask(guest, "GET", "/")
    assert (status, "<code-cell" in text) == (200, True)
    assert evaluate(guest, "import numpy; print(numpy.arange(4).sum())")["stdout"] == "6\n"
    _, _, text = ask(guest, "GET", f"/permalink?q={link}")
    assert json.loads(text)[0] == "print(1)"


def test_lawful(inside: Inside, node: str) -> None:
    """What ran in the guest: limits, domains, categories, and cells that do what cells do."""
    inside.lawful(node)


@pytest.mark.parametrize("what", BROWSER)
def test_the_browser(guest: Guest, what: str) -> None:
    """This host's browser."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *BROWSER[what]]
    environment = {**os.environ, "CELL_APPLIANCE_URL": f"http://127.0.0.1:{guest.forward(8888)}"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def unwatched(guest: Guest) -> None:
    """Stop the evaluation of every minute: it tells of what the tests from here on disturb, and mends it."""
    guest.must("systemctl stop cell-healthcheck.timer")


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("verb", VERBS)
def test_cellctl(guest: Guest, verb: str) -> None:
    guest.must(f"cellctl {verb}", seconds=300)
    guest.wait(READY, seconds=180)


def test_what_cellctl_changed_is_still_served(guest: Guest, link: str) -> None:
    """A backup that was put back has the label of the database; the unit of the timer evaluates, too."""
    status, _, text = ask(guest, "GET", f"/permalink?q={link}")
    assert (status, json.loads(text)[0]) == (200, "print(1)")
    assert evaluate(guest, "print(6*7)")["stdout"] == "42\n"
    guest.must("systemctl start cell-healthcheck.service", seconds=300)


@pytest.fixture
def short_clock(guest: Guest) -> Iterator[None]:
    """Let an evaluation have 8 s of processor time; cat keeps the label of the file."""
    guest.must(f"cp {CONFIGURATION} /root/kept && printf '\\n[clocks]\\ncpu_seconds = 8.0\\n' >> {CONFIGURATION}")
    guest.must("systemctl restart cell-pool.service 'cell-web@*.service'", seconds=300)
    guest.wait(READY, seconds=120)
    yield
    guest.must(f"cat /root/kept > {CONFIGURATION}")
    guest.must("systemctl restart cell-pool.service 'cell-web@*.service'", seconds=300)
    guest.wait(READY, seconds=120)


def test_a_spinning_cell_ends_by_its_processor_time(guest: Guest, short_clock: None) -> None:
    """The pool of the package reads the processor time of processes that are not its own."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, text = ask(guest, "POST", "/service", "code=while+True:+pass", headers=form)
    reply = json.loads(text)["execute_reply"]
    assert (status, reply["ename"]) == (200, "KernelDied")
    assert "processor time" in reply["evalue"]
    guest.must("journalctl -b -u cell-pool.service -o cat --no-pager | grep 'ended: cpu_limit'")


@pytest.mark.usefixtures("unwatched")
@pytest.mark.parametrize("role", ["pool", "zygote@python"])
def test_a_killed_role_comes_back(guest: Guest, role: str) -> None:
    """A launcher that starts again finds its subtree with leaves in it, or none at all, and delegation still works."""
    unit = f"cell-{role}.service"
    first, restarts = show(guest, unit, "MainPID"), int(show(guest, unit, "NRestarts"))
    guest.must(["kill", "-9", first])
    guest.wait(
        f"[ $(systemctl show -P NRestarts {unit}) = {restarts + 1} ] && systemctl is-active -q {unit}", seconds=400
    )
    guest.wait(READY, seconds=180)
    assert evaluate(guest, "print(6*7)")["stdout"] == "42\n"
    layers = json.loads(ask(guest, "GET", "/healthz")[2])["pool"]["layers"]
    assert set(layers.values()) == {"on"}, layers


def test_nothing_lawful_was_denied(guest: Guest) -> None:
    denied = distinct(denials(guest))
    assert not denied, "\n" + "\n".join(denied)


def test_the_journal_has_nothing_unexpected(guest: Guest) -> None:
    assert unexpected_lines(guest, EXPECTED_WARNINGS) == []


def test_the_policy_alone(inside: Inside, node: str) -> None:
    """What ran in the guest: a kernel with no layer but the policy."""
    inside.policy(node)


def test_attack(inside: Inside, node: str) -> None:
    """What ran in the guest: the attacks of tests/escape, on the installed appliance."""
    inside.attack(node)


@pytest.mark.attack(41, "SELinux enforcing, installed package", "everything above on an enforcing machine")
def test_only_kernels_were_denied_anything(guest: Guest) -> None:
    roles = distinct([line for line in denials(guest) if not KERNEL.search(line)])
    assert not roles, "\n" + "\n".join(roles)


def test_the_journal_has_what_attacks_cause_and_nothing_else(guest: Guest) -> None:
    assert unexpected_lines(guest, EXPECTED_WARNINGS + WARNINGS_OF_ATTACKS) == []


def test_stop_leaves_nothing(guest: Guest) -> None:
    guest.must("systemctl stop cell.target 'cell-*.service' 'cell-*.socket'", seconds=120)
    assert guest.run("find /sys/fs/cgroup -name 'kernel-*'").output == ""
    assert guest.run("find /sys/fs/cgroup -path '*cell.slice*' -name cgroup.procs -exec cat {} +").output.strip() == ""
    # files that programs left can be fetched for a time, whatever becomes of the roles
    left = "find /run/cell-appliance -mindepth 2 -not -path '/run/cell-appliance/files/*'"
    assert guest.run(left).output.strip() == ""
    assert guest.run("ps -eo label | grep -c ':cell_'").output.strip() == "0"
