"""Two visitors on one appliance, and what one of them may want of the other or of the host."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import secrets
import socket
import subprocess
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import psutil

from appliance import config as configuration
from tests.escape import attempts
from tests.integration.sage_client import SageClient
from tests.integration.test_killed_roles import zygote_pid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.escape.attempts import Attempt
    from tests.integration.running import Appliance


#: Seconds between looks at a client that waits; the server gives up one that is silent for a minute.
ATTEND_SECONDS = 5.0


@functools.cache
def layer_is_on(appliance: Appliance, name: str) -> bool:
    """Return whether the running appliance says that a layer confines its kernels."""
    layers = json.loads(appliance.request("GET", "/healthz")[2])["pool"]["layers"]
    return bool(layers[name] == "on")


def end_kernel(appliance: Appliance, client: SageClient) -> None:
    """Close a client and end its kernel."""
    with contextlib.suppress(OSError):
        client.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def kernel_process(appliance: Appliance, client: SageClient) -> psutil.Process:
    """Return the first process of a client's kernel, as the host sees it."""
    record = json.loads((appliance.config.kernels_path / client.kernel_id / "record.json").read_text())
    uid = appliance.config.ids.base + record["slot"]
    mine = [process for process in appliance.family() if uid_of(process) == uid]
    assert mine, f"no process has the uid {uid}"
    return min(mine, key=lambda process: process.create_time())


def uid_of(process: psutil.Process) -> int:
    """Return the account of a process, -1 when it is gone."""
    try:
        uid: int = process.uids().real
    except psutil.NoSuchProcess:
        return -1
    return uid


@contextlib.contextmanager
def attended(client: SageClient) -> Iterator[None]:
    """Answer the server's pings for a client that waits while another works: some programs take a minute or more."""
    done = threading.Event()

    def attend() -> None:
        while not done.wait(ATTEND_SECONDS):
            client.attend()

    thread = threading.Thread(target=attend)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Scene:
    """An attacker's cell, a sibling's, and listeners on the host that a cell must not reach."""

    def __init__(self, appliance: Appliance) -> None:
        self.appliance = appliance
        self.attacker = SageClient(appliance.url, seconds=60)
        self.sibling = SageClient(appliance.url)
        self.sibling.run("secret = 'of the sibling'")
        name = secrets.token_hex(8)
        self._directory = pathlib.Path(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
        self._directory.chmod(0o755)
        self._abstract = f"attack-{name}"
        self._listeners = [self._listen(f"\0{self._abstract}"), self._listen(str(self._directory / "socket"))]
        self._file = self._directory / "file"
        self._file.write_text("of the host")

    @staticmethod
    def _listen(address: str) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen(64)
        if not address.startswith("\0"):
            os.chmod(address, 0o666)
        return listener

    def target(self, *, inside: bool) -> dict[str, Any]:
        """Return what a program is told; whoever attacks is taken to know the host well."""
        config = self.appliance.config
        return {
            "inside": inside,
            "pool": self.appliance.pid_of("pool"),
            "web": self.appliance.pid_of("web"),
            "zygote": zygote_pid(self.appliance),
            "sibling": kernel_process(self.appliance, self.sibling).pid,
            "address": 0x400000,
            "port": self.appliance.port,
            "abstract": self._abstract,
            "path": str(self._directory / "socket"),
            "file": str(self._file),
            "pool_socket": str(config.pool_socket),
            "zygote_socket": str(config.zygote_socket),
            "permalink_socket": str(config.permalink_socket),
            "sibling_directory": str(config.kernels_path / self.sibling.kernel_id),
            "own_directory": str(config.kernels_path / self.attacker.kernel_id),
            "secrets": [config.runtime_dir, config.state_dir],
        }

    def inside(self, attempt: Attempt) -> str:
        """Run a program in the attacker's cell; return what became of it."""
        if attempt.fresh:
            end_kernel(self.appliance, self.attacker)
            self.attacker = SageClient(self.appliance.url, seconds=60)
        with attended(self.sibling):
            answer = self.attacker.run(attempts.source(attempt, self.target(inside=True)))
        assert answer.reply["status"] == "ok", answer.reply
        return answer.stdout.strip()

    def outside(self, attempt: Attempt) -> str:
        """Run the same program as root of the host, without any confinement."""
        self.attacker.attend()
        self.sibling.attend()
        python = configuration.environment_python("python", self.appliance.config.environment["python"])
        text = attempts.source(attempt, self.target(inside=False))
        done = subprocess.run([python, "-c", text], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout.strip() or f"failed {done.returncode}: {done.stderr}"

    def close(self) -> None:
        """End both kernels and the listeners; fail when the sibling has suffered."""
        try:
            assert self.sibling.run("print(secret)").stdout == "of the sibling\n"
        finally:
            end_kernel(self.appliance, self.attacker)
            end_kernel(self.appliance, self.sibling)
            for listener in self._listeners:
                listener.close()
            for path in (self._directory / "socket", self._file):
                path.unlink()
            self._directory.rmdir()
