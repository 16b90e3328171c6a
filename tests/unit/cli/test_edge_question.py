"""What an answer of HAProxy tells, and silence."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import pytest

from appliance.cli.edge_question import Edge, ask
from appliance.cli.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def at(door: socket.socket) -> Target:
    return Target("127.0.0.1", door.getsockname()[1])


def say(door: socket.socket, answer: bytes) -> threading.Thread:
    def serve() -> None:
        connection, _ = door.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "edge"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 7\r\n\r\n", Edge()),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", Edge(nginx=False)),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", Edge()),
        (b"", Edge()),
    ],
    ids=["nginx", "web-role", "HAProxy-itself", "cut"],
)
def test_an_answer(door: socket.socket, answer: bytes, edge: Edge) -> None:
    thread = say(door, answer)
    assert ask(at(door)) == edge
    thread.join()


def test_silence_after_a_connection_is_a_haproxy_that_hangs(door: socket.socket) -> None:
    """What Linux does for a process that is stopped: it takes connections, up to the backlog."""
    assert ask(at(door), seconds=0.2) == Edge(haproxy=False)


def test_a_closed_door_says_nothing(door: socket.socket) -> None:
    where = at(door)
    door.close()
    assert ask(where) == Edge()
