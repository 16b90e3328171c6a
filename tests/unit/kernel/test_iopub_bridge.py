"""What the pool hears of a kernel's state, whatever topics the kernel uses."""

from __future__ import annotations

import pytest

from appliance.kernel import iopub_bridge, relay, zmtp
from appliance.kernel.file_news import FileNews
from appliance.kernel.iopub_bridge import SILENCE_SECONDS, IopubBridge, StatusSource
from appliance.kernel.jupyter_message import Requests
from tests.unit.kernel.test_relay import FakeStream

TOPIC = b"kernel.K.status"


class World:
    """A loop whose clock is turned by hand, and the streams that were made to the kernel."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        self.timers = []
        self.made = []
        self.heard = []
        self.asked = 0
        monkeypatch.setattr(iopub_bridge.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(relay, "connect", self._connect)
        self.source = StatusSource(self, "K", self.heard.append, self._ask)
        self.bridge = IopubBridge(self, self.source, "path", FileNews(Requests(b"key"), lambda: None))

    def _connect(self, _loop, _path):
        self.made.append(FakeStream())
        return self.made[-1]

    def _ask(self):
        self.asked += 1

    def later(self, seconds, call):
        self.timers.append((self.now + seconds, call))

    def wait(self, seconds):
        self.now += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now]
        self.timers = [timer for timer in self.timers if timer[0] > self.now]
        for _, call in due:
            call()

    def kernel(self):
        """Connect the source to a kernel and return its stream, whose bytes so far are forgotten."""
        self.source.connect("path")
        stream = self.made[-1]
        stream.received(zmtp.opening("PUB"))
        stream.written = b""
        return stream

    def subscriber(self, topic):
        stream = FakeStream()
        self.bridge.accepted(stream)
        stream.received(zmtp.opening("SUB") + zmtp.message([zmtp.SUBSCRIBE + topic]))
        return stream


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)


def status(state, topic=b"t"):
    content = b'{"execution_state": "%s"}' % state
    return [topic, b"<IDS|MSG>", b"s", b'{"msg_type": "status"}', b'{"msg_id": "m"}', b"{}", content]


def published(stream):
    decoder = zmtp.Decoder(1 << 20)
    decoder.feed(stream.written)
    messages = []
    while (parts := decoder.next_message()) is not None:
        messages.append(parts)
    return messages


def test_the_pool_gets_each_status_under_its_own_topic_and_nothing_else(world):
    kernel, pool = world.kernel(), world.subscriber(TOPIC)
    for parts in (status(b"starting"), status(b"busy"), [b"t", b"output"], status(b"idle")):
        kernel.received(zmtp.message(parts))
    assert published(pool) == [[TOPIC, *status(b"busy")[1:]], [TOPIC, *status(b"idle")[1:]]]
    assert world.made == [kernel]


def test_a_pool_that_comes_while_the_kernel_is_busy_is_told(world):
    kernel = world.kernel()
    kernel.received(zmtp.message(status(b"busy")))
    pool = world.subscriber(TOPIC)
    kernel.received(zmtp.message(status(b"idle")))
    assert [parts[-1] for parts in published(pool)] == [b'{"execution_state": "busy"}', status(b"idle")[-1]]
    assert all(parts[0] == TOPIC for parts in published(pool))


def test_a_web_role_is_joined_with_the_kernel_once_that_has_greeted(world):
    world.kernel()
    web = world.subscriber(b"")
    upstream = world.made[-1]
    assert upstream.written == zmtp.opening("SUB")
    assert not web.reading
    web.written = b""
    upstream.received(zmtp.opening("XPUB") + b"first bytes")
    assert upstream.written == zmtp.opening("SUB") + zmtp.message([zmtp.SUBSCRIBE])
    assert web.written == b"first bytes"
    assert web.reading
    web.received(b"up")
    upstream.received(b"down")
    assert upstream.written.endswith(b"up")
    assert web.written.endswith(b"down")


def test_a_kernel_that_is_gone_or_speaks_nonsense_ends_the_connection(world):
    web = world.subscriber(b"")
    world.made[-1].received(b"x" * 64)
    assert not web.open
    web = world.subscriber(b"")
    world.made[-1].closed()
    assert not web.open


def test_a_status_topic_is_all_that_is_heard_once_it_is_learnt(world):
    kernel = world.kernel()
    world.source.learn(b"kernel.other.status")
    assert kernel.written == (zmtp.message([zmtp.SUBSCRIBE + b"kernel.other.status"]) + zmtp.message([zmtp.CANCEL]))
    kernel.received(zmtp.message(status(b"busy")))
    world.wait(10 * SILENCE_SECONDS)
    assert world.asked == 0


def test_a_kernel_without_topics_that_seems_busy_in_silence_is_asked_once_and_its_reply_is_idle(world):
    kernel, pool = world.kernel(), world.subscriber(TOPIC)
    world.source.learn(b"\x00\x01\x02")
    assert kernel.written == b""
    kernel.received(zmtp.message(status(b"busy")))
    for _ in range(3):
        world.wait(SILENCE_SECONDS)
    assert world.asked == 1
    world.source.replied()
    last = published(pool)[-1]
    assert (last[0], last[-1]) == (TOPIC, b'{"execution_state": "idle"}')
    world.wait(10 * SILENCE_SECONDS)
    assert world.asked == 1


def test_a_kernel_that_talks_or_is_idle_is_not_asked(world):
    kernel = world.kernel()
    world.source.learn(b"")
    kernel.received(zmtp.message(status(b"busy")))
    for _ in range(5):
        kernel.received(zmtp.message([b"t", b"output"]))
        world.wait(SILENCE_SECONDS / 2)
    kernel.received(zmtp.message(status(b"idle")))
    world.wait(10 * SILENCE_SECONDS)
    assert world.asked == 0


def test_a_subscriber_that_does_not_read_is_dropped(world):
    kernel, pool = world.kernel(), world.subscriber(TOPIC)
    pool.backlog = iopub_bridge.MAX_BACKLOG_BYTES + 1
    kernel.received(zmtp.message(status(b"busy")))
    assert not pool.open


def test_only_so_many_may_subscribe(world):
    pools = [world.subscriber(TOPIC) for _ in range(iopub_bridge.MAX_SUBSCRIBERS + 1)]
    assert [pool.open for pool in pools] == [True] * iopub_bridge.MAX_SUBSCRIBERS + [False]
