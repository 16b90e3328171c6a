"""The five ZeroMQ sockets of a kernel, bound to listeners that the pool made before the fork, and the one for files.

Main thread: shell, on the asyncio loop. One thread for control, captured descriptors and connections that bring a file,
each of which gets a thread of its own. One thread in C for the heartbeat, which answers even while Python code holds
the interpreter. All listeners lie in a directory that this process cannot write.
"""

from __future__ import annotations

import os
import signal
import socket as sockets
import threading
import uuid
from typing import TYPE_CHECKING, Any

import zmq

from appliance.kernel import file_intake
from appliance.kernel.memory import RememberedSocket
from appliance.kernel.wire import KernelSession
from appliance.zygote import sandbox

if TYPE_CHECKING:
    import asyncio

    from appliance.kernel.streams import Stream

#: Messages a browser may be behind before this kernel drops output, so that memory stays bounded: those of a second or
#: two. With fewer, programs that say much in small pieces lose some as soon as the web role has several to read.
IOPUB_HIGH_WATER_MARK = 10_000
#: Largest message a client may send.
MAX_MESSAGE_BYTES = 16 << 20


def start(kernel: Any, loop: asyncio.AbstractEventLoop, listeners: list[int], *, kernel_id: str, key: bytes) -> None:
    """Open the sockets on ``listeners`` (shell, iopub, stdin, control, hb, files) and start serving them."""
    context = zmq.Context()
    *listeners, files = listeners
    shell, iopub, stdin, control, heartbeat = (
        _bind(context, kind, fd)
        for kind, fd in zip((zmq.ROUTER, zmq.PUB, zmq.ROUTER, zmq.ROUTER, zmq.ROUTER), listeners, strict=True)
    )
    kernel.session.adopt(uuid.uuid4().hex, key)
    kernel.ident = kernel_id
    kernel.shell.displayhook.topic = kernel._topic("execute_result")
    kernel.stdin_socket = stdin
    kernel.publisher.attach(iopub)
    pipes = kernel.start_in(loop, RememberedSocket(shell, kernel.publisher.memory))
    threading.Thread(target=_beat, args=(heartbeat,), name="heartbeat", daemon=True).start()
    intake = _Intake(files, file_intake.Ledger(sandbox.HOME, key, kernel.file_brought))
    threading.Thread(target=_Control(kernel, control, pipes, key, intake).run, name="Control", daemon=True).start()


def _bind(context: zmq.Context[Any], kind: int, fd: int) -> Any:
    """Return a socket of ``kind`` that accepts on the listener ``fd`` (ZMQ_USE_FD, zmq_setsockopt(3))."""
    os.set_blocking(fd, False)
    socket = context.socket(kind)
    socket.linger = 1000
    socket.maxmsgsize = MAX_MESSAGE_BYTES
    if kind == zmq.PUB:
        socket.sndhwm = IOPUB_HIGH_WATER_MARK
    else:
        socket.setsockopt(zmq.ROUTER_HANDOVER, 1)
    socket.setsockopt(zmq.USE_FD, fd)
    socket.bind(f"ipc:///run/{fd}")
    return socket


def _beat(socket: Any) -> None:
    try:
        zmq.proxy(socket, socket)
    except zmq.ZMQError:
        return


class _Intake:
    """Takes the files that are brought."""

    def __init__(self, listener: int, ledger: file_intake.Ledger) -> None:
        os.set_blocking(listener, False)
        self.listener = sockets.socket(fileno=listener)
        self._ledger = ledger
        self._at_once = threading.Semaphore(file_intake.MAX_AT_ONCE)

    def accept(self) -> None:
        """Take a connection."""
        file_intake.accept(self.listener, self._ledger, self._at_once)


class _Control:
    """Answers the control channel, publishes what arrives in captured descriptors, and has files taken."""

    def __init__(self, kernel: Any, socket: Any, pipes: list[tuple[int, Stream]], key: bytes, intake: _Intake) -> None:
        self._kernel = kernel
        self._socket = socket
        self._pipes = dict(pipes)
        self._intake = intake
        self._session = KernelSession(username="visitor")
        self._session.adopt(uuid.uuid4().hex, key)

    def run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        files = self._intake.listener.fileno()
        for descriptor in (*self._pipes, files):
            poller.register(descriptor, zmq.POLLIN)
        while True:
            for source, _ in poller.poll():
                if source is self._socket:
                    self._answer(self._socket.recv_multipart())
                elif source == files:
                    self._intake.accept()
                else:
                    self._pipes[source].flush()

    def _answer(self, frames: list[bytes]) -> None:
        idents, parts = self._session.feed_identities(frames)
        try:
            message = self._session.deserialize(parts)
        except Exception:  # noqa: BLE001 - not a message for us
            return
        kind = message["header"]["msg_type"]
        if kind == "replay_request":
            self._replay(message, idents)
            return
        self._status("busy", message)
        content: dict[str, Any] = {"status": "ok"}
        if kind == "interrupt_request":
            os.kill(os.getpid(), signal.SIGINT)
        elif kind == "kernel_info_request":
            content.update(self._kernel.kernel_info)
        elif kind == "shutdown_request":
            content["restart"] = bool(message["content"].get("restart", False))
        else:
            content = {"status": "error", "ename": "UnknownRequest", "evalue": kind, "traceback": []}
        reply = f"{kind.removesuffix('_request')}_reply"
        self._session.send(self._socket, reply, content, message, ident=idents)
        self._status("idle", message)
        if kind == "shutdown_request":
            # The reply is still with ZeroMQ's own thread: closing waits for it, within the linger time.
            self._socket.close()
            os._exit(0)

    def _replay(self, message: dict[str, Any], idents: list[bytes]) -> None:
        """Say again what was said last, and mark on iopub where that ends: who hears the mark has heard what follows.

        This thread answers whatever the kernel computes, and no status tells of it: the kernel is not busy with it.
        """
        self._session.send(self._kernel.publisher, "replay_mark", {}, message, ident=b"replay")
        packed, forgot = self._kernel.publisher.memory.packed()
        content = {"status": "ok", "forgot": forgot}
        self._session.send(self._socket, "replay_reply", content, message, ident=idents, buffers=[packed])

    def _status(self, state: str, parent: dict[str, Any]) -> None:
        topic = self._kernel._topic("status")
        self._session.send(self._kernel.publisher, "status", {"execution_state": state}, parent, ident=topic)
