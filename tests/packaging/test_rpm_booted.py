"""The RPM on a machine with real systemd, from the installation to the removal.

The machine is a Debian: its rpm runs the scriptlets and its systemd does what they ask. What Fedora's packages bring is
not there, so what the RPM requires is not looked at here (test_dnf.py does). The tests of this file tell one story on
one machine and run in their order.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from .building import bare_debian, built_inputs, run, whole_trees
from .inside import ask, evaluate, show, turn_edge_on
from .load import visitors
from .machine import need
from .nspawn import booted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .nspawn import Machine

#: The first test may have to make the root and the Python trees.
pytestmark = pytest.mark.timeout(900)

EDGE = "http://127.0.0.1:80"
UNITS = ("cell.target", "cell-web.socket", "cell-web@0.service", "cell-pool.service", "cell-permalink.service")
UNITS += ("cell-zygote@python.service", "cell-healthcheck.timer")
EDITED = "/etc/cell-appliance/appliance.toml"
#: Debian's rpm wants to hear that it is meant.
RPM = ("rpm", "--force-debian", "--dbpath=/var/lib/rpm")
PACKAGE = "/packages/cell-appliance.rpm"


@pytest.fixture(scope="module")
def fedora_less(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """Return a booted Debian that has rpm, and the whole RPM."""
    if os.geteuid() != 0:
        pytest.fail("systemd-nspawn needs root: run this test with sudo")
    built_inputs()
    need("rpmbuild", "rpm")
    out = tmp_path_factory.mktemp("rpms")
    run("rpm/build.sh", str(out), CELL_TREES=str(whole_trees()), CELL_PAYLOAD="w1.gzdio")
    (package,) = (path for path in out.glob("cell-appliance-*.rpm") if "selinux" not in path.name)
    package.rename(out / "cell-appliance.rpm")
    log = tmp_path_factory.mktemp("nspawn") / "console.log"
    with booted(bare_debian("rpm-root", "rpm"), log, binds={out: "/packages"}) as started:
        yield started


def test_install(fedora_less: Machine) -> None:
    printed = fedora_less.must([*RPM, "--nodeps", "--install", PACKAGE], seconds=180)
    assert not re.search(r"(?i)scriptlet failed|warning|error", printed), printed
    states = {unit: fedora_less.run(["systemctl", "is-active", unit]).output.strip() for unit in UNITS}
    assert states == dict.fromkeys(UNITS, "active"), fedora_less.run("journalctl -b -u 'cell*' --no-pager").output
    assert fedora_less.must("systemctl is-enabled cell.target") == "enabled"
    assert fedora_less.run("systemctl is-enabled cell-edge.target").output.strip() == "disabled"
    restarts = {unit: show(fedora_less, unit, "NRestarts") for unit in UNITS if unit.endswith(".service")}
    assert set(restarts.values()) == {"0"}, restarts
    assert fedora_less.must([*RPM, "--nodeps", "--verify", "cell-appliance"]) == ""


def test_it_evaluates(fedora_less: Machine) -> None:
    assert evaluate(fedora_less, "import numpy; print(numpy.arange(4).sum())")["stdout"] == "6\n"
    status, _, text = ask(fedora_less, "GET", "/")
    assert (status, "<code-cell" in text) == (200, True)
    doctor = fedora_less.run("cellctl doctor")
    assert doctor.status == 0, doctor.output


def test_the_edge(fedora_less: Machine) -> None:
    turn_edge_on(fedora_less)
    fedora_less.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{EDGE}/healthz')\"")
    assert evaluate(fedora_less, "print(2+2)", at=EDGE)["stdout"] == "4\n"
    status, headers, _ = ask(fedora_less, "GET", "/static/output_frame.html", at=EDGE)
    assert (status, headers["server"]) == (200, "nginx")


def test_installed_again_as_by_an_upgrade_it_fails_no_request(fedora_less: Machine) -> None:
    """The scriptlets of an upgrade: nothing stops, one role is restarted after the other."""
    before = {unit: show(fedora_less, unit, "MainPID") for unit in ("cell-web@0.service", "cell-pool.service")}
    with visitors(fedora_less, EDGE) as load:
        fedora_less.must([*RPM, "--nodeps", "--upgrade", "--force", PACKAGE], seconds=300)
    assert load.failures == []
    assert {answer.kind for answer in load.answers} == {"evaluation", "page", "permalink", "link"}
    assert all(show(fedora_less, unit, "MainPID") != pid for unit, pid in before.items())
    fedora_less.must(f"grep -q 'proxy_protocol = true' {EDITED}")
    assert fedora_less.must("systemctl is-active cell-edge.target") == "active"


def test_the_journal_has_nothing_unexpected(fedora_less: Machine) -> None:
    lines = fedora_less.must("journalctl -b -p warning -o short --no-pager -q").splitlines()
    expected = r"cell-pool\[\d+\]: zygote python went away|cell-web\[\d+\]: health: |haproxy\[\d+\]: (Server|backend) "
    unexpected = [
        line for line in lines if re.search(r"\bcell[-.]|haproxy|nginx", line) and not re.search(expected, line)
    ]
    assert unexpected == [], "\n".join(unexpected)
    assert fedora_less.run("journalctl -b -o short --no-pager -q | grep -A15 Traceback").output == ""


def test_remove_leaves_what_nobody_else_has(fedora_less: Machine) -> None:
    """Configuration that was edited, data, and environments that the administrator made; nothing runs."""
    fedora_less.must(
        "install -d /usr/lib/cell-appliance/environments/mine && touch /usr/lib/cell-appliance/environments/mine/x"
    )
    fedora_less.must([*RPM, "--nodeps", "--erase", "cell-appliance"], seconds=120)
    assert fedora_less.must("systemctl list-units --plain --no-legend --state=active 'cell*' | cat") == ""
    assert fedora_less.run("pgrep -u cell-web,cell-pool,cell-permalink,cell-edge,cell-static").output == ""
    fedora_less.must("test -s /var/lib/cell-appliance/permalinks.sqlite3")
    fedora_less.must(f"grep -q 'proxy_protocol = true' {EDITED}.rpmsave && test ! -e {EDITED}")
    fedora_less.must("test ! -e /run/cell-appliance && test ! -e /var/cache/cell-appliance")
    left = fedora_less.must("find /usr -path '*/cell*' ! -path '/usr/lib/cell-appliance' -print").split()
    assert left == [f"/usr/lib/cell-appliance/environments{rest}" for rest in ("", "/mine", "/mine/x")]
