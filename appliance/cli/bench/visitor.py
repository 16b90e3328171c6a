"""What one visitor does, over HTTP/1.1 and a WebSocket: the same requests that the page and its cells make.

Each visit comes from a loopback address of its own (127.64.0.0/10), so that limits for an address count it as they
count a visitor: HAProxy sees and passes on that address. Only what runs on the machine itself can do so.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
import json
import time
import uuid
from typing import TYPE_CHECKING, Any

import attrs
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, RejectConnection, Request, TextMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from appliance.cli.target import Target

#: Longest wait for any answer; what takes longer has failed.
ANSWER_SECONDS = 60.0

#: Largest answer to a request, and bytes read from a connection at once.
MAX_ANSWER_BYTES = 8 << 20
READ_BYTES = 65_536

#: 127.64.0.0/10: addresses that nothing else on the machine uses.
FIRST_ADDRESS = 0x7F400001
ADDRESSES = (1 << 22) - 2

FORM = "application/x-www-form-urlencoded"


class Refused(Exception):
    """A visit did not get what it asked for. ``code``: that of the answer's error, or what went wrong."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Connection:
    """A connection from an address of its own."""

    def __init__(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._target = target
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, target: Target, number: int) -> Connection:
        """Connect as visitor ``number``; raises `OSError`."""
        source = FIRST_ADDRESS + number % ADDRESSES
        address = ".".join(str(source >> shift & 255) for shift in (24, 16, 8, 0))
        local = None if ":" in target.host else (address, 0)
        reader, writer = await asyncio.open_connection(
            target.host, target.port, ssl=target.context(), local_addr=local, limit=MAX_ANSWER_BYTES
        )
        return cls(target, reader, writer)

    @property
    def host(self) -> str:
        """What the header Host says."""
        return self._target.url.partition("//")[2]

    def close(self) -> None:
        """Close it."""
        self._writer.close()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self._writer.write(data)

    async def receive(self) -> bytes:
        """Return what comes next; raises `Refused` at the end."""
        data = await self._reader.read(READ_BYTES)
        if not data:
            raise Refused("connection closed")
        return data

    async def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the body of the answer; raises `Refused` for any status but 200 and 202."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nAccept-Encoding: br, gzip\r\n"
        if method == "POST":
            head += f"Content-Type: {FORM}\r\nContent-Length: {len(body)}\r\n"
        self._writer.write(f"{head}\r\n".encode("ascii") + body)
        status_line, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(status_line.split(" ")[1])
        fields = dict(line.lower().split(":", 1) for line in lines if line)
        if "content-length" in fields:
            answer = await self._reader.readexactly(int(fields["content-length"]))
        elif "chunked" in fields.get("transfer-encoding", ""):
            answer = b"".join([chunk async for chunk in self._chunks()])
        else:
            answer = await self._reader.read(MAX_ANSWER_BYTES)
        if status not in (200, 202):
            raise Refused(error_code(status, answer))
        return answer

    async def _chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces of a body (RFC 9112, section 7.1)."""
        while size := int((await self._reader.readline()).split(b";")[0], 16):
            yield await self._reader.readexactly(size)
            await self._reader.readline()
        await self._reader.readline()


class LeaseConnection:
    """The WebSocket that a cell's page makes before anybody evaluates: ``/lease`` (`appliance.web.lease_routes`)."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._text = ""
        #: What the server has accepted, in JSON and not yet asked for.
        self._arrived: collections.deque[dict[str, Any]] = collections.deque()
        self._accepted = False

    @classmethod
    async def open(cls, target: Target, number: int) -> LeaseConnection:
        """Connect as visitor ``number``. Raises `OSError` or `Refused`."""
        made = cls(await Connection.open(target, number))
        path = f"/lease?session_id={uuid.uuid4().hex}&accepted_tos=true"
        made._connection.send(made._wire.send(Request(host=made._connection.host, target=path)))
        try:
            while not made._accepted:
                await made._read()
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Close it."""
        self._connection.close()

    async def compute(self, code: str, environment: str = "") -> str:
        """Take a kernel for one evaluation of ``code``, in line if need be; return what it prints. Raises `Refused`."""
        message_id = uuid.uuid4().hex
        wish = {"lease": {"environment": environment, "profile": "", "timeout": "0"}}
        self._send({**wish, "requests": [execute_request(message_id, code)]})
        printed = ""
        replied = idle = False
        # the server closes at once after the last of them, perhaps in the same packet
        while not (replied and idle):
            message = await self._receive()
            kind, content = message["msg_type"], message["content"]
            if kind == "refused":
                raise Refused(f"{content['status']} {content['error']}")
            if message["parent_header"].get("msg_id") != message_id:
                continue
            printed += content.get("text", "") if kind == "stream" else ""
            replied = replied or kind == "execute_reply"
            idle = idle or (kind == "status" and content["execution_state"] == "idle")
        return printed

    def _send(self, document: dict[str, Any]) -> None:
        self._connection.send(self._wire.send(TextMessage(json.dumps(document))))

    async def _receive(self) -> dict[str, Any]:
        while not self._arrived:
            await self._read()
        return self._arrived.popleft()

    async def _read(self) -> None:
        """Take what comes next. Raises `Refused` when the connection ends."""
        self._wire.receive_data(await self._connection.receive())
        for event in self._wire.events():
            if isinstance(event, AcceptConnection):
                self._accepted = True
            elif isinstance(event, Ping):
                self._connection.send(self._wire.send(event.response()))
            elif isinstance(event, RejectConnection):
                raise Refused(f"WebSocket refused with {event.status_code}")
            elif isinstance(event, CloseConnection):
                if not self._arrived:
                    raise Refused(f"WebSocket closed with {event.code}")
            elif isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    self._arrived.append(json.loads(self._text))
                    self._text = ""


def execute_request(message_id: str, code: str) -> dict[str, Any]:
    """Return the message that evaluates ``code`` (Jupyter's messaging, "Execute")."""
    header = {"msg_id": message_id, "msg_type": "execute_request", "username": "", "session": uuid.uuid4().hex}
    content = {"code": code, "silent": False, "user_expressions": {}, "allow_stdin": False}
    return {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}


def error_code(status: int, answer: bytes) -> str:
    """Return what an answer calls its error, with its status."""
    try:
        document: Any = json.loads(answer)
        return f"{status} {document['error']}"
    except (ValueError, TypeError, KeyError):
        return str(status)


@attrs.frozen
class Visit:
    """What came of one visit. ``seconds`` that the visitor waited; ``failure`` empty: it went well."""

    kind: str
    seconds: float
    failure: str = ""


class Visitors:
    """Makes visits of each kind."""

    def __init__(self, target: Target, *, share: bool) -> None:
        self._target = target
        self._numbers = itertools.count()
        # codes of this run are new to the store, whose ids come from the content
        self._run = uuid.uuid4().hex
        self._links: list[str] = []
        self.kinds: dict[str, Callable[[int], Awaitable[float | None]]] = {
            "computation": self._compute,
            "page": self._open_page,
            "permalink made": self._share,
            "permalink opened": self._follow,
        }
        if not share:
            del self.kinds["permalink made"]

    @property
    def made(self) -> int:
        """Permalinks that this run has left in the database."""
        return len(self._links)

    async def visit(self, kind: str) -> Visit:
        """Make a visit. A kind's function returns when its visitor began to wait, if that was later than here."""
        number = next(self._numbers)
        began = time.perf_counter()
        failure = ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                began = await self.kinds[kind](number) or began
        except Refused as exc:
            failure = exc.code
        except TimeoutError:
            failure = f"no answer in {ANSWER_SECONDS:.0f} s"
        except (OSError, asyncio.IncompleteReadError, ValueError) as exc:
            failure = type(exc).__name__
        return Visit(kind, time.perf_counter() - began, failure)

    async def _compute(self, number: int) -> float:
        """Evaluate as a cell does: connected before the click, a kernel of its own, one evaluation, and away."""
        connection = await LeaseConnection.open(self._target, number)
        try:
            clicked = time.perf_counter()
            printed = await connection.compute(f"print({number} * 7)")
        finally:
            connection.close()
        if printed != f"{number * 7}\n":
            raise Refused("wrong result")
        return clicked

    async def _open_page(self, number: int) -> None:
        """Load the page and its script on one connection, as a browser does for the first time."""
        connection = await Connection.open(self._target, number)
        try:
            await connection.ask("GET", "/")
            await connection.ask("GET", "/static/embedded_cell.js")
        finally:
            connection.close()

    async def _share(self, number: int) -> None:
        connection = await Connection.open(self._target, number)
        try:
            answer = await connection.ask("POST", "/permalink", f"code=print({number})+%23+{self._run}".encode())
        finally:
            connection.close()
        if len(self._links) < ADDRESSES:
            self._links.append(json.loads(answer)["query"])

    async def _follow(self, number: int) -> None:
        if not self._links:
            await self._share(number)
        link = self._links[number % len(self._links)]
        connection = await Connection.open(self._target, number)
        try:
            answer = await connection.ask("GET", f"/permalink?q={link}")
        finally:
            connection.close()
        if self._run.encode() not in answer:
            raise Refused("wrong cell")
