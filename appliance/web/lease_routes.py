"""``/lease``: a connection that a page makes before anybody evaluates, so that the first click costs one message.

The page connects when it loads and takes no kernel. Its first message says which kernel it wants and what to run there
(`protocol.lease`); from then on the connection is what ``/kernel/ID/channels`` would be. Before the kernel's own
messages, those of this door come on control: ``waiting`` (``{"place"}``) while all kernels are taken, then ``leased``
(``{"id"}``), or ``refused`` (``{"error", "message", "status"[, "retry_after"]}``) and the end of the connection.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from appliance.errors import ApplianceError, BadRequest, InvalidMessage, TermsNotAccepted
from appliance.protocol.death import DeathReason
from appliance.protocol.frames import make_frame
from appliance.protocol.jupyter_websocket import TEXT
from appliance.protocol.lease import LeaseRequest, parse_lease
from appliance.protocol.session import CLOSE_POLICY, MAX_QUEUED_MESSAGES
from appliance.web.http import RETRY_STATUSES
from appliance.web.pool_client import Place, WantedKernel
from appliance.web.site import Route
from appliance.web.websocket import (
    CLOSE_NORMAL,
    ChannelsSocket,
    Returning,
    become_websocket,
    is_upgrade,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.config import Config
    from appliance.protocol.frames import ClientMessage
    from appliance.web.access import Access
    from appliance.web.http import Call, Response
    from appliance.web.kernels import Kernels
    from appliance.web.live_kernel import LiveKernel
    from appliance.web.pool_client import Visitor

log = Logger()

TICK_SECONDS = 2.0

#: A page that nobody evaluates on keeps its connection this long; it makes another when somebody comes near a cell.
UNUSED_SECONDS = 600.0

#: Close code of a server that goes away (RFC 6455, section 7.4.1).
CLOSE_GOING_AWAY = 1001

_SESSION_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class TooManyWaiting(ApplianceError):
    """This server has as many connections of this kind as it allows. Ask for a kernel by POST."""

    code = "too_many_waiting"
    http_status = 503


@attrs.frozen
class Caller:
    """Who is connected: for quotas, whether the terms of service are accepted, the name that it comes back by."""

    visitor: Visitor
    accepted: bool
    session_id: str


class LeaseSocket(ChannelsSocket):
    """A connection without a kernel, and later with one."""

    def __init__(self, routes: LeaseRoutes, caller: Caller, channel: Any) -> None:
        super().__init__(None, channel, routes.clock, routes.now, routes.max_message_bytes, TEXT)
        self._routes = routes
        self._caller = caller
        self._made_at = routes.clock.seconds()
        self._asked = False
        self._ticket = ""
        self._early: list[str] = []
        self._said = 0

    def opened(self) -> None:
        """Wait for what the page wants."""

    def text_received(self, text: str) -> None:
        """Take what the page wants, or a message for its kernel."""
        if self._kernel is not None:
            super().text_received(text)
        elif self._asked:
            if len(self._early) >= MAX_QUEUED_MESSAGES:
                self.close(CLOSE_POLICY)
            else:
                self._early.append(text)
        else:
            self._asked = True
            try:
                request = parse_lease(text, self._now())
            except InvalidMessage as exc:
                self._refuse(exc)
                return
            self._routes.kernels.background(self._obtain(request))

    def left(self) -> None:
        """Leave the line, or the session."""
        self._routes.forget(self)
        if self._ticket:
            self._routes.kernels.background(self._routes.kernels.pool.leave_queue(self._ticket))
            self._ticket = ""
        super().left()

    def tick(self) -> None:
        """End a connection that is not used, or whose client is not there any more."""
        if not self._asked and self._clock.seconds() - self._made_at > UNUSED_SECONDS:
            self.close(CLOSE_NORMAL)
        else:
            super().tick()

    async def _obtain(self, request: LeaseRequest) -> None:
        try:
            kernel = await self._lease(request)
        except ApplianceError as exc:
            self._ticket = ""
            self._refuse(exc)
            return
        if kernel is None:
            return
        if not self._open:
            kernel.stop(DeathReason.CLIENT_GONE)
            return
        self._join(kernel, request.requests)

    async def _lease(self, request: LeaseRequest) -> LiveKernel | None:
        """Return a kernel, or None when the client left while it waited."""
        if not self._caller.accepted:
            raise TermsNotAccepted
        kernels, visitor = self._routes.kernels, self._caller.visitor
        wanted = WantedKernel(request.environment, request.profile)
        answer = await kernels.lease_or_queue("visitor", request.timeout_seconds, wanted, visitor)
        while isinstance(answer, Place):
            if not self._open:
                await kernels.pool.leave_queue(answer.ticket)
                return None
            self._ticket = answer.ticket
            self._say("waiting", {"place": answer.before})
            await deferLater(self._clock, answer.poll_seconds)
            if not self._open:
                return None
            answer = await kernels.claim(answer.ticket, visitor)
        self._ticket = ""
        return answer

    def _join(self, kernel: LiveKernel, requests: tuple[ClientMessage, ...]) -> None:
        self._kernel = kernel
        self._routes.forget(self)
        self._say("leased", {"id": kernel.kernel_id})
        self._number = kernel.add_new_client(self, Returning(self._caller.session_id, "", ""))
        kernel.client_full(self._number, full=self._full_since is not None)
        for message in requests:
            kernel.client_message(self._number, message)
        early, self._early = self._early, []
        for text in early:
            super().text_received(text)

    def _refuse(self, error: ApplianceError) -> None:
        content: dict[str, Any] = {"error": error.code, "message": error.message, "status": error.http_status}
        if error.http_status in RETRY_STATUSES:
            content["retry_after"] = error.retry_after_seconds or self._routes.retry_after_seconds
        self._say("refused", content)
        self.close(CLOSE_POLICY if isinstance(error, InvalidMessage) else CLOSE_NORMAL)

    def _say(self, kind: str, content: dict[str, Any]) -> None:
        """Say something that no kernel said; it has no id, so that nobody asks to hear what followed it."""
        frame = make_frame("control", kind, content, parent={}, msg_id="", session="", date=self._now())
        self.send(frame.text, hold=kind == "leased")


class LeaseRoutes(Service):
    """The handler, its address, and the connections that have no kernel."""

    def __init__(self, config: Config, kernels: Kernels, access: Access, clock: Any, now: Callable[[], str]) -> None:
        self.kernels = kernels
        self.clock = clock
        self.now = now
        self.max_message_bytes = config.web.max_message_bytes
        self.retry_after_seconds = config.pool.retry_after_seconds
        self._access = access
        self._most = config.web.waiting_connections
        self._waiting: set[LeaseSocket] = set()
        self._tick = LoopingCall(self._tick_all)
        self._tick.clock = clock

    def routes(self) -> Sequence[Route]:
        """Return the address."""
        return (Route(re.compile("/lease"), {"GET": self.connect}),)

    @property
    def count(self) -> int:
        """Number of connections without a kernel."""
        return len(self._waiting)

    def startService(self) -> None:  # noqa: N802 - IService
        """Start looking after connections."""
        super().startService()  # type: ignore[no-untyped-call]
        ticking = self._tick.start(TICK_SECONDS, now=False)
        ticking.addErrback(lambda failure: log.failure("waiting pages are no longer looked after", failure=failure))

    def stopService(self) -> None:  # noqa: N802 - IService
        """Close every connection without a kernel: pages make another elsewhere."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._tick.running:
            self._tick.stop()
        for socket in list(self._waiting):
            socket.close(CLOSE_GOING_AWAY)

    def forget(self, socket: LeaseSocket) -> None:
        """Drop a connection that ended or has a kernel, which looks after it."""
        self._waiting.discard(socket)

    async def connect(self, call: Call) -> Response | None:
        """Connect by WebSocket; ``session_id`` is the name by which the page comes back to its kernel."""
        if not is_upgrade(call.request):
            raise BadRequest("This address is a WebSocket.")
        session_id = call.arguments.get("session_id")
        if not _SESSION_ID.fullmatch(session_id):
            raise BadRequest("session_id is a name of up to 128 letters, digits, - and _.")
        if len(self._waiting) >= self._most:
            raise TooManyWaiting
        accepted = not self._access.terms or call.arguments.get("accepted_tos").lower() == "true"
        socket = LeaseSocket(self, Caller(call.visitor, accepted, session_id), call.request.channel)
        # listed first: it may end while it begins
        self._waiting.add(socket)
        try:
            become_websocket(call.request, socket)
        except BadRequest:
            self.forget(socket)
            raise
        return None

    def _tick_all(self) -> None:
        for socket in list(self._waiting):
            try:
                socket.tick()
            except Exception:  # noqa: BLE001 - one connection's trouble is not another's
                log.failure("waiting connection failed")
