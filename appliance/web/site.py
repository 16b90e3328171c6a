"""The HTTP server: limits on bodies, a table of routes, and errors that tell a client what it can use and no more."""

from __future__ import annotations

import functools
import io
import math
import re
import urllib.parse
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.web import resource, server
from twisted.web.http import RESPONSES, HTTPChannel

from appliance.errors import ApplianceError, BadRequest, Forbidden, NotFound, TooLarge
from appliance.log import kernel_name
from appliance.protocol.quota import address_group
from appliance.web.arguments import parse_arguments
from appliance.web.http import (
    Call,
    Response,
    cors_headers,
    error_response,
    method_not_allowed,
    preflight,
)

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.web.metrics import WebMetrics

log = Logger()

#: Seconds an HTTP connection may be idle, or take for the head of a request, or pause within a body.
IDLE_SECONDS = 30

#: A body beyond the limit is read and dropped up to this many bytes, so that the client reads its 413 instead of a
#: reset.
MAX_DRAINED_BYTES = 16_777_216

_KERNEL_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class TooSlow(ApplianceError):
    """The request did not arrive in time. Send it again over a faster connection."""

    code = "request_timeout"
    http_status = 408


class TooManyFiles(ApplianceError):
    """So many files are being brought to this server that it takes no more just now. Try again in a few seconds."""

    code = "too_many_files"
    http_status = 503


#: A handler answers a call; None: it has taken over the connection.
Handler = Callable[..., Awaitable[Response | None]]


@attrs.frozen
class Route:
    """Addresses and the handlers of their methods; named groups of ``pattern`` become arguments of the handler.

    ``any_origin``: answers are public files, sent with ``Access-Control-Allow-Origin: *``. ``takes_files``: bodies are
    files and hold no arguments.
    """

    pattern: re.Pattern[str]
    handlers: Mapping[str, Handler]
    any_origin: bool = False
    takes_files: bool = False


@functools.cache
def label(pattern: str) -> str:
    """Return the name of a route in metrics: its pattern with ``{name}`` for each named group."""
    parts, rest = [], pattern
    while rest:
        before, group, rest = rest.partition("(?P<")
        parts.append(before.replace("\\", ""))
        if group:
            name, _, rest = rest.partition(">")
            parts.append(f"{{{name}}}")
            depth = 1
            while depth:
                depth += {"(": 1, ")": -1}.get(rest[0], 0)
                rest = rest[1:]
    return "".join(parts)


class BoundedBody(io.BytesIO):
    """Holds a body up to ``limit`` bytes that comes within ``seconds``; a larger one is dropped as it comes."""

    def __init__(
        self,
        limit: int,
        error: ApplianceError | None = None,
        *,
        seconds: float = math.inf,
        late: ApplianceError | None = None,
    ) -> None:
        """``error``: what is said of a larger one; ``late``: of one that does not come in time."""
        super().__init__()
        self._limit = limit
        self._error = error or TooLarge()
        self._late = late or TooSlow()
        self._is_late = False
        self.seconds = seconds
        self.received = 0

    @property
    def refusal(self) -> ApplianceError | None:
        """Why the body is not held."""
        if self._is_late:
            return self._late
        return self._error if self.received > self._limit else None

    @property
    def given_up(self) -> bool:
        """Whether the end of the body is not waited for: it is too large by far, or takes too long."""
        return self._is_late or self.received > max(self._limit, 0) + MAX_DRAINED_BYTES

    def came(self, seconds: float) -> None:
        """Take note of how long the body has been coming when a piece of it came."""
        if seconds > self.seconds and not self.given_up:
            self._is_late = True
            self.drop()

    def write(self, data: Any) -> int:
        """Keep ``data`` while it fits."""
        self.received += len(data)
        if self.refusal is not None:
            self.drop()
            return len(data)
        return super().write(data)

    def drop(self) -> None:
        """Hold nothing any more."""
        self.seek(0)
        self.truncate()


class FileBudget:
    """Bytes of files that are on their way at once. One network address may have half of all: others come, too."""

    def __init__(self, limit: int, max_file_bytes: int) -> None:
        self._limit = limit
        self._share = max(limit // 2, max_file_bytes)
        self._held: dict[str, int] = {}

    def take(self, size: int, address: str) -> bool:
        """Return whether so many more bytes may be held for an address, which are counted then."""
        held = self._held.get(address, 0) + size
        if held > self._share or sum(self._held.values()) + size > self._limit:
            return False
        self._held[address] = held
        return True

    def give_back(self, size: int, address: str) -> None:
        """Count bytes no more."""
        self._held[address] = self._held.get(address, 0) - size
        if self._held[address] <= 0:
            del self._held[address]


class FileBody(BoundedBody):
    """Holds a file that comes, as far as all files on their way leave room for it."""

    def __init__(
        self,
        limit: int,
        error: ApplianceError,
        budget: FileBudget,
        address: str,
        *,
        seconds: float = math.inf,
        late: ApplianceError | None = None,
    ) -> None:
        super().__init__(limit, error, seconds=seconds, late=late)
        self._budget = budget
        self._address = address
        self._counted = 0
        self._crowded = False

    @property
    def refusal(self) -> ApplianceError | None:
        """Why the file is not held."""
        return super().refusal or (TooManyFiles() if self._crowded else None)

    def write(self, data: Any) -> int:
        """Keep ``data`` while it fits."""
        if self.refusal is None:
            if self._budget.take(len(data), self._address):
                self._counted += len(data)
            else:
                self._crowded = True
        return super().write(data)

    def drop(self) -> None:
        """Hold nothing any more."""
        super().drop()
        self._release()

    def close(self) -> None:
        """Make room for others, at the end of the request or of its connection."""
        self._release()
        super().close()

    def _release(self) -> None:
        self._budget.give_back(self._counted, self._address)
        self._counted = 0


class CellChannel(HTTPChannel):
    """An HTTP connection whose client gets no more time by sending single bytes, as Twisted has it."""

    def resetTimeout(self) -> None:  # noqa: N802 - Twisted
        """Count the time of a head from its first byte."""
        if self.line_mode and not self.requests and not self._buffer:
            super().resetTimeout()  # type: ignore[no-untyped-call]

    def allHeadersReceived(self) -> None:  # noqa: N802 - Twisted
        """Begin the body."""
        super().allHeadersReceived()  # type: ignore[no-untyped-call]
        self.body_came()

    def body_came(self) -> None:
        """Count the time within a body from now."""
        super().resetTimeout()  # type: ignore[no-untyped-call]


class CellRequest(server.Request):
    """A request whose body is bounded, in bytes and in time, before it is complete."""

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted
        """Make what holds the body: files may be larger than other bodies."""
        channel: Any = self.channel
        # neither is yet the request's own: Twisted gives it its path when its body is complete
        address = address_group(getattr(channel.getPeer(), "host", None) or "")
        self.content = channel.site.body_at(getattr(channel, "_path", b""), length, address)
        self._began = channel.site.seconds()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted
        """Take a piece of the body, and stop listening to a client that sends without end.

        One that sends nothing for `IDLE_SECONDS` is disconnected, so that to look at the time here is enough.
        """
        body: Any = self.content
        channel: Any = self.channel
        if body.given_up:
            return
        super().handleContentChunk(data)  # type: ignore[no-untyped-call]
        channel.body_came()
        body.came(channel.site.seconds() - self._began)
        if body.given_up:
            error: ApplianceError = body.refusal or TooLarge()
            log.info("body given up after {size} bytes: {code}", size=body.received, code=error.code)
            # in one piece with the sentence, also for pages of other sites: who sends so much may never read on
            head = (
                b"HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
                b"Access-Control-Allow-Origin: *\r\n"
            ) % (error.http_status, RESPONSES[error.http_status])
            text = error_response(error, 0).body
            channel.write(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)
            channel.loseConnection()

    def process(self) -> None:
        """Answer, unless the connection was given up."""
        body: Any = self.content
        if not body.given_up:
            super().process()  # type: ignore[no-untyped-call]


class CellSite(server.Site):
    """The factory of HTTP connections."""

    noisy = False
    protocol = CellChannel  # type: ignore[assignment]

    def __init__(
        self,
        root: resource.Resource,
        max_body_bytes: int,
        reactor: Any,
        file_body: Callable[[str], BoundedBody] | None = None,
        *,
        body_seconds: float = math.inf,
    ) -> None:
        """``file_body``: makes what holds a file that comes from a network address; other bodies have the limits."""
        super().__init__(  # type: ignore[no-untyped-call]
            root, requestFactory=CellRequest, parsePOSTFormSubmission=False, timeout=IDLE_SECONDS, reactor=reactor
        )
        self._max_body_bytes = max_body_bytes
        self._body_seconds = body_seconds
        self._file_body = file_body
        self.seconds: Callable[[], float] = reactor.seconds

    def body_at(self, uri: bytes, length: int | None, address: str) -> BoundedBody:
        """Return what holds the body of a request from ``address``, which has ``length`` bytes if that is known."""
        root: Any = self.resource
        if self._file_body is not None and length != 0 and root.takes_files(uri.partition(b"?")[0]):
            return self._file_body(address)
        return BoundedBody(self._max_body_bytes, seconds=self._body_seconds)

    def log(self, request: Any) -> None:
        """Keep no access log: addresses hold code. What fails is an event of the router."""


class Router(resource.Resource):
    """Finds the route of a request, runs its handler and sends the answer."""

    isLeaf = True  # noqa: N815 - Twisted

    def __init__(
        self,
        config: Config,
        routes: Sequence[Route],
        metrics: WebMetrics | None = None,
        seconds: Callable[[], float] = lambda: 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metrics = metrics
        self._clock_seconds = seconds
        self.routes = tuple(routes)
        self._retry_after_seconds = config.pool.retry_after_seconds
        self._trust_forwarded = config.web.proxy_protocol
        self._allowed_origins = frozenset(config.web.allowed_origins)
        self._under_way = 0
        self._idle: list[Deferred[None]] = []
        self._stopping = False

    def finish(self) -> Deferred[None]:
        """Tell clients not to come again on their connections; the Deferred fires when no answer is under way."""
        self._stopping = True
        idle: Deferred[None] = Deferred(self._idle.remove)
        self._idle.append(idle)
        self._tell_idle()
        return idle

    def _tell_idle(self) -> None:
        if self._under_way == 0:
            waiting, self._idle = self._idle, []
            for idle in waiting:
                idle.callback(None)

    def render(self, request: Any) -> int:
        """Start answering."""
        self._under_way += 1
        if self._stopping and not request.requestHeaders.hasHeader("upgrade"):
            # whoever comes again on this connection would find it closed
            request.setHeader("Connection", "close")
        answering = Deferred.fromCoroutine(self._answer(request)).addErrback(self._failed)
        answering.addBoth(self._answered)
        return server.NOT_DONE_YET

    def _answered(self, _result: object) -> None:
        self._under_way -= 1
        self._tell_idle()

    def _failed(self, failure: Any) -> None:
        log.failure("answer could not be sent", failure=failure)

    async def _answer(self, request: Any) -> None:
        route: Route | None = None
        origin: str | None = None
        method = request.method.decode("latin-1")
        path = "?"
        began = self._clock_seconds()
        try:
            _check_headers(request)
            origin = request.getHeader("origin")
            path = _decoded_path(request.path)
            route, groups = self._find(path)
            if not self._welcome(request, route, origin):
                origin = None  # a page that is not welcome does not read the reason either
                raise Forbidden("Pages of this origin may not use this server.")
            response = await self._respond(request, route, method, path, groups)
        except CancelledError:
            raise
        except ApplianceError as exc:
            log.info(
                "{method} {path} refused: {status} {code}, {reason}",
                method=method,
                path=_without_ids(path),
                status=exc.http_status,
                code=exc.code,
                reason=exc.message,
            )
            response = error_response(exc, self._retry_after_seconds)
        except Exception:  # noqa: BLE001 - a client learns nothing of it, the log everything
            log.failure("{method} {path} failed", method=method, path=_without_ids(path))
            response = error_response(ApplianceError(), self._retry_after_seconds)
        if self._metrics is not None:
            name = label(route.pattern.pattern) if route is not None else "none"
            status = response.status if response is not None else 101
            self._metrics.requested(name, method, status, self._clock_seconds() - began)
        if response is not None:
            _send(request, response, route, origin)

    def takes_files(self, path: bytes) -> bool:
        """Return whether what is sent to an address is a file."""
        try:
            return self._find(_decoded_path(path))[0].takes_files
        except ApplianceError:
            return False

    def _find(self, path: str) -> tuple[Route, dict[str, str]]:
        for route in self.routes:
            match = route.pattern.fullmatch(path)
            if match:
                return route, match.groupdict()
        raise NotFound

    def _welcome(self, request: Any, route: Route, origin: str | None) -> bool:
        """Return whether pages of an origin may use a route."""
        if not self._allowed_origins or origin is None or route.any_origin or origin in self._allowed_origins:
            return True
        return origin == self._call(request, "", "").url

    async def _respond(
        self, request: Any, route: Route, method: str, path: str, groups: dict[str, str]
    ) -> Response | None:
        body: Any = request.content
        if body.refusal is not None:
            raise body.refusal
        if method == "OPTIONS":
            return preflight(route.handlers, request.getHeader("origin"))
        handler = route.handlers.get("GET" if method == "HEAD" else method)
        if handler is None:
            return method_not_allowed(route.handlers)
        return await handler(self._call(request, method, path, takes_files=route.takes_files), **groups)

    def _call(self, request: Any, method: str, path: str, *, takes_files: bool = False) -> Call:
        query = request.uri.partition(b"?")[2]
        content_type = request.getHeader("content-type") or ""
        secure = request.isSecure() or (self._trust_forwarded and request.getHeader("x-forwarded-proto") == "https")
        return Call(
            method=method,
            path=path,
            arguments=parse_arguments(query, content_type, b"" if takes_files else request.content.getvalue()),
            origin=request.getHeader("origin"),
            raw_host=request.getHeader("host") or "",
            secure=secure,
            referer=request.getHeader("referer") or "",
            etag=request.getHeader("if-none-match") or "",
            request=request,
            body=request.content.getvalue(),
        )


def _check_headers(request: Any) -> None:
    """Refuse a request of which a header is not UTF-8: Twisted would raise wherever it is looked at."""
    for _, values in request.requestHeaders.getAllRawHeaders():
        for value in values:
            try:
                value.decode("utf-8")
            except UnicodeDecodeError as exc:
                raise BadRequest("A header is not UTF-8.") from exc


def _without_ids(path: str) -> str:
    """Return an address for the log: whoever knows the id of a kernel may use it."""
    return _KERNEL_ID.sub(lambda match: kernel_name(match[0]), path)


def _decoded_path(path: bytes) -> str:
    try:
        return urllib.parse.unquote_to_bytes(path).decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadRequest("The path is not UTF-8.") from exc


def begin(request: Any, response: Response, origin: str | None, *, any_origin: bool = False) -> None:
    """Set the status and the headers of an answer."""
    request.setResponseCode(response.status)
    cors = (("Access-Control-Allow-Origin", "*"),) if any_origin else cors_headers(origin)
    for name, value in (
        ("Server", "cell-appliance"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        *cors,
        *response.headers,
    ):
        request.setHeader(name, value)
    if response.status not in (204, 304):
        request.setHeader("Content-Type", response.content_type)


def _send(request: Any, response: Response, route: Route | None, origin: str | None) -> None:
    part = response.part
    if request._disconnected or (part is not None and request.method == b"HEAD"):
        if part is not None:
            part.close()
        if request._disconnected:
            return
    begin(request, response, origin, any_origin=route is not None and route.any_origin)
    if response.status in (204, 304):
        request.responseHeaders.removeHeader(b"content-type")
    else:
        request.setHeader("Content-Length", str(len(response.body) if part is None else part.size))
    if part is not None and request.method != b"HEAD":
        part.send(request)
        return
    if request.method != b"HEAD" and response.body:
        request.write(response.body)
    request.finish()
