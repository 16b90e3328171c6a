"""The page at ``/``: one cell, with the code that the address names."""

from __future__ import annotations

import html
import pathlib
import re
import string
import urllib.parse
from typing import TYPE_CHECKING

from appliance.errors import BadRequest
from appliance.protocol.permalink import MAX_LANGUAGE_BYTES, SharedCell, unzip_text
from appliance.web import preview
from appliance.web.analytics import Analytics
from appliance.web.http import HTML_TYPE, NO_STORE, Call, Response, script_json
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.web.permalink_client import PermalinkClient

TEMPLATE = pathlib.Path(__file__).with_name("page.html")

_LANGUAGE = re.compile(rf"[A-Za-z0-9_.+-]{{1,{MAX_LANGUAGE_BYTES}}}")

#: Scripts of this server only, none inline. Styles may be inline because the editor makes its own.
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data:{others}; "
    "font-src 'self'; connect-src 'self' ws://{host} wss://{host}{others}; frame-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'"
)

#: What a browser may do with a page; nothing that the page needs is among it.
_PERMISSIONS = "camera=(), geolocation=(), microphone=(), payment=(), usb=()"


NO_ANALYTICS = Analytics()

#: Arguments that say which cell a page shows.
_NAMING = ("q", "c", "z", "lang", "interacts")


class Page:
    """The handler, and its address. ``current_name``: the name that a file of the front end has now."""

    def __init__(
        self,
        permalinks: PermalinkClient,
        max_code_bytes: int,
        current_name: Callable[[str], str],
        analytics: Analytics = NO_ANALYTICS,
        *,
        default_language: str = "python",
        several_languages: bool = False,
        explains_errors: bool = False,
    ) -> None:
        self._permalinks = permalinks
        self._default_language = default_language
        self._analytics = analytics
        self._max_code_bytes = max_code_bytes
        self._current_name = current_name
        # A menu asks the server what it has.
        self._languages = 'languages="*"' if several_languages else ""
        self._explain = "explain" if explains_errors else ""
        self._template = string.Template(TEMPLATE.read_text(encoding="utf-8"))

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (Route(re.compile("/"), {"GET": self.show}),)

    async def show(self, call: Call) -> Response:
        """Show a cell; one that came with code evaluates it at once, unless ``autoeval=false``."""
        cell = await self._cell(call)
        given = bool(cell.code) and call.arguments.get("autoeval", "true") != "false"
        text = self._template.substitute(
            head=self._head(call, cell),
            style=html.escape(self._current_name("page.css")),
            script=html.escape(self._current_name("embedded_cell.js")),
            language=html.escape(cell.language),
            languages=self._languages,
            explain=self._explain,
            autoeval="autoeval" if given else "",
            code=script_json(cell.code),
            interacts=script_json(cell.interacts),
            analytics=self._analytics.snippet,
        )
        policy = _POLICY.format(host=call.host, scripts=self._analytics.scripts, others=self._analytics.others)
        headers = (
            *NO_STORE,
            ("Content-Security-Policy", policy),
            ("Permissions-Policy", _PERMISSIONS),
        )
        return Response(200, text.encode("utf-8"), HTML_TYPE, headers)

    def _head(self, call: Call, cell: SharedCell) -> str:
        """Return what links to the page are shown as."""
        origin = f"{'https' if call.secure else 'http'}://{call.host}"
        query = urllib.parse.urlencode(
            [(name, call.arguments.get(name)) for name in _NAMING if name in call.arguments], errors="surrogateescape"
        )
        shared = "q" in call.arguments and not {"c", "z"} & call.arguments.values.keys()
        alternate = f"/api/permalinks/{urllib.parse.quote(call.arguments.get('q'), safe='')}" if shared else ""
        return preview.head(cell, f"{origin}/?{query}" if query else f"{origin}/", alternate)

    async def _cell(self, call: Call) -> SharedCell:
        """Return the cell that the address names: ``c`` before ``z`` before ``q``."""
        arguments = call.arguments
        language = arguments.get("lang", self._default_language)
        if not _LANGUAGE.fullmatch(language):
            raise BadRequest("lang is not the name of a language.")
        interacts = "[]"
        if "interacts" in arguments:
            interacts = unzip_text(arguments.get("interacts"), self._max_code_bytes)
        if "c" in arguments:
            code = arguments.get("c").replace("\r\n", "\n")
        elif "z" in arguments:
            code = unzip_text(arguments.get("z"), self._max_code_bytes)
        elif "q" in arguments:
            return await self._permalinks.fetch(arguments.get("q"))
        else:
            code = ""
        return SharedCell(code=code, language=language, interacts=interacts)
