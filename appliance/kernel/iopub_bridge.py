"""The iopub channel of a kernel that is a program of its own.

The pool's clocks rest on status messages with the topic ``kernel.<kernel_id>.status``, and to nothing else does the
pool subscribe: a flood of output must not reach it. Other kernels choose other topics, or none. So here each connection
to iopub is greeted by us, and its first subscription decides. If it is for the status topic, we publish to it: each
status that the kernel was heard to say, under that topic. If it is for anything else, it is from a web role: it is
joined with a connection to the kernel and its bytes are copied from there on (and followed, by
`appliance.kernel.file_news`).

We hear the kernel's statuses by a subscription of our own, narrowed to its status topic if it has one. If it has none,
everything comes here and is thrown away, but the statuses; a kernel that floods may then drop one, so when it seems
busy and falls silent it is asked, and its reply shows that it is idle.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from appliance.kernel import relay, zmtp
from appliance.kernel.file_news import FileNews, Followed
from appliance.kernel.jupyter_message import DELIMITER, body, state_of

if TYPE_CHECKING:
    from collections.abc import Callable

#: Largest message looked at: a status is a few hundred bytes.
MAX_STATUS_BYTES = 65_536

#: A status topic ends like this in every kernel that has one (``kernel.<uuid>.status``, ``status``).
TOPIC_END = b"status"

#: Seconds of silence after which a kernel without a status topic that seems busy is asked.
SILENCE_SECONDS = 2.0

#: Subscribers to statuses: the pool, and the next pool while the last goes.
MAX_SUBSCRIBERS = 8

#: Bytes that a subscriber to statuses may be behind before it is dropped; it connects again.
MAX_BACKLOG_BYTES = 1 << 20

#: Bytes of output kept for a web role that is behind, before the kernel is no longer read and drops output itself: most
#: kernels do so at a thousand messages, and some make one of each line.
MAX_OUTPUT_BACKLOG_BYTES = 8 << 20


class StatusSource:
    """What the kernel says of its state, published to the pool.

    ``heard(parts)`` gets every message until a topic is learnt; ``ask()`` sends the kernel a request, whose reply is
    told by `replied`.
    """

    def __init__(
        self, loop: relay.Loop, kernel_id: str, heard: Callable[[list[bytes]], None], ask: Callable[[], None]
    ) -> None:
        self.topic = f"kernel.{kernel_id}.status".encode()
        self.peer: relay.Peer | None = None
        self._loop = loop
        self._heard = heard
        self._ask = ask
        self._subscribers: list[relay.Peer] = []
        self._busy = False
        self._heard_at = 0.0
        self._asking = False

    def connect(self, address: str) -> None:
        """Subscribe to everything that the kernel publishes."""
        try:
            stream = relay.connect(self._loop, address)
        except OSError:
            return
        self.peer = relay.Peer(stream, "SUB", MAX_STATUS_BYTES, self._received, lambda: None)
        self.peer.send([zmtp.SUBSCRIBE])

    def learn(self, topic: bytes) -> None:
        """Hear from now on only what has the kernel's status topic, if ``topic`` is one."""
        if self.peer is not None and topic.endswith(TOPIC_END):
            self.peer.send([zmtp.SUBSCRIBE + topic])
            self.peer.send([zmtp.CANCEL])
        else:
            self._loop.later(SILENCE_SECONDS, self._look)

    def add(self, subscriber: relay.Peer) -> None:
        """Publish to one more subscriber; a pool that comes while the kernel is busy would not hear of it otherwise."""
        self._subscribers = [known for known in self._subscribers if known.stream.open]
        if len(self._subscribers) >= MAX_SUBSCRIBERS:
            subscriber.stream.close()
            return
        self._subscribers.append(subscriber)
        if self._busy:
            subscriber.send([self.topic, *_status("busy")])

    def replied(self) -> None:
        """Take note that the kernel answered: whatever it was busy with is over."""
        if self._asking:
            self._asking = False
            if self._busy:
                self._publish("idle", _status("idle"))

    def _received(self, parts: list[bytes]) -> None:
        self._heard_at = time.monotonic()
        self._heard(parts)
        state = state_of(parts)
        if state in ("busy", "idle"):
            self._publish(str(state), body(parts))

    def _publish(self, state: str, message: list[bytes]) -> None:
        self._busy = state == "busy"
        for subscriber in self._subscribers:
            if subscriber.stream.backlog > MAX_BACKLOG_BYTES:
                subscriber.stream.close()
            else:
                subscriber.send([self.topic, *message])

    def _look(self) -> None:
        if self._busy and not self._asking and time.monotonic() - self._heard_at >= SILENCE_SECONDS:
            self._asking = True
            self._ask()
        self._loop.later(SILENCE_SECONDS, self._look)


def _status(state: str) -> list[bytes]:
    """Return a status message without a topic, as far as the pool looks at one."""
    return [DELIMITER, b"", b"{}", b"{}", b"{}", json.dumps({"execution_state": state}).encode()]


class IopubBridge:
    """Connections to the kernel's iopub listener."""

    def __init__(self, loop: relay.Loop, source: StatusSource, address: str, news: FileNews) -> None:
        self._loop = loop
        self._source = source
        self._news = news
        self._address = address
        #: Connections through which output flows.
        self.streams: set[relay.Stream] = set()

    def accepted(self, stream: relay.Stream) -> None:
        """Greet a subscriber and wait for what it subscribes to."""
        self.streams = {known for known in self.streams if known.open} | {stream}
        peer = relay.Peer(stream, "PUB", MAX_STATUS_BYTES, lambda parts: self._subscribed(peer, parts), lambda: None)

    def _subscribed(self, peer: relay.Peer, parts: list[bytes]) -> None:
        if parts == [zmtp.SUBSCRIBE + self._source.topic]:
            peer.stream.received = lambda _: None
            self.streams.discard(peer.stream)
            self._source.add(peer)
            return
        first = zmtp.message(parts) + peer.rest
        peer.stream.read(wanted=False)
        _Upstream(self._loop, peer.stream, self._address, first, Followed(self._news))


class _Upstream:
    """A connection to the kernel for one subscriber: joined as soon as the kernel has greeted."""

    def __init__(self, loop: relay.Loop, client: relay.Stream, address: str, first: bytes, followed: Followed) -> None:
        self._client = client
        self._followed = followed
        self._first = first
        try:
            stream = relay.connect(loop, address)
        except OSError:
            client.close()
            return
        self._decoder = zmtp.Decoder(MAX_STATUS_BYTES)
        self._stream = stream
        stream.received, stream.closed = self._received, client.close
        client.closed = stream.close
        stream.write(zmtp.opening("SUB"))

    def _received(self, data: bytes) -> None:
        self._decoder.feed(data)
        try:
            greeted = self._decoder.greeted()
        except zmtp.ProtocolError:
            self._stream.close()
            self._client.close()
            return
        if greeted:
            follow = self._followed.take
            relay.join(self._client, self._stream, backlog_bytes=MAX_OUTPUT_BACKLOG_BYTES, change=follow)
            self._stream.write(self._first)
            if self._decoder.rest:
                self._client.write(follow(self._decoder.rest))
            self._client.read(wanted=True)
