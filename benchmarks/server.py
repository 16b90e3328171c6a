"""A server that is compared, started on a free port of the loopback interface with directories of its own."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from websockets.exceptions import WebSocketException

from benchmarks import processes
from benchmarks.client import Address, BenchmarkError, KernelChannels, request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent

#: What the appliance imports before it forks, and what a peer's kernel imports where that is said.
LIBRARIES = ("numpy", "scipy", "sympy", "matplotlib.pyplot", "pandas", "ipywidgets")

#: Kernelspecs of the peers: ipykernel as it comes, and ipykernel that imports the libraries before it answers.
PLAIN = "plain"
LOADED = "loaded"

#: Longest start of a server: the appliance imports the libraries and evaluates something first.
START_SECONDS = 120.0

#: Interval at which is asked whether something is ready.
ASK_SECONDS = 0.05

#: Lines of a server's log that are shown when it does not start.
SHOWN_LINES = 15


@dataclass(frozen=True)
class Interpreters:
    """The interpreters of the appliance's roles, of every server's kernels, and of the peers."""

    appliance: pathlib.Path
    kernels: pathlib.Path
    peers: pathlib.Path


def free_port() -> int:
    """Return a port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server(abc.ABC):
    """A server process and what a client asks of it."""

    label: str

    def __init__(self, interpreters: Interpreters, directory: pathlib.Path) -> None:
        self.address = Address("127.0.0.1", free_port())
        self._interpreters = interpreters
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    # --- life

    @abc.abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command that starts the server."""

    @abc.abstractmethod
    def variables(self) -> Mapping[str, str]:
        """Return environment variables beside PATH and LANG."""

    @abc.abstractmethod
    def prepare(self) -> None:
        """Write what the server reads when it starts."""

    #: Answers 200 when the server serves.
    ready_path: str

    async def start(self) -> None:
        """Start the server and wait until it serves. Raises `BenchmarkError`."""
        self._directory.mkdir(mode=0o755)
        self.prepare()
        variables = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", **self.variables()}
        self._log = open(self._directory / "log", "wb")  # noqa: SIM115 - closed by stop
        self._process = subprocess.Popen(
            self.command(),
            cwd=self._directory,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                if (await request(self.address, "GET", self.ready_path))[0] == 200:
                    return
            await asyncio.sleep(ASK_SECONDS)
        raise BenchmarkError(f"{self.label} does not serve. The end of its log:\n{self._last_lines()}")

    def stop(self) -> None:
        """End the server and everything below it."""
        if self._process is not None:
            processes.stop(self._process)
        if self._log is not None:
            self._log.close()

    def _last_lines(self) -> str:
        text = (self._directory / "log").read_text("utf-8", "replace")
        return "\n".join(text.splitlines()[-SHOWN_LINES:])

    @property
    def pid(self) -> int:
        """The process that was started."""
        if self._process is None:
            raise BenchmarkError(f"{self.label} has not been started")
        return self._process.pid

    # --- kernels

    @abc.abstractmethod
    async def create(self, kernelspec: str = PLAIN) -> str:
        """Start a kernel as a client does; return its id. Raises `BenchmarkError`."""

    @abc.abstractmethod
    def kernel_path(self, kernel_id: str) -> str:
        """Return the address of a kernel."""

    async def connect(self, kernel_id: str, *, quick_ack: bool = False) -> KernelChannels:
        """Connect to a kernel. Raises `BenchmarkError`."""
        url = f"ws://{self.address.host}:{self.address.port}{self.kernel_path(kernel_id)}/channels"
        try:
            return await KernelChannels.open(url, quick_ack=quick_ack)
        except (OSError, TimeoutError, WebSocketException) as exc:
            raise BenchmarkError(f"{self.label}: no connection to kernel {kernel_id}: {exc}") from exc

    async def delete(self, kernel_id: str) -> None:
        """End a kernel. Raises `BenchmarkError`."""
        status, body = await request(self.address, "DELETE", self.kernel_path(kernel_id))
        if status not in (200, 204):
            raise BenchmarkError(f"{self.label}: DELETE of a kernel: {status} {body.decode('utf-8', 'replace')}")

    async def _post(self, path: str, body: bytes) -> str:
        status, answer = await request(self.address, "POST", path, body)
        if status not in (200, 201):
            raise BenchmarkError(f"{self.label}: POST {path}: {status} {answer.decode('utf-8', 'replace')}")
        return str(json.loads(answer)["id"])

    # --- processes

    @abc.abstractmethod
    def daemons(self) -> list[int]:
        """Return the processes that serve clients: everything but kernels and what forks them."""

    def daemon_seconds(self) -> float:
        """Return the processor time of the daemons so far."""
        return sum(map(processes.cpu_seconds, self.daemons()))

    @abc.abstractmethod
    async def kernel_pid(self, channels: KernelChannels) -> int:
        """Return the process of a kernel, as numbered here."""
