"""Kernels reach the hosts that their profile names, through the proxy and no other way.

The names are those of a hosts file that only the appliance sees: a mount namespace has it in place of the host's.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import json
import os
import re
import signal
import socket
import threading
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.kernelspecs import BASH, kernelspec, make_prefix
from tests.integration.running import Appliance, Directories, wait_for
from tests.integration.sage_client import SageClient

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="puts a hosts file in place")

NOBODY = 65534

HOSTS = """
127.0.0.1 localhost
127.0.0.1 packages.test files.packages.test other.test mixed.test
10.255.255.254 mixed.test
10.255.255.254 private.test
169.254.169.254 metadata.test
::ffff:127.0.0.1 mapped.test
::1 six.test
"""

#: Names that are on the list and lead to where no cell may go.
LEADING_ASTRAY = {
    "private.test": "private",
    "metadata.test": "link-local",
    # the resolver itself may give the address back as the IPv4 one that it holds
    "six.test": "loopback",
}

FETCH = """
import urllib.request, urllib.error
def fetch(url, **options):
    try:
        with urllib.request.urlopen(url, timeout=20, **options) as answer:
            print(answer.status, answer.read().decode().strip())
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode().strip())
    except urllib.error.URLError as error:
        print(type(error.reason).__name__, error.reason)
"""

#: One request by hand to the proxy's port, and what comes back.
TALK = """
import socket
def talk(data, port=3128, seconds=20):
    with socket.create_connection(("127.0.0.1", port), seconds) as sock:
        sock.sendall(data)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    print(answer.decode("latin-1"))
"""


def wheel(name: str, version: str) -> bytes:
    """Return a wheel with one module, by the binary distribution format."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"ANSWER = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()


class Site(http.server.BaseHTTPRequestHandler):
    """A package index, and an echo of what a request was when it arrived."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/simple/tinycell/":
            self.reply(b'<a href="/files/tinycell-1.5-py3-none-any.whl">tinycell-1.5-py3-none-any.whl</a>', "text/html")
        elif self.path == "/files/tinycell-1.5-py3-none-any.whl":
            self.reply(wheel("tinycell", "1.5"), "application/octet-stream")
        elif self.path.startswith("/bytes/"):
            self.reply(bytes(int(self.path.removeprefix("/bytes/"))), "application/octet-stream")
        elif self.path == "/echo":
            self.reply(json.dumps([self.path, sorted(self.headers.items())]).encode(), "application/json")
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.reply(hashlib.sha256(body).hexdigest().encode(), "text/plain")

    def reply(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Expect clients that go away."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Serve the site on loopback."""
    server = Server(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def configuration(port: int) -> str:
    hosts = ["packages.test", "*.packages.test", "mixed.test", "nowhere.test", "mapped.test", *LEADING_ASTRAY]
    return f"""
[pool]
max_kernels = 8
ready = 2
[egress]
allow_addresses = ["127.0.0.1/32"]
connections_per_kernel = 4
requests_per_minute = 60
head_seconds = 1.0
idle_seconds = 2.0
max_request_bytes = 100000
max_connection_bytes = 3000000
[profile.default]
egress = {json.dumps([f"{host}:{port}" for host in hosts])}
"""


def prefix(directory: pathlib.Path, and_then: str = "") -> list[str]:
    hosts = directory / "hosts"
    hosts.write_text(HOSTS)
    hosts.chmod(0o644)
    return ["unshare", "--mount", "sh", "-c", f'mount --bind {hosts} /etc/hosts && {and_then} exec "$@"', "sh"]


@pytest.fixture(scope="module")
def connected(port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Appliance]:
    running = Appliance(configuration(port), prefix=prefix(tmp_path_factory.mktemp("egress")))
    yield running
    running.stop()


@contextlib.contextmanager
def kernel(appliance: Appliance, seconds: float = 30.0) -> Iterator[SageClient]:
    """Lease a kernel, teach it to ask, and end it afterwards."""
    with SageClient(appliance.url, seconds=seconds) as client:
        client.run(FETCH + TALK)
        yield client
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


@pytest.fixture
def cell(connected: Appliance) -> Iterator[SageClient]:
    with kernel(connected) as client:
        yield client


def events(appliance: Appliance, text: str) -> list[str]:
    """Return the lines of the egress role that hold ``text``."""
    return [line for line in appliance.output if line.startswith("egress") and text in line]


def told(appliance: Appliance, text: str) -> list[str]:
    """Return them when there is one."""
    found: list[str] = wait_for(f"a line with {text!r}", lambda: events(appliance, text), 5)
    return found


def test_an_allowed_host_is_reached(connected: Appliance, cell: SageClient, port: int) -> None:
    said = cell.run(f"fetch('http://packages.test:{port}/echo')").stdout
    status, _, body = said.partition(" ")
    assert status == "200"
    path, headers = json.loads(body)
    assert path == "/echo"
    fields = {name.lower(): value for name, value in headers}
    assert fields["host"] == f"packages.test:{port}"
    assert not {"proxy-connection", "proxy-authorization"} & set(fields)
    uid = int(cell.run("import os; print(os.getuid())").stdout)
    place = f"packages.test:{port}"
    assert told(connected, f"egress allowed: {place} at 127.0.0.1 for slot {uid}")
    (line,) = told(connected, f"egress ended: {place} for slot {uid}: ")
    assert re.search(r": complete, 0 bytes sent, \d\d+ received$", line)


def test_a_subdomain_and_a_body(cell: SageClient, port: int) -> None:
    body = "bytes(range(256)) * 300"
    said = cell.run(f"fetch('http://files.packages.test:{port}/', data={body})").stdout
    assert said == f"200 {hashlib.sha256(bytes(range(256)) * 300).hexdigest()}\n"


def test_a_tunnel_carries_both_ways(cell: SageClient, port: int) -> None:
    code = f"""
import http.client
connection = http.client.HTTPConnection("127.0.0.1", 3128, timeout=20)
connection.set_tunnel("packages.test", {port})
for _ in range(2):
    connection.request("GET", "/bytes/1000000")
    print(len(connection.getresponse().read()))
"""
    assert cell.run(code).stdout == "1000000\n1000000\n"


def test_another_host_is_refused_and_told(connected: Appliance, cell: SageClient, port: int) -> None:
    expected = f"403 cell-appliance: other.test:{port} is not on the allow-list of this cell.\n"
    assert cell.run(f"fetch('http://other.test:{port}/echo')").stdout == expected
    said = cell.run("fetch('https://packages.test/')").stdout
    assert "403 Forbidden (packages.test:443 is not on the allow-list of this cell)" in said
    (line,) = told(connected, f"refused: other.test:{port}")
    assert "is not on the allow-list of this cell" in line


@pytest.mark.parametrize("host", LEADING_ASTRAY)
def test_a_name_that_leads_into_a_private_network_is_refused(
    connected: Appliance, cell: SageClient, port: int, host: str
) -> None:
    said = cell.run(f"fetch('http://{host}:{port}/echo')").stdout
    kind = LEADING_ASTRAY[host]
    assert said == f"403 cell-appliance: {host} has only {kind} addresses, which cells may not reach.\n"
    assert told(connected, f"refused: {host}:{port}")


def test_of_several_addresses_only_a_checked_one_is_used(connected: Appliance, cell: SageClient, port: int) -> None:
    assert cell.run(f"fetch('http://mixed.test:{port}/bytes/0')").stdout == "200 \n"
    assert told(connected, f"allowed: mixed.test:{port} at 127.0.0.1")
    assert not events(connected, "at 10.255.255.254")


def test_a_name_that_does_not_exist(cell: SageClient, port: int) -> None:
    said = cell.run(f"fetch('http://nowhere.test:{port}/')").stdout
    assert re.fullmatch(r"50[24] cell-appliance: the name nowhere.test (cannot be|was not) resolved.*\n", said)


@pytest.mark.parametrize("target", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_address_is_no_name(cell: SageClient, port: int, target: str) -> None:
    said = cell.run(f"talk(b'CONNECT {target}:{port} HTTP/1.1\\r\\n\\r\\n')").stdout
    assert said.startswith("HTTP/1.1 403 Forbidden (only hosts can be reached, by their names)\r\n")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: packages.test\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET http://packages.test:PORT/ HTTP/1.1\r\nHost: other.test:PORT\r\n\r\n", 400),
        (b"GET http://packages.test:PORT/ HTTP/1.1\r\nHost: packages.test\r\nX: a\nb\r\n\r\n", 400),
        (b"GET http://packages.test:PORT/ HTTP/1.1\r\nHost: packages.test\r\nX: " + b"a" * 20000, 431),
        (b"POST http://packages.test:PORT/ HTTP/1.1\r\nHost: packages.test\r\nContent-Length: 100001\r\n\r\n", 413),
        (b"POST http://packages.test:PORT/ HTTP/1.1\r\nHost: packages.test\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET http://packages.test:PORT/ HT", 408),
    ],
)
def test_what_is_no_proper_request(cell: SageClient, port: int, data: bytes, status: int) -> None:
    said = cell.run(f"talk({data.replace(b'PORT', str(port).encode())!r})").stdout
    assert said.startswith(f"HTTP/1.1 {status} ")


def test_nothing_of_a_request_reaches_the_log_unescaped(connected: Appliance, cell: SageClient) -> None:
    cell.run(r"talk(b'CONNECT \x1b[31mevil\x07egress allowed: forged:443 HTTP/1.1\r\n\r\n')")
    cell.run(r"talk(b'CONNECT evil\xe2\x80\xa8\negress allowed: forged:443 HTTP/1.1\r\n\r\n')")
    assert not any("forged" in line or "\x1b" in line for line in connected.output)


def test_there_is_no_other_way_out(cell: SageClient, port: int) -> None:
    code = f"""
def attempt(call):
    try:
        call()
        print("connected")
    except OSError as error:
        print(type(error).__name__, error.errno)
attempt(lambda: socket.create_connection(("127.0.0.1", {port}), 2))
attempt(lambda: socket.create_connection(("10.255.255.254", {port}), 2))
attempt(lambda: socket.getaddrinfo("packages.test", {port}))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("10.255.255.254", 53)))
import os
print(os.listdir("/run"), os.path.exists("/run/egress/default"))
try:
    print(os.listdir("/run/egress"))
except PermissionError:
    print("closed")
attempt(lambda: open("/run/egress/x", "w"))
attempt(lambda: os.unlink("/run/egress/proxy"))
"""
    lines = cell.run(code).stdout.splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["ConnectionRefusedError", "OSError", "gaierror", "OSError"]
    assert lines[4].endswith(" False")
    assert lines[5] == "closed"
    assert all("Error" in line for line in lines[6:])


def test_connections_of_one_kernel_are_limited_and_others_go_on(
    connected: Appliance, cell: SageClient, port: int
) -> None:
    hold = f"""
held = []
for _ in range(4):
    sock = socket.create_connection(("127.0.0.1", 3128), 20)
    sock.sendall(b"CONNECT packages.test:{port} HTTP/1.1\\r\\n\\r\\n")
    print(sock.recv(100).split()[1].decode())
    held.append(sock)
talk(b"CONNECT packages.test:{port} HTTP/1.1\\r\\n\\r\\n")
"""
    said = cell.run(hold).stdout.splitlines()
    assert said[:4] == ["200"] * 4
    assert said[4] == "HTTP/1.1 429 Too Many Requests (more than 4 connections of this cell at once)"
    with kernel(connected) as neighbour:
        assert neighbour.run(f"fetch('http://packages.test:{port}/bytes/0')").stdout == "200 \n"
    # those that carry nothing are closed
    assert cell.run("print([sock.recv(1) for sock in held])").stdout == "[b'', b'', b'', b'']\n"
    assert cell.run(f"fetch('http://packages.test:{port}/bytes/0')").stdout == "200 \n"
    assert told(connected, ": idle, ")


def test_requests_of_one_kernel_are_limited_and_do_not_fill_the_log(connected: Appliance, cell: SageClient) -> None:
    code = """
answers = []
for _ in range(200):
    with socket.create_connection(("127.0.0.1", 3128), 20) as sock:
        # beyond the limit a connection may be closed without an answer
        try:
            sock.sendall(b"CONNECT flood.test:443 HTTP/1.1\\r\\n\\r\\n")
            answers.append(sock.recv(100)[9:12].decode())
        except OSError:
            answers.append("")
print(answers.count("403"), set(answers[60:]) <= {"429", ""}, "429" in answers)
"""
    assert cell.run(code).stdout == "60 True True\n"
    assert len(events(connected, "refused: flood.test:443")) == 60
    uid = int(cell.run("import os; print(os.getuid())").stdout)
    assert len(events(connected, f"refused: -:0 for slot {uid}: more than 60 requests")) == 1


def test_one_connection_carries_no_more_than_its_limit(connected: Appliance, cell: SageClient, port: int) -> None:
    code = f"""
try:
    answer = urllib.request.urlopen("http://packages.test:{port}/bytes/9000000", timeout=20)
    print(len(answer.read()))
except OSError as error:
    print(type(error).__name__)
except Exception as error:
    print(type(error).__name__)
"""
    assert cell.run(code).stdout in ("IncompleteRead\n", "ConnectionResetError\n")
    (line,) = told(connected, "has carried all it may")
    match = re.search(r"(\d+) received", line)
    assert match is not None
    assert int(match[1]) < 3_200_000


INSTALL = """
import subprocess, sys
done = subprocess.run([sys.executable, "-m", "pip", "install", "--index-url", "{index}", "--trusted-host",
    "packages.test", "--retries", "2", "tinycell"], capture_output=True, text=True)
print(done.returncode)
print(done.stdout[-500:], done.stderr[-1500:])
"""
USE = """
import os, subprocess, sys
try:
    import tinycell
    print(tinycell.ANSWER, os.path.dirname(tinycell.__file__).startswith("/home/visitor/"))
except ImportError:
    print("absent")
print(subprocess.run([sys.executable, "-c", "import tinycell; print(tinycell.ANSWER)"],
    capture_output=True, text=True).stdout)
"""


def test_pip_installs_from_an_allowed_index_and_nothing_remains(connected: Appliance, port: int) -> None:
    index = f"http://packages.test:{port}/simple"
    with kernel(connected, seconds=120) as client:
        said = client.run(INSTALL.format(index=index)).stdout
        assert said.startswith("0\n"), said
        assert client.run(USE).stdout == "1.5 True\n1.5\n\n"
        # the magic installs to the same place, and finds it there
        assert "already satisfied: tinycell" in client.run(f"%pip install --index-url {index} tinycell").stdout
    with kernel(connected) as other:
        assert other.run(USE).stdout == "absent\n\n"


def test_pip_is_refused_another_index(connected: Appliance, port: int) -> None:
    with kernel(connected, seconds=120) as client:
        said = client.run(INSTALL.format(index=f"http://other.test:{port}/simple")).stdout
        assert said.startswith("1\n")
        assert client.run(USE).stdout == "absent\n\n"


def test_a_proxy_that_was_restarted_serves_kernels_that_live(connected: Appliance, port: int) -> None:
    with kernel(connected) as client:
        assert client.run(f"fetch('http://packages.test:{port}/bytes/0')").stdout == "200 \n"
        old = connected.pid_of("egress")
        os.kill(old, signal.SIGKILL)
        wait_for("another proxy", lambda: connected.find("egress") not in (None, old), 10)
        wait_for(
            "the proxy serves again",
            lambda: client.run(f"fetch('http://packages.test:{port}/bytes/0')").stdout == "200 \n",
            10,
        )


def test_processes_of_the_host_are_no_kernels(connected: Appliance) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(connected.config.egress_socket("default")))
        with contextlib.suppress(ConnectionError):
            client.sendall(b"CONNECT packages.test:443 HTTP/1.1\r\n\r\n")
            assert client.recv(100) == b""
    assert told(connected, "egress peer refused: uid 0 is no kernel")


def test_without_an_allow_list_there_is_no_proxy(appliance: Appliance, port: int) -> None:
    assert appliance.find("egress") is None
    assert not appliance.config.egress_path.exists()
    with kernel(appliance, seconds=120) as client:
        look = (
            "import os; print(os.path.exists('/run/egress'), [name for name in os.environ if 'prox' in name.lower()])"
        )
        assert client.run(look).stdout == "False []\n"
        assert client.run("talk(b'x')").reply["ename"] == "ConnectionRefusedError"
        said = client.run(INSTALL.format(index=f"http://127.0.0.1:{port}/simple")).stdout
        assert said.startswith("1\n")
        assert client.run(USE).stdout == "absent\n\n"


def test_a_profile_without_an_allow_list_sees_no_socket(port: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    toml = f"""
[egress]
allow_addresses = ["127.0.0.1/32"]
[profile.open]
egress = ["packages.test:{port}"]
[pool]
max_kernels = 2
ready = 1
"""
    running = Appliance(toml, prefix=prefix(tmp_path_factory.mktemp("egress")))
    try:
        assert running.find("egress") is not None
        look = "import os; print(os.listdir('/run/egress'), [name for name in os.environ if 'prox' in name.lower()])"
        assert running.run(look)["stdout"] == "[] []\n"
        reach = """
import socket
for path in ("/run/egress/open/proxy", "/run/egress/proxy"):
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print("connected")
    except OSError as error:
        print(type(error).__name__)
"""
        assert running.run(reach)["stdout"] == "FileNotFoundError\nFileNotFoundError\n"
    finally:
        running.stop()


def test_profiles_have_proxies_of_their_own(port: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    prefixes = Directories()
    python = make_prefix(prefixes.base / "prefix")
    kernelspec(prefixes.base / "prefix", "bash", argv=BASH)
    toml = f"""
[egress]
allow_addresses = ["127.0.0.1/32"]
[profile.one]
exposed = true
egress = ["packages.test:{port}"]
[profile.two]
exposed = true
egress = ["other.test:{port}"]
[pool]
max_kernels = 4
ready = 1
[environment.python]
preload = []
[environment.bash]
kernelspec = "bash"
python = "{python}"
"""
    running = Appliance(toml, prefix=prefix(tmp_path_factory.mktemp("egress")))
    try:
        for profile, allowed, refused in (("one", "packages", "other"), ("two", "other", "packages")):
            with SageClient(running.url, profile=profile) as client:
                client.run(FETCH)
                assert client.run(f"fetch('http://{allowed}.test:{port}/bytes/0')").stdout == "200 \n"
                assert client.run(f"fetch('http://{refused}.test:{port}/bytes/0')").stdout.startswith("403 ")
                look = "import os; print([os.path.exists(f'/run/egress/{name}') for name in ('proxy', 'one', 'two')])"
                assert client.run(look).stdout == "[True, False, False]\n"
            with SageClient(running.url, environment="bash", profile=profile) as client:
                ask = "curl -sS -o /dev/null -w '%{http_code}\\n' http://HOST.test:PORT/bytes/0".replace(
                    "PORT", str(port)
                )
                assert client.run(ask.replace("HOST", allowed)).stdout == "200\n"
                assert client.run(ask.replace("HOST", refused)).stdout == "403\n"
    finally:
        running.stop()
        prefixes.remove()


def test_an_ordinary_user_serves_with_a_proxy(port: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("egress")
    ids = directory / "ids"
    ids.write_text("nobody:100000:65536\n")
    and_then = f"mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid &&"
    command = prefix(directory, and_then)
    command[4] = command[4].replace("exec", f"exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups")
    running = Appliance(configuration(port), prefix=command, owner=NOBODY)
    try:
        with kernel(running) as client:
            uid = int(client.run("import os; print(os.getuid())").stdout)
            assert client.run(f"fetch('http://packages.test:{port}/bytes/0')").stdout == "200 \n"
            assert told(running, f"allowed: packages.test:{port} at 127.0.0.1 for slot {uid}")
    finally:
        running.stop()
