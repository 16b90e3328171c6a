"""``/permalink``: share a cell, and read a shared one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from appliance.errors import BadRequest
from appliance.protocol.permalink import SharedCell, zip_text
from appliance.web.framed import framed
from appliance.web.http import Call, Response, json_response
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.web.permalink_client import PermalinkClient

#: A permalink never changes its meaning, so an answer may be kept; a day bounds how long a removed cell is seen.
KEEP = (("Cache-Control", "public, max-age=86400"),)

#: Digits of ``n``, a number that clients send to tell answers apart.
MAX_NUMBER_DIGITS = 18


class PermalinkRoutes:
    """The handlers, and their address."""

    def __init__(self, permalinks: PermalinkClient) -> None:
        self._permalinks = permalinks

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (Route(re.compile("/permalink"), {"GET": self.fetch, "POST": self.store}),)

    async def store(self, call: Call) -> Response:
        """Keep a cell: its id, and its zipped form for links that need no store."""
        arguments = call.arguments
        cell = SharedCell(
            code=arguments.required("code").replace("\r\n", "\n"),
            language=arguments.get("language", "sage"),
            interacts=arguments.get("interacts", "[]"),
        )
        document: dict[str, Any] = {
            "query": await self._permalinks.store(cell, call.visitor.address),
            "zip": zip_text(cell.code),
            "interacts": zip_text(cell.interacts),
        }
        if "n" in arguments:
            document["n"] = _number(arguments.get("n"))
        return framed(call, json_response(document))

    async def fetch(self, call: Call) -> Response:
        """Return a shared cell as the array of code, language and interacts."""
        cell = await self._permalinks.fetch(call.arguments.required("q"))
        return json_response([cell.code, cell.language, cell.interacts], headers=KEEP)


def _number(text: str) -> int:
    if not re.fullmatch(rf"-?[0-9]{{1,{MAX_NUMBER_DIGITS}}}", text):
        raise BadRequest("n is not an integer.")
    return int(text)
