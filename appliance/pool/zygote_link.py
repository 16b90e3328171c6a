"""Connections from zygotes (trust line T4): SEQPACKET, JSON datagrams with descriptors beside them.

Twisted has no SEQPACKET transport, so this module watches the sockets itself. A zygote is accepted when the uid at the
other end (``SO_PEERCRED``) is the one its launcher mapped; what it says is checked like any other input.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Protocol

import attrs
from twisted.logger import Logger

from appliance.pool.descriptor import WatchedDescriptor

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from pathlib import Path

log = Logger()

MAX_DATAGRAM_BYTES = 8192
#: Datagrams read from a zygote in one turn of the reactor.
MAX_DATAGRAMS_PER_TURN = 64
#: What a zygote says; each message is one of these.
_KINDS = ("hello", "alive", "inventory", "forked", "failed", "exited")
#: Zygotes that may wait to be accepted.
BACKLOG = 8


class LinkOwner(Protocol):
    """What a link tells the pool."""

    def zygote_hello(self, link: ZygoteLink) -> None:
        """Note that the zygote of ``link.environment`` has said who it is."""

    def zygote_alive(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        """Note that a kernel runs in ``slot``; the callee owns ``pidfd``."""

    def zygote_ready(self, link: ZygoteLink) -> None:
        """Note that every running kernel has been told: now kernels can be started."""

    def zygote_forked(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        """Note that a kernel was forked; the callee owns ``pidfd``."""

    def zygote_failed(self, link: ZygoteLink, slot: int, why: str) -> None:
        """Note that a kernel could not be forked."""

    def zygote_exited(self, link: ZygoteLink, slot: int, status: int, *, oom: bool) -> None:
        """Note that a kernel ended with this wait status."""

    def zygote_lost(self, link: ZygoteLink) -> None:
        """Note that the zygote went away."""


class ZygoteLink:
    """One connected zygote."""

    def __init__(self, reactor: Any, sock: socket.socket, owner: LinkOwner) -> None:
        self.environment = ""
        #: Layers a host may lack: name to why it is missing, empty when it is there.
        self.layers: dict[str, str] = {}
        self._socket = sock
        self._owner = owner
        self._open = True
        #: Whether it was told to end.
        self.retired = False
        #: The kernel after which it forks no more.
        self.last_slot: int | None = None
        self._watch = WatchedDescriptor(reactor, sock.fileno(), self._read)

    @property
    def is_open(self) -> bool:
        """Whether the zygote is there."""
        return self._open

    def fork(self, slot: int, limits: dict[str, int], egress: str, data: str, descriptors: list[int]) -> None:
        """Ask for a kernel. Raises `OSError`.

        ``egress``: the profile whose proxy it may use, or empty; ``data``: that whose data sets it sees, or empty;
        ``descriptors``: five listeners of ZeroMQ's, the birth socket and the listener for files.
        """
        self._send({"fork": slot, "profile": limits, "egress": egress, "data": data}, descriptors)

    def signal(self, slot: int, number: signal.Signals, pidfd: int) -> None:
        """Send SIGINT or SIGKILL to the kernel behind ``pidfd``. Raises `OSError`."""
        self._send({"signal": int(number), "slot": slot}, [pidfd])

    def set_background(self, slot: int, *, on: bool) -> None:
        """Let a kernel give way to all others, or not any more. Raises `OSError`."""
        self._send({"background": slot, "on": on}, [])

    def retire(self) -> None:
        """Tell the zygote to end; its keeper starts another and kernels live on."""
        self.retired = True
        self._send({"retire": True}, [])

    def settled(self, slot: int) -> None:
        """Note that a kernel is ready, or will not be: after the last one the zygote has nothing more to do."""
        if slot == self.last_slot:
            with contextlib.suppress(OSError):  # it may have gone by itself
                self.retire()

    def close(self) -> None:
        """Drop the zygote."""
        if self._open:
            self._open = False
            self._watch.stop()
            self._socket.close()

    def _send(self, message: dict[str, object], descriptors: list[int]) -> None:
        if not self._open:
            raise ConnectionError("the zygote is gone")
        socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)

    def _read(self) -> None:
        for _ in range(MAX_DATAGRAMS_PER_TURN):
            if not self._open:
                return
            try:
                data, descriptors, _, _ = socket.recv_fds(self._socket, MAX_DATAGRAM_BYTES, 1)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._lost()
                return
            try:
                self._take(json.loads(data), descriptors)
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
                for fd in descriptors:
                    os.close(fd)
                log.error("zygote {environment} dropped: {why}", environment=self.environment, why=repr(exc))
                self._lost()

    def _take(self, message: dict[str, Any], descriptors: list[int]) -> None:
        kinds = [kind for kind in _KINDS if kind in message]
        if len(kinds) != 1:
            raise ValueError(f"unknown message {sorted(message)}")
        (kind,) = kinds
        if descriptors and kind not in ("alive", "forked"):
            raise ValueError(f"a descriptor came with {kind}")
        if kind == "hello":
            self.environment = str(message["hello"])
            self.layers = {str(name): str(reason) for name, reason in message["layers"].items()}
            self._owner.zygote_hello(self)
        elif kind == "alive":
            self._owner.zygote_alive(self, int(message["alive"]), _only(descriptors))
        elif kind == "inventory":
            self._owner.zygote_ready(self)
        elif kind == "forked":
            if message.get("last"):
                self.last_slot = int(message["forked"])
            self._owner.zygote_forked(self, int(message["forked"]), _only(descriptors))
        elif kind == "failed":
            self._owner.zygote_failed(self, int(message["failed"]), f"{message['step']}: {message['error']}")
        else:
            self._owner.zygote_exited(self, int(message["exited"]), int(message["status"]), oom=bool(message["oom"]))

    def _lost(self) -> None:
        if self._open:
            self.close()
            self._owner.zygote_lost(self)


def _only(descriptors: list[int]) -> int:
    if len(descriptors) != 1:
        raise ValueError(f"expected one descriptor, received {len(descriptors)}")
    return descriptors[0]


@attrs.define
class ZygoteListener:
    """The socket on which the pool waits for zygotes."""

    reactor: Any
    path: Path
    uids: frozenset[int]
    accepted: Callable[[socket.socket], None]
    inherited: int | None = None
    _socket: socket.socket | None = None
    _watch: WatchedDescriptor | None = None

    def start(self) -> None:
        """Listen on the descriptor ``inherited``, else in place of an earlier pool's socket. Raises `OSError`."""
        if self.inherited is None:
            listener = self._bind()
        else:
            listener = socket.socket(fileno=os.dup(self.inherited))
            listener.setblocking(False)
        self._socket = listener
        self._watch = WatchedDescriptor(self.reactor, listener.fileno(), self._accept)

    def _bind(self) -> socket.socket:
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        listener.bind(str(self.path))
        # The directory is searchable and the check of the peer's uid is the guard: a zygote runs under an id of the
        # range, which no file permission could name without naming more.
        self.path.chmod(0o666)
        listener.listen(BACKLOG)
        return listener

    def stop(self) -> None:
        """Stop listening."""
        if self._watch is not None and self._socket is not None:
            self._watch.stop()
            self._socket.close()
            if self.inherited is None:
                self.path.unlink(missing_ok=True)

    def _accept(self) -> None:
        assert self._socket is not None  # noqa: S101 - only called while listening
        connection, _ = self._socket.accept()
        _, uid, _ = struct.unpack("=iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in self.uids:
            log.warn("zygote refused: its uid is {uid}, expected one of {uids}", uid=uid, uids=sorted(self.uids))
            connection.close()
            return
        connection.setblocking(False)
        self.accepted(connection)
