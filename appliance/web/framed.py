"""Answers for pages that post a form into a hidden frame: they cannot read an answer of another site otherwise."""

from __future__ import annotations

import base64
import hashlib

import attrs

from appliance.web.http import HTML_TYPE, Call, Response, script_json


def framed(call: Call, response: Response) -> Response:
    """Return ``response`` as it is, or, when the argument ``frame`` was given, as a page that posts it to its parent.

    The page's policy allows this one script, by its hash, and nothing else.
    """
    if "frame" not in call.arguments:
        return response
    text = script_json(response.body.decode("utf-8"))
    script = f'parent.postMessage({text},"*");'
    digest = base64.b64encode(hashlib.sha256(script.encode("ascii")).digest()).decode("ascii")
    return attrs.evolve(
        response,
        content_type=HTML_TYPE,
        body=f"<script>{script}</script>".encode("ascii"),
        headers=(*response.headers, ("Content-Security-Policy", f"default-src 'none'; script-src 'sha256-{digest}'")),
    )
