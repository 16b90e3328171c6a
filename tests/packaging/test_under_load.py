"""An installed appliance under load: roles killed, stopped and restarted, an upgrade, each with visitors who go on.

The tests of this file tell one story on one machine and run in their order. A cell stays open through all of it.
"""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from appliance.cli.healthcheck import YOUNG_SECONDS
from appliance.config import Config
from appliance.zygote.keeper import SILENCE_SECONDS

from .inside import evaluate, show, turn_edge_on
from .load import PYTHON, SOCKJS, Cell, visitors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .nspawn import Machine

pytestmark = pytest.mark.timeout(900)

EDGE = "http://127.0.0.1:80"

#: Prints the pid of the process that forks kernels: older than its spare, and the only two with this account.
ZYGOTE = f"pgrep -o -U {Config().ids.base} -f -- '-m appliance.zygote '"

#: A process that systemd restarts serves again within this time: RestartSec, its start, on a machine that is busy.
BACK_SECONDS = 5.0

#: The health check comes every minute (operate.md: two minutes in all) and has mended what it finds within this time.
HEALING_SECONDS = 90.0

#: Lines at priority "warning" or worse that these tests cause themselves; any other fails the last test.
EXPECTED_WARNINGS = (
    # systemd, about processes that were killed or stopped
    r"systemd\[1\]: cell-[\w@]+\.service: Failed with result '(signal|watchdog)'",
    r"systemd\[1\]: cell-[\w@]+\.service: Main process exited, code=killed, status=(9/KILL|6/ABRT)",
    r"systemd\[1\]: cell-[\w@]+\.service: Watchdog timeout",
    r"systemd\[1\]: cell-haproxy\.service: Failed with result 'exit-code'",
    r"cell-pool\[\d+\]: zygote python went away",
    # the health check, which has found something
    r"systemd\[1\]: cell-healthcheck\.service: Failed with result 'exit-code'",
    r"systemd\[1\]: Failed to start cell-healthcheck\.service",
    # who asked a role that was killed or stopped
    r"cell-web\[\d+\]: permalinks did not answer",
    r"cell-web\[\d+\]: pool did not answer",
    r"cell-web\[\d+\]: health: ",
    r"cell-(web|pool|permalink)\[\d+\]: no watchdog beat",
    r"haproxy\[\d+\]: Server (web|files|permalinks|sockjs)/\w+ is (DOWN|UP)",
    r"haproxy\[\d+\]: backend (web|files|permalinks|sockjs) has no server available",
)


def kill(machine: Machine, unit: str, signal: str) -> str:
    """Send a signal to the main process of a unit; return its pid."""
    pid = show(machine, unit, "MainPID")
    machine.must(["kill", f"-{signal}", pid])
    return pid


def wait_for_another(machine: Machine, unit: str, pid: str, seconds: float) -> None:
    """Wait until the unit runs again, with another main process."""
    machine.wait(
        f"[ $(systemctl show -P MainPID {unit}) != {pid} ] && [ $(systemctl show -P MainPID {unit}) != 0 ] && "
        f"systemctl is-active --quiet {unit}",
        seconds=seconds,
    )


@pytest.fixture(scope="module")
def cell(machine: Machine) -> Iterator[Cell]:
    """Return a cell on a machine with the whole appliance, edge included."""
    machine.must("dpkg -i /packages/cell-appliance_*.deb", seconds=180)
    turn_edge_on(machine)
    machine.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{EDGE}/healthz')\"")
    opened = Cell(machine, EDGE)
    assert opened.evaluate("secret = 42") == ""
    yield opened
    opened.close()


def test_every_core_has_a_web_role(machine: Machine, cell: Cell) -> None:
    active = machine.must("systemctl list-units --plain --no-legend --state=active 'cell-web@*.service' | wc -l")
    assert int(active) == max(2, int(machine.must("nproc --all")))
    assert cell.evaluate("print(secret)") == "42\n"


def test_sockjs_over_http_is_one_session_before_several_web_roles(machine: Machine, cell: Cell) -> None:
    for _ in range(5):
        assert machine.must([PYTHON, "-c", SOCKJS, EDGE], seconds=60) == "42"


@pytest.mark.parametrize("role", ["permalink", "pool", "web", "zygote", "egress", "nginx", "haproxy"])
def test_restarting_a_role_fails_no_request(machine: Machine, cell: Cell, role: str) -> None:
    with visitors(machine, EDGE) as load:
        machine.must(["cellctl", "restart", role], seconds=120)
    assert load.failures == []
    assert {answer.kind for answer in load.answers} == {"evaluation", "page", "permalink", "link"}
    assert cell.evaluate("print(secret)") == "42\n"


def test_new_kernels_come_from_a_new_zygote(machine: Machine, cell: Cell) -> None:
    parents = "import os; print(open('/proc/self/stat').read().split()[3])"
    assert evaluate(machine, parents, at=EDGE)["stdout"]  # the evaluation works; its parent is outside its view
    zygotes = machine.must("journalctl -b -o cat -u cell-zygote@python.service | grep -c 'ready to fork'")
    assert int(zygotes) >= 2


@pytest.mark.parametrize(("unit", "kinds"), [("cell-pool.service", set()), ("cell-web@0.service", None)])
def test_a_killed_role_fails_nothing_but_what_it_was_doing(
    machine: Machine, cell: Cell, unit: str, kinds: set[str] | None
) -> None:
    with visitors(machine, EDGE) as load:
        for _ in range(2):
            pid = kill(machine, unit, "KILL")
            wait_for_another(machine, unit, pid, 15)
            time.sleep(1)
    # of four visitors each may have had a request in the process that was killed
    allowed = 2 * 4 if kinds is None else 0
    assert len(load.failures) <= allowed, load.failures
    assert cell.evaluate("print(secret)") == "42\n"


def test_killed_permalinks_come_back(machine: Machine, cell: Cell) -> None:
    with visitors(machine, EDGE) as load:
        pid = kill(machine, "cell-permalink.service", "KILL")
        wait_for_another(machine, "cell-permalink.service", pid, 15)
    assert [answer for answer in load.failures if answer.kind in ("evaluation", "page")] == []
    assert len(load.failures) <= 2, load.failures


def test_a_killed_zygote_ends_no_kernel(machine: Machine, cell: Cell) -> None:
    """The process that forks kernels: its spare takes over, and kernels belong to the keeper."""
    with visitors(machine, EDGE) as load:
        for _ in range(2):
            pid = machine.must(ZYGOTE)
            machine.must(["kill", "-KILL", pid])
            machine.wait(f"[ $({ZYGOTE}) != {pid} ]", seconds=15)
            time.sleep(1)
    assert load.failures == []
    assert cell.evaluate("print(secret)") == "42\n"


def test_a_zygote_that_hangs_is_replaced(machine: Machine, cell: Cell) -> None:
    """Its keeper kills it after seconds without a word; evaluations wait, or hear that no kernel starts."""
    with visitors(machine, EDGE) as load:
        pid = machine.must(ZYGOTE)
        machine.must(["kill", "-STOP", pid])
        machine.wait(f"[ $({ZYGOTE}) != {pid} ]", seconds=SILENCE_SECONDS + 10)
        back = time.time()
        time.sleep(3)
    assert {answer.kind for answer in load.failures} <= {"evaluation"}
    assert {answer.status for answer in load.failures} <= {503}, load.failures
    assert [answer for answer in load.failures if answer.asked > back + 1] == []
    assert cell.evaluate("print(secret)") == "42\n"


@pytest.mark.parametrize("of", ["nginx", "haproxy"])
def test_a_killed_proxy_is_back_within_seconds(machine: Machine, cell: Cell, of: str) -> None:
    unit = f"cell-{of}.service"
    with visitors(machine, EDGE) as load:
        killed = time.time()
        pid = kill(machine, unit, "KILL")
        wait_for_another(machine, unit, pid, 15)
        time.sleep(BACK_SECONDS + 2)
    if of == "nginx":
        # the web role answers meanwhile
        assert load.failures == []
    assert [answer for answer in load.failures if answer.asked > killed + BACK_SECONDS] == []
    assert {answer.kind for answer in load.answers if answer.asked > killed + BACK_SECONDS} >= {"evaluation", "page"}
    assert cell.evaluate("print(secret)") == "42\n"


def test_a_killed_worker_of_haproxy_is_replaced(machine: Machine, cell: Cell) -> None:
    """HAProxy's master ends with its worker, and systemd starts both anew."""
    pid = show(machine, "cell-haproxy.service", "MainPID")
    with visitors(machine, EDGE) as load:
        killed = time.time()
        machine.must(f"pkill -KILL -P {pid}")
        wait_for_another(machine, "cell-haproxy.service", pid, 15)
        time.sleep(2)
    assert [answer for answer in load.failures if answer.asked > killed + BACK_SECONDS] == []
    assert cell.evaluate("print(secret)") == "42\n"


def test_an_nginx_that_hangs_fails_no_request(machine: Machine, cell: Cell) -> None:
    """The web role answers in its place, after seconds at first."""
    pid = show(machine, "cell-nginx.service", "MainPID")
    everyone = f"{pid} $(pgrep -P {pid})"
    with visitors(machine, EDGE) as load:
        machine.must(f"kill -STOP {everyone}")
        time.sleep(8)
        machine.must(f"kill -CONT {everyone}")
    assert load.failures == []
    assert max(answer.seconds for answer in load.answers if answer.kind == "permalink") > 1
    assert cell.evaluate("print(secret)") == "42\n"


def test_stopped_permalinks_are_replaced(machine: Machine, cell: Cell) -> None:
    """SIGSTOP: whoever reads or makes a permalink waits for the watchdog and the next process, or hears 503."""
    unit = "cell-permalink.service"
    with visitors(machine, EDGE) as load:
        pid = kill(machine, unit, "STOP")
        wait_for_another(machine, unit, pid, 30)
        back = time.time()
        time.sleep(3)
    assert {answer.kind for answer in load.failures} <= {"permalink", "link"}
    assert {answer.status for answer in load.failures} <= {503}, load.failures
    assert [answer for answer in load.failures if answer.asked > back + 1] == []
    assert cell.evaluate("print(secret)") == "42\n"


def test_a_stopped_pool_is_replaced_and_nobody_is_refused(machine: Machine, cell: Cell) -> None:
    """SIGSTOP: systemd sees that no beat comes; a visitor waits, and the next pool answers."""
    with visitors(machine, EDGE) as load:
        pid = kill(machine, "cell-pool.service", "STOP")
        wait_for_another(machine, "cell-pool.service", pid, 30)
        time.sleep(2)
    assert load.failures == []
    assert cell.evaluate("print(secret)") == "42\n"


def test_a_stopped_web_role_leaves_the_others_serving(machine: Machine, cell: Cell) -> None:
    with visitors(machine, EDGE) as load:
        pid = kill(machine, "cell-web@1.service", "STOP")
        wait_for_another(machine, "cell-web@1.service", pid, 60)
        time.sleep(2)
    # each of four visitors and the health check may have one request in it when it is stopped
    assert len(load.failures) <= 4, load.failures
    assert len([answer for answer in load.answers if not answer.failed]) > 20
    assert cell.evaluate("print(secret)") == "42\n"


def test_drained_it_starts_nothing_and_goes_on(machine: Machine, cell: Cell) -> None:
    assert "in use" in machine.must("cellctl drain")
    refused = machine.must(
        f"python3 -c \"import urllib.request as u, urllib.error as e\ntry: u.urlopen('{EDGE}/kernel', data=b'')\n"
        'except e.HTTPError as x: print(x.code, x.read().decode())"'
    )
    assert refused.startswith("503")
    assert "draining" in refused
    assert cell.evaluate("print(secret)") == "42\n"
    machine.must("systemctl restart cell-pool.service")
    assert "draining" in show(machine, "cell-pool.service", "StatusText")
    machine.must("cellctl undrain")
    assert evaluate(machine, "print(1)", at=EDGE)["stdout"] == "1\n"


def test_an_upgrade_fails_no_request(machine: Machine, cell: Cell, newer: Path) -> None:
    target = machine.must("mktemp /var/tmp/newer-XXXXXX.deb")
    with newer.open("rb") as package:
        subprocess.run([*machine.prefix, "dd", f"of={target}", "bs=1M", "status=none"], stdin=package, check=True)
    before = show(machine, "cell-web@0.service", "MainPID")
    with visitors(machine, EDGE) as load:
        machine.must(["dpkg", "-i", target], seconds=300)
    machine.must(["rm", target])
    assert load.failures == []
    assert len(load.answers) > 40
    assert show(machine, "cell-web@0.service", "MainPID") != before
    assert machine.must("dpkg-query -W -f '${Version}' cell-appliance") == "0.1.1"
    assert cell.evaluate("print(secret)") == "42\n"


def old_enough(machine: Machine, unit: str) -> None:
    """Wait until the health check would restart the unit."""
    since = f"$(systemctl show -P ActiveEnterTimestampMonotonic {unit})"
    machine.wait(
        f"awk -v since={since} '{{exit $1 - since / 1e6 <= {YOUNG_SECONDS}}}' /proc/uptime", seconds=YOUNG_SECONDS + 10
    )


def healed(machine: Machine, unit: str, pid: str, stopped: float) -> None:
    """Let the health check find that something hangs, and see the unit run again in time.

    It is called in place of its timer, which is seen to be on.
    """
    assert "OnUnitInactiveUSec=1min" in show(machine, "cell-healthcheck.timer", "TimersMonotonic")
    machine.must("systemctl is-active cell-healthcheck.timer")
    # one that the timer started a moment before looked too early, and health is remembered for seconds
    while show(machine, unit, "MainPID") == pid and time.time() - stopped < HEALING_SECONDS:
        machine.run("systemctl start cell-healthcheck.service", seconds=120)
        time.sleep(5)  # systemd starts nothing more than five times in ten seconds
    wait_for_another(machine, unit, pid, 15)
    assert evaluate(machine, "print(6*7)", at=EDGE)["stdout"] == "42\n"
    assert time.time() - stopped < HEALING_SECONDS
    said = machine.must(["journalctl", "-b", "-o", "cat", "--no-pager", "-q", "-t", "cell-healthcheck"])
    assert re.search(rf"^{re.escape(unit)} (killed and )?restarted$", said, re.MULTILINE), said


@pytest.mark.parametrize("of", ["haproxy", "nginx"])
def test_a_stopped_proxy_is_replaced_by_the_health_check(machine: Machine, cell: Cell, of: str) -> None:
    """SIGSTOP of all of its processes: they have no watchdog, and do not end when they are told to."""
    unit = f"cell-{of}.service"
    old_enough(machine, unit)
    pid = show(machine, unit, "MainPID")
    stopped = time.time()
    machine.must(f"kill -STOP {pid} $(pgrep -P {pid})")
    healed(machine, unit, pid, stopped)
    assert cell.evaluate("print(secret)") == "42\n"


def test_a_stopped_launcher_hinders_nobody(machine: Machine, cell: Cell) -> None:
    """It only waits; and it ends when it is told to, stopped or not."""
    unit = "cell-zygote@python.service"
    with visitors(machine, EDGE) as load:
        pid = kill(machine, unit, "STOP")
        time.sleep(3)
    assert load.failures == []
    assert cell.evaluate("print(secret)") == "42\n"
    machine.must(["kill", "-CONT", pid])


def test_a_stopped_keeper_is_replaced_by_the_health_check(machine: Machine, cell: Cell) -> None:
    """SIGSTOP of pid 1 of the environment is seen when it has something to do: here, when all of its zygotes end."""
    unit = "cell-zygote@python.service"
    old_enough(machine, unit)
    pid = show(machine, unit, "MainPID")
    stopped = time.time()
    machine.must(["kill", "-STOP", pid, machine.must(["pgrep", "-P", pid])])
    machine.must(f"kill -KILL $({ZYGOTE.replace('-o ', '')})")
    healed(machine, unit, pid, stopped)


def test_a_killed_environment_says_so_and_is_back_within_seconds(machine: Machine, cell: Cell) -> None:
    """The launcher holds the namespaces of all its kernels: they end with it, and each running cell is told."""
    unit = "cell-zygote@python.service"
    running = Cell(machine, EDGE)
    assert running.evaluate("print(1)") == "1\n"
    running.begin("import time; time.sleep(60); print('not reached')")
    time.sleep(1)
    with visitors(machine, EDGE) as load:
        killed = time.time()
        pid = kill(machine, unit, "KILL")
        assert "The kernel" in running.printed()
        wait_for_another(machine, unit, pid, 30)
        back = time.time()
        time.sleep(3)
    assert back - killed < 15
    assert {answer.kind for answer in load.failures} <= {"evaluation"}
    assert [answer for answer in load.failures if answer.asked > back + 1] == []
    running.close()
    again = Cell(machine, EDGE)
    assert again.evaluate("print(6*7)") == "42\n"
    again.close()


def test_the_journal_has_nothing_unexpected(machine: Machine) -> None:
    lines = machine.must("journalctl -b -p warning -o short --no-pager -q").splitlines()
    ours = [line for line in lines if re.search(r"\bcell[-.]|haproxy|nginx", line)]
    unexpected = [line for line in ours if not any(re.search(pattern, line) for pattern in EXPECTED_WARNINGS)]
    assert unexpected == [], "\n".join(unexpected)
    assert machine.run("journalctl -b -o short --no-pager -q | grep -A15 Traceback").output == ""
