"""``/api``: the addresses of Jupyter Server that clients of kernels use, for Thebe, JupyterLab's services and others.

There are no users here: a list shows the kernels of whoever sends the token with which they were started
(`Access.api_visitor`), and nothing to others. Source: the REST API of Jupyter Server, version 2.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from appliance.errors import BadRequest, UnknownEnvironment
from appliance.protocol.death import DeathReason
from appliance.protocol.jupyter_websocket import JSON, V1, VERSION_1
from appliance.web.http import Call, Response, json_body, json_response
from appliance.web.kernel_routes import ID
from appliance.web.pool_client import WantedKernel
from appliance.web.site import Route
from appliance.web.websocket import is_upgrade, offered_subprotocols, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.config import Config, Environment
    from appliance.web.access import Access
    from appliance.web.kernels import Kernels
    from appliance.web.live_kernel import LiveKernel

#: The version of Jupyter Server whose addresses these are: clients read features off it.
API_VERSION = "2.14.0"

#: What many clients ask for without looking at the kernelspecs.
ALIASES = {"python3": "python"}

NO_CONTENT = Response(204)


class JupyterRoutes:
    """The handlers, and the table of their addresses."""

    def __init__(self, config: Config, kernels: Kernels, access: Access, clock: Any, now: Callable[[], str]) -> None:
        self._environments = config.environment
        self._profiles = config.exposed_profiles
        self._kernels = kernels
        self._access = access
        self._clock = clock
        self._now = now
        self._started = now()
        self._last_activity = self._started
        self._max_message_bytes = config.web.max_message_bytes
        self._uploads = {
            "max_file_bytes": config.web.max_upload_bytes,
            "max_kernel_bytes": config.web.max_upload_bytes_per_kernel,
        }

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        kernel = rf"/api/kernels/(?P<kernel_id>{ID})"
        return (
            Route(re.compile("/environments"), {"GET": self.environments}),
            Route(re.compile("/api/?"), {"GET": self.version}),
            Route(re.compile("/api/status"), {"GET": self.status}),
            Route(re.compile("/api/me"), {"GET": self.me}),
            Route(re.compile("/api/kernelspecs"), {"GET": self.kernelspecs}),
            Route(re.compile(r"/api/kernelspecs/(?P<name>[\w.-]{1,64})"), {"GET": self.kernelspec}),
            Route(re.compile("/api/kernels"), {"GET": self.list, "POST": self.start}),
            Route(re.compile(kernel), {"GET": self.show, "DELETE": self.delete}),
            Route(re.compile(f"{kernel}/interrupt"), {"POST": self.interrupt}),
            Route(re.compile(f"{kernel}/restart"), {"POST": self.restart}),
            Route(re.compile(f"{kernel}/channels"), {"GET": self.channels}),
        )

    # --- what there is

    async def version(self, call: Call) -> Response:
        """Tell the version; the only address below ``/api`` that never wants a token, as in Jupyter Server."""
        return json_response({"version": API_VERSION})

    async def environments(self, call: Call) -> Response:
        """Tell cells what can be chosen, environments and exposed profiles, and how large files may be."""
        environments = [
            {"name": name, "title": environment.title or name.capitalize(), "language": environment.language or name}
            for name, environment in self._environments.items()
        ]
        document = {"environments": environments, "profiles": sorted(self._profiles), "uploads": self._uploads}
        return json_response(document, headers=(("Cache-Control", "public, max-age=60"),))

    async def status(self, call: Call) -> Response:
        """Tell since when this server runs and how much it does."""
        self._access.check_token(call)
        return json_response(
            {
                "started": self._started,
                "last_activity": self._last_activity,
                "connections": self._kernels.clients,
                "kernels": self._kernels.count,
            }
        )

    async def me(self, call: Call) -> Response:
        """Tell who the client is: nobody in particular."""
        self._access.check_token(call)
        identity = {
            "username": "visitor",
            "name": "Visitor",
            "display_name": "Visitor",
            "initials": "V",
            "avatar_url": None,
            "color": None,
        }
        return json_response({"identity": identity, "permissions": {}})

    async def kernelspecs(self, call: Call) -> Response:
        """List the environments as kernelspecs."""
        self._access.check_token(call)
        specs = {name: _kernelspec(name, environment) for name, environment in self._environments.items()}
        return json_response({"default": self._kernels.default_environment, "kernelspecs": specs})

    async def kernelspec(self, call: Call, name: str) -> Response:
        """Show one environment as a kernelspec."""
        self._access.check_token(call)
        name = self._environment(name)
        return json_response(_kernelspec(name, self._environments[name]))

    def _environment(self, name: str) -> str:
        """Return the environment that a client means; raises `UnknownEnvironment`."""
        name = name or self._kernels.default_environment
        if name not in self._environments:
            name = ALIASES.get(name, name)
        if name not in self._environments:
            known = ", ".join(sorted(self._environments))
            raise UnknownEnvironment(f"There is no kernelspec {name[:64]!r} here. Kernelspecs: {known}.")
        return name

    # --- kernels

    async def list(self, call: Call) -> Response:
        """List the kernels that were started with the client's own token."""
        self._access.check_token(call)
        return json_response([self.model(kernel["id"], kernel["environment"]) for kernel in await self.owned(call)])

    async def owned(self, call: Call) -> Sequence[dict[str, str]]:
        """Return the kernels that were started with the client's own token; raises `PoolUnavailable`."""
        _, page = self._access.api_visitor(call)
        return await self._kernels.pool.list_kernels(page) if page else ()

    async def start(self, call: Call) -> Response:
        """Lease a kernel."""
        self._access.check_token(call)
        document = json_body(call)
        kernel, environment = await self.lease(call, document)
        model = self.model(kernel.kernel_id, environment)
        return json_response(model, 201, (("Cache-Control", "no-store"), ("Location", f"/api/kernels/{model['id']}")))

    async def lease(self, call: Call, document: dict[str, Any]) -> tuple[LiveKernel, str]:
        """Lease the kernel that a model names; return it and its environment. Raises what `Kernels.lease` does."""
        self._access.check_terms(call)
        name, profile = document.get("name") or "", document.get("profile") or call.arguments.get("profile")
        if not isinstance(name, str) or not isinstance(profile, str):
            raise BadRequest("name and profile must be strings.")
        environment = self._environment(name)
        visitor, _ = self._access.api_visitor(call)
        wanted = WantedKernel(environment, profile)
        kernel = await self._kernels.lease("visitor", float("inf"), wanted, visitor)
        if call.gone:
            kernel.stop(DeathReason.CLIENT_GONE)
        self._last_activity = self._now()
        return kernel, environment

    def model(self, kernel_id: str, environment: str) -> dict[str, Any]:
        """Return what Jupyter tells of a kernel."""
        kernel = self._kernels.live(kernel_id)
        return {
            "id": kernel_id,
            "name": environment,
            "last_activity": self._now(),
            "execution_state": kernel.execution_state if kernel is not None else "idle",
            "connections": kernel.clients if kernel is not None else 0,
        }

    async def show(self, call: Call, kernel_id: str) -> Response:
        """Show a kernel to whoever knows its id."""
        self._access.check_token(call)
        kernel = await self._kernels.find(kernel_id)
        return json_response(self.model(kernel_id, kernel.environment))

    async def delete(self, call: Call, kernel_id: str) -> Response:
        """End a kernel; 404 when it has ended."""
        self._access.check_token(call)
        await self._kernels.find(kernel_id)
        await self._kernels.delete(kernel_id)
        return NO_CONTENT

    async def interrupt(self, call: Call, kernel_id: str) -> Response:
        """Interrupt a kernel."""
        self._access.check_token(call)
        await self._kernels.find(kernel_id)
        await self._kernels.pool.interrupt(kernel_id)
        return NO_CONTENT

    async def restart(self, call: Call, kernel_id: str) -> Response:
        """Put a fresh kernel in the place of one, under the same id and with its clients."""
        self._access.check_token(call)
        kernel = await self._kernels.restart(kernel_id)
        return json_response(self.model(kernel_id, kernel.environment))

    async def channels(self, call: Call, kernel_id: str) -> Response | None:
        """Connect to a kernel by WebSocket."""
        self._access.check_token(call)
        if not is_upgrade(call.request):
            raise BadRequest("This address is a WebSocket.")
        kernel = await self._kernels.find(kernel_id)
        if not call.gone:
            version_1 = V1 in offered_subprotocols(call.request)
            upgrade(
                call.request,
                kernel,
                self._clock,
                self._now,
                self._max_message_bytes,
                framing=VERSION_1 if version_1 else JSON,
                subprotocol=V1 if version_1 else None,
            )
        return None


def _kernelspec(name: str, environment: Environment) -> dict[str, Any]:
    spec = {
        "argv": [],
        "display_name": environment.title or name.capitalize(),
        "language": environment.language or name,
        "interrupt_mode": "signal",
        "env": {},
        "metadata": {},
    }
    return {"name": name, "spec": spec, "resources": {}}
