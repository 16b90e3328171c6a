"""What stands between our ZeroMQ sockets and a kernel, with real sockets and a real reactor that a test drives."""

from __future__ import annotations

import gc
import socket
import subprocess
import sys
import time

import pytest
import zmq
from twisted.internet.epollreactor import EPollReactor

from appliance.kernel import zmtp
from appliance.zmq_inlet import WINDOW_BYTES
from appliance.zmq_sockets import DealerConnection, Sockets, SubscriberConnection

LIMIT = 1_000_000


class World:
    """Our end of a kernel's socket, and the kernel's place."""

    def __init__(self, directory):
        self.path = str(directory / "iopub")
        self.reactor = EPollReactor()
        self.sockets = Sockets(self.reactor)
        self.messages = []
        self.failures = []

    def connect(self, kind):
        self.connection = kind(
            self.sockets, f"ipc://{self.path}", self.messages.append, self.failures.append, max_message_bytes=LIMIT
        )
        return self.connection

    def until(self, condition, seconds=5.0):
        """Let the reactor work until something is so; return whether it came to that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()) and time.monotonic() < deadline:
            self.reactor.iterate(0.01)
        return bool(found)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # for a short name
    world = World(tmp_path)
    yield world
    world.sockets.shutdown()
    for reader in world.reactor.removeAll():
        reader.connectionLost(None)
    del world.reactor
    gc.collect()


@pytest.fixture
def hostile(world):
    """Return a kernel's listening socket, to be spoken to by hand."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(world.path)
        listener.listen()
        listener.settimeout(5)
        yield listener


def accept(world, listener):
    """Return the connection of a ZeroMQ socket that has greeted."""
    assert world.until(lambda: readable(listener))
    peer, _ = listener.accept()
    peer.settimeout(0.05)
    peer.sendall(zmtp.opening("PUB"))
    heard = b""

    def greeted():
        nonlocal heard
        try:
            heard += peer.recv(4096)
        except TimeoutError:
            return False
        return b"READY" in heard

    assert world.until(greeted)
    return peer


def readable(one):
    return bool(zmq.select([one], [], [], 0)[0])


def test_messages_go_both_ways(world):
    with world.sockets.context.socket(zmq.ROUTER) as kernel:
        kernel.bind(f"ipc://{world.path}")
        ours = world.connect(DealerConnection)
        ours.send([b"a", b"x" * 300_000])
        assert world.until(lambda: readable(kernel))
        name, *parts = kernel.recv_multipart()
        assert parts == [b"a", b"x" * 300_000]
        kernel.send_multipart([name, b"b", b"y" * 300_000])
        assert world.until(lambda: world.messages)
        assert world.messages == [[b"b", b"y" * 300_000]]
        ours.shutdown()


def test_a_socket_may_be_there_before_its_kernel(world):
    ours = world.connect(DealerConnection)
    ours.send([b"early"])
    world.until(lambda: False, 0.1)
    with world.sockets.context.socket(zmq.ROUTER) as kernel:
        kernel.bind(f"ipc://{world.path}")
        assert world.until(lambda: readable(kernel))
        ours.shutdown()


def test_a_kernel_that_comes_back_is_connected_to_again(world):
    ours = world.connect(DealerConnection)
    for number in range(3):
        with world.sockets.context.socket(zmq.ROUTER) as kernel:
            kernel.bind(f"ipc://{world.path}")
            ours.send([b"%d" % number])
            assert world.until(lambda kernel=kernel: readable(kernel))
            assert kernel.recv_multipart()[1:] == [b"%d" % number]
        world.until(lambda: False, 0.05)
    ours.shutdown()


def test_a_kernel_that_ends_each_connection_is_connected_to_less_and_less_often(world, hostile):
    ours = world.connect(DealerConnection)
    hostile.settimeout(0)
    ended = 0

    def end():
        nonlocal ended
        while readable(hostile):
            hostile.accept()[0].close()
            ended += 1
        return False

    world.until(end, 1.5)
    assert 4 <= ended <= 9
    ours.shutdown()


class Flood:
    """Sends the same bytes again and again, as far as they are taken."""

    def __init__(self, peer, data):
        peer.setblocking(False)
        self._peer = peer
        self._data = data
        self._rest = b""
        self.sent = 0

    def refused(self):
        """Send; return whether the connection was ended."""
        self._rest = self._rest or self._data
        try:
            taken = self._peer.send(self._rest)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._rest = self._rest[taken:]
        self.sent += taken
        return False


def test_a_message_without_an_end_costs_its_connection(world, hostile):
    ours = world.connect(SubscriberConnection)
    with accept(world, hostile) as peer:
        flood = Flood(peer, zmtp.frame(bytes(100_000), 1))
        assert world.until(flood.refused)
    assert flood.sent < 2 * LIMIT
    assert not world.until(lambda: readable(hostile), 0.1)  # and it does not come back
    assert not ours.closed
    ours.shutdown()


def test_messages_that_nobody_reads_stay_with_the_kernel(world, hostile):
    ours = world.connect(SubscriberConnection)
    with accept(world, hostile) as peer:
        ours.pause()
        flood = Flood(peer, zmtp.message([bytes(100_000)]))
        assert not world.until(flood.refused, 1)
        stuck = flood.sent
        assert not world.until(flood.refused, 0.2)
        assert WINDOW_BYTES < flood.sent == stuck < 2 * WINDOW_BYTES
        ours.resume()
        assert not world.until(flood.refused, 0.5)
        assert flood.sent > 2 * WINDOW_BYTES
    assert len(world.messages) > WINDOW_BYTES // 100_000
    ours.shutdown()


def test_another_process_cannot_take_the_place_of_ours(world, hostile):
    ours = world.connect(DealerConnection)
    name = b"\0" + ours.socket.getsockopt(zmq.LAST_ENDPOINT).removeprefix(b"ipc://@").rstrip(b"\0")
    assert world.until(lambda: readable(hostile))
    program = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({name!r}); print(s.recv(1))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as stranger:
        assert world.until(lambda: stranger.poll() is not None)
        assert stranger.stdout.read() == b"b''\n"
    peer, _ = hostile.accept()
    assert not readable(hostile)
    peer.close()
    ours.shutdown()
