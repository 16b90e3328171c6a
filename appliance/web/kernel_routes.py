"""``/kernel``: lease, end and connect to kernels, in the protocol that cells of SageMathCell speak."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from appliance.config import DEFAULT_PROFILE
from appliance.errors import BadRequest, MethodNotAllowed
from appliance.protocol.death import DeathReason
from appliance.web.framed import framed
from appliance.web.http import NO_STORE, Call, Response, json_response, preflight
from appliance.web.kernels import Kernels, timeout_seconds
from appliance.web.site import Route
from appliance.web.websocket import is_upgrade, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.config import Config
    from appliance.web.live_kernel import LiveKernel

EMPTY = Response(200, b"", "text/plain; charset=utf-8", NO_STORE)


class KernelRoutes:
    """The handlers, and the table of their addresses."""

    def __init__(self, config: Config, kernels: Kernels, clock: Any, now: Callable[[], str]) -> None:
        self._kernels = kernels
        self._clock = clock
        self._now = now
        self._max_message_bytes = config.web.max_message_bytes

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (
            Route(re.compile("/kernel"), {"POST": self.start}),
            Route(re.compile(r"/kernel/(?P<kernel_id>[\w-]{1,64})"), {"DELETE": self.delete, "POST": self.overridden}),
            Route(re.compile(r"/kernel/(?P<kernel_id>[\w-]{1,64})/channels"), {"GET": self.channels}),
        )

    async def start(self, call: Call) -> Response:
        """Lease a kernel: its id, and where to connect. ``profile`` is one of those that are exposed.

        ``accepted_tos`` is accepted and means nothing: there are no terms of service.
        """
        if call.arguments.get("method", "POST").upper() == "OPTIONS":
            return preflight({"POST": self.start}, call.origin)
        seconds = timeout_seconds(call.arguments.get("timeout", "0"))
        if seconds is None:
            raise BadRequest("timeout must be a number of seconds, not negative, or inf.")
        url = call.websocket_url
        profile = call.arguments.get("profile") or DEFAULT_PROFILE
        kernel: LiveKernel = await self._kernels.lease("visitor", seconds, profile, call.visitor)
        if call.gone:
            kernel.stop(DeathReason.CLIENT_GONE)
            return EMPTY
        document = {"ws_url": url, "id": kernel.kernel_id}
        response = json_response(document, headers=(*NO_STORE, ("Jupyter-Kernel-ID", kernel.kernel_id)))
        return framed(call, response)

    async def delete(self, call: Call, kernel_id: str) -> Response:
        """End a kernel; one that has ended is no error."""
        await self._kernels.delete(kernel_id)
        return EMPTY

    async def overridden(self, call: Call, kernel_id: str) -> Response:
        """Do what a client says that can only POST."""
        method = call.arguments.get("method").upper()
        if method == "DELETE":
            return await self.delete(call, kernel_id)
        if method == "OPTIONS":
            return preflight({"DELETE": self.delete, "POST": self.overridden}, call.origin)
        raise MethodNotAllowed("POST to a kernel takes the argument method=DELETE.")

    async def channels(self, call: Call, kernel_id: str) -> Response | None:
        """Connect to a kernel by WebSocket."""
        if not is_upgrade(call.request):
            raise BadRequest("This address is a WebSocket.")
        kernel = await self._kernels.find(kernel_id)
        if not call.gone:
            upgrade(call.request, kernel, self._clock, self._now, self._max_message_bytes)
        return None
