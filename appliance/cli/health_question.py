"""A question to the web roles from this machine, over their own socket and without a reactor."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import attrs

from appliance.cli.ready import PROXY_LOCAL

#: Largest answer that is read.
MAX_ANSWER_BYTES = 1_048_576


@attrs.frozen
class Answer:
    """What came: status 0 means that nothing answers, and ``error`` why; ``document`` is the JSON of the body."""

    status: int
    document: dict[str, Any] = attrs.Factory(dict)
    error: str = ""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float, preface: bytes) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path
        self._preface = preface

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
        self.sock.sendall(self._preface)


class _TcpConnection(http.client.HTTPConnection):
    def __init__(self, host: str, port: int, timeout: float, preface: bytes) -> None:
        super().__init__(host, port, timeout=timeout)
        self._preface = preface

    def connect(self) -> None:
        super().connect()
        self.sock.sendall(self._preface)


def ask(address: str, path: str, *, proxy_protocol: bool, seconds: float) -> Answer:
    """Return the answer to ``GET path`` of whoever listens at ``address``, a path or ADDRESS:PORT."""
    preface = PROXY_LOCAL if proxy_protocol else b""
    connection: http.client.HTTPConnection
    if address.startswith("/"):
        connection = _UnixConnection(address, seconds, preface)
    else:
        host, _, port = address.rpartition(":")
        connection = _TcpConnection(host.strip("[]"), int(port), seconds, preface)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "Connection": "close"})
        response = connection.getresponse()
        body = response.read(MAX_ANSWER_BYTES)
        document = json.loads(body)
        return Answer(response.status, document if isinstance(document, dict) else {})
    except TimeoutError:
        return Answer(0, error=f"no answer in {seconds:.0f} s")
    except (OSError, http.client.HTTPException) as exc:
        return Answer(0, error=str(exc) or type(exc).__name__)
    except ValueError:
        return Answer(0, error="the answer is not JSON")
    finally:
        connection.close()
