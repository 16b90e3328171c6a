"""The servers the appliance is compared with."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.parse
from typing import TYPE_CHECKING

from benchmarks.client import BenchmarkError, request
from benchmarks.server import ASK_SECONDS, LIBRARIES, LOADED, PLAIN, Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.client import KernelChannels

#: Longest wait for a peer's kernel to be idle before it is picked.
IDLE_SECONDS = 60.0


class Peer(Server):
    """A server with Jupyter's REST interface."""

    #: Options that both peers take: no limit on output, which would drop messages that are to be counted.
    _options = ("--ZMQChannelsWebsocketConnection.limit_rate=False", "--log-level=WARN")

    def prepare(self) -> None:
        """Write the kernelspecs."""
        imports = f"import {', '.join(LIBRARIES)}"
        options: dict[str, list[str]] = {PLAIN: [], LOADED: [f"--IPKernelApp.exec_lines={imports}"]}
        for name, extra in options.items():
            directory = self._directory / "data" / "kernels" / name
            directory.mkdir(parents=True)
            command = [str(self._interpreters.kernels), "-m", "ipykernel_launcher", "-f", "{connection_file}", *extra]
            document = {"argv": command, "display_name": name, "language": "python"}
            (directory / "kernel.json").write_text(json.dumps(document), "utf-8")

    def variables(self) -> Mapping[str, str]:
        """Return environment variables: every directory is one of this run."""
        names = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        variables = {name: str(self._directory / name.lower()) for name in names}
        # the appliance does the same before it preloads: a kernel is one process among many
        variables["OPENBLAS_NUM_THREADS"] = "1"
        variables["JUPYTER_DATA_DIR"] = str(self._directory / "data")
        variables["JUPYTER_NO_CONFIG"] = "1"
        return variables

    async def create(self, kernelspec: str = PLAIN) -> str:
        """Start a kernel."""
        return await self._post("/api/kernels", json.dumps({"name": kernelspec}).encode())

    def kernel_path(self, kernel_id: str) -> str:
        """Return the address of a kernel."""
        return f"/api/kernels/{urllib.parse.quote(kernel_id)}"

    async def prestart(self, kernelspec: str = PLAIN) -> str:
        """Start a kernel and wait until it is idle; return its id. Raises `BenchmarkError`.

        A kernel that nobody has connected to stays in the state "starting" for ever; a connection is accepted when the
        kernel has answered a kernel_info_request, and makes it idle.
        """
        kernel_id = await self.create(kernelspec)
        await (await self.connect(kernel_id)).close()
        deadline = time.monotonic() + IDLE_SECONDS
        while time.monotonic() < deadline:
            _, body = await request(self.address, "GET", self.kernel_path(kernel_id))
            if json.loads(body).get("execution_state") == "idle":
                return kernel_id
            await asyncio.sleep(ASK_SECONDS)
        raise BenchmarkError(f"{self.label}: a kernel did not become idle")

    async def pick(self) -> str:
        """Return the id of a kernel that is there and idle, as a client finds it. Raises `BenchmarkError`."""
        _, body = await request(self.address, "GET", "/api/kernels")
        for kernel in json.loads(body):
            if kernel["execution_state"] == "idle":
                return str(kernel["id"])
        raise BenchmarkError(f"{self.label}: there is no idle kernel to pick")

    def daemons(self) -> list[int]:
        """Return the server, which is one process."""
        return [self.pid]

    async def kernel_pid(self, channels: KernelChannels) -> int:
        """Ask a kernel for its process."""
        return int((await channels.execute("__import__('os').getpid()")).result)


class KernelGateway(Peer):
    """``jupyter kernelgateway`` in its WebSocket mode."""

    label = "kernel_gateway"
    ready_path = "/api"

    def command(self) -> Sequence[str]:
        """Return the command that starts the server."""
        return [
            str(self._interpreters.peers),
            "-m",
            "kernel_gateway",
            "--KernelGatewayApp.api=kernel_gateway.jupyter_websocket",
            f"--KernelGatewayApp.ip={self.address.host}",
            f"--KernelGatewayApp.port={self.address.port}",
            "--KernelGatewayApp.port_retries=0",
            "--JupyterWebsocketPersonality.list_kernels=True",
            *self._options,
        ]


class JupyterServer(Peer):
    """``jupyter server``."""

    label = "jupyter_server"
    ready_path = "/api"

    def command(self) -> Sequence[str]:
        """Return the command that starts the server."""
        return [
            str(self._interpreters.peers),
            "-m",
            "jupyter_server",
            f"--ServerApp.ip={self.address.host}",
            f"--ServerApp.port={self.address.port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
            "--ServerApp.allow_root=True",
            "--ServerApp.disable_check_xsrf=True",
            "--IdentityProvider.token=",
            f"--ServerApp.root_dir={self._directory}",
            *self._options,
        ]
