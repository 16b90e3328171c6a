"""What each operation takes and gives, by method and address; the rest of the description is in `web.openapi`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

Schema = Mapping[str, Any]

#: Status to sentence and, by content type, schema.
Answers = Mapping[str, tuple[str, Mapping[str, Schema]]]


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    return {"type": "object", "properties": {**required, **(optional or {})}, "required": sorted(required)}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANYTHING: Schema = {}
NAME: Schema = {"type": "string", "maxLength": 64}
SECONDS: Schema = {"type": "string", "pattern": r"^(?:[0-9]{1,6}(?:\.[0-9]{1,3})?|inf)$", "description": "or inf"}
FLAG: Schema = {"type": "string", "enum": ["0", "1"]}
AGREED: Schema = {"type": "string", "enum": ["true", "false"]}

SCHEMAS: Mapping[str, Schema] = {
    "Error": _object({"error": TEXT, "message": TEXT}),
    "Kernel": _object({"id": TEXT, "name": TEXT, "last_activity": TEXT, "execution_state": TEXT, "connections": COUNT}),
    "Kernelspec": _object(
        {"name": TEXT, "spec": _object({"display_name": TEXT, "language": TEXT, "argv": _list(TEXT)})}
    ),
    "Session": _object({"id": TEXT, "path": TEXT, "name": TEXT, "type": TEXT, "kernel": _ref("Kernel")}),
    "Cell": _object({"code": TEXT, "language": TEXT, "interacts": TEXT}),
}


@attrs.frozen(kw_only=True)
class Operation:
    """Arguments of the query or of a form, a JSON body, and answers beside errors."""

    answers: Answers
    query: Mapping[str, Schema] = attrs.Factory(dict)
    form: Mapping[str, Schema] = attrs.Factory(dict)
    required: tuple[str, ...] = ()
    body: Schema | None = None
    #: Whether the body is a file, as it is.
    file: bool = False


def _json(schema: Schema, status: str = "200", sentence: str = "As asked for.") -> Answers:
    return {status: (sentence, {"application/json": schema})}


def _of(kind: str, sentence: str = "As asked for.", status: str = "200") -> Answers:
    return {status: (sentence, {kind: TEXT})}


_HTML = "text/html"
_PLAIN = "text/plain"
_SCRIPT = "text/javascript"
_EMPTY: Answers = {"204": ("Done.", {})}
_DONE = _of(_PLAIN, "Done.")
_WEBSOCKET: Answers = {"101": ("A WebSocket.", {})}

_WANTED = {"environment": NAME, "profile": NAME, "timeout": SECONDS, "accepted_tos": AGREED}
_LEASED = _object({"ws_url": TEXT, "id": TEXT})
_PLACE = _object({"ticket": TEXT, "place": COUNT, "poll_seconds": {"type": "number"}})
_GRANTED: Answers = {
    "200": ("A kernel.", {"application/json": _LEASED, _HTML: TEXT}),
    "202": ("A place in the line.", {"application/json": _PLACE}),
}
_NEW_KERNEL = {"type": "object", "properties": {"name": NAME, "profile": NAME}}
_SESSION_BODY = {
    "type": "object",
    "properties": {"path": TEXT, "name": TEXT, "type": TEXT, "kernel": {"type": "object"}},
}
_HEALTH: Schema = {"type": "object"}
_CELL_BODY = {
    "type": "object",
    "properties": {"code": TEXT, "language": NAME, "interacts": TEXT},
    "required": ["code"],
}
_FRAMES = _of("application/javascript", "Frames of SockJS.")

#: What is known of an operation that is not below.
UNKNOWN = Operation(answers={"200": ("As asked for.", {})})

OPERATIONS: Mapping[str, Operation] = {
    "GET /": Operation(
        answers=_of(_HTML, "A page with a cell."),
        query={
            "c": TEXT,
            "z": TEXT,
            "q": TEXT,
            "lang": {"type": "string", "pattern": "^[A-Za-z0-9_.+-]{1,64}$"},
            "interacts": TEXT,
            "autoeval": AGREED,
        },
    ),
    "GET /openapi.json": Operation(answers=_json({"type": "object"})),
    "GET /static/{name}": Operation(
        answers={"200": ("A file.", {"*/*": ANYTHING}), "304": ("It has not changed.", {})}
    ),
    "GET /{name}.js": Operation(answers={"301": ("It is below /static/.", {})}),
    "GET /help.html": Operation(answers=_of(_HTML, "What a visitor can do with a cell.")),
    "GET /tos.html": Operation(answers=_of(_HTML, "Terms of service.")),
    "POST /tos.html": Operation(
        answers={"200": ("The terms, or nothing where there are none.", {_HTML: TEXT, _PLAIN: TEXT, _SCRIPT: TEXT})},
        form={"callback": TEXT, "frame": TEXT},
    ),
    "POST /kernel": Operation(
        answers=_GRANTED, query={**_WANTED, "CellSessionID": TEXT, "wait": FLAG}, body={"type": "object"}
    ),
    "DELETE /kernel/{kernel_id}": Operation(answers=_DONE),
    "POST /kernel/{kernel_id}": Operation(
        answers=_DONE, form={"method": {"type": "string", "enum": ["DELETE", "OPTIONS"]}}, required=("method",)
    ),
    "GET /kernel/ticket/{ticket}": Operation(answers=_GRANTED),
    "DELETE /kernel/ticket/{ticket}": Operation(answers=_DONE),
    "GET /kernel/{kernel_id}/channels": Operation(
        answers=_WEBSOCKET, query={"session_id": TEXT, "after": TEXT, "after_kernel": TEXT}
    ),
    "GET /kernel/{kernel_id}/files/{name}": Operation(
        answers={
            "200": ("A file that was kept, or that the kernel has while it lives.", {"*/*": ANYTHING}),
            "206": ("A part of it.", {"*/*": ANYTHING}),
            "304": ("It has not changed.", {}),
        }
    ),
    **{
        f"{method} /kernel/{{kernel_id}}/files/{{name}}": Operation(
            answers=_json(_object({"name": TEXT, "size": COUNT}), "201", "The kernel has it."),
            file=True,
        )
        for method in ("PUT", "POST")
    },
    "GET /lease": Operation(
        answers=_WEBSOCKET, query={"session_id": TEXT, "CellSessionID": TEXT, "accepted_tos": AGREED}
    ),
    "POST /service": Operation(
        answers=_json(
            _object({"success": {"type": "boolean"}}, {"stdout": TEXT, "stderr": TEXT, "execute_reply": ANYTHING}),
            sentence="How it went, also when the code failed.",
        ),
        form={
            "code": TEXT,
            "user_expressions": TEXT,
            "environment": NAME,
            "profile": NAME,
            "accepted_tos": AGREED,
        },
        required=("code",),
    ),
    "GET /environments": Operation(
        answers=_json(
            _object(
                {
                    "environments": _list(_object({"name": TEXT, "title": TEXT, "language": TEXT})),
                    "profiles": _list(TEXT),
                    "uploads": _object({"max_file_bytes": COUNT, "max_kernel_bytes": COUNT}),
                }
            )
        )
    ),
    "GET /permalink": Operation(
        answers={"200": ("Code, language and interacts.", {"application/json": _list(TEXT), _SCRIPT: TEXT})},
        query={"q": TEXT, "callback": TEXT},
        required=("q",),
    ),
    "POST /permalink": Operation(
        answers={
            "200": (
                "Where the cell is.",
                {"application/json": _object({"query": TEXT, "zip": TEXT, "interacts": TEXT}), _HTML: TEXT},
            )
        },
        form={"code": TEXT, "language": NAME, "interacts": TEXT, "n": TEXT, "frame": TEXT},
        required=("code",),
    ),
    "POST /api/permalinks": Operation(answers=_json(_object({"id": TEXT}), "201", "It is kept."), body=_CELL_BODY),
    "GET /api/permalinks/{permalink_id}": Operation(
        answers={**_json(_ref("Cell")), "304": ("It has not changed.", {})}
    ),
    "PUT /api/permalinks/{permalink_id}": Operation(
        answers=_json(_object({"id": TEXT}), "201", "It is kept."), body=_CELL_BODY
    ),
    "GET /healthz": Operation(answers={**_json(_HEALTH), "503": ("It is not well.", {"application/json": _HEALTH})}),
    "GET /readyz": Operation(
        answers={
            "200": ("New work is welcome.", {"application/json": _HEALTH, _PLAIN: TEXT}),
            "404": ("This node drains.", {"application/json": _HEALTH, _PLAIN: TEXT}),
            "503": ("It is not well.", {"application/json": _HEALTH}),
        }
    ),
    "GET /livez": Operation(answers={"200": ("It answers.", {"application/json": _HEALTH, _PLAIN: TEXT})}),
    "GET /api": Operation(answers=_json(_object({"version": TEXT}))),
    "GET /api/status": Operation(
        answers=_json(_object({"started": TEXT, "last_activity": TEXT, "connections": COUNT, "kernels": COUNT}))
    ),
    "GET /api/me": Operation(
        answers=_json(_object({"identity": {"type": "object"}, "permissions": {"type": "object"}}))
    ),
    "GET /api/kernelspecs": Operation(
        answers=_json(
            _object({"default": TEXT, "kernelspecs": {"type": "object", "additionalProperties": _ref("Kernelspec")}})
        )
    ),
    "GET /api/kernelspecs/{name}": Operation(answers=_json(_ref("Kernelspec"))),
    "GET /api/kernels": Operation(answers=_json(_list(_ref("Kernel")))),
    "POST /api/kernels": Operation(answers=_json(_ref("Kernel"), "201", "A kernel."), body=_NEW_KERNEL),
    "GET /api/kernels/{kernel_id}": Operation(answers=_json(_ref("Kernel"))),
    "DELETE /api/kernels/{kernel_id}": Operation(answers=_EMPTY),
    "POST /api/kernels/{kernel_id}/interrupt": Operation(answers=_EMPTY),
    "POST /api/kernels/{kernel_id}/restart": Operation(answers=_json(_ref("Kernel"))),
    "GET /api/kernels/{kernel_id}/channels": Operation(answers=_WEBSOCKET),
    "GET /api/sessions": Operation(answers=_json(_list(_ref("Session")))),
    "POST /api/sessions": Operation(answers=_json(_ref("Session"), "201", "A session."), body=_SESSION_BODY),
    "GET /api/sessions/{session_id}": Operation(answers=_json(_ref("Session"))),
    "PATCH /api/sessions/{session_id}": Operation(answers=_json(_ref("Session")), body=_SESSION_BODY),
    "DELETE /api/sessions/{session_id}": Operation(answers=_EMPTY),
    "GET /sockjs": Operation(answers=_of(_PLAIN, "SockJS is here.")),
    "GET /sockjs/info": Operation(
        answers=_json(
            _object(
                {
                    "websocket": {"type": "boolean"},
                    "cookie_needed": {"type": "boolean"},
                    "origins": _list(TEXT),
                    "entropy": COUNT,
                }
            )
        )
    ),
    "GET /sockjs/iframe.html": Operation(answers={}),
    "GET /sockjs/websocket": Operation(answers=_WEBSOCKET),
    **{
        f"{method} /sockjs/{{server}}/{{session_id}}/{transport}": Operation(answers=answers, query=query)
        for method, transport, answers, query in (
            ("GET", "websocket", _WEBSOCKET, {}),
            ("POST", "xhr", _FRAMES, {}),
            ("POST", "xhr_streaming", _FRAMES, {}),
            ("GET", "eventsource", _of("text/event-stream", "Frames of SockJS."), {}),
            ("GET", "jsonp", _FRAMES, {"c": TEXT}),
            ("POST", "xhr_send", _EMPTY, {}),
            ("POST", "jsonp_send", _DONE, {}),
        )
    },
}
