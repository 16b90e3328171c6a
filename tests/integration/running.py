"""A real appliance, started by ``cellctl serve`` for the integration tests."""

from __future__ import annotations

import contextlib
import glob
import http.client
import itertools
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from appliance import config as configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Set in a guest of tests/vm: the tests use the installed appliance that already runs, and start none.
INSTALLED = os.environ.get("CELL_TEST_INSTALLED") == "1"

#: How many times slower than elsewhere the processor may be: that of a guest is emulated. Waits are as much longer, and
#: what a test says of speed is as much looser.
SLOWNESS = 6 if INSTALLED else 1

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: A first start compiles bytecode and fills caches.
READY_SECONDS = 60
STOP_SECONDS = 5.0

#: Appliances that run at the same time have accounts of their own: what has the uid of a kernel is that kernel's. After
#: the range of each, `appliance.cli.effective` takes some for its roles.
_ID_BASES = itertools.count(configuration.Ids().base, 2 * configuration.Ids().count)


def wait_for(what: str, condition: Callable[[], Any], seconds: float) -> Any:
    """Return the first true result of ``condition``; fail naming ``what`` when none comes in time."""
    seconds *= SLOWNESS
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cgroup_leaves() -> set[str]:
    """Return the cgroups of kernels on this host."""
    # not pathlib's glob, which fails when a leaf goes meanwhile
    return set(glob.glob("/sys/fs/cgroup/**/kernel-[0-9]*", recursive=True))


def mounts_below(path: pathlib.Path) -> list[str]:
    text = pathlib.Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line.split()[4].startswith(str(path))]


class Directories:
    """Short directories outside pytest's: names of sockets have little room, and roles have other accounts."""

    def __init__(self, owner: int = 0) -> None:
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="ct-", dir="/tmp"))
        self.base.chmod(0o755)
        self.runtime, self.state = self.base / "run", self.base / "state"
        for path in (self.runtime, self.state):
            path.mkdir()
        if os.geteuid() == 0:
            for path in (self.base, self.runtime, self.state):
                os.chown(path, owner, owner)

    def write_config(self, toml: str, name: str = "appliance.toml") -> pathlib.Path:
        file = self.base / name
        file.write_text(f'runtime_dir = "{self.runtime}"\nstate_dir = "{self.state}"\n{toml}')
        file.chmod(0o644)
        return file

    def remove(self) -> None:
        shutil.rmtree(self.base)


def cellctl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "appliance.cli", *arguments]


def run_cellctl(*arguments: str, seconds: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a ``cellctl`` that ends by itself."""
    return subprocess.run(cellctl(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)


class Server:
    """An appliance that answers on ``port`` of 127.0.0.1; ``config`` is the configuration that it runs with."""

    port: int
    url: str
    config: configuration.Config

    def request(
        self, method: str, path: str, form: dict[str, str] | None = None, seconds: float = 30
    ) -> tuple[int, dict[str, str], bytes]:
        """Make one HTTP request; return status, headers (lower case) and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=seconds * SLOWNESS)
        try:
            body = urllib.parse.urlencode(form) if form is not None else None
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if form is not None else {}
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def run(self, code: str) -> dict[str, Any]:
        """Run ``code`` through ``POST /service``."""
        status, _, body = self.request("POST", "/service", {"code": code})
        assert status == 200, body
        answer: dict[str, Any] = json.loads(body)
        return answer

    def evaluates(self) -> bool:
        """Return whether an evaluation succeeds now."""
        try:
            status, _, body = self.request("POST", "/service", {"code": "print(6*7)"}, seconds=10)
        except (OSError, http.client.HTTPException):
            return False
        return status == 200 and json.loads(body).get("stdout") == "42\n"


class Appliance(Server):
    """A running appliance: ``url``, ``config`` (the effective one), ``process`` and what it printed."""

    def __init__(
        self,
        toml: str = "",
        prefix: Sequence[str] = (),
        owner: int = 0,
        *,
        wait_until_ready: bool = True,
        root: pathlib.Path = ROOT,
    ) -> None:
        if INSTALLED:
            pytest.skip("starts an appliance of its own; here the installed one is tested")
        self.directories = Directories(owner)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.output: list[str] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._leaves = cgroup_leaves()
        ids = "" if "[ids]" in toml else f"ids.base = {next(_ID_BASES)}\n"
        file = self.directories.write_config(ids + toml)
        serve = cellctl("serve", "--config", str(file), "--listen", f"127.0.0.1:{self.port}")
        self.process = subprocess.Popen(
            # tests that are killed take their server with them
            [*prefix, "setpriv", "--pdeathsig", "TERM", "--", *serve],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            if wait_until_ready:
                self._wait_ready()
            else:
                wait_for("the web role answers", self._answers, READY_SECONDS)
            self.config = configuration.load(self.directories.runtime / "effective.toml")
        except BaseException:
            self.kill()
            raise

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self.output.append(line.rstrip("\n"))
                self._lines.put(line)
        self._lines.put(None)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                line = self._lines.get(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError("the appliance is not ready; it printed:\n" + self.text()) from None
            if line is None:
                raise AssertionError("the appliance ended while starting; it printed:\n" + self.text())
            if line.startswith("Cell Appliance is ready: "):
                assert line.rstrip("\n").endswith(self.url)
                return

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/static/none")[0] == 404
        except (OSError, http.client.HTTPException):
            return False

    def text(self) -> str:
        """Return everything printed so far."""
        return "\n".join(self.output)

    def family(self) -> list[psutil.Process]:
        """Return every process of this appliance below ``cellctl``."""
        found: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        return found

    def find(self, role: str) -> int | None:
        """Return the process id of ``web``, ``pool``, ``permalink`` or ``zygote-NAME`` (its launcher), if it runs."""
        if role.startswith("zygote-"):
            wanted = ["appliance.zygote.launcher", "--environment", role.removeprefix("zygote-")]
        else:
            wanted = ["appliance.main", role]
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                command = child.cmdline()
                if set(wanted) <= set(command) and command[0] == sys.executable:
                    return child.pid
        return None

    def pid_of(self, role: str) -> int:
        """Return the process id of a role, waiting for a restart that is under way."""
        pid: int = wait_for(f"{role} runs", lambda: self.find(role), 10)
        return pid

    def stop(self) -> float:
        """Stop cleanly, check that nothing is left, and return how many seconds it took."""
        family = self.family()
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"not stopped within {STOP_SECONDS:g} s; it printed:\n{self.text()}") from None
        took = time.monotonic() - started
        self._reader.join(5)
        left = [process for process in family if process.is_running()]
        runtime = self.directories.runtime
        try:
            assert status == 0, self.text()
            assert left == []
            assert mounts_below(runtime) == []
            assert cgroup_leaves() <= self._leaves
            assert list(runtime.iterdir()) == []
            assert self.directories.state.is_dir()
            assert "Traceback" not in self.text(), self.text()
        finally:
            self.directories.remove()
        return took

    def kill(self) -> None:
        """End everything whatever its state, and forget it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            family = self.family()
            self.process.kill()
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()
        self._reader.join(5)
        self.directories.remove()
