"""The administrator's page over HTTP: on a loopback address with a secret, or on a Unix socket that only root may use.

Nothing of it is reachable for visitors: it is a program that runs while the administrator looks, and no part of the web
role. The secret is new at each start and stands in the fragment of the address, which browsers do not send.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import os
import pathlib
import re
import secrets
import socket
import socketserver
import sys
from typing import TYPE_CHECKING, Any

from appliance import config as configuration
from appliance.cli import pool_question
from appliance.cli.admin import state
from appliance.errors import ApplianceError, ConfigError
from appliance.pool_commands import Drain

if TYPE_CHECKING:
    from appliance.config import Config

PAGE = pathlib.Path(__file__).with_name("page.html")

#: Seconds for a request to arrive, and its largest body.
REQUEST_SECONDS = 10.0
MAX_BODY_BYTES = 4096

_LOOPBACK = re.compile(r"127\.\d+\.\d+\.\d+|::1|localhost")


def policy(page: str) -> str:
    """Return a Content-Security-Policy that allows the page's own script and style, by their hashes, and no others."""

    def digest(tag: str) -> str:
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{digest('script')}'; style-src 'sha256-{digest('style')}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers the page and its questions."""

    server: Server
    timeout = REQUEST_SECONDS
    server_version = "cellctl"
    sys_version = ""

    def do_GET(self) -> None:
        """Send the page, or the state as JSON."""
        if self.path == "/":
            self._send(200, self.server.page.encode(), "text/html; charset=utf-8")
        elif self.path == "/state":
            if self._allowed():
                self._json(200, state.look(self.server.config))
        else:
            self._error(404, "There is no such page.")

    def do_POST(self) -> None:
        """Start or end draining: ``/drain`` with ``{"on": true}`` or ``{"on": false}``."""
        # read before it is answered: who still sends when the connection is closed does not see the answer
        size = self.headers.get("Content-Length", "")
        body = self.rfile.read(min(int(size), MAX_BODY_BYTES)) if size.isdecimal() else b""
        if self.path != "/drain":
            self._error(404, "There is no such page.")
            return
        if not self._allowed():
            return
        try:
            wanted = json.loads(body)["on"]
            if not isinstance(wanted, bool):
                raise ValueError("on is neither true nor false")
        except (ValueError, KeyError, TypeError):
            self._error(400, 'Expected {"on": true} or {"on": false}.')
            return
        try:
            pool_question.ask(self.server.config, Drain, on=wanted)
        except ApplianceError as exc:
            self._error(exc.http_status, exc.message)
        else:
            self._json(200, {"on": wanted})

    def _allowed(self) -> bool:
        """Return whether whoever asks has the secret; answer 403 otherwise."""
        given = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if not self.server.secret or hmac.compare_digest(given.encode(), self.server.secret.encode()):
            return True
        self._error(403, "Open the address that cellctl admin printed: the secret in it is missing or old.")
        return False

    def _json(self, status: int, document: dict[str, Any]) -> None:
        self._send(status, json.dumps(document).encode(), "application/json")

    def _error(self, status: int, message: str) -> None:
        self._json(status, {"message": message})

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(body))),
            ("Cache-Control", "no-store"),
            ("Content-Security-Policy", self.server.policy),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing of requests: the administrator makes them."""

    def address_string(self) -> str:
        """Return nothing: a Unix socket has no address."""
        return ""


class Server(socketserver.TCPServer):
    """One request after the other; ``secret`` empty: whoever can connect is root."""

    allow_reuse_address = True
    request_queue_size = 16

    def __init__(self, config: Config, where: configuration.TcpAddress | configuration.UnixAddress) -> None:
        self.config = config
        self.page = PAGE.read_text(encoding="utf-8")
        self.policy = policy(self.page)
        self.secret = ""
        self._path = ""
        address: Any
        if isinstance(where, configuration.UnixAddress):
            self.address_family = socket.AF_UNIX
            address = self._path = where.path
        else:
            self.secret = secrets.token_urlsafe(24)
            self.address_family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
            address = (where.host, where.port)
        before = os.umask(0o177)
        try:
            super().__init__(address, Handler)
        except OSError as exc:
            raise ApplianceError(f"{where.url}: {exc.strerror or exc}") from exc
        finally:
            os.umask(before)

    def server_close(self) -> None:
        """Close, and take the socket away."""
        super().server_close()
        if self._path:
            pathlib.Path(self._path).unlink(missing_ok=True)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in a line what went wrong with one request; one that was given up is nothing."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"cellctl admin: {error!r}", file=sys.stderr)


def address(text: str) -> configuration.TcpAddress | configuration.UnixAddress:
    """Return where to listen; raises `ConfigError` for what others could reach."""
    where = configuration.listen_address(text, "--listen")
    if isinstance(where, configuration.TcpAddress) and not _LOOPBACK.fullmatch(where.host):
        raise ConfigError(f"--listen: {where.host} can be reached by others; use 127.0.0.1 or unix:/PATH, and ssh -L")
    return where


def run(config: Config, *, listen: str) -> int:
    """Serve until Ctrl-C. Raises `ApplianceError`."""
    where = address(listen)
    with Server(config, where) as server:
        if isinstance(where, configuration.UnixAddress):
            print(f"{where.url}: for root alone (curl --unix-socket, or ssh -L 8890:{where.path})")
        else:
            print(f"{where.url}/#{server.secret}")
        print("Ctrl-C ends it.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
