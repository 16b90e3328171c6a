"""``/openapi.json``: every HTTP address described (OpenAPI 3.1), made from the table of routes.

Addresses, methods and sentences come from the routes and their handlers, so that none can be missing; what a handler
takes and gives is in `web.operations`.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

from appliance import __version__
from appliance.web.http import Call, Response
from appliance.web.operations import OPERATIONS, SCHEMAS, UNKNOWN, Operation
from appliance.web.site import Route, label

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Addresses whose pattern is not one name: how they are written instead.
_WRITTEN = {"/api/?": "/api", "/sockjs/?": "/sockjs", "/sockjs/iframe[0-9a-z.-]{0,40}.html": "/sockjs/iframe.html"}

#: The regular expression of each part of an address that is named.
_PARTS = re.compile(r"\(\?P<(\w+)>((?:[^()\[\]]|\[[^\]]*\])*)\)")

#: Errors that any address may answer with: their body has the schema Error.
_ERRORS = {
    "400": "The request is malformed; the sentence names what is wrong.",
    "403": "This server asks for a token, for its terms of service to be accepted, or for another site.",
    "404": "There is nothing at this address.",
    "405": "The address does not answer that method.",
    "409": "The id does not belong to the content, or something else has the name.",
    "410": "What was here has been removed.",
    "413": "The request is larger than this server accepts.",
    "429": "The visitor has all that is allowed at once; Retry-After says when to come again.",
    "503": "What is needed is in use or away; Retry-After says when to come again.",
    "507": "The store of permalinks is full.",
}


def written(route: Route) -> str:
    """Return how the document writes the address of a route."""
    name = label(route.pattern.pattern)
    return _WRITTEN.get(name, name)


def operations(routes: Sequence[Route]) -> Iterator[tuple[str, str, Route, Any]]:
    """Return address, method, route and handler of everything that can be asked for."""
    for route in routes:
        for method, handler in route.handlers.items():
            yield written(route), method, route, handler


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """Return the document."""
    paths: dict[str, dict[str, Any]] = {}
    for address, method, route, handler in operations(routes):
        described = _operation(OPERATIONS.get(f"{method} {address}", UNKNOWN), route, handler)
        paths.setdefault(address, {})[method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Cell Appliance",
            "version": __version__,
            "description": "Kernels for cells in web pages: SageMathCell's addresses, Jupyter Server's, and our own.",
        },
        "paths": paths,
        "components": {"schemas": SCHEMAS},
    }


def _operation(operation: Operation, route: Route, handler: Any) -> dict[str, Any]:
    summary, _, more = (inspect.getdoc(handler) or "").partition("\n")
    described: dict[str, Any] = {"summary": summary, "responses": _responses(operation)}
    if more.strip():
        described["description"] = " ".join(more.split())
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": f"^(?:{pattern})$"}}
        for name, pattern in _PARTS.findall(route.pattern.pattern)
    ]
    parameters += [
        {"name": name, "in": "query", "required": name in operation.required, "schema": schema}
        for name, schema in operation.query.items()
    ]
    if parameters:
        described["parameters"] = parameters
    content: dict[str, Any] = {}
    if operation.form:
        schema = {
            "type": "object",
            "properties": dict(operation.form),
            "required": sorted(set(operation.required) & set(operation.form)),
        }
        content = {key: {"schema": schema} for key in ("application/x-www-form-urlencoded", "multipart/form-data")}
    if operation.file:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    if operation.body:
        content["application/json"] = {"schema": operation.body}
    if content:
        described["requestBody"] = {"required": bool(set(operation.required) & set(operation.form)), "content": content}
    return described


def _responses(operation: Operation) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, (sentence, contents) in operation.answers.items():
        responses[status] = {"description": sentence}
        if contents:
            responses[status]["content"] = {kind: {"schema": schema} for kind, schema in contents.items()}
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status, sentence in _ERRORS.items():
        responses.setdefault(status, {"description": sentence, "content": error})
    return responses


class Description:
    """The handler, and its address; ``routes`` are those of the whole role, this one included."""

    def __init__(self) -> None:
        self._body = b""

    def routes(self) -> Sequence[Route]:
        """Return the address."""
        return (Route(re.compile(r"/openapi\.json"), {"GET": self.show}, any_origin=True),)

    def describe(self, routes: Sequence[Route]) -> None:
        """Make the document."""
        self._body = json.dumps(document(routes)).encode("ascii")

    async def show(self, call: Call) -> Response:
        """Describe every address of this server (OpenAPI)."""
        return Response(200, self._body, headers=(("Cache-Control", "public, max-age=60"),))
