"""``/permalink`` and ``/api/permalinks``: share a cell, and read a shared one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from appliance.errors import BadRequest, OtherPermalink
from appliance.protocol.permalink import SharedCell, candidate_ids, entity_tag, parse_cell, render_cell, zip_text
from appliance.protocol.sockjs import jsonp
from appliance.web.framed import framed
from appliance.web.http import NO_STORE, Call, Response, json_response
from appliance.web.site import Route
from appliance.web.terms import SCRIPT_TYPE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.web.permalink_client import PermalinkClient
    from appliance.web.request_log import RequestLog

#: A permalink never changes its meaning, so an answer may be kept; a day bounds how long a removed cell is seen.
KEEP = (("Cache-Control", "public, max-age=86400"),)

#: A cell at its own address never changes at all.
IMMUTABLE = "public, max-age=31536000, immutable"

#: Digits of ``n``, a number that clients send to tell answers apart.
MAX_NUMBER_DIGITS = 18


class PermalinkRoutes:
    """The handlers, and their address."""

    def __init__(self, permalinks: PermalinkClient, max_code_bytes: int, request_log: RequestLog | None = None) -> None:
        self._permalinks = permalinks
        self._request_log = request_log
        self._max_code_bytes = max_code_bytes

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (
            Route(re.compile("/permalink"), {"GET": self.fetch, "POST": self.store}),
            Route(re.compile("/api/permalinks"), {"POST": self.create}, any_origin=True),
            Route(
                re.compile("/api/permalinks/(?P<permalink_id>[^/]+)"),
                {"GET": self.read, "PUT": self.put},
                any_origin=True,
            ),
        )

    async def store(self, call: Call) -> Response:
        """Keep a cell: its id, and its zipped form for links that need no store."""
        arguments = call.arguments
        cell = SharedCell(
            code=arguments.required("code").replace("\r\n", "\n"),
            language=arguments.get("language", "sage"),
            interacts=arguments.get("interacts", "[]"),
        )
        document: dict[str, Any] = {
            "query": await self._store(call, cell),
            "zip": zip_text(cell.code),
            "interacts": zip_text(cell.interacts),
        }
        if "n" in arguments:
            document["n"] = _number(arguments.get("n"))
        return framed(call, json_response(document))

    async def fetch(self, call: Call) -> Response:
        """Return a shared cell as the array of code, language and interacts."""
        cell = await self._permalinks.fetch(call.arguments.required("q"))
        response = json_response([cell.code, cell.language, cell.interacts], headers=KEEP)
        if call.arguments.get("callback"):
            # the function gets the array as a text: that is what pages from before CORS expect
            script = jsonp(call.arguments.get("callback"), response.body.decode("ascii"))
            return Response(200, script.encode("ascii"), SCRIPT_TYPE, KEEP)
        return response

    async def create(self, call: Call) -> Response:
        """Keep the cell that the body is, a JSON object; 201 with its address."""
        return await self._created(call, parse_cell(call.request.content.getvalue(), self._max_code_bytes))

    async def put(self, call: Call, permalink_id: str) -> Response:
        """Keep the cell that the body is, if this is its id: 409 names the right one."""
        cell = parse_cell(call.request.content.getvalue(), self._max_code_bytes)
        own = list(candidate_ids(cell))
        if permalink_id not in own:
            raise OtherPermalink(f"The id of this cell is {own[0]}: ids follow from the content.")
        return await self._created(call, cell)

    async def _created(self, call: Call, cell: SharedCell) -> Response:
        permalink_id = await self._store(call, cell)
        headers = (*NO_STORE, ("Location", f"/api/permalinks/{permalink_id}"))
        return json_response({"id": permalink_id}, 201, headers)

    async def _store(self, call: Call, cell: SharedCell) -> str:
        permalink_id = await self._permalinks.store(cell, call.visitor.address)
        if self._request_log is not None:
            self._request_log.record("permalink", call.visitor, code=cell.code, language=cell.language)
        return permalink_id

    async def read(self, call: Call, permalink_id: str) -> Response:
        """Return a cell as a JSON object, for caches to keep for ever."""
        body = render_cell(await self._permalinks.fetch(permalink_id))
        tag = entity_tag(body).decode("ascii")
        headers = (("ETag", tag), ("Cache-Control", IMMUTABLE))
        if tag in call.etag or call.etag.strip() == "*":
            return Response(304, headers=headers)
        return Response(200, body, headers=headers)


def _number(text: str) -> int:
    if not re.fullmatch(rf"-?[0-9]{{1,{MAX_NUMBER_DIGITS}}}", text):
        raise BadRequest("n is not an integer.")
    return int(text)
