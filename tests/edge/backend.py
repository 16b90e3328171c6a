"""A small stand-in for the web role: PROXY v2 in front of HTTP/1.1, JSON answers, a WebSocket that echoes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import json
import struct
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

PROXY_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


async def read_proxy_header(reader: asyncio.StreamReader) -> str | None:
    """Return the source address of a PROXY v2 header, None for LOCAL (health checks) and for no internet address.

    Raises ValueError when the connection does not begin with one.
    """
    head = await reader.readexactly(16)
    if head[:12] != PROXY_V2_SIGNATURE or head[12] >> 4 != 2:
        raise ValueError("no PROXY v2 header")
    (length,) = struct.unpack("!H", head[14:16])
    body = await reader.readexactly(length)
    if head[12] & 0x0F == 0 or head[13] >> 4 not in (1, 2):
        return None
    size = 4 if head[13] >> 4 == 1 else 16
    return str(ipaddress.ip_address(body[:size]))


class Backend:
    """Serves on a Unix socket in a thread of its own; ``requests`` is what arrived, health checks left out."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.healthy = True
        self.requests: list[dict[str, Any]] = []
        #: Status and further header lines of what a path is answered.
        self.answers: dict[str, tuple[str, str]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)

    def stop(self) -> None:
        """Stop listening and end every connection."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _listen(self) -> asyncio.Server:
        self.socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._accepted, str(self.socket))
        self.socket.chmod(0o666)
        return server

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connection(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            source = await read_proxy_header(reader)
            while await self._request(source, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            writer.close()

    async def _request(self, source: str | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _version = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        if "give-up-after" in headers:
            # as the web role does with a body that takes too long
            await reader.readexactly(int(headers["give-up-after"]))
            text = b'{"error": "file_too_slow"}'
            writer.write(b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(text))
            writer.write(text)
            await writer.drain()
            return False
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if path in ("/healthz", "/livez"):
            status = "200 OK" if self.healthy else "503 Service Unavailable"
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
            await writer.drain()
            return True
        seen = {"source": source, "method": method, "path": path, "headers": headers, "body_bytes": len(body)}
        self.requests.append(seen)
        if headers.get("upgrade", "").lower() == "websocket":
            await self._websocket(headers, reader, writer)
            return False
        answer = json.dumps(seen).encode()
        status, more = self.answers.get(path, ("200 OK", ""))
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {len(answer)}\r\n\r\n"
        writer.write(head.encode() + answer)
        await writer.drain()
        return True

    async def _websocket(
        self, headers: dict[str, str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        digest = hashlib.sha1(headers["sec-websocket-key"].encode() + WEBSOCKET_GUID).digest()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\n\r\n" % base64.b64encode(digest)
        )
        while True:
            first, second = await reader.readexactly(2)
            mask = await reader.readexactly(4)
            payload = await reader.readexactly(second & 0x7F)
            text = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
            writer.write(bytes([first, len(text)]) + text)
            await writer.drain()
