"""Stand-ins for what is beyond the web role: a pool, kernels' sockets and permalinks."""

from __future__ import annotations

import json
import uuid

import attrs
from twisted.internet.task import Clock

from appliance.config import Config
from appliance.errors import UnknownKernel, UnknownPermalink, UnknownTicket
from appliance.protocol.frames import DELIMITER, sign
from appliance.web import kernel_connection, kernels
from appliance.web.pool_client import NOBODY, KernelAddress
from appliance.zmq_sockets import SendQueueFullError

KEY = b"key"
NOW = "2026-01-01T00:00:00+00:00"


class FakeFiles:
    """What is kept of programs' files."""

    def __init__(self):
        self.kept = []

    def keep(self, kernel_id, name, data):
        self.kept.append((kernel_id, name, data))

    def renew(self, kernel_id):
        pass

    def tick(self, living):
        pass


class FakeSockets:
    def __init__(self, reactor):
        self.closed = False

    def shutdown(self):
        self.closed = True


class FakeSocket:
    """One ZeroMQ socket: what was sent, and whether it is paused, closed, full or given up by ZeroMQ."""

    made: list[FakeSocket]

    def __init__(self, sockets, address, on_message, on_failure, routing_id=b""):
        self.address = address
        self.on_message = on_message
        self.on_failure = on_failure
        self.sent = []
        self.closed = self.paused = self.full = self.dead = False
        FakeSocket.made.append(self)

    def send(self, parts):
        if self.closed or self.dead or self.full:
            raise SendQueueFullError
        self.sent.append(parts)

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def shutdown(self):
        self.closed = True


class FakeKernel:
    """The other side of one kernel's sockets."""

    def __init__(self, address):
        self.address = address

    def socket(self, name):
        """The newest socket connected to shell or iopub."""
        wanted = f"ipc://{self.address.directory}/{name}"
        return next(socket for socket in reversed(FakeSocket.made) if socket.address == wanted)

    @property
    def requests(self):
        """Headers and contents of what was sent to shell, oldest first."""
        return [(json.loads(parts[2]), json.loads(parts[5])) for parts in self.socket("shell").sent]

    def say(self, channel, msg_type, parent, content, **header):
        head = {"msg_id": uuid.uuid4().hex, "msg_type": msg_type, **header}
        parts = [json.dumps(part).encode() for part in (head, parent, {}, content)]
        topic = [b"topic"] if channel == "iopub" else []
        self.socket(channel).on_message([*topic, DELIMITER, sign(self.address.key, parts), *parts])

    def reply(self, header, **content):
        kind = header["msg_type"].replace("_request", "_reply")
        self.say("shell", kind, header, {"status": "ok", **content})

    def idle(self, header):
        self.say("iopub", "status", header, {"execution_state": "idle"})

    def answer(self, number=-1, **content):
        """Answer a request with reply and idle."""
        header, _ = self.requests[number]
        self.reply(header, **content)
        self.idle(header)

    def print(self, text, number=-1, name="stdout"):
        self.say("iopub", "stream", self.requests[number][0], {"name": name, "text": text})


@attrs.define
class FakePool:
    """A pool that always has a kernel, unless told otherwise."""

    connected: bool = True
    leases: list = attrs.Factory(list)
    visitors: list = attrs.Factory(list)
    released: list = attrs.Factory(list)
    interrupted: list = attrs.Factory(list)
    attached: list = attrs.Factory(list)
    known: dict = attrs.Factory(dict)
    error: Exception | None = None
    waiting: object = None
    place: object = None
    asked_to_queue: int = 0
    wish_is_single: bool = False
    left: list = attrs.Factory(list)

    def _check(self):
        if self.error is not None:
            raise self.error

    async def lease(self, kind, environment, profile, idle_seconds, visitor=NOBODY, *, single=False):
        if self.waiting is not None:
            await self.waiting
        self._check()
        kernel_id = str(uuid.uuid4())
        self.leases.append((kind, environment, profile, idle_seconds))
        self.visitors.append(visitor)
        self.known[kernel_id] = KernelAddress(kernel_id, KEY, f"/k/{kernel_id}", single=single)
        return self.known[kernel_id]

    async def lease_or_queue(self, kind, environment, profile, idle_seconds, visitor=NOBODY, *, single=False):
        self.asked_to_queue += 1
        self.wish_is_single = single
        return self.place or await self.lease(kind, environment, profile, idle_seconds, visitor, single=single)

    async def claim(self, ticket):
        if ticket != "ticket-1":
            raise UnknownTicket
        single = self.wish_is_single
        return self.place or await self.lease("visitor", "python", "default", 900.0, single=single)

    async def leave_queue(self, ticket):
        self.left.append(ticket)

    async def attach(self, kernel_id):
        self.attached.append(kernel_id)
        if self.waiting is not None:
            await self.waiting
        self._check()
        if kernel_id not in self.known:
            raise UnknownKernel
        return self.known[kernel_id]

    async def locate(self, kernel_id):
        self._check()
        if kernel_id not in self.known:
            raise UnknownKernel
        return self.known[kernel_id]

    async def keep(self, kernel_id):
        self.known[kernel_id] = attrs.evolve(self.known[kernel_id], single=False)

    async def release(self, kernel_id, reason):
        self._check()
        if self.known.pop(kernel_id, None) is None:
            raise UnknownKernel
        self.released.append((kernel_id, reason))

    async def interrupt(self, kernel_id):
        self._check()
        self.interrupted.append(kernel_id)

    async def pool_status(self):
        self._check()
        return {"leased": len(self.known)}


class FakePermalinks:
    def __init__(self):
        self.cells = {}
        self.error = None

    async def store(self, cell, visitor=""):
        self.visitor = visitor
        if self.error:
            raise self.error
        self.cells["abcdef"] = cell
        return "abcdef"

    async def fetch(self, permalink_id):
        if self.error:
            raise self.error
        if permalink_id not in self.cells:
            raise UnknownPermalink
        return self.cells[permalink_id]

    async def check(self):
        if self.error:
            raise self.error


class World:
    """The table of kernels between a fake pool and fake sockets."""

    def __init__(self, monkeypatch, config=None):
        FakeSocket.made = []
        monkeypatch.setattr(kernels, "Sockets", FakeSockets)
        monkeypatch.setattr(kernel_connection, "SubscriberConnection", FakeSocket)
        monkeypatch.setattr(kernel_connection, "DealerConnection", FakeSocket)
        self.config = config or Config()
        self.clock = Clock()
        self.pool = FakePool()
        self.files = FakeFiles()
        self.kernels = kernels.Kernels(self.config, self.clock, self.pool, lambda: NOW, self.files)

    def kernel(self, kernel_id=None):
        """The other side of a kernel that is or was known; without an id, of the newest."""
        address = self.pool.known[kernel_id] if kernel_id else list(self.pool.known.values())[-1]
        return FakeKernel(address)

    def start(self, kernel_id=None):
        """Let the newest kernel answer the first round trip; return its other side."""
        kernel = self.kernel(kernel_id)
        kernel.answer(0)
        return kernel


class Client:
    """A client of a kernel that records what it gets."""

    def __init__(self):
        self.frames = []
        self.closed = None
        self.ticks = 0

    def deliver(self, frame):
        self.frames.append(frame)

    def close(self, code):
        self.closed = code

    def tick(self):
        self.ticks += 1

    @property
    def kinds(self):
        return [frame.content.get("execution_state", frame.msg_type) for frame in self.frames]
