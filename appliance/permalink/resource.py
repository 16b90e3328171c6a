"""The HTTP face of the permalink role: ``POST /permalinks``, ``GET /permalinks/<id>``, ``GET /healthz``."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from appliance.errors import ApplianceError, BadRequest, MethodNotAllowed, NotFound, TooLarge
from appliance.protocol import permalink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from twisted.internet.interfaces import IReactorTime

    from appliance.permalink.store import PermalinkStore

log = Logger()

#: Seconds a connection may be idle; the web role keeps connections for the next requests.
IDLE_SECONDS = 60

#: Bytes of JSON for one byte of text at worst (``\\u0000``), for the two texts, and room for keys and language.
_JSON_BYTES_A_TEXT_BYTE = 6
_JSON_OVERHEAD_BYTES = 4096


class BoundedBody(io.BytesIO):
    """Holds a request's body up to ``limit`` bytes; drops the rest and says so."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self.exceeded = False

    def write(self, data: Any) -> int:
        """Keep ``data`` if it fits."""
        if self.exceeded or self.tell() + len(data) > self._limit:
            self.exceeded = True
            return len(data)
        return super().write(data)


def answer(request: Any, status: int, document: object) -> None:
    """Send ``document`` as JSON."""
    body = json.dumps(document, ensure_ascii=False).encode()
    request.setResponseCode(status)
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", b"%d" % len(body))
    if request.method != b"HEAD":
        request.write(body)
    request.finish()


def _name(request: Any) -> str:
    """Return the request's method and path for the log."""
    return f"{request.method.decode('latin-1')} {request.path.decode('latin-1')}"


def _ignore_cancelled(failure: Any) -> None:
    failure.trap(CancelledError)


class _AsyncResource(Resource):
    """A leaf that answers with a coroutine per method; errors become JSON with the status of their class."""

    isLeaf = True  # noqa: N815 - Twisted

    def methods(self) -> dict[bytes, Callable[[Any], Coroutine[Any, Any, None]]]:
        """Return what answers each method."""
        raise NotImplementedError

    def render(self, request: Any) -> int:
        """Start answering."""
        running = ensureDeferred(self._answer(request))
        request.notifyFinish().addErrback(lambda _reason: running.cancel())
        running.addErrback(_ignore_cancelled)
        return NOT_DONE_YET

    async def _answer(self, request: Any) -> None:
        try:
            method = self.methods().get(request.method)
            if method is None:
                request.setHeader(b"allow", b", ".join(sorted(self.methods())))
                raise MethodNotAllowed
            await method(request)
        except CancelledError:
            raise
        except ApplianceError as exc:
            log.info("{request}: {code}", request=_name(request), code=exc.code)
            answer(request, exc.http_status, {"error": exc.code, "message": exc.message})
        except Exception:  # noqa: BLE001 - unknown faults are bland outside and full in the log
            log.failure("{request} failed", request=_name(request))
            fault = ApplianceError()
            answer(request, fault.http_status, {"error": fault.code, "message": fault.message})


class Permalinks(_AsyncResource):
    """``/permalinks`` and ``/permalinks/<id>``."""

    def __init__(self, store: PermalinkStore, max_code_bytes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store
        self._max_code_bytes = max_code_bytes

    def methods(self) -> dict[bytes, Callable[[Any], Coroutine[Any, Any, None]]]:
        """Return what answers each method."""
        return {b"GET": self._get, b"HEAD": self._get, b"POST": self._post}

    async def _post(self, request: Any) -> None:
        if request.postpath:
            raise MethodNotAllowed("Permalinks are immutable: POST to /permalinks.")
        body = request.content
        if not isinstance(body, BoundedBody) or body.exceeded:
            raise TooLarge
        cell = permalink.parse_cell(body.read(), self._max_code_bytes)
        answer(request, 200, {"id": await self._store.put(cell)})

    async def _get(self, request: Any) -> None:
        try:
            (permalink_id,) = (part.decode() for part in request.postpath or ())
        except UnicodeDecodeError as exc:
            raise BadRequest("An id is UTF-8 text.") from exc
        except ValueError as exc:
            raise NotFound from exc
        cell = await self._store.get(permalink_id)
        request.setHeader(b"cache-control", b"public, max-age=31536000, immutable")
        answer(request, 200, {"code": cell.code, "language": cell.language, "interacts": cell.interacts})


class Health(_AsyncResource):
    """``/healthz``: 200 when a canary could be written and read."""

    def __init__(self, store: PermalinkStore) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._store = store

    def methods(self) -> dict[bytes, Callable[[Any], Coroutine[Any, Any, None]]]:
        """Return what answers each method."""
        return {b"GET": self._get, b"HEAD": self._get}

    async def _get(self, request: Any) -> None:
        await self._store.check()
        request.setHeader(b"cache-control", b"no-store")
        answer(request, 200, {"status": "ok"})


class _Nothing(_AsyncResource):
    """Any other address."""

    def methods(self) -> dict[bytes, Callable[[Any], Coroutine[Any, Any, None]]]:
        """Return what answers each method."""
        raise NotFound


class _Root(Resource):
    def getChild(self, path: bytes, request: Any) -> Resource:  # noqa: N802 - Twisted
        return _Nothing()  # type: ignore[no-untyped-call]


class _PermalinkSite(Site):
    noisy = False
    displayTracebacks = False  # noqa: N815 - Twisted

    def __init__(self, root: Resource, body_limit: int, reactor: IReactorTime) -> None:
        super().__init__(root, timeout=IDLE_SECONDS, reactor=reactor)  # type: ignore[no-untyped-call]
        self._body_limit = body_limit

    def getContentFile(self, _length: int | None) -> BoundedBody:  # noqa: N802 - Twisted
        return BoundedBody(self._body_limit)

    def log(self, request: Any) -> None:
        """Keep no access log: it would tell who shared what. Requests that fail are events."""


def max_body_bytes(max_code_bytes: int) -> int:
    """Return the size of the largest JSON body that can hold two texts of ``max_code_bytes``."""
    return 2 * _JSON_BYTES_A_TEXT_BYTE * max_code_bytes + _JSON_OVERHEAD_BYTES


def make_site(store: PermalinkStore, max_code_bytes: int, reactor: IReactorTime) -> Site:
    """Return the HTTP server's factory."""
    root = _Root()  # type: ignore[no-untyped-call]
    root.putChild(b"permalinks", Permalinks(store, max_code_bytes))
    root.putChild(b"healthz", Health(store))
    return _PermalinkSite(root, max_body_bytes(max_code_bytes), reactor)
