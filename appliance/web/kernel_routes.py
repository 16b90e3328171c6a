"""``/kernel``: lease, end and connect to kernels, in the protocol that cells of SageMathCell speak."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from appliance.errors import BadRequest, MethodNotAllowed, UnknownKernel
from appliance.protocol.death import DeathReason
from appliance.protocol.frames import make_frame
from appliance.web.framed import framed
from appliance.web.http import NO_STORE, Call, Response, json_response, preflight
from appliance.web.kernels import Kernels, timeout_seconds
from appliance.web.pool_client import Place
from appliance.web.site import Route
from appliance.web.websocket import FarewellSocket, Returning, become_websocket, is_upgrade, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.config import Config
    from appliance.web.access import Access
    from appliance.web.live_kernel import LiveKernel

#: What may stand for a kernel or a ticket in an address.
ID = r"[\w-]{1,64}"

#: Said to a browser that comes back too late.
GONE = "The kernel ended while the connection was down. Evaluate again to start a new one."

_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{0,128}")

EMPTY = Response(200, b"", "text/plain; charset=utf-8", NO_STORE)


def _timeout(call: Call) -> float:
    seconds = timeout_seconds(call.arguments.get("timeout", "0"))
    if seconds is None:
        raise BadRequest("timeout must be a number of seconds, not negative, or inf.")
    return seconds


def _leased(call: Call, leased: LiveKernel | Place, url: str) -> Response:
    """Return the answer to who wants a kernel."""
    if isinstance(leased, Place):
        place = {"ticket": leased.ticket, "place": leased.before, "poll_seconds": leased.poll_seconds}
        return json_response(place, 202)
    if call.gone:
        leased.stop(DeathReason.CLIENT_GONE)
        return EMPTY
    document = {"ws_url": url, "id": leased.kernel_id}
    return json_response(document, headers=(*NO_STORE, ("Jupyter-Kernel-ID", leased.kernel_id)))


class KernelRoutes:
    """The handlers, and the table of their addresses."""

    def __init__(self, config: Config, kernels: Kernels, access: Access, clock: Any, now: Callable[[], str]) -> None:
        self._kernels = kernels
        self._access = access
        self._clock = clock
        self._now = now
        self._max_message_bytes = config.web.max_message_bytes

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        return (
            Route(re.compile("/kernel"), {"POST": self.start}),
            Route(re.compile(rf"/kernel/(?P<kernel_id>{ID})"), {"DELETE": self.delete, "POST": self.overridden}),
            Route(re.compile(rf"/kernel/ticket/(?P<ticket>{ID})"), {"GET": self.claim, "DELETE": self.leave_line}),
            Route(re.compile(rf"/kernel/(?P<kernel_id>{ID})/channels"), {"GET": self.channels}),
        )

    async def start(self, call: Call) -> Response:
        """Lease a kernel: its id, and where to connect.

        ``environment`` names what it runs, by default Python; ``profile`` its limits, of those that are exposed.
        With ``wait=1``, when all are taken: 202 and a ticket, to be asked with again in ``poll_seconds``.
        Where there are terms of service, ``accepted_tos=true`` says that the visitor accepts them.
        """
        if call.arguments.get("method", "POST").upper() == "OPTIONS":
            return preflight({"POST": self.start}, call.origin)
        self._access.check_terms(call)
        seconds, url = _timeout(call), call.websocket_url
        leased: LiveKernel | Place
        if call.arguments.get("wait", "0") in ("", "0"):
            leased = await self._kernels.lease("visitor", seconds, call.wanted_kernel, call.visitor)
        else:
            leased = await self._kernels.lease_or_queue("visitor", seconds, call.wanted_kernel, call.visitor)
        return framed(call, _leased(call, leased, url))

    async def claim(self, call: Call, ticket: str) -> Response:
        """Come back with a ticket: answered as `start` is."""
        url = call.websocket_url
        return _leased(call, await self._kernels.claim(ticket, call.visitor), url)

    async def leave_line(self, call: Call, ticket: str) -> Response:
        """Give a ticket back; one that is not known is no error."""
        await self._kernels.pool.leave_queue(ticket)
        return EMPTY

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
        returning = _returning(call)
        try:
            kernel = await self._kernels.find(kernel_id)
        except UnknownKernel:
            ended = self._kernels.ended(kernel_id)
            if returning is None or not is_upgrade(call.request):
                raise
            if ended is None:
                self._say_goodbye(call, kernel_id)
                return None
            kernel = ended
        if not call.gone:
            upgrade(call.request, kernel, self._clock, self._now, self._max_message_bytes, returning=returning)
        return None

    def _say_goodbye(self, call: Call, kernel_id: str) -> None:
        content = {"execution_state": "dead", "reason": UnknownKernel.code, "message": GONE}
        frame = make_frame(
            "iopub", "status", content, parent={}, msg_id=f"{kernel_id}_0", session=kernel_id, date=self._now()
        )
        if not call.gone:
            socket = FarewellSocket(frame, call.request.channel, self._clock, self._max_message_bytes)
            become_websocket(call.request, socket)


def _returning(call: Call) -> Returning | None:
    """Return what a client says of itself that comes back after its connection broke: ``session_id``, ``after``."""
    if "after" not in call.arguments:
        return None
    texts = [call.arguments.get(name) for name in ("session_id", "after", "after_kernel")]
    if not all(_MESSAGE_ID.fullmatch(text) for text in texts) or not texts[0]:
        raise BadRequest("session_id, after and after_kernel are ids of up to 128 letters, digits, - and _.")
    return Returning(*texts)
