"""Runs routes in a real `CellSite` without a socket: bytes in, bytes out."""

from __future__ import annotations

import http.client
import io

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from appliance.config import Config
from appliance.web.site import CellSite, Router


class Answer:
    def __init__(self, raw):
        class Source:
            def makefile(self, *_):
                return io.BytesIO(raw)

        response = http.client.HTTPResponse(Source())
        response.begin()
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self.body = response.read()


class Transport(StringTransport):
    def __init__(self):
        super().__init__()
        self.aborted = False

    def abortConnection(self):  # noqa: N802 - Twisted
        self.aborted = True
        self.loseConnection()


class Connection:
    """A connection of one client to routes."""

    def __init__(self, routes, config=None, clock=None, **limits):
        config = config or Config()
        self.clock = clock or Clock()
        self.transport = Transport()
        self.router = Router(config, routes)
        site = CellSite(self.router, config.web.max_body_bytes, self.clock, **limits)
        self.channel = site.buildProtocol(None)
        self.channel.callLater = self.clock.callLater
        self.channel.makeConnection(self.transport)

    def send(self, data):
        self.channel.dataReceived(data)

    def received(self):
        data = self.transport.value()
        self.transport.clear()
        return data

    def lose(self):
        self.channel.connectionLost(Failure(ConnectionError("gone")))

    def ask(self, method, path, headers=(), body=b""):
        lines = [f"{method} {path} HTTP/1.1", "Host: cells.example", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)
        raw = self.received()
        return Answer(raw) if raw else None


def ask(routes, method, path, headers=(), body=b"", config=None):
    """Make one request on a connection of its own."""
    connection = Connection(routes, config)
    answer = connection.ask(method, path, headers, body)
    connection.lose()
    return answer
