"""The request log as a process of its own, with a real syslog server over TLS, and in a whole appliance."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from appliance.protocol.request_event import Event, render
from tests.integration.running import ROOT, Appliance, Directories, free_port, wait_for

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

RSYSLOGD = shutil.which("rsyslogd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def event(number: int, **fields: Any) -> bytes:
    values = {"kind": "evaluate", "page": "https://a.example/x", "language": "python", "seconds": 0.1, "time": 1.8e9}
    return render(Event(id=f"{number:032x}", **{**values, **fields}))


class Role:
    """One request log process, and a connection to it."""

    def __init__(self, settings: str = "") -> None:
        self.directories = Directories()
        me = os.geteuid()
        users = f'[users]\nweb = "{me}"\nrequestlog = "{me}"\n'
        self.files = self.directories.base / "state-requests"
        self.files.mkdir()
        self.config = self.directories.write_config(f"[requestlog]\nenabled = true\n{settings}{users}")
        self.socket = self.directories.runtime / "requestlog" / "requestlog.sock"
        self.socket.parent.mkdir()
        self.output = self.directories.base / "output"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "appliance.main", "requestlog", "--config", str(self.config)]
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=output)
        wait_for("the request log listens", self._connects, 20)

    def _connects(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(str(self.socket))
        return connection

    def send(self, *lines: bytes) -> None:
        """Send events and wait until they are kept."""
        with self.connect() as connection:
            connection.sendall(b"".join(lines))
            kept, answer = 0, b""
            while kept < len(lines):
                answer += connection.recv(4096)
                *numbers, answer = answer.split(b"\n")
                kept += sum(map(int, numbers))

    def ids(self) -> list[str]:
        """Return the ids of all events in the files. A kill may leave half a line until the next start."""
        files = sorted(self.files.glob("*.jsonl"))
        lines = [line for path in files for line in path.read_bytes().split(b"\n")[:-1]]
        return [json.loads(line)["id"] for line in lines]

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(10)
        self.process = None
        return status

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.directories.remove()


@pytest.fixture
def make_role() -> Iterator[Any]:
    made: list[Role] = []

    def make(settings: str = "") -> Role:
        made.append(Role(settings))
        return made[-1]

    yield make
    for role in made:
        role.close()


def test_an_event_that_is_acknowledged_survives_a_kill(make_role: Any) -> None:
    role = make_role()
    acknowledged = 0
    for _ in range(3):
        role.start()
        with role.connect() as connection:
            connection.sendall(b"".join(event(acknowledged + number) for number in range(5000)))
            numbers = b""
            while numbers.count(b"\n") < 2 and sum(map(int, numbers.split())) < 3000:
                numbers += connection.recv(4096)
            role.stop(signal.SIGKILL)
            with contextlib.suppress(OSError):
                while data := connection.recv(4096):
                    numbers += data
        kept = sum(map(int, numbers[: numbers.rfind(b"\n") + 1].split()))
        ids = role.ids()[acknowledged:]
        wanted = [f"{acknowledged + number:032x}" for number in range(kept)]
        assert ids[: len(wanted)] == wanted
        acknowledged = len(role.ids())
    role.start()
    assert role.stop() == 0


def test_what_is_no_event_is_left_out_and_what_came_twice_kept_once(make_role: Any) -> None:
    role = make_role()
    role.start()
    role.send(b"nonsense\n", event(1), event(1), b'{"kind": "x"}\n', event(2))
    assert [int(found, 16) for found in role.ids()] == [1, 2]
    assert "no event" in role.output.read_text()


class SyslogServer:
    """rsyslog with TLS on a loopback port, writing each event's id and line into a file."""

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.port = free_port()
        self.received = directory / "received"
        self.authority = directory / "ca.pem"
        self._make_certificates()
        config = directory / "rsyslog.conf"
        config.write_text(
            f'''global(workDirectory="{directory}" defaultNetstreamDriverCAFile="{self.authority}"
  defaultNetstreamDriverCertFile="{directory}/server.pem" defaultNetstreamDriverKeyFile="{directory}/server.key")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="anon")
module(load="mmpstrucdata")
template(name="line" type="string" string="%$!rfc5424-sd!request@32473!id% %structured-data% %msg%\\n")
ruleset(name="events") {{
  action(type="mmpstrucdata")
  action(type="omfile" file="{self.received}" template="line")
}}
input(type="imtcp" port="{self.port}" address="127.0.0.1" ruleset="events")
'''
        )
        self._config = config
        self.process: subprocess.Popen[bytes] | None = None

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)

    def _make_certificates(self) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=Test CA")
        self._openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=log.example")
        (self.directory / "names").write_text("subjectAltName=DNS:log.example\n")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names")
        self._openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)

    def start(self) -> None:
        assert RSYSLOGD is not None
        self.process = subprocess.Popen(
            [RSYSLOGD, "-n", "-f", str(self._config), "-i", str(self.directory / "pid")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def ids(self) -> list[str]:
        if not self.received.exists():
            return []
        return [line.split()[0] for line in self.received.read_text().splitlines() if line.strip()]

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[SyslogServer]:
    made = SyslogServer(tmp_path / "syslog")
    yield made
    made.stop()


def settings(server: SyslogServer, authority: pathlib.Path | None = None) -> str:
    return (
        f'syslog = "127.0.0.1:{server.port}"\nsyslog_ca = "{authority or server.authority}"\n'
        'syslog_name = "log.example"\n'
    )


@pytest.mark.skipif(RSYSLOGD is None, reason="rsyslog is not installed")
def test_everything_reaches_a_real_syslog_server_whatever_goes_away_meanwhile(
    make_role: Any, server: SyslogServer
) -> None:
    role = make_role(settings(server))
    role.start()
    role.send(*(event(number) for number in range(500)))  # before there is a server

    def arrived(number: int) -> None:
        wanted = {f"{one:032x}" for one in range(number)}
        wait_for(f"{number} events arrive", lambda: wanted <= set(server.ids()), 30)

    server.start()
    arrived(500)
    server.stop()
    role.send(*(event(number) for number in range(500, 1000)))
    role.stop(signal.SIGKILL)
    server.start()
    role.start()
    arrived(1000)
    role.send(event(1000, page='https://x.example/"]\\ü', outcome="NameError", code="print('π')\n"))
    arrived(1001)
    line = server.received.read_text().splitlines()[-1]
    assert 'page="https://x.example/\\"\\]\\\\ü"' in line
    assert "evaluate NameError python" in line
    assert "connected" in role.output.read_text()


@pytest.mark.skipif(RSYSLOGD is None, reason="rsyslog is not installed")
def test_a_server_that_is_another_gets_nothing(make_role: Any, server: SyslogServer, tmp_path: pathlib.Path) -> None:
    other = SyslogServer(tmp_path / "other")
    role = make_role(settings(server, other.authority))
    server.start()
    role.start()
    role.send(event(1))
    wait_for("the refusal is told", lambda: "certificate verify failed" in role.output.read_text(), 20)
    time.sleep(0.3)
    assert server.ids() == []


def test_an_appliance_writes_down_what_was_asked_for_and_by_which_network(make_role: Any) -> None:
    appliance = Appliance("[requestlog]\nenabled = true\n[pool]\nready = 1\n")
    try:
        appliance.run("print(1)")
        appliance.run("import time\nblock = 'x' * 200_000_000\nwhile time.process_time() < 1.5: pass\n1/0")
        appliance.request("POST", "/permalink", {"code": "secret = 1"})
        folder = appliance.directories.base / "state-requests"

        def events() -> list[dict[str, Any]]:
            text = "".join(path.read_text() for path in sorted(folder.glob("*.jsonl")))
            return [json.loads(line) for line in text.splitlines()]

        wait_for("three events", lambda: len(events()) == 3, 10)
        first, second, third = events()
        assert (first["kind"], first["outcome"], first["language"]) == ("service", "ok", "python")
        assert 0 < first["seconds"] < 30
        assert 0 <= first["cpu_seconds"] < 1
        assert 10_000_000 < first["memory_bytes"] < 1_000_000_000
        assert 0.5 < second["cpu_seconds"] < 10
        assert second["memory_bytes"] > first["memory_bytes"] + 100_000_000
        assert (second["outcome"], third["kind"]) == ("ZeroDivisionError", "permalink")
        assert first["address"] == "127.0.0.0/24"
        assert first["kernel"] != second["kernel"]
        assert "secret" not in json.dumps(events())
        appliance.stop()
    except BaseException:
        appliance.kill()
        raise
