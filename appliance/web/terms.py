"""``/tos.html`` and ``/help.html``."""

from __future__ import annotations

import base64
import hashlib
import pathlib
import re
from typing import TYPE_CHECKING

from appliance.errors import NotFound
from appliance.protocol.sockjs import jsonp
from appliance.web.framed import framed
from appliance.web.http import HTML_TYPE, NO_STORE, Call, Response
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.web.access import Access

HELP_FILE = pathlib.Path(__file__).with_name("help.html")

#: Nothing but styles of its own.
_POLICY = "default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'"

_STYLE = (
    "body{max-width:45rem;margin:2rem auto;padding:0 1rem;font:1rem/1.5 system-ui,sans-serif;color-scheme:light dark}"
)

SCRIPT_TYPE = "text/javascript; charset=utf-8"


def _page(title: str, body: str) -> Response:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode("ascii")).digest()).decode("ascii")
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><main>{body}</main></body></html>"
    )
    headers = (*NO_STORE, ("Content-Security-Policy", _POLICY.format(style=f"sha256-{digest}")))
    return Response(200, text.encode("utf-8"), HTML_TYPE, headers)


class Documents:
    """The handlers, and their addresses."""

    def __init__(self, access: Access) -> None:
        self._terms = access.terms
        self._help = HELP_FILE.read_text(encoding="utf-8")

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (
            Route(re.compile(r"/tos\.html"), {"GET": self.show_terms, "POST": self.ask_terms}),
            Route(re.compile(r"/help\.html"), {"GET": self.show_help}),
        )

    async def show_terms(self, call: Call) -> Response:
        """Show the terms of service to whoever wants to read them."""
        if not self._terms:
            raise NotFound("There are no terms of service.")
        return _page("Terms of service", self._terms)

    async def ask_terms(self, call: Call) -> Response:
        """Answer a cell that asks what its visitor must accept: nothing when the answer is empty."""
        if call.arguments.get("callback"):
            script = jsonp(call.arguments.get("callback"), self._terms)
            return Response(200, script.encode("ascii"), SCRIPT_TYPE, NO_STORE)
        kind = HTML_TYPE if self._terms else "text/plain; charset=utf-8"
        headers = (*NO_STORE, ("Content-Security-Policy", "sandbox; default-src 'none'"))
        return framed(call, Response(200, self._terms.encode("utf-8"), kind, headers))

    async def show_help(self, call: Call) -> Response:
        """Show what a visitor can do with a cell."""
        return _page("Help", self._help)
