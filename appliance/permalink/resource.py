"""The HTTP face of the permalink role: what its addresses answer.

``POST /permalinks``, ``PUT`` and ``GET /permalinks/<id>``, ``GET /healthz``; see ARCHITECTURE.md, Permalinks.
"""

from __future__ import annotations

import json
import urllib.parse
from typing import TYPE_CHECKING, Any

from appliance.errors import ApplianceError, BadRequest, MethodNotAllowed, NotFound, OtherPermalink, TooLarge
from appliance.permalink.http import Answer, Server, error_answer
from appliance.protocol import permalink
from appliance.protocol.link_quota import LinkQuota
from appliance.protocol.metrics import Registry
from appliance.protocol.permalink import entity_tag, render_cell

if TYPE_CHECKING:
    from appliance.permalink.store import PermalinkStore
    from appliance.protocol.http1 import Request

#: Bytes of JSON for one byte of text at worst (``\\u0000``), for the two texts, and room for keys and language.
_JSON_BYTES_A_TEXT_BYTE = 6
_JSON_OVERHEAD_BYTES = 4096

_PREFIX = b"/permalinks"
_NO_STORE = b"Cache-Control: no-store\r\n"
_IMMUTABLE = b"Cache-Control: public, max-age=31536000, immutable\r\n"

_OPERATIONS = {b"GET": "read", b"POST": "write", b"PUT": "write"}

#: Longest name of a visitor's address group that the web role sends.
MAX_VISITOR_BYTES = 64


_write_json = json.JSONEncoder(ensure_ascii=False).encode


def _document(document: object) -> bytes:
    return _write_json(document).encode()


class Permalinks:
    """Answers requests from a store, within the quota of each address."""

    def __init__(
        self, store: PermalinkStore, max_code_bytes: int, quota: LinkQuota, clock: Any, registry: Registry
    ) -> None:
        self._store = store
        self._max_code_bytes = max_code_bytes
        self._quota = quota
        self._clock = clock
        self._registry = registry
        self._seconds = registry.histogram(
            "cell_permalink_seconds", "Time of a read, and of a write until it is on disk.", ("operation",)
        )
        self._refused = registry.counter("cell_permalink_refused_total", "Requests refused, by code.", ("code",))

    async def answer(self, request: Request) -> Answer:
        """Answer a request, and count it; raises `ApplianceError`."""
        began = self._clock.seconds()
        try:
            answer = await self._answer(request)
        except ApplianceError as exc:
            self._refused.add(exc.code)
            raise
        operation = _OPERATIONS.get(request.method)
        if operation is not None and request.target.startswith(_PREFIX):
            self._seconds.observe(self._clock.seconds() - began, operation)
        return answer

    async def _answer(self, request: Request) -> Answer:
        path = request.target
        if path.startswith(_PREFIX):
            rest = path[len(_PREFIX) :]
            if request.method in (b"GET", b"HEAD"):
                return await self._get(request, rest)
            if request.method == b"POST":
                if rest:
                    raise MethodNotAllowed("Permalinks are immutable: POST to /permalinks.")
                return 200, _document({"id": await self._store.put(self._cell(request))}), _NO_STORE
            if request.method == b"PUT":
                return await self._put(request, rest)
            return _not_allowed(b"GET, HEAD, POST, PUT")
        if path == b"/healthz":
            if request.method not in (b"GET", b"HEAD"):
                return _not_allowed(b"GET, HEAD")
            await self._store.check()
            return 200, b'{"status": "ok"}', _NO_STORE
        if path == b"/metrics":
            return 200, _document({"text": self._registry.render()}), _NO_STORE
        raise NotFound

    def _cell(self, request: Request) -> permalink.SharedCell:
        if request.too_large:
            raise TooLarge
        cell = permalink.parse_cell(request.body, self._max_code_bytes)
        visitor = request.fields.get(b"cell-visitor", b"")[:MAX_VISITOR_BYTES].decode("ascii", "replace")
        self._quota.charge(visitor, cell.size_bytes(), self._clock.seconds())
        return cell

    async def _put(self, request: Request, rest: bytes) -> Answer:
        """Store a cell under the id that it must have; another id is refused before anything is stored."""
        wanted = _id(rest)
        cell = self._cell(request)
        own = list(permalink.candidate_ids(cell))
        if wanted not in own:
            raise OtherPermalink(f"The id of this cell is {own[0]}: ids follow from the content.")
        found = await self._store.put(cell)
        if found != wanted:
            raise OtherPermalink(f"The id of this cell is {found}: it has been shared under that one.")
        return 200, _document({"id": found}), _NO_STORE

    async def _get(self, request: Request, rest: bytes) -> Answer:
        cell = await self._store.get(_id(rest))
        body = render_cell(cell)
        tag = entity_tag(body)
        headers = b"%bETag: %b\r\n" % (_IMMUTABLE, tag)
        if tag in request.fields.get(b"if-none-match", b""):
            return 304, b"", headers
        return 200, body, headers


def _id(rest: bytes) -> str:
    """Return the id in what follows ``/permalinks``."""
    if rest[:1] != b"/" or b"/" in rest[1:]:
        raise NotFound
    text = rest[1:]
    if text.isalnum():
        return text.decode("ascii")
    try:
        return urllib.parse.unquote_to_bytes(text).decode()
    except UnicodeDecodeError as exc:
        raise BadRequest("An id is UTF-8 text.") from exc


def _not_allowed(allowed: bytes) -> Answer:
    status, body, headers = error_answer(MethodNotAllowed())
    return status, body, headers + b"Allow: %b\r\n" % allowed


def max_body_bytes(max_code_bytes: int) -> int:
    """Return the size of the largest JSON body that can hold two texts of ``max_code_bytes``."""
    return 2 * _JSON_BYTES_A_TEXT_BYTE * max_code_bytes + _JSON_OVERHEAD_BYTES


def make_server(
    store: PermalinkStore,
    max_code_bytes: int,
    clock: Any,
    quota: LinkQuota | None = None,
    registry: Registry | None = None,
) -> Server:
    """Return the HTTP server's factory."""
    registry = registry or Registry()
    permalinks = Permalinks(store, max_code_bytes, quota or LinkQuota(0, 0), clock, registry)
    return Server(permalinks.answer, max_body_bytes(max_code_bytes), clock)
