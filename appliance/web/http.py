"""What a route sees and says: a parsed request, a response, errors as JSON, and CORS.

Cells are embedded in pages of any site, also in pages without an origin of their own (``Origin: null``). The server
keeps no cookies and knows no users, so every origin is echoed and may send credentials: there are none to abuse.
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from appliance.errors import ApplianceError, BadRequest, MethodNotAllowed, PoolExhausted, QuotaExceeded
from appliance.protocol.quota import address_group, page_group
from appliance.protocol.request_event import page_of
from appliance.web.pool_client import Visitor, WantedKernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from appliance.web.arguments import Arguments

Headers = tuple[tuple[str, str], ...]

JSON_TYPE = "application/json"
HTML_TYPE = "text/html; charset=utf-8"
NO_STORE: Headers = (("Cache-Control", "no-store"),)

#: Seconds that a browser may keep the answer to a preflight; the longest that Chromium takes is two hours.
PREFLIGHT_SECONDS = 7200

#: Answers after which the same request may be made again, in so many seconds.
RETRY_STATUSES = frozenset({PoolExhausted.http_status, QuotaExceeded.http_status})

#: Host of the request as it may be put into a URL or a header.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")

_UNSAFE_IN_SCRIPT = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})


class Part(Protocol):
    """A part of a file that is sent piece by piece, as the client takes it; one of its methods is called, once."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def send(self, request: Any) -> None:
        """Send it, finish the request and close the file."""

    def close(self) -> None:
        """Close the file unsent."""


@attrs.frozen
class Response:
    """An answer; ``part`` takes the place of ``body``."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    headers: Headers = ()
    part: Part | None = None


@attrs.frozen
class Call:
    """A request: what routes need of it, parsed.

    ``request`` is Twisted's, for what outlives the answer: a connection that becomes a WebSocket, or went away.
    """

    method: str
    path: str
    arguments: Arguments
    origin: str | None
    raw_host: str
    secure: bool
    etag: str
    referer: str
    request: Any
    body: bytes = b""

    @property
    def gone(self) -> bool:
        """Whether the client has disconnected."""
        return bool(self.request._disconnected)

    @property
    def wanted_kernel(self) -> WantedKernel:
        """What kernel the arguments name."""
        return WantedKernel(self.arguments.get("environment"), self.arguments.get("profile"))

    @property
    def address(self) -> str:
        """What is counted together with the client's address: of the connection, or of a trusted proxy's header."""
        return address_group(getattr(self.request.getClientAddress(), "host", "") or "")

    @property
    def visitor(self) -> Visitor:
        """Who asks, for quotas."""
        address = self.address
        origin = self.origin or ""
        if origin in ("", "null"):
            scheme, _, rest = self.referer.partition("://")
            origin = f"{scheme}://{rest.partition('/')[0]}" if rest else ""
        site = page_of(self.origin or "", self.referer)
        return Visitor(page_group(address, self.arguments.get("CellSessionID"), origin), address, site)

    @property
    def host(self) -> str:
        """Host and port of this server, as the client sees it; raises `BadRequest` when that is no host."""
        return checked_host(self.raw_host)

    @property
    def websocket_url(self) -> str:
        """The address of this server for WebSockets, as the client sees it, ending in a slash."""
        return f"{'wss' if self.secure else 'ws'}://{self.host}/"

    @property
    def url(self) -> str:
        """The origin of this server, as the client sees it."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


def checked_host(host: str) -> str:
    """Return the Host header if it is one; raises `BadRequest`."""
    if len(host) > 255 or not _HOST.fullmatch(host):
        raise BadRequest("The Host header is missing or malformed.")
    return host


def json_response(document: Any, status: int = 200, headers: Headers = NO_STORE) -> Response:
    """Return a document as JSON."""
    return Response(status, json.dumps(document).encode("ascii"), JSON_TYPE, headers)


def json_body(call: Call) -> dict[str, Any]:
    """Return the JSON object in the body of a request, empty when there is no body; raises `BadRequest`."""
    if not call.body.strip():
        return {}
    try:
        document = json.loads(call.body)
    except (ValueError, RecursionError) as exc:
        raise BadRequest("The body is not JSON.") from exc
    if not isinstance(document, dict):
        raise BadRequest("The body is not a JSON object.")
    return document


def script_json(document: Any) -> str:
    """Return a document as JSON text that means the same inside a ``<script>`` element."""
    return json.dumps(document).translate(_UNSAFE_IN_SCRIPT)


def error_response(error: ApplianceError, retry_after_seconds: int) -> Response:
    """Return an error as JSON ``{"error": code, "message": sentence}``.

    Errors with status 503 and 429 pass; they carry Retry-After.
    """
    headers: Headers = NO_STORE
    if error.http_status in RETRY_STATUSES:
        seconds = error.retry_after_seconds or retry_after_seconds
        headers = (*headers, ("Retry-After", str(max(1, math.ceil(seconds)))))
    return json_response({"error": error.code, "message": error.message}, error.http_status, headers)


def method_not_allowed(allowed: Mapping[str, Any]) -> Response:
    """Return the answer to a method that a route does not have."""
    response = error_response(MethodNotAllowed(), 0)
    return attrs.evolve(response, headers=(*response.headers, ("Allow", allow_header(allowed))))


def allow_header(allowed: Mapping[str, Any]) -> str:
    """Return the value of Allow for a route."""
    methods = {*allowed, "OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
    return ", ".join(sorted(methods))


def cors_headers(origin: str | None) -> Headers:
    """Return the headers that let a page of ``origin`` read the answer."""
    vary: Headers = (("Vary", "Origin"),)
    if origin is None:
        return vary
    return (
        *vary,
        ("Access-Control-Allow-Origin", origin),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Expose-Headers", "Jupyter-Kernel-ID, Retry-After"),
    )


def preflight(allowed: Mapping[str, Any], origin: str | None) -> Response:
    """Return the answer to OPTIONS: the methods of a route, and CORS if a page asks."""
    headers: Headers = (("Allow", allow_header(allowed)),)
    if origin is not None:
        headers = (
            *headers,
            ("Access-Control-Allow-Methods", allow_header(allowed)),
            ("Access-Control-Allow-Headers", "Authorization, Content-Type, X-XSRFToken"),
            ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
        )
    return Response(200, b"", "text/plain; charset=utf-8", headers)
