"""Real nginx and HAProxy processes with the shipped configuration, on loopback, before a small backend."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from .backend import Backend

ROOT = Path(__file__).resolve().parents[2]
RUN = "/run/cell-appliance"
CACHE = "/var/cache/cell-appliance"
START_SECONDS = 15.0


def tool(name: str) -> str:
    """Return the path of an edge program; fail with what to install when it is missing."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"{name} is needed: apt-get install nginx-light haproxy, or dnf install nginx haproxy")
    return found


def free_port() -> int:
    """Return a TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(what: str, ready: Callable[[], bool]) -> None:
    """Return when ``ready`` does; fail after `START_SECONDS`."""
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {START_SECONDS} s")
        time.sleep(0.05)


def shipped_limits(name: str = "edge.env") -> dict[str, str]:
    """Return the variables of haproxy/edge.env, or of another file there."""
    lines = (ROOT / "haproxy" / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def account() -> dict[str, Any]:
    """Return arguments of Popen that leave root behind, where we are root: the units do so, too."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@dataclass
class Response:
    """One answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


def ask(
    port: int,
    method: str,
    path: str,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    source: str = "127.0.0.1",
) -> Response:
    """Send one request from the loopback address ``source``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Response(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


@dataclass
class Edge:
    """The running edge."""

    directory: Path
    port: int
    backend: Backend | None
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def ask(self, method: str, path: str, **more: Any) -> Response:
        """Send one request."""
        return ask(self.port, method, path, **more)

    def admin(self, command: str) -> str:
        """Return the answer of HAProxy's admin socket."""
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(10)
            control.connect(str(self.directory / "run" / "edge" / "admin.sock"))
            control.sendall(command.encode() + b"\n")
            parts = []
            while part := control.recv(65536):
                parts.append(part)
        return b"".join(parts).decode()

    def web_is_up(self) -> bool:
        """Tell whether HAProxy's health checks hold the web role for well."""
        return self.is_up("web", "web")

    def files_are_up(self) -> bool:
        """Tell whether HAProxy's checks reach nginx, and through it the web role's door for it."""
        return self.is_up("files") and self.is_up("permalinks")

    def is_up(self, backend: str, server: str = "nginx") -> bool:
        """Tell whether HAProxy holds a server for well, by default nginx in one of its two uses."""
        rows = [line.split(",") for line in self.admin("show stat").splitlines()]
        return any(row[:2] == [backend, server] and row[17].startswith("UP") for row in rows if len(row) > 17)

    def forget(self) -> None:
        """Empty the tables of limits."""
        for table in (
            "computations_by_address",
            "computations_in_total",
            "permalinks_by_address",
            "permalinks_in_total",
        ):
            self.admin(f"clear table {table}")


STATIC_FILES = {
    "embedded_cell.js": "window.cellAppliance = {};\n" * 100,
    "embedded_sagecell.js": "window.sagecell = {};\n",
    "plain.js": "window.plain = {};\n" * 100,
    "output_frame.html": "<!DOCTYPE html><title>output</title>\n",
    "output_frame.css": "body { margin: 0 }\n",
    "chunk-4KQZ7ABC.js": "export default 1;\n",
    "fonts/KaTeX_Main-BoldItalic.woff2": "not really a font",
}


def lay_out(directory: Path) -> None:
    """Copy the shipped configuration into ``directory`` with its paths moved there."""
    static = directory / "share" / "static"
    for name, text in STATIC_FILES.items():
        (static / name).parent.mkdir(parents=True, exist_ok=True)
        (static / name).write_text(text)
    (static / "secret-link").symlink_to("/etc/passwd")
    shutil.copy(ROOT / "nginx" / "maintenance.html", directory / "share")
    for name in ("run/edge", "run/static", "run/web", "run/reads", "cache"):
        (directory / name).mkdir(parents=True)
        (directory / name).chmod(0o777)
    for kind, names in (("nginx", ("*.conf",)), ("haproxy", ("*.cfg",))):
        (directory / kind).mkdir()
        for source in (file for pattern in names for file in (ROOT / kind).glob(pattern)):
            text = source.read_text()
            for old, new in (
                (RUN, directory / "run"),
                (CACHE, directory / "cache"),
                (f"/etc/cell-appliance/{kind}", directory / kind),
                ("/usr/share/cell-appliance", directory / "share"),
            ):
                text = text.replace(old, str(new))
            (directory / kind / source.name).write_text(text)
    subprocess.run(["chmod", "-R", "a+rX", str(directory)], check=True)


StartEdge = Callable[..., Edge]


@contextlib.contextmanager
def edges_of_a_test() -> Iterator[StartEdge]:
    """Give a function that starts an edge with limits of its own; end everything it started."""
    edges: list[Edge] = []

    def start(limits: dict[str, str] | None = None, *, web_address: str | None = None, port: int = 0) -> Edge:
        directory = Path(tempfile.mkdtemp(prefix="edge-", dir="/tmp"))
        directory.chmod(0o755)
        lay_out(directory)
        backend = None
        if web_address is None:
            backend = Backend(directory / "run" / "web" / "web.sock")
            backend.start()
        else:
            configuration = directory / "haproxy" / "haproxy.cfg"
            text = configuration.read_text()
            socket_name = f"unix@{directory}/run/web/web.sock"
            assert socket_name in text
            configuration.write_text(text.replace(socket_name, web_address))
        port = port or free_port()
        edge = Edge(directory, port, backend)
        edges.append(edge)
        environment = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            **shipped_limits(),
            "CELL_HTTP_ADDRESS": f"127.0.0.1:{port}",
            "CELL_MAX_CONNECTIONS": "200",
            **(limits or {}),
        }
        nginx, haproxy = str(directory / "nginx" / "nginx.conf"), str(directory / "haproxy" / "haproxy.cfg")
        for name, command in (
            ("nginx", [tool("nginx"), "-e", "stderr", "-c", nginx]),
            ("haproxy", [tool("haproxy"), "-W", "-f", haproxy]),
        ):
            with (directory / f"{name}.log").open("wb") as log:
                edge.processes.append(
                    subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, **account())
                )
        wait_until("the admin socket", (directory / "run" / "edge" / "admin.sock").exists)
        wait_until("a healthy edge", lambda: edge.web_is_up() and edge.files_are_up())
        edge.forget()
        if backend is not None:
            backend.requests.clear()
        return edge

    try:
        yield start
    finally:
        for edge in edges:
            stop(edge)


def stop(edge: Edge) -> None:
    """End the processes of an edge and see that nginx had nothing grave to say."""
    for process in edge.processes:
        process.terminate()
    for process in edge.processes:
        process.wait(15)
    if edge.backend is not None:
        edge.backend.stop()
    log = (edge.directory / "nginx.log").read_text()
    shutil.rmtree(edge.directory)
    assert "[emerg]" not in log, log
    assert "[alert]" not in log, log


@pytest.fixture
def start_edge() -> Iterator[StartEdge]:
    """Return a function that starts an edge with limits of its own."""
    with edges_of_a_test() as start:
        yield start


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """Return an edge with the shipped limits, shared by the tests of a module that change nothing in it."""
    with edges_of_a_test() as start:
        yield start()
