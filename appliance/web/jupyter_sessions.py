"""``/api/sessions``: a kernel with a path and a name, through which notebooks and Thebe open theirs.

A session is known by the id of its first kernel. What it is called is remembered by this process alone: after a
restart of the web role, the session of a kernel that lives on has its id for a path.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import BadRequest
from appliance.web.http import Call, Response, json_body, json_response
from appliance.web.jupyter_routes import NO_CONTENT
from appliance.web.kernel_routes import ID
from appliance.web.site import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.web.access import Access
    from appliance.web.jupyter_routes import JupyterRoutes
    from appliance.web.kernels import Kernels

#: Sessions that are remembered; the oldest is forgotten for a new one.
MAX_SESSIONS = 1000

#: Characters of a path, a name or a type.
MAX_LABEL_CHARACTERS = 1024


@attrs.frozen
class Label:
    """What a session is called, and its kernel now."""

    path: str
    name: str
    kind: str
    kernel_id: str


class JupyterSessions:
    """The handlers, and the table of their addresses."""

    def __init__(self, kernels: Kernels, access: Access, api: JupyterRoutes) -> None:
        self._kernels = kernels
        self._access = access
        self._api = api
        self._labels: dict[str, Label] = {}

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (
            Route(re.compile("/api/sessions"), {"GET": self.list, "POST": self.start}),
            Route(
                re.compile(rf"/api/sessions/(?P<session_id>{ID})"),
                {"GET": self.show, "PATCH": self.change, "DELETE": self.delete},
            ),
        )

    async def list(self, call: Call) -> Response:
        """List the sessions of the kernels that were started with the client's own token."""
        self._access.check_token(call)
        sessions = {label.kernel_id: session_id for session_id, label in self._labels.items()}
        models = []
        for kernel in await self._api.owned(call):
            session_id = sessions.get(kernel["id"], kernel["id"])
            models.append(self._model(session_id, self._label(session_id), kernel["environment"]))
        return json_response(models)

    async def start(self, call: Call) -> Response:
        """Open a session with a new kernel, or with one whose id the client knows."""
        self._access.check_token(call)
        document = json_body(call)
        label = _changed(Label("", "", "notebook", ""), document)
        kernel_id, environment = await self._kernel(call, document)
        label = attrs.evolve(label, kernel_id=kernel_id, path=label.path or kernel_id)
        self._remember(kernel_id, label)
        return json_response(self._model(kernel_id, label, environment), 201)

    async def show(self, call: Call, session_id: str) -> Response:
        """Show a session to whoever knows its id."""
        self._access.check_token(call)
        label = self._label(session_id)
        kernel = await self._kernels.find(label.kernel_id)
        return json_response(self._model(session_id, label, kernel.environment))

    async def change(self, call: Call, session_id: str) -> Response:
        """Give a session another path, name, type or kernel; a kernel that it had ends."""
        self._access.check_token(call)
        document = json_body(call)
        label = _changed(self._label(session_id), document)
        kernel = await self._kernels.find(label.kernel_id)
        environment = kernel.environment
        if document.get("kernel"):
            kernel_id, environment = await self._kernel(call, document)
            if kernel_id != label.kernel_id:
                await self._kernels.delete(label.kernel_id)
            label = attrs.evolve(label, kernel_id=kernel_id)
        self._remember(session_id, label)
        return json_response(self._model(session_id, label, environment))

    async def delete(self, call: Call, session_id: str) -> Response:
        """Close a session and end its kernel; 404 when that has ended."""
        self._access.check_token(call)
        label = self._label(session_id)
        self._labels.pop(session_id, None)
        await self._kernels.find(label.kernel_id)
        await self._kernels.delete(label.kernel_id)
        return NO_CONTENT

    async def _kernel(self, call: Call, document: dict[str, Any]) -> tuple[str, str]:
        """Return the id and the environment of the kernel that a model names, leasing it if it names none by id."""
        wanted = document.get("kernel") or {}
        if not isinstance(wanted, dict):
            raise BadRequest("kernel must be an object with name or id.")
        kernel_id = wanted.get("id")
        if isinstance(kernel_id, str) and kernel_id:
            return kernel_id, (await self._kernels.find(kernel_id)).environment
        kernel, environment = await self._api.lease(call, wanted)
        return kernel.kernel_id, environment

    def _label(self, session_id: str) -> Label:
        return self._labels.get(session_id) or Label(session_id, "", "notebook", session_id)

    def _remember(self, session_id: str, label: Label) -> None:
        self._labels.pop(session_id, None)
        if len(self._labels) >= MAX_SESSIONS:
            del self._labels[next(iter(self._labels))]
        self._labels[session_id] = label

    def _model(self, session_id: str, label: Label, environment: str) -> dict[str, Any]:
        """Return what Jupyter tells of a session; ``notebook`` is what it told before version 5."""
        return {
            "id": session_id,
            "path": label.path,
            "name": label.name,
            "type": label.kind,
            "kernel": self._api.model(label.kernel_id, environment),
            "notebook": {"path": label.path, "name": label.name},
        }


def _changed(label: Label, document: dict[str, Any]) -> Label:
    """Return a label with what a model says; raises `BadRequest`."""
    changes = {}
    for name, field in (("path", "path"), ("name", "name"), ("type", "kind")):
        value = document.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > MAX_LABEL_CHARACTERS:
            raise BadRequest(f"{name} must be a string of at most {MAX_LABEL_CHARACTERS} characters.")
        changes[field] = value
    return attrs.evolve(label, **changes)
