"""What reaches the web role, and what comes back."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from .backend import WEBSOCKET_GUID, Backend
from .conftest import Edge, StartEdge, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


def masked(text: bytes) -> bytes:
    """Return a text frame of a WebSocket client (RFC 6455, section 5.2)."""
    mask = os.urandom(4)
    return bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(text))


def test_the_real_address_arrives_and_a_claimed_one_does_not(start_edge: StartEdge) -> None:
    edge = start_edge()
    seen = edge.ask(
        "GET",
        "/kernel/0?q=abc",
        source="127.0.0.77",
        headers={
            "X-Forwarded-For": "10.9.9.9",
            "X-Real-IP": "10.9.9.9",
            "Forwarded": "for=10.9.9.9",
            "X-Scheme": "https",
        },
    ).json
    assert seen["source"] == "127.0.0.77"
    assert seen["path"] == "/kernel/0?q=abc"
    assert seen["headers"]["x-forwarded-proto"] == "http"
    assert "10.9.9.9" not in str(seen)
    assert "x-scheme" not in seen["headers"]


def test_websocket(start_edge: StartEdge) -> None:
    edge = start_edge()
    key = base64.b64encode(os.urandom(16))
    with socket.create_connection(("127.0.0.1", edge.port), timeout=10) as client:
        client.sendall(
            b"GET /kernel/0/channels HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n" % key
        )
        with client.makefile("rb") as stream:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += stream.readline()
            assert head.startswith(b"HTTP/1.1 101 ")
            accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET_GUID).digest())
            assert accept in head
            for text in (b"first", b"second"):
                client.sendall(masked(text))
                assert stream.read(2 + len(text)) == bytes([0x81, len(text)]) + text
    assert edge.backend is not None
    assert edge.backend.requests[0]["source"] == "127.0.0.1"


def test_a_sick_web_role_gets_no_visitors(start_edge: StartEdge) -> None:
    edge = start_edge()
    assert edge.backend is not None
    edge.backend.healthy = False
    wait_until("the web role held for sick", lambda: not edge.web_is_up())
    page = edge.ask("GET", "/?q=abc", headers={"Accept": "text/html,*/*"})
    assert page.status == 503
    assert b"Back in a moment" in page.body
    assert page.headers["retry-after"] == "10"
    assert page.headers["cache-control"] == "no-store"
    call = edge.ask("POST", "/kernel", headers={"Accept": "application/json"})
    assert (call.status, call.json["error"]) == (503, "unavailable")
    assert call.headers["retry-after"] == "5"
    assert call.headers["access-control-allow-origin"] == "*"
    assert edge.ask("GET", "/static/embedded_cell.js").status == 200
    assert edge.backend.requests == []
    edge.backend.healthy = True
    wait_until("the web role held for well", edge.web_is_up)
    assert edge.ask("GET", "/").status == 200


def signal_nginx(edge: Edge, number: signal.Signals) -> None:
    """Send a signal to nginx and its workers."""
    nginx = psutil.Process(edge.processes[0].pid)
    for process in [nginx, *nginx.children()]:
        process.send_signal(number)


def seconds_for(edge: Edge, path: str) -> float:
    """Return how long the web role's answer takes to a request that is nginx's."""
    began = time.monotonic()
    answer = edge.ask("GET", path)
    assert answer.status == 200
    assert answer.json["path"] == path
    return time.monotonic() - began


@pytest.mark.parametrize("path", ["/static/plain.js", "/permalink?q=abc"])
def test_the_web_role_answers_for_an_nginx_that_was_killed(start_edge: StartEdge, path: str) -> None:
    edge = start_edge()
    signal_nginx(edge, signal.SIGKILL)
    edge.processes[0].wait(5)
    # not even the first request fails
    assert [seconds_for(edge, path) < 1 for _ in range(5)] == [True] * 5


@pytest.mark.parametrize(("path", "patience"), [("/static/plain.js", 3.0), ("/permalink?q=abc", 10.0)])
def test_the_web_role_answers_for_an_nginx_that_hangs(start_edge: StartEdge, path: str, patience: float) -> None:
    edge = start_edge()
    signal_nginx(edge, signal.SIGSTOP)
    try:
        assert seconds_for(edge, path) < patience + 2
        assert seconds_for(edge, path) < 1
    finally:
        signal_nginx(edge, signal.SIGCONT)
    wait_until("nginx held for well", edge.files_are_up)
    assert edge.ask("GET", "/static/plain.js").body.startswith(b"window.plain")


@pytest.mark.parametrize("transport", ["xhr", "xhr_streaming", "xhr_send", "eventsource", "jsonp", "jsonp_send"])
def test_sessions_of_many_requests_go_to_one_web_role(sockjs: tuple[Edge, Backend], transport: str) -> None:
    edge, first = sockjs
    path = f"/sockjs/000/abc/{transport}?CellSessionID=x"
    assert edge.ask("POST", path, body=b"[]").json["path"] == path
    assert [request["path"] for request in first.requests] == [path]


def test_other_requests_of_sockjs_go_to_any(sockjs: tuple[Edge, Backend]) -> None:
    edge, first = sockjs
    for path in ("/sockjs/info", "/sockjs/000/abc/websocket", "/kernel/xhr"):
        assert edge.ask("GET", path).json["path"] == path
    assert first.requests == []


def test_without_the_socket_for_sessions_any_web_role_has_them(start_edge: StartEdge) -> None:
    """One web role, or an appliance that was just upgraded."""
    edge = start_edge()
    assert edge.ask("POST", "/sockjs/000/abc/xhr").status == 200


@pytest.fixture
def sockjs(start_edge: StartEdge) -> Iterator[tuple[Edge, Backend]]:
    """Return an edge and the web role that has the sessions."""
    edge = start_edge()
    first = Backend(edge.directory / "run" / "web" / "sockjs.sock")
    first.start()
    try:
        wait_until("the first web role held for well", lambda: edge.is_up("sockjs", "first"))
        yield edge, first
    finally:
        first.stop()


def test_tls(start_edge: StartEdge, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=localhost",
            "-keyout",
            str(tmp_path / "key"),
            "-out",
            str(tmp_path / "certificate"),
        ],
        check=True,
        capture_output=True,
    )
    certificate.write_text((tmp_path / "certificate").read_text() + (tmp_path / "key").read_text())
    # HAProxy runs as nobody here; in the appliance the file belongs to its group
    public = Path(f"/tmp/edge-certificate-{os.getpid()}.pem")
    public.write_text(certificate.read_text())
    public.chmod(0o644)
    port = free_port()
    try:
        edge = start_edge({"CELL_TLS_CERTIFICATE": str(public), "CELL_TLS_ADDRESS": f"127.0.0.1:{port}"})
    finally:
        public.unlink()
    done = subprocess.run(
        ["curl", "-ksSi", "--http2", f"https://127.0.0.1:{port}/"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("HTTP/2 200")
    assert '"x-forwarded-proto": "https"' in done.stdout
    assert "strict-transport-security" in done.stdout.lower()
    moved = edge.ask("POST", "/kernel")
    assert moved.status == 308
    assert moved.headers["location"].startswith("https://")
    # an authority asks by HTTP, and there may be no certificate yet that it would believe
    assert edge.ask("GET", "/.well-known/acme-challenge/x").status == 503


def test_other_ways_to_ask(edge: Edge) -> None:
    for method in ("DELETE", "OPTIONS", "PUT"):
        assert edge.ask(method, "/kernel/0").json["method"] == method
    assert edge.ask("GET", "/healthz").status == 200


def test_prometheus_is_told_of_the_edge(edge: Edge) -> None:
    def ask(path: str) -> bytes:
        answer = b""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(str(edge.directory / "run" / "edge" / "metrics.sock"))
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            while part := connection.recv(65536):
                answer += part
        return answer

    assert b'haproxy_server_status{proxy="web",server="web",state="UP"} 1' in ask("/metrics")
    assert ask("/").startswith(b"HTTP/1.1 404 ")
    assert edge.ask("GET", "/metrics").headers.get("server") != "haproxy"
