"""What reaches the web role, and what comes back."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import subprocess
from pathlib import Path

from .backend import WEBSOCKET_GUID
from .conftest import Edge, StartEdge, free_port, wait_until


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
