"""An ACME client answers the authority through HAProxy while it renews the certificate."""

from __future__ import annotations

import http.server
import threading
from typing import TYPE_CHECKING

import pytest

from .conftest import StartEdge, free_port, shipped_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

CHALLENGE = "/.well-known/acme-challenge/x"


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers as certbot does while it waits."""

    def do_GET(self) -> None:
        """Send the path back."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def client() -> Iterator[int]:
    """Return the port of an ACME client."""
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_the_client_is_asked(start_edge: StartEdge, client: int) -> None:
    edge = start_edge({"CELL_ACME_ADDRESS": f"127.0.0.1:{client}"})
    answer = edge.ask("GET", CHALLENGE)
    assert (answer.status, answer.body.decode()) == (200, CHALLENGE)
    assert edge.ask("GET", "/elsewhere").body.decode() != "/elsewhere"


def test_nobody_answers_at_other_times(start_edge: StartEdge) -> None:
    edge = start_edge({"CELL_ACME_ADDRESS": f"127.0.0.1:{free_port()}"})
    assert edge.ask("GET", CHALLENGE).status == 503


def test_only_root_may_answer() -> None:
    """Whoever answers there gets a certificate for this host."""
    host, _, port = shipped_limits()["CELL_ACME_ADDRESS"].rpartition(":")
    assert host == "127.0.0.1"
    assert int(port) < 1024
