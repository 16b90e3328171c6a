"""What an administrator does wrong, or a machine: each has its message in ``cellctl doctor`` and in the journal.

The tests of this file tell one story on one machine and run in their order; each leaves the appliance well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .inside import ask, evaluate, show, turn_edge_on
from .machine import ROOT

if TYPE_CHECKING:
    from .nspawn import Machine

pytestmark = pytest.mark.timeout(900)

EDGE = "http://127.0.0.1:80"
FILE = "/etc/cell-appliance/appliance.toml"
DATABASE = "/var/lib/cell-appliance/permalinks.sqlite3"

#: Listens on a port until its standard input ends.
LISTEN = """
import socket, sys
door = socket.socket()
door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
door.bind(("0.0.0.0", int(sys.argv[1])))
door.listen()
import time
time.sleep(600)
"""

#: Sets the version of the permalinks' schema, with the roles' own SQLite.
SET_VERSION = f"""
import sys
import pysqlite3.dbapi2 as sqlite
connection = sqlite.connect({DATABASE!r})
if sys.argv[1] == "older":
    connection.execute("DROP TABLE access")
    connection.execute("DROP TABLE tombstone")
connection.execute("PRAGMA user_version = " + sys.argv[2])
connection.commit()
"""

PYTHON = "/usr/lib/cell-appliance/bin/python"


def doctor(machine: Machine) -> str:
    """Return what the doctor finds wrong, in one line; the installation is not well."""
    done = machine.run("cellctl doctor")
    assert done.status == 1, done.output
    return " ".join(done.output.split("Installation:")[1].split())


def well(machine: Machine) -> None:
    """See that the appliance is well again."""
    done = machine.run("cellctl doctor")
    assert done.status == 0, done.output
    assert "Units, edge and disk are well." in done.output
    machine.wait("cellctl healthcheck")
    assert evaluate(machine, "print(2+2)", at=EDGE)["stdout"] == "4\n"


def journal(machine: Machine, unit: str) -> str:
    """Return what the journal has of a unit."""
    return machine.must(["journalctl", "-b", "-o", "cat", "--no-pager", "-n", "60", "-u", unit])


@pytest.fixture(scope="module")
def installed(machine: Machine) -> Machine:
    """Return a machine with the whole appliance, edge included."""
    machine.must("dpkg -i /packages/cell-appliance_*.deb", seconds=180)
    turn_edge_on(machine)
    machine.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{EDGE}/healthz')\"")
    return machine


def test_the_smoke_test_of_the_package(machine: Machine) -> None:
    """What autopkgtest runs, on a machine where only the package was installed."""
    machine.must("dpkg -i /packages/cell-appliance_*.deb", seconds=180)
    smoke = (ROOT / "debian/tests/smoke").read_text()
    machine.must(["sh", "-c", smoke], seconds=120)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("no_such_key = 1", "line 1: unknown key no_such_key"),
        ("runtime_dir = 5", "line 1: runtime_dir: expected str"),
        ("log_level = ", "not TOML"),
    ],
)
def test_a_broken_configuration_keeps_what_runs(installed: Machine, line: str, message: str) -> None:
    units = ("cell-pool.service", "cell-web@0.service", "cell-permalink.service")
    before = [show(installed, unit, "MainPID") for unit in units]
    installed.must(f"cp -a {FILE} /root/kept && echo '{line}' | cat - /root/kept > {FILE}")
    try:
        for command in ("cellctl doctor", "cellctl config check", "cellctl restart"):
            done = installed.run(command)
            assert done.status == 78, (command, done.output)
            assert f"{FILE}" in done.output
            assert message in done.output
        assert [show(installed, unit, "MainPID") for unit in units] == before
        assert evaluate(installed, "print(2+2)", at=EDGE)["stdout"] == "4\n"
        installed.run("systemctl restart cell-permalink.service")
        assert message in journal(installed, "cell-permalink.service")
    finally:
        installed.must(f"cp -a /root/kept {FILE} && systemctl restart cell-permalink.service")
    well(installed)


def test_a_broken_limit_of_the_edge_keeps_what_runs(installed: Machine) -> None:
    before = show(installed, "cell-haproxy.service", "MainPID")
    installed.must("echo CELL_MAX_CONNECTIONS=lots > /etc/cell-appliance/edge.env")
    assert installed.run("systemctl reload cell-haproxy.service").status != 0
    assert "CELL_MAX_CONNECTIONS" in doctor(installed) or "lots" in doctor(installed)
    assert "lots" in journal(installed, "cell-haproxy.service")
    installed.must("echo CELL_NO_SUCH=1 > /etc/cell-appliance/edge.env")
    assert "/etc/cell-appliance/edge.env: unknown name CELL_NO_SUCH" in doctor(installed)
    assert show(installed, "cell-haproxy.service", "MainPID") == before
    installed.must("rm /etc/cell-appliance/edge.env && systemctl reload cell-haproxy.service")
    well(installed)


def test_a_certificate_comes_without_a_cut(installed: Machine) -> None:
    """A reload takes what edge.env says now: TLS on, and off again."""
    none = installed.run("cellctl tls")
    assert none.status == 1
    assert "no certificate: visitors are served without TLS" in none.output
    before = show(installed, "cell-haproxy.service", "MainPID")
    assert "no connection was cut" in installed.must("cellctl tls self-signed cells.example.org")
    installed.wait("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 443), 2)\"")
    said = installed.must("cellctl tls")
    assert "certificate.pem: cells.example.org" in said
    assert "signed by itself" in said
    assert "HAProxy shows it" in said
    assert installed.must("stat -c '%U:%G %a' /etc/cell-appliance/tls/certificate.pem") == "root:cell-edge 640"
    answer = installed.must(
        'python3 -c "import ssl, urllib.request as u; c = ssl._create_unverified_context();'
        " print(u.urlopen('https://127.0.0.1/healthz', context=c).status)\""
    )
    assert answer == "200"
    assert show(installed, "cell-haproxy.service", "MainPID") == before


def test_a_certificate_that_would_not_work_is_refused(installed: Machine) -> None:
    kept = installed.must("sha256sum /etc/cell-appliance/tls/certificate.pem")
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x"
    installed.must(f"{make} -addext subjectAltName=DNS:x -days 5 -keyout /root/k1 -out /root/c1 2>/dev/null")
    installed.must(f"{make} -days 5 -keyout /root/k2 -out /root/c2 2>/dev/null")
    for arguments, message in (
        ("/root/c1 /root/k2", "the key is not that of the first certificate"),
        ("/root/c2 /root/k2", "names no host"),
        ("/root/k1 /root/k1", "holds no certificate"),
        ("/root/nowhere /root/k1", "/root/nowhere: No such file"),
    ):
        done = installed.run(f"cellctl tls install {arguments}")
        assert done.status == 78, done.output
        assert message in done.output
    assert installed.must("sha256sum /etc/cell-appliance/tls/certificate.pem") == kept
    installed.must("cellctl tls install /root/c1 /root/k1")
    # five days are left
    soon = installed.run("cellctl tls")
    assert soon.status == 1
    assert "the certificate ends in 5 days" in soon.output
    assert "the certificate ends in 5 days" in doctor(installed)


def test_a_missing_certificate(installed: Machine) -> None:
    installed.must("mv /etc/cell-appliance/tls/certificate.pem /root/away")
    assert "CELL_TLS_CERTIFICATE: /etc/cell-appliance/tls/certificate.pem: No such file" in doctor(installed)
    assert installed.run("systemctl reload cell-haproxy.service").status != 0
    assert "/etc/cell-appliance/tls/certificate.pem" in journal(installed, "cell-haproxy.service")
    # HAProxy goes on with what it has
    assert installed.run("systemctl is-active --quiet cell-haproxy.service").status == 0
    assert "without TLS" in installed.must("cellctl tls off")
    installed.must("rm -r /etc/cell-appliance/tls /root/away && rm /etc/cell-appliance/edge.env")
    well(installed)


def test_a_taken_port(installed: Machine) -> None:
    installed.must("systemctl stop cell-haproxy.service")
    installed.must(f"systemd-run --quiet --unit=squatter python3 -c '{LISTEN}' 80")
    installed.wait("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 80), 2)\"")
    installed.must("systemctl start --no-block cell-haproxy.service")
    installed.wait("journalctl -b -u cell-haproxy.service -o cat | grep -q 'cannot bind\\|in use'", seconds=20)
    found = doctor(installed)
    assert "port 80 is taken by python3" in found
    assert "cell-haproxy.service" in found
    assert "CELL_HTTP_ADDRESS" in found
    installed.must("systemctl stop squatter.service")
    installed.wait("systemctl is-active --quiet cell-haproxy.service")
    installed.wait(f"python3 -c \"import urllib.request as u; u.urlopen('{EDGE}/healthz')\"")
    well(installed)


def test_a_stopped_nginx(installed: Machine) -> None:
    installed.must("systemctl stop cell-nginx.service")
    assert "cell-nginx.service does not run -> systemctl start cell-nginx.service" in doctor(installed)
    installed.wait("journalctl -b -u cell-haproxy.service -o cat | grep -q 'files/nginx is DOWN'", seconds=20)
    assert evaluate(installed, "print(2+2)", at=EDGE)["stdout"] == "4\n"
    installed.must("systemctl start cell-nginx.service")
    well(installed)


def test_a_full_disk(installed: Machine) -> None:
    """Permalinks on a disk of their own that has no room: cells go on, what is there is served."""
    installed.must("systemctl stop cell-permalink.socket cell-permalink.service")
    installed.must("cp -a /var/lib/cell-appliance /root/permalinks")
    installed.must("mount -t tmpfs -o size=3m,mode=755 tmpfs /var/lib/cell-appliance")
    installed.must("cp -a /root/permalinks/. /var/lib/cell-appliance/ && chown cell-permalink: /var/lib/cell-appliance")
    installed.must("systemctl start cell-permalink.socket cell-permalink.service")
    try:
        assert ask(installed, "POST", "/permalink", "code=print(1)", at=EDGE)[0] == 200
        installed.run("dd if=/dev/zero of=/var/lib/cell-appliance/filling bs=4k status=none")
        large = "x" * 60_000
        refused = [
            answer
            for number in range(20)
            if (answer := ask(installed, "POST", "/permalink", f"code={number}{large}", at=EDGE))[0] != 200
        ]
        assert refused
        status, _, text = refused[-1]
        assert status in (503, 507), text
        assert "/var/lib/cell-appliance has" in doctor(installed)
        assert "full" in journal(installed, "cell-permalink.service")
        assert evaluate(installed, "print(2+2)", at=EDGE)["stdout"] == "4\n"
        installed.must("rm /var/lib/cell-appliance/filling")
        installed.wait("cellctl healthcheck", seconds=60)
        assert ask(installed, "POST", "/permalink", "code=print(2)", at=EDGE)[0] == 200
    finally:
        installed.must("systemctl stop cell-permalink.socket cell-permalink.service")
        installed.must("umount /var/lib/cell-appliance")
        installed.must("systemctl start cell-permalink.socket cell-permalink.service")
    well(installed)


def test_a_database_of_a_newer_release(installed: Machine) -> None:
    """After a downgrade: refused, told, and well again with the backup that docs/upgrade.md makes."""
    link = json.loads(ask(installed, "POST", "/permalink", "code=print(3)", at=EDGE)[2])["query"]
    installed.must("cellctl backup /root/backup.tar.gz")
    installed.must("systemctl stop cell-permalink.socket cell-permalink.service")
    installed.must([PYTHON, "-I", "-c", SET_VERSION, "newer", "99"])
    installed.must("systemctl start cell-permalink.socket; systemctl start cell-permalink.service || true")
    message = "was written by a newer release (version 99"
    installed.wait(f"journalctl -b -u cell-permalink.service -o cat | grep -qF '{message}'")
    assert message in doctor(installed)
    assert evaluate(installed, "print(2+2)", at=EDGE)["stdout"] == "4\n"
    installed.must("cellctl restore /root/backup.tar.gz")
    well(installed)
    assert "print(3)" in ask(installed, "GET", f"/permalink?q={link}", at=EDGE)[2]


def test_a_database_of_an_older_release_is_upgraded(installed: Machine) -> None:
    link = json.loads(ask(installed, "POST", "/permalink", "code=print(4)", at=EDGE)[2])["query"]
    installed.must("systemctl stop cell-permalink.socket cell-permalink.service")
    installed.must([PYTHON, "-I", "-c", SET_VERSION, "older", "1"])
    installed.must("systemctl start cell-permalink.socket cell-permalink.service")
    assert "version 1 to 2" in journal(installed, "cell-permalink.service")
    well(installed)
    assert "print(4)" in ask(installed, "GET", f"/permalink?q={link}", at=EDGE)[2]


def test_the_benchmark_drives_the_whole_stack(installed: Machine) -> None:
    """A short run: every part has worked, and what ended each climb has a name."""
    document = json.loads(installed.must("cellctl bench --seconds 1 --json", seconds=240))
    assert document["edge"] is True
    assert document["web_roles"] >= 2
    assert set(document["kinds"]) == {"computation", "page", "permalink made", "permalink opened"}
    for kind, found in document["kinds"].items():
        assert found["highest"]["rate"] > 1, kind
        assert found["then"]
        assert found["stages"][0]["failures"] == {}, found
    cores = document["kinds"]["computation"]["highest"]["cores"]
    assert min(cores[role] for role in ("web", "pool", "kernels")) > 0
    # what little HAProxy does for a computation is less than what Linux counts by
    pages = document["kinds"]["page"]["highest"]["cores"]
    assert min(pages[role] for role in ("haproxy", "nginx")) > 0
    assert document["kinds"]["permalink made"]["highest"]["cores"]["permalink"] > 0
    assert document["visitors_per_day"] > 0
    assert sum(sum(stage["failures"].values()) for stage in document["mixture"].values()) == 0
    well(installed)
