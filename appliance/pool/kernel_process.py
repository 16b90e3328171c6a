"""One kernel from the pool's side: its birth, its life (pidfd), its heartbeat and what it says of its state."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

import zmq
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from appliance.pool.cpu_time import tree_seconds
from appliance.pool.descriptor import WatchedDescriptor
from appliance.pool.memory_peak import peak_bytes
from appliance.zmq_sockets import BoundedConnection, DealerConnection, SendQueueFullError, Sockets

if TYPE_CHECKING:
    from appliance.pool.records import Record

log = Logger()

#: Seconds between heartbeats of a kernel, and the misses after which it counts as unresponsive. A kernel answers from
#: a thread that never needs the interpreter, so only a stopped or dead process misses one.
BEAT_SECONDS = 10.0
MAX_MISSED_BEATS = 2

#: Largest datagram of a birth.
MAX_LETTER_BYTES = 4096

#: Largest heartbeat or status message.
MAX_MESSAGE_BYTES = 65_536

#: Seconds to wait, after a process has ended, for its zygote to tell how.
EXIT_STATUS_SECONDS = 0.5


def pid_of(pidfd: int) -> int:
    """Return the process id behind a pidfd, in this pid namespace. Raises `OSError` or `ValueError` (pidfd_open(2))."""
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        for line in file:
            if line.startswith("Pid:"):
                return int(line.split()[1])
    raise ValueError(f"descriptor {pidfd} is no pidfd")


class KernelOwner(Protocol):
    """What a kernel tells the pool."""

    def kernel_verified(self, slot: int) -> None:
        """Note that the kernel set itself up and answered a heartbeat."""

    def kernel_failed(self, slot: int, why: str) -> None:
        """Note that the kernel could not set itself up."""

    def kernel_status(self, slot: int, *, busy: bool) -> None:
        """Note that the kernel calls itself busy or idle."""

    def kernel_unresponsive(self, slot: int) -> None:
        """Note that the kernel missed its heartbeats."""

    def kernel_gone(self, slot: int) -> None:
        """Note that the kernel's process has ended and nobody has told how."""


class _StatusSubscriber(BoundedConnection):
    """Subscribed to a kernel's status messages; what another says under their name is dropped with its connection."""

    socketType = zmq.SUB  # noqa: N815 - Twisted

    def __init__(self, *args: Any, topic: bytes) -> None:
        self._topic = topic
        super().__init__(*args, max_message_bytes=MAX_MESSAGE_BYTES)

    def _prepare(self) -> None:
        self.socket.set(zmq.SUBSCRIBE, self._topic)


class KernelProcess:
    """The pool's handles on one kernel; `close` gives them all back.

    ``beats_while_busy``: whether a kernel that runs an evaluation must answer heartbeats. Many of other languages have
    but one thread and cannot; the clocks of the evaluation bound how long that may last.
    """

    def __init__(
        self,
        reactor: Any,
        sockets: Sockets,
        directory: str,
        record: Record,
        owner: KernelOwner,
        *,
        beats_while_busy: bool = True,
    ) -> None:
        self.record = record
        self.directory = directory
        self.pidfd = -1
        #: Set when the pool itself has asked for the end: then nobody need tell how it came.
        self.ending = False
        #: Whether its evaluation was told to stop.
        self.interrupted = False
        #: Whether it gives way to other kernels.
        self.in_background = False
        self._reactor = reactor
        self._sockets = sockets
        self._owner = owner
        self._beats_while_busy = beats_while_busy
        self._birth: socket.socket | None = None
        self._birth_watch: WatchedDescriptor | None = None
        self._death_watch: WatchedDescriptor | None = None
        self._heartbeat: DealerConnection | None = None
        self._status: _StatusSubscriber | None = None
        self._beat_call: Any = None
        self._gone_call: Any = None
        self._missed = 0
        self._probes: list[Deferred[None]] = []
        self._verified = False
        self._evaluating = False
        self._maybe_evaluating = False
        self._cpu_at_start: float | None = None
        self._cpu_seen = 0.0
        self._memory_seen = 0
        self._pid = 0

    @property
    def ended(self) -> bool:
        """Whether the process is known to have ended, be its exit status known or not."""
        return self.pidfd >= 0 and self._death_watch is None

    def expect(self) -> socket.socket:
        """Open the birth socket and write the letter; return the end that the kernel gets.

        Source of the letter's fields: ARCHITECTURE.md, "Pool and zygote".
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        theirs.setblocking(True)
        ours.send(json.dumps({"kernel_id": self.record.kernel_id, "key": self.record.key.hex()}).encode())
        self._birth = ours
        self._birth_watch = WatchedDescriptor(self._reactor, ours.fileno(), self._read_birth)
        return theirs

    def forked(self, pidfd: int) -> None:
        """Take over the pidfd of the kernel's process."""
        self.pidfd = pidfd
        self._death_watch = WatchedDescriptor(self._reactor, pidfd, self._ended)

    def taken_over(self) -> None:
        """Note that an earlier pool has dealt the kernel: until its first word, whatever it computes counts.

        Nobody tells this pool of an evaluation that began before it was subscribed to the kernel.
        """
        self._maybe_evaluating = True

    def evaluation(self, *, running: bool) -> None:
        """Note that an evaluation begins or has ended."""
        self._evaluating = running
        self._maybe_evaluating = False
        self.interrupted = False
        self._cpu_at_start = None

    def evaluation_cpu_seconds(self) -> float:
        """Return the processor time of the running evaluation since the first time this was asked; 0 when none runs.

        Most evaluations are over before anyone asks, so their beginning costs nothing.
        """
        if not (self._evaluating or self._maybe_evaluating):
            return 0.0
        if self._cpu_at_start is None:
            self._cpu_at_start = self.cpu_seconds()
        return self.cpu_seconds() - self._cpu_at_start

    def new_cpu_seconds(self) -> float:
        """Return the processor time since the last call; what processes used that nobody waited for may be missing."""
        seconds = self.cpu_seconds()
        new = max(0.0, seconds - self._cpu_seen)
        self._cpu_seen = seconds
        return new

    def cpu_seconds(self) -> float:
        """Return the processor time of the kernel and its descendants; what was last seen when it is gone."""
        if self.ended:
            return self._cpu_seen
        try:
            self._pid = self._pid or pid_of(self.pidfd)
            return tree_seconds(self._pid)
        except (OSError, ValueError):
            return self._cpu_seen

    def memory_peak_bytes(self) -> int:
        """Return the largest memory that the kernel has had; what was last seen when it is gone."""
        if not self.ended:
            with contextlib.suppress(OSError, ValueError):
                self._pid = self._pid or pid_of(self.pidfd)
                self._memory_seen = max(self._memory_seen, peak_bytes(self._pid))
        return self._memory_seen

    def connect(self) -> None:
        """Connect heartbeat and status, and send the first beat."""
        topic = f"kernel.{self.record.kernel_id}.status".encode()
        self._status = _StatusSubscriber(
            self._sockets, f"ipc://{self.directory}/iopub", self._read_status, self._socket_failed, topic=topic
        )
        self._heartbeat = DealerConnection(
            self._sockets,
            f"ipc://{self.directory}/hb",
            self._read_beat,
            self._socket_failed,
            max_message_bytes=MAX_MESSAGE_BYTES,
        )
        self._send_beat()

    def close(self) -> None:
        """Give back every handle."""
        self._answer_probes()
        self._close_birth()
        if self._death_watch is not None:
            self._death_watch.stop()
            self._death_watch = None
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        for connection in (self._heartbeat, self._status):
            if connection is not None:
                connection.shutdown()
        for call in (self._beat_call, self._gone_call):
            if call is not None and call.active():
                call.cancel()

    def _close_birth(self) -> None:
        if self._birth is not None and self._birth_watch is not None:
            self._birth_watch.stop()
            self._birth.close()
            self._birth = self._birth_watch = None

    def _read_birth(self) -> None:
        assert self._birth is not None  # noqa: S101 - only called while open
        data = b""
        for _ in range(2):
            # The first answer may be ECONNRESET, when the kernel ended with its letter unread; what it said comes next.
            with contextlib.suppress(OSError):
                data = self._birth.recv(MAX_LETTER_BYTES)
                break
        self._close_birth()
        if not data and self.pidfd < 0:
            # not forked, or not yet known to be: its zygote tells of that, or ends
            return
        try:
            message = json.loads(data)
            ready = message.get("ready") is True
            why = f"{message.get('failed')}: {message.get('error')}"
        except (ValueError, AttributeError):
            ready, why = False, "the kernel ended while it set itself up"
        if ready:
            self.connect()
        else:
            self._owner.kernel_failed(self.record.slot, why)

    def _send_beat(self) -> None:
        self._beat_call = self._reactor.callLater(BEAT_SECONDS, self._next_beat)
        assert self._heartbeat is not None  # noqa: S101 - connect() made it
        with contextlib.suppress(SendQueueFullError):
            # Empty first, as from a REQ socket: some kernels answer with a REP socket (ZeroMQ RFC 28).
            self._heartbeat.send([b"", b"beat"])

    def probe(self) -> Deferred[None]:
        """Send a heartbeat out of turn; the Deferred fires with the next answer, or when the kernel has ended."""
        answered: Deferred[None] = Deferred(self._probes.remove)
        self._probes.append(answered)
        if self._heartbeat is not None:
            with contextlib.suppress(SendQueueFullError):
                self._heartbeat.send([b"", b"beat"])
        return answered

    def _answer_probes(self) -> None:
        probes, self._probes = self._probes, []
        for answered in probes:
            answered.callback(None)

    def _next_beat(self) -> None:
        if self._beats_while_busy or not (self._evaluating or self._maybe_evaluating):
            self._missed += 1
        if self._missed > MAX_MISSED_BEATS:
            self._owner.kernel_unresponsive(self.record.slot)
        else:
            self._send_beat()

    def _read_beat(self, parts: list[bytes]) -> None:
        self._missed = 0
        if not self._beats_while_busy and not self._evaluating:
            self._maybe_evaluating = False
        self._answer_probes()
        if not self._verified:
            self._verified = True
            self._owner.kernel_verified(self.record.slot)

    def _read_status(self, parts: list[bytes]) -> None:
        """Note busy and idle; a kernel that lies only misleads its own clocks, which life_seconds bounds."""
        try:
            content = json.loads(parts[-1])
            state = content["execution_state"]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            return
        if state in ("busy", "idle"):
            self._owner.kernel_status(self.record.slot, busy=state == "busy")

    def _socket_failed(self, exc: Exception) -> None:
        self._owner.kernel_unresponsive(self.record.slot)

    def _ended(self) -> None:
        assert self._death_watch is not None  # noqa: S101 - only called while watching
        self._death_watch.stop()
        self._death_watch = None
        pause = 0.0 if self.ending else EXIT_STATUS_SECONDS
        self._gone_call = self._reactor.callLater(pause, self._owner.kernel_gone, self.record.slot)
