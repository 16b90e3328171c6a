"""A load generator for HTTP on Unix sockets that costs little itself: prepared bytes, epoll, no parsing but lengths."""

from __future__ import annotations

import re
import select
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

#: Seconds without any answer after which a server counts as dead.
SILENCE_SECONDS = 10.0

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class LoadError(Exception):
    """A server did not answer as it must."""


@dataclass(frozen=True)
class Load:
    """What was sent and answered: seconds of the whole, and of each answer."""

    seconds: float
    latencies: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds


def complete(data: bytes) -> bytes | None:
    """Return the body when an answer is complete. Raises `LoadError` when its status is not 200."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    if not data.startswith(b"HTTP/1.1 200 "):
        raise LoadError(f"answered {data[:200]!r}")
    length = _LENGTH.search(data, 0, end + 2)
    if length is None:
        raise LoadError(f"an answer without length: {data[:200]!r}")
    body = data[end + 4 :]
    return body if len(body) >= int(length[1]) else None


def ask(path: pathlib.Path, request: bytes) -> bytes:
    """Send one request, return the body of the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(SILENCE_SECONDS)
        connection.connect(str(path))
        connection.sendall(request)
        data = b""
        while (body := complete(data)) is None:
            part = connection.recv(65536)
            if not part:
                raise LoadError(f"{path} closed the connection after {data[:200]!r}")
            data += part
        return body


def drive(path: pathlib.Path, connections: int, seconds: float, next_request: Callable[[], bytes]) -> Load:
    """Keep ``connections`` busy, each with one request at a time, for some seconds.

    Raises `LoadError` when an answer is not 200 or does not come.
    """
    poll = select.epoll()
    sockets: dict[int, socket.socket] = {}
    sent: dict[int, float] = {}
    parts: dict[int, bytes] = {}
    latencies: list[float] = []
    clock = time.perf_counter
    try:
        for _ in range(connections):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(path))
            sockets[connection.fileno()] = connection
            poll.register(connection, select.EPOLLIN)
        begin = clock()
        end = begin + seconds
        for number, connection in sockets.items():
            sent[number] = clock()
            connection.sendall(next_request())
        while (now := clock()) < end:
            events = poll.poll(SILENCE_SECONDS)
            if not events:
                raise LoadError(f"{path} is silent")
            for number, _ in events:
                connection = sockets[number]
                part = connection.recv(262_144)
                if not part:
                    raise LoadError(f"{path} closed a connection")
                data = parts.pop(number) + part if number in parts else part
                if complete(data) is None:
                    parts[number] = data
                    continue
                now = clock()
                latencies.append(now - sent[number])
                sent[number] = now
                connection.sendall(next_request())
        return Load(now - begin, tuple(latencies))
    finally:
        for connection in sockets.values():
            connection.close()
        poll.close()
