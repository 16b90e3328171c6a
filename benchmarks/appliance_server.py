"""The appliance as a contestant."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import psutil

from benchmarks import processes
from benchmarks.client import BenchmarkError
from benchmarks.server import LIBRARIES, PLAIN, ROOT, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.client import KernelChannels

#: Kernels alive at once: the largest number measured together, those ready, and some being replaced.
MAX_KERNELS = 80


class Appliance(Server):
    """``cellctl serve``."""

    label = "appliance"
    ready_path = "/healthz"
    #: Directory that holds the package.
    root = ROOT

    def prepare(self) -> None:
        """Write the configuration."""
        tables: dict[str, dict[str, object]] = {
            "": {"runtime_dir": str(self._directory / "run"), "state_dir": str(self._directory / "state")},
            "[pool]": {"max_kernels": MAX_KERNELS},
            "[quota]": {"kernels_per_page": 0, "kernels_per_address": 0, "cpu_seconds_per_hour": 0},
            "[environment.python]": {"python": str(self._interpreters.kernels), "preload": list(LIBRARIES)},
        }
        lines = [
            line
            for title, keys in tables.items()
            for line in (title, *(f"{key} = {json.dumps(value)}" for key, value in keys.items()))
        ]
        (self._directory / "appliance.toml").write_text("\n".join(lines) + "\n", "utf-8")

    def command(self) -> Sequence[str]:
        """Return the command that starts the server."""
        listen = f"{self.address.host}:{self.address.port}"
        program = [str(self._interpreters.appliance), "-m", "appliance.cli", "serve"]
        return [*program, "--config", str(self._directory / "appliance.toml"), "--listen", listen]

    def variables(self) -> Mapping[str, str]:
        """Return environment variables: where the package is, whatever the working directory."""
        return {"PYTHONPATH": str(self.root), "HOME": os.environ.get("HOME", "/")}

    async def create(self, kernelspec: str = PLAIN) -> str:
        """Lease a kernel that outlives its evaluations; every one has the libraries."""
        return await self._post("/kernel?timeout=inf", b"{}")

    def kernel_path(self, kernel_id: str) -> str:
        """Return the address of a kernel."""
        return f"/kernel/{kernel_id}"

    def daemons(self) -> list[int]:
        """Return the roles."""
        return [process.pid for process in processes.family(self.pid) if self._role(process)]

    def role_pid(self, role: str) -> int:
        """Return the process of a role: web, pool or permalink."""
        return next(process.pid for process in processes.family(self.pid) if self._role(process) == role)

    @staticmethod
    def _role(process: psutil.Process) -> str:
        words = processes.arguments(process)
        return words[words.index("appliance.main") + 1] if "appliance.main" in words else ""

    def zygote(self) -> psutil.Process:
        """Return the process that forks kernels: the one of its kind that has children."""
        found = [
            process for process in processes.family(self.pid) if "appliance.zygote" in processes.arguments(process)
        ]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                if any(child in found for child in process.children()):
                    return process
        raise BenchmarkError("there is no zygote")

    def kernel_pids(self) -> set[int]:
        """Return the processes of kernels, those that wait for a visitor included."""
        zygote = self.zygote()
        root = zygote.uids().real
        found = set()
        for child in zygote.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.uids().real != root:
                    found.add(child.pid)
        return found

    async def kernel_pid(self, channels: KernelChannels) -> int:
        """Find a kernel by its account, which no other kernel has: inside its namespace it is process 1."""
        slot = int((await channels.execute("__import__('os').getuid()")).result)
        zygote = self.zygote()
        for child in zygote.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.uids().real - zygote.uids().real == slot:
                    return child.pid
        raise BenchmarkError(f"there is no kernel with the account {slot}")
