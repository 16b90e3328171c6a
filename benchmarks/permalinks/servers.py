"""The servers that are compared, each on a Unix socket of its own."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.parse
from typing import TYPE_CHECKING

import psutil

from benchmarks import processes
from benchmarks.client import BenchmarkError
from benchmarks.permalinks.load import ask
from benchmarks.server import ROOT

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

#: Seconds a server may take to answer for the first time.
START_SECONDS = 30.0

#: What is shared: a cell of ordinary length, another one in each request.
CODE = "var('x y')\nplot3d(sin(x) * cos(y), (x, -3, 3), (y, -3, 3))  # {number}\nprint(factor(2^{number} - 1))\n" * 2

_numbers = itertools.count(100_000)


def code() -> str:
    """Return a cell that nobody has shared yet."""
    return CODE.format(number=next(_numbers))


def _post(path: str, kind: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def get_request(path: str) -> bytes:
    """Return a request for a path."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


class Server:
    """A process that listens on ``socket``."""

    label = ""

    def __init__(self, directory: pathlib.Path) -> None:
        directory.mkdir()
        self.directory = directory
        self.socket = directory / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command that serves."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it and wait until it accepts. Raises `BenchmarkError`."""
        with (self.directory / "log").open("wb") as log:
            self._process = subprocess.Popen(self.command(), cwd=ROOT, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > end:
                raise BenchmarkError(f"{self.label} does not start: {(self.directory / 'log').read_text()[-500:]}")
            time.sleep(0.05)
        time.sleep(0.2)

    @property
    def cpu_seconds(self) -> float:
        """Processor time so far, that of its own processes included."""
        assert self._process is not None
        pids = [self._process.pid, *(child.pid for child in processes.family(self._process.pid))]
        return sum(processes.cpu_seconds(pid) for pid in pids)

    @property
    def threads(self) -> int:
        """Number of threads now."""
        assert self._process is not None
        return int(psutil.Process(self._process.pid).num_threads())

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            processes.stop(self._process)


class Role(Server):
    """The permalink role."""

    label = "permalink role"

    def __init__(self, directory: pathlib.Path, python: pathlib.Path) -> None:
        super().__init__(directory)
        self._python = python
        runtime = directory / "run"
        (runtime / "permalink").mkdir(parents=True)
        (directory / "state").mkdir()
        self.socket = runtime / "permalink" / "permalink.sock"
        me = os.geteuid()
        self._config = directory / "appliance.toml"
        self._config.write_text(
            f'runtime_dir = "{runtime}"\nstate_dir = "{directory / "state"}"\n'
            f'[users]\nweb = "{me}"\npool = "{me}"\npermalink = "{me}"\n'
        )

    def command(self) -> list[str]:
        return [str(self._python), "-m", "appliance.main", "permalink", "--config", str(self._config)]

    def write_request(self) -> bytes:
        """Return a request that shares a new cell."""
        document = {"code": code(), "language": "sage", "interacts": "[]"}
        return _post("/permalinks", "application/json", json.dumps(document).encode())

    def read_requests(self, number: int) -> list[bytes]:
        """Share ``number`` cells and return the requests that read them."""
        ids = [json.loads(ask(self.socket, self.write_request()))["id"] for _ in range(number)]
        return [get_request(f"/permalinks/{permalink_id}") for permalink_id in ids]


class StandIn(Server):
    """SageMathCell's design."""

    def __init__(self, directory: pathlib.Path, python: pathlib.Path, journal: str) -> None:
        super().__init__(directory)
        self.label = f"tornado + SQLite, {'rollback journal' if journal == 'DELETE' else journal}"
        self._python = python
        self._journal = journal

    def command(self) -> list[str]:
        module = "benchmarks.permalinks.stand_in"
        return [str(self._python), "-m", module, str(self.socket), str(self.directory / "db"), self._journal]

    def write_request(self) -> bytes:
        """Return a request that shares a new cell."""
        form = urllib.parse.urlencode({"code": code(), "language": "sage", "interacts": "[]"})
        return _post("/permalink", "application/x-www-form-urlencoded", form.encode())

    def read_requests(self, number: int) -> list[bytes]:
        """Share ``number`` cells and return the requests that read them."""
        ids = [json.loads(ask(self.socket, self.write_request()))["query"] for _ in range(number)]
        return [get_request(f"/permalink?q={ident}") for ident in ids]


#: A stand-in for HAProxy's door to the web role, beside the shipped configuration: the role's own addresses.
_READS = """
    keepalive_requests 1000000000;
    upstream role {{ server unix:{upstream}; keepalive 16; }}
    server {{
        listen unix:{run}/reads/reads.sock backlog=1024;
        location /api/ {{
            rewrite ^/api(/.*)$ $1 break;
            proxy_pass http://role; proxy_http_version 1.1; proxy_set_header Connection "";
        }}
    }}

    server {{
        listen unix:"""


class Nginx(Server):
    """The shipped nginx: files of the front end, and permalinks that were read before."""

    label = "nginx"

    def __init__(self, directory: pathlib.Path, role: Role) -> None:
        super().__init__(directory)
        self._program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        self._role = role
        for name in ("run/static", "run/reads", "cache", "share/static", "nginx"):
            (directory / name).mkdir(parents=True)
        self.socket = directory / "run" / "static" / "nginx.sock"

    def command(self) -> list[str]:
        if self._program is None:
            raise BenchmarkError("nginx is not installed")
        run = self.directory / "run"
        for source in (ROOT / "nginx").glob("*.conf"):
            text = source.read_text("utf-8")
            for old, new in (
                ("/run/cell-appliance", run),
                ("/var/cache/cell-appliance", self.directory / "cache"),
                ("/usr/share/cell-appliance", self.directory / "share"),
                ("/etc/cell-appliance/nginx", self.directory / "nginx"),
            ):
                text = text.replace(old, str(new))
            if source.name == "nginx.conf":
                reads = _READS.format(upstream=self._role.socket, run=run)
                text = text.replace("    server {\n        listen unix:", reads, 1)
                text = f"user root;\n{text}" if os.geteuid() == 0 else text
            (self.directory / "nginx" / source.name).write_text(text, "utf-8")
        return [self._program, "-e", "stderr", "-c", str(self.directory / "nginx" / "nginx.conf")]

    def cached(self, requests: list[bytes]) -> list[bytes]:
        """Return the requests that read through the cache what requests of the role read, after each was asked once."""
        found = [request.replace(b"GET /permalinks/", b"GET /api/permalinks/") for request in requests]
        for request in found:
            ask(self.socket, request)
        return found

    def files(self, requests: list[bytes]) -> list[bytes]:
        """Put what requests of the role answer into files; return the requests that read those."""
        for number, request in enumerate(requests):
            (self.directory / "share" / "static" / f"{number}.json").write_bytes(ask(self._role.socket, request))
        return [get_request(f"/static/{number}.json") for number in range(len(requests))]


def cycle(requests: list[bytes]) -> Callable[[], bytes]:
    """Return what gives one request after another, without end."""
    return itertools.cycle(requests).__next__
