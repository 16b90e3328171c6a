"""The database of permalinks behind a tinc network between two network namespaces: through it, and not without."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.postgres_server import INITDB, POSTGRES, PostgresServer
from tests.integration.running import ROOT, cellctl, run_cellctl, wait_for
from tests.integration.test_permalink import Role

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

TINCD = shutil.which("tincd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NFT = shutil.which("nft", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.skipif(TINCD is None or NFT is None, reason="tinc or nftables is not installed"),
    pytest.mark.skipif(POSTGRES is None or INITDB is None, reason="PostgreSQL is not installed"),
]

DATABASE, APPLIANCE = "10.87.0.1", "10.87.0.2"
#: Addresses on the wire between the two machines, of a range for documentation (RFC 5737).
DATABASE_OUTSIDE, APPLIANCE_OUTSIDE = "192.0.2.1", "192.0.2.2"

#: Says "ready" and writes down what passes on the wire until its input ends.
SNIFFER = """
import select, socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
wire.bind(("wire", 0))
print("ready", flush=True)
with open(sys.argv[1], "wb") as file:
    while True:
        ready = select.select([wire, sys.stdin], [], [])[0]
        if wire in ready:
            file.write(wire.recv(65536))
        elif sys.stdin in ready:
            break
"""


class Machine:
    """A network namespace that a sleeping process holds, and what runs in it."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo up; exec sleep 600"], stdout=subprocess.PIPE, text=True
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "up\n"
        self.enter = ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net"]
        self.pid = self._holder.pid
        self.ip("link", "set", "lo", "up")

    def run(self, *command: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.enter, *command], cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False
        )

    def ip(self, *words: str) -> None:
        done = self.run("ip", *words)
        assert done.returncode == 0, done.stderr

    def reaches(self, host: str, port: int) -> bool:
        program = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 1).close()"
        return self.run(sys.executable, "-c", program, host, str(port)).returncode == 0

    def end(self) -> None:
        self._holder.kill()
        self._holder.communicate()


def init(directory: pathlib.Path, *words: str) -> pathlib.Path:
    """Make a node; return its card."""
    done = run_cellctl("private-network", "init", "--directory", str(directory), *words, seconds=120)
    assert done.returncode == 0, done.stderr
    return directory / "hosts" / words[0]


def join(directory: pathlib.Path, card: pathlib.Path) -> str:
    """Let a node in; return what was said."""
    done = run_cellctl("private-network", "join", "--directory", str(directory), str(card))
    assert done.returncode == 0, done.stderr
    return done.stdout


class Tinc:
    """The tincd of one machine, started as its unit does."""

    def __init__(self, machine: Machine, directory: pathlib.Path) -> None:
        self.machine = machine
        self.directory = directory
        (directory / "log").unlink(missing_ok=True)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        loaded = self.machine.run(str(NFT), "-f", str(self.directory / "firewall.nft"))
        assert loaded.returncode == 0, loaded.stderr
        pid = self.directory / "pid"
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.machine.enter, str(TINCD), "-D", "-d2", "-c", str(self.directory), f"--pidfile={pid}"],
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(20)
            self._process = None

    def status(self, config: pathlib.Path) -> tuple[int, dict[str, Any]]:
        words = ("status", "--directory", str(self.directory), "--config", str(config), "--json")
        done = self.machine.run(*cellctl("private-network", *words))
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)


class Network:
    """Two machines and the wire between them."""

    def __init__(self, nodes: pathlib.Path) -> None:
        self.database, self.appliance = Machine(), Machine()
        self.database.ip(
            "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", str(self.appliance.pid)
        )
        for machine, address in ((self.database, DATABASE_OUTSIDE), (self.appliance, APPLIANCE_OUTSIDE)):
            machine.ip("address", "add", f"{address}/24", "dev", "wire")
            machine.ip("link", "set", "wire", "up")
        self.nodes = nodes
        self.tinc = Tinc(self.database, nodes / "db"), Tinc(self.appliance, nodes / "web1")

    def end(self) -> None:
        for tinc in self.tinc:
            tinc.stop()
        for machine in (self.database, self.appliance):
            machine.end()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Return nodes that know each other, and one with the name of one that nobody knows: keys take seconds."""
    base = tmp_path_factory.mktemp("nodes")
    database = init(base / "db", "db", f"{DATABASE}/24", "--endpoint", DATABASE_OUTSIDE, "--serve", "5432")
    appliance = init(base / "web1", "web1", f"{APPLIANCE}/24")
    assert join(base / "web1", database) == f"db is {DATABASE}\n"
    assert join(base / "db", appliance) == f"web1 is {APPLIANCE}\n"
    init(base / "stranger", "web1", f"{APPLIANCE}/24")
    join(base / "stranger", database)
    return base


@pytest.fixture
def net(nodes: pathlib.Path) -> Iterator[Network]:
    made = Network(nodes)
    yield made
    made.end()


class InsidePostgres(PostgresServer):
    """A server in a network namespace, on every address of it."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.prefix = [*machine.enter, *self.prefix]
        self.settings["listen_addresses"] = "*"
        with (self.data / "pg_hba.conf").open("a") as file:
            file.write("host all all 0.0.0.0/0 trust\n")


class RoleInside(Role):
    """The permalink role in a network namespace; its Unix socket is reached from everywhere."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def command(self) -> list[str]:
        return [*self._machine.enter, *super().command()]


@pytest.fixture
def postgres(net: Network) -> Iterator[InsidePostgres]:
    made = InsidePostgres(net.database)
    made.start()
    yield made
    made.remove()


@pytest.fixture
def role(net: Network) -> Iterator[RoleInside]:
    made = RoleInside(net.appliance)
    url = f"postgresql://cells@{DATABASE}/postgres?connect_timeout=2"
    made.config.write_text(made.config.read_text() + f'[permalink]\ndatabase = "{url}"\n')
    yield made
    made.close()


@pytest.mark.timeout(240)
def test_the_database_is_reached_through_the_tunnel_and_not_without_it(
    net: Network, postgres: InsidePostgres, role: RoleInside, tmp_path: pathlib.Path
) -> None:
    # without a private network the database stands open on the wire: what follows is what closes it
    assert net.appliance.reaches(DATABASE_OUTSIDE, 5432)
    database, appliance = net.tinc
    database.start()
    assert not net.appliance.reaches(DATABASE_OUTSIDE, 5432)
    assert not net.appliance.reaches(DATABASE, 5432)
    assert appliance.status(role.config)[0] == 1
    appliance.start()
    wait_for("the database answers through the tunnel", lambda: net.appliance.reaches(DATABASE, 5432), 30)
    assert not net.appliance.reaches(DATABASE_OUTSIDE, 5432)
    code, told = appliance.status(role.config)
    assert (code, told["up"], told["address"]) == (0, True, APPLIANCE)
    assert told["nodes"] == [
        {"name": "db", "address": DATABASE, "endpoint": f"{DATABASE_OUTSIDE} 655", "through_tunnel": True}
    ]
    assert told["database"] == {"host": DATABASE, "port": 5432, "through_tunnel": True, "trouble": ""}

    seen = tmp_path / "seen"
    with subprocess.Popen(
        [*net.appliance.enter, sys.executable, "-c", SNIFFER, str(seen)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as sniffer:
        assert sniffer.stdout is not None
        assert sniffer.stdout.readline() == b"ready\n"
        role.start()
        status, kept = role.request("POST", "/permalinks", {"code": "clearly readable code " * 10})
        assert status == 200
        assert role.request("GET", f"/permalinks/{kept['id']}")[0] == 200
        sniffer.communicate(timeout=20)
    wire = seen.read_bytes()
    assert len(wire) > 1000
    assert b"clearly readable" not in wire
    # nothing but what is served is reached through the tunnel, and nothing at all of an appliance
    listener = "import socket; s = socket.create_server(('0.0.0.0', 7000)); print('up', flush=True); input()"
    for machine, other, address in (
        (net.database, net.appliance, DATABASE),
        (net.appliance, net.database, APPLIANCE),
    ):
        with subprocess.Popen(
            [*machine.enter, sys.executable, "-c", listener], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as open_door:
            assert open_door.stdout is not None
            assert open_door.stdout.readline() == "up\n"
            assert not other.reaches(address, 7000)
            outside = DATABASE_OUTSIDE if address == DATABASE else APPLIANCE_OUTSIDE
            assert other.reaches(outside, 7000)
            open_door.communicate("\n", timeout=20)

    appliance.stop()
    assert not net.appliance.reaches(DATABASE, 5432)
    assert not net.appliance.reaches(DATABASE_OUTSIDE, 5432)
    status, refusal = role.request("GET", f"/permalinks/{kept['id']}")
    assert (status, refusal["error"]) == (503, "permalinks_unavailable")
    assert appliance.status(role.config)[0] == 1
    appliance.start()
    wait_for("permalinks are back", lambda: role.request("GET", f"/permalinks/{kept['id']}")[0] == 200, 40)
    role.stop()


@pytest.mark.timeout(180)
def test_a_node_whose_card_nobody_has_gets_nowhere(net: Network) -> None:
    database, appliance = net.tinc
    stranger = Tinc(net.appliance, net.nodes / "stranger")
    database.start()
    stranger.start()
    with contextlib.suppress(AssertionError):
        wait_for("a stranger is let in", lambda: net.appliance.reaches(DATABASE, 655), 5)
    log = (database.directory / "log").read_text()
    stranger.stop()
    assert "Connection with web1" not in log or "activated" not in log, log
    appliance.start()
    wait_for("the node itself is let in", lambda: "activated" in (database.directory / "log").read_text(), 30)


def test_what_is_wrong_is_told(nodes: pathlib.Path, tmp_path: pathlib.Path) -> None:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return run_cellctl("private-network", words[0], "--directory", str(tmp_path / "n"), *words[1:], seconds=120)

    for words, reason in (
        (("init", "Not a name", "10.87.0.1/24"), "no name of a node"),
        (("init", "db", "8.8.8.8/24"), "private addresses"),
        (("init", "db", "10.87.0.1/24", "--serve", "http"), "no port"),
        (("status",), "there is no node"),
        (("join", "/etc/hostname"), "there is no node"),
    ):
        done = ask(*words)
        assert (done.returncode, reason in done.stderr) == (78, True), done.stderr
    shutil.copytree(nodes / "db", tmp_path / "n")
    assert oct((tmp_path / "n" / "rsa_key.priv").stat().st_mode & 0o777) == "0o640"
    assert "has a node already" in ask("init", "db", "10.87.0.1/24").stderr
    assert "no card" in ask("join", "/etc/hostname").stderr
    assert "this node itself" in ask("join", str(tmp_path / "n" / "hosts" / "db")).stderr
    listed = ask("status")
    assert (listed.returncode, "cell0 is down" in listed.stdout) == (1, True)
