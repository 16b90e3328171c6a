"""The web role's link to the permalink role: HTTP over a Unix socket whose owner is checked (trust line T8)."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer
from zope.interface import implementer

from appliance.config import Config, uid_of
from appliance.errors import (
    ApplianceError,
    BadRequest,
    PermalinkRemoved,
    PermalinksFull,
    PermalinksUnavailable,
    QuotaExceeded,
    TooLarge,
    UnknownPermalink,
)
from appliance.peercred import ROOT_UID, CheckedEndpoint
from appliance.protocol.permalink import MAX_LOOKUP_LENGTH, SharedCell, render_cell

log = Logger()

#: Longest wait for an answer: one group commit and the queue before it.
ANSWER_SECONDS = 5.0

#: Connections kept open.
KEPT_CONNECTIONS = 4

#: JSON for one byte of text at worst (``\\u0000``); a cell has two texts of at most ``permalink.max_code_bytes``.
_JSON_BYTES_PER_BYTE = 6

#: What the permalink role says that a visitor is told as it is, by status.
_KNOWN: dict[int, type[ApplianceError]] = {
    error.http_status: error
    for error in (BadRequest, UnknownPermalink, PermalinkRemoved, TooLarge, QuotaExceeded, PermalinksFull)
}

_BASE = b"http://permalink"


@implementer(IAgentEndpointFactory)
class _Endpoints:
    def __init__(self, endpoint: Any) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, _uri: Any) -> Any:  # noqa: N802 - Twisted
        return self._endpoint


@implementer(IBodyProducer)
class _Body:
    """A request's body that is at hand."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: Any) -> Deferred[None]:  # noqa: N802 - Twisted
        consumer.write(self._data)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted
        """Do nothing: everything is written at once."""

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted
        """Do nothing."""

    def stopProducing(self) -> None:  # noqa: N802 - Twisted
        """Do nothing."""


class _Collected(Protocol):
    """Collects the body of an answer up to a limit."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 - Twisted
        self._size += len(data)
        if self._size > self._max_bytes:
            transport: Any = self.transport
            transport.abortConnection()
        else:
            self._parts.append(data)

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted
        if self.done.called:
            return
        if self._size > self._max_bytes:
            self.done.errback(ValueError(f"answer of more than {self._max_bytes} bytes"))
        else:
            self.done.callback(b"".join(self._parts))


class PermalinkClient:
    """The permalink store, as the web role sees it."""

    def __init__(self, config: Config, reactor: Any) -> None:
        path = str(config.permalink_socket)
        endpoint = UNIXClientEndpoint(reactor, path, timeout=ANSWER_SECONDS)  # type: ignore[no-untyped-call]
        uids = frozenset({ROOT_UID, uid_of(config.users.permalink)})
        self._clock = reactor
        self._connections = HTTPConnectionPool(reactor, persistent=True)  # type: ignore[no-untyped-call]
        self._connections.maxPersistentPerHost = KEPT_CONNECTIONS
        self._agent = Agent.usingEndpointFactory(  # type: ignore[no-untyped-call]
            reactor, _Endpoints(CheckedEndpoint(endpoint, uids)), pool=self._connections
        )
        self._max_bytes = 2 * _JSON_BYTES_PER_BYTE * config.permalink.max_code_bytes + 4096

    def close(self) -> Deferred[Any]:
        """Close the connections."""
        closing: Deferred[Any] = self._connections.closeCachedConnections()  # type: ignore[no-untyped-call]
        return closing

    async def store(self, cell: SharedCell, visitor: str = "") -> str:
        """Keep a cell for a visitor, named by its address, and return its id.

        Raises `TooLarge`, `QuotaExceeded`, `PermalinkRemoved`, `PermalinksFull` or `PermalinksUnavailable`.
        """
        document = await self._ask(b"POST", b"/permalinks", render_cell(cell), visitor)
        return str(document["id"])

    async def fetch(self, permalink_id: str) -> SharedCell:
        """Return the cell of an id; raises `UnknownPermalink`, `PermalinkRemoved` or `PermalinksUnavailable`."""
        if not 0 < len(permalink_id) <= MAX_LOOKUP_LENGTH:
            raise UnknownPermalink
        path = "/permalinks/" + urllib.parse.quote(permalink_id, safe="")
        document = await self._ask(b"GET", path.encode("ascii"))
        return SharedCell(
            code=str(document["code"]), language=str(document["language"]), interacts=str(document["interacts"])
        )

    async def check(self) -> None:
        """Return when the store works; raises `PermalinksUnavailable`."""
        await self._ask(b"GET", b"/healthz")

    async def metrics(self) -> str:
        """Return the permalink role's metrics as text; raises `PermalinksUnavailable`."""
        return str((await self._ask(b"GET", b"/metrics"))["text"])

    async def _ask(self, method: bytes, path: bytes, body: bytes | None = None, visitor: str = "") -> dict[str, Any]:
        headers = Headers({b"Content-Type": [b"application/json"]})
        if visitor:
            headers.addRawHeader(b"Cell-Visitor", visitor.encode("ascii"))
        try:
            asking = Deferred.fromCoroutine(self._exchange(method, path, headers, body))
            status, text = await asking.addTimeout(ANSWER_SECONDS, self._clock)
            document = json.loads(text)
            if not isinstance(document, dict):
                raise TypeError("the answer is not an object")
        except CancelledError:
            raise
        except Exception as exc:
            log.warn("permalinks did not answer {method}: {exc!r}", method=method.decode("ascii"), exc=exc)
            raise PermalinksUnavailable from exc
        if status in (200, 201):
            return document
        message = str(document.get("message", ""))
        if status in _KNOWN:
            seconds = document.get("retry_after_seconds")
            raise _KNOWN[status](message, retry_after_seconds=seconds if isinstance(seconds, int | float) else None)
        raise PermalinksUnavailable

    async def _exchange(self, method: bytes, path: bytes, headers: Headers, body: bytes | None) -> tuple[int, bytes]:
        producer = None if body is None else _Body(body)
        response = await self._agent.request(method, _BASE + path, headers, producer)
        collected = _Collected(self._max_bytes)
        response.deliverBody(collected)
        return int(response.code), await collected.done
