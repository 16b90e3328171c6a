"""The client that measures: HTTP requests, and Jupyter messages as JSON over a WebSocket.

The same code talks to every server. Compression is off everywhere: on loopback it would only add processor time. A
*stock* client leaves acknowledgements to the kernel (Linux), which delays them by up to 40 ms; a *quick-ACK* client
sets TCP_QUICKACK again after each message (tcp(7): the option is not permanent), so that a server which leaves
Nagle's algorithm on does not wait for them.
"""

from __future__ import annotations

import asyncio
import datetime
import json
import socket
import time
import uuid
from dataclasses import dataclass, field
from typing import Any, Self

from websockets.asyncio.client import connect

#: Longest wait for any one answer: a peer's kernel with all its imports takes seconds on a busy machine.
ANSWER_SECONDS = 60.0

#: Largest answer to an HTTP request.
MAX_ANSWER_BYTES = 4 << 20


class BenchmarkError(Exception):
    """A server did not do what is to be measured."""


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int


async def request(address: Address, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """Make one HTTP request over a connection of its own; return status and body (RFC 9112).

    Raises `BenchmarkError` for an answer without Content-Length, `OSError` and `TimeoutError`.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        reader, writer = await asyncio.open_connection(address.host, address.port, limit=MAX_ANSWER_BYTES)
        try:
            head = f"{method} {path} HTTP/1.1\r\nHost: {address.host}:{address.port}\r\nConnection: close\r\n"
            if method == "POST":
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            writer.write(head.encode("ascii") + b"\r\n" + body)
            status_line, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            status = int(status_line.split(" ")[1])
            if status == 204:
                return status, b""
            fields = dict(line.lower().split(":", 1) for line in lines if line)
            if "content-length" not in fields:
                raise BenchmarkError(f"{method} {path}: the answer has no Content-Length: {status_line}")
            return status, await reader.readexactly(int(fields["content-length"]))
        finally:
            writer.close()


@dataclass
class Execution:
    """What an evaluation brought; times are those of `time.perf_counter`."""

    result: str = ""
    result_at: float = 0.0
    done_at: float = 0.0
    stream_characters: int = 0
    errors: list[str] = field(default_factory=list)


class KernelChannels:
    """A WebSocket to one kernel."""

    def __init__(self, websocket: Any, *, quick_ack: bool) -> None:
        self._websocket = websocket
        self._socket = websocket.transport.get_extra_info("socket")
        self._quick_ack = quick_ack
        self._session = uuid.uuid4().hex
        if quick_ack:
            self._acknowledge()

    @classmethod
    async def open(cls, url: str, *, quick_ack: bool = False) -> Self:
        """Connect."""
        websocket = await connect(
            url,
            compression=None,
            max_size=None,
            max_queue=None,
            ping_interval=None,
            open_timeout=ANSWER_SECONDS,
            close_timeout=1,
            proxy=None,
        )
        return cls(websocket, quick_ack=quick_ack)

    async def close(self) -> None:
        """Close the connection."""
        await self._websocket.close()

    def _acknowledge(self) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    async def execute(self, code: str) -> Execution:
        """Run ``code`` and wait for its reply and for idle, whichever comes last.

        Raises `BenchmarkError` when the code raised, `TimeoutError`.
        """
        message_id = uuid.uuid4().hex
        message = {
            "header": {
                "msg_id": message_id,
                "msg_type": "execute_request",
                "username": "",
                "session": self._session,
                "date": datetime.datetime.now(datetime.UTC).isoformat(),
                "version": "5.3",
            },
            "parent_header": {},
            "metadata": {},
            "content": {
                "code": code,
                "silent": False,
                "store_history": False,
                "user_expressions": {},
                "allow_stdin": False,
            },
            "buffers": [],
            "channel": "shell",
        }
        async with asyncio.timeout(ANSWER_SECONDS):
            await self._websocket.send(json.dumps(message))
            execution = await self._collect(message_id)
        if execution.errors:
            raise BenchmarkError(f"{code!r}: {'; '.join(execution.errors)}")
        return execution

    async def _collect(self, message_id: str) -> Execution:
        execution = Execution()
        replied = idle = False
        while not (replied and idle):
            text = await self._websocket.recv()
            if self._quick_ack:
                self._acknowledge()
            message = json.loads(text)
            if message["parent_header"].get("msg_id") != message_id:
                continue
            content = message["content"]
            match message["header"]["msg_type"]:
                case "execute_result":
                    execution.result_at = time.perf_counter()
                    execution.result = content["data"]["text/plain"]
                case "stream":
                    execution.stream_characters += len(content["text"])
                case "error":
                    execution.errors.append(f"{content['ename']}: {content['evalue']}")
                case "execute_reply":
                    replied = True
                    if content["status"] == "error" and not execution.errors:
                        execution.errors.append(f"{content['ename']}: {content['evalue']}")
                case "status":
                    idle = content["execution_state"] == "idle"
        execution.done_at = time.perf_counter()
        return execution
