"""Roles that systemd starts: sockets that outlive them, and a watchdog that is fed with work that went through."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from appliance.permalink.service import SOCKET_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

WATCHDOG_SECONDS = 2.0
START_SECONDS = 20.0

#: Passes a listening socket as systemd does: as descriptor 3, with the pid that will read it (sd_listen_fds(3)).
AS_SYSTEMD = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": sys.argv[2]}
os.execv(sys.executable, [sys.executable, "-m", "appliance.main", *sys.argv[3:]])
"""


class Manager:
    """As much of a service manager as a role notices."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "appliance.toml"
        user = str(os.getuid())
        self.config.write_text(
            f'runtime_dir = "{directory}"\nstate_dir = "{directory}"\n[users]\nweb = "{user}"\npermalink = "{user}"\n'
        )
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(directory / "notify"))
        self.notices.settimeout(START_SECONDS)
        self.environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(directory / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6)),
        }
        self.door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.door.bind(str(directory / "door"))
        self.door.listen(16)
        self.path = str(directory / "door")

    def start(self) -> subprocess.Popen[bytes]:
        """Start the permalink role on the socket that this process holds."""
        fd = self.door.fileno()
        arguments = [str(fd), SOCKET_NAME, "permalink", "--config", str(self.config)]
        return subprocess.Popen([sys.executable, "-c", AS_SYSTEMD, *arguments], env=self.environment, pass_fds=[fd])

    def wait_for(self, notice: str) -> float:
        """Wait for a notice; return how long that took."""
        began = time.monotonic()
        while notice not in self.notices.recv(4096).decode().splitlines():
            assert time.monotonic() - began < START_SECONDS
        return time.monotonic() - began

    def ask(self) -> int:
        """Return the status of GET /healthz; whoever serves the socket next answers."""
        connection = http.client.HTTPConnection("localhost", timeout=START_SECONDS)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(START_SECONDS)
        connection.sock.connect(self.path)
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        with contextlib.closing(connection), connection.getresponse() as answer:
            return answer.status


@pytest.fixture
def manager() -> Iterator[Manager]:
    # pytest's own directories have names too long for sockets
    with tempfile.TemporaryDirectory(prefix="cell-", dir="/tmp") as directory:
        started = Manager(Path(directory))
        yield started
        started.notices.close()
        started.door.close()


def test_the_watchdog_is_fed_while_the_canary_is_written(manager: Manager) -> None:
    role = manager.start()
    try:
        manager.wait_for("READY=1")
        assert max(manager.wait_for("WATCHDOG=1") for _ in range(3)) < WATCHDOG_SECONDS
    finally:
        role.terminate()
        assert role.wait(START_SECONDS) == 0


def test_a_socket_is_left_listening_by_a_role_that_stops(manager: Manager) -> None:
    """Who connects between two lives of the role waits for the second."""
    for _ in range(2):
        role = manager.start()
        manager.wait_for("READY=1")
        assert manager.ask() == 200
        role.terminate()
        assert role.wait(START_SECONDS) == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as early:
        early.settimeout(START_SECONDS)
        early.connect(manager.path)
        early.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        role = manager.start()
        try:
            assert early.recv(4096).startswith(b"HTTP/1.1 200 ")
        finally:
            role.terminate()
            role.wait(START_SECONDS)
