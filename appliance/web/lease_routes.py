"""``/lease``: a connection that a page makes before anybody evaluates, so that the first click costs one message.

The page connects when it loads and takes no kernel. Its first message says which kernel it wants and what to run there
(`protocol.lease`); from then on the connection is what ``/kernel/ID/channels`` would be. Before the kernel's own
messages, those of this door come on control: ``waiting`` (``{"place"}``) while all kernels are taken, then ``leased``
(``{"id"}``), or ``refused`` (``{"error", "message", "status"[, "retry_after"]}``) and the end of the connection.

A page may ask for a kept result (`protocol.results`). When there is one, ``leased`` has an empty ``id`` and the time at
which it was made (``stored``, ISO 8601), and the messages follow as if a kernel said them. Otherwise ``id`` is empty
because nobody is told it while the result is made; should it not be kept after all, ``leased`` comes again, with it.
"""

from __future__ import annotations

import datetime
import json
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
from appliance.protocol.results import Recording, Step
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
    from appliance.protocol.frames import ClientMessage, KernelFrame
    from appliance.web.access import Access
    from appliance.web.http import Call, Response
    from appliance.web.kernels import Kernels
    from appliance.web.live_kernel import LiveKernel
    from appliance.web.pool_client import Visitor
    from appliance.web.request_log import RequestLog
    from appliance.web.results import Results, Stored

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
        self._recording: Recording | None = None
        self._key = ""

    def opened(self) -> None:
        """Wait for what the page wants."""

    def text_received(self, text: str) -> None:
        """Take what the page wants, or a message for its kernel."""
        if self._kernel is not None:
            # whoever speaks to a kernel has a say in what it answers
            self._give_up()
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
        if self._kernel is not None and self._kernel.private:
            # nobody knows how to come back to it
            self._kernel.stop(DeathReason.CLIENT_GONE)
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

    def deliver(self, frame: KernelFrame) -> None:
        """Send a message of the kernel to the browser, and keep it if all of them make a result."""
        if self._recording is not None and self._kernel is not None:
            match self._recording.take(frame):
                case Step.GIVEN_UP:
                    self._give_up()
                case Step.COMPLETE if not self._was_alone(self._kernel):
                    self._give_up()
                case Step.COMPLETE:
                    self._routes.results.keep(self._key, self._recording.texts)
                    # it is released with this message
                    self._recording = None
                    self._kernel.private = False
        super().deliver(frame)

    def full(self, *, full: bool) -> None:
        """Stop the kernel's messages, or let them come again: but what a kernel says is kept whoever reads it."""
        if self._recording is None:
            super().full(full=full)

    def close(self, code: int) -> None:
        """End; the browser may come back to its kernel at another instance of this role."""
        self._give_up()
        super().close(code)

    def _was_alone(self, kernel: LiveKernel) -> bool:
        """Return whether a kernel had this one request, and nobody could have a hand in it.

        A pool that is being restarted does not know that a kernel is nobody's; one that outlives its evaluation has put
        something on the page that wants to be used.
        """
        return kernel.private and kernel.single and self._routes.kernels.pool.connected

    def _give_up(self) -> None:
        """Keep no result: from here on, this is the visitor's kernel like any other."""
        if self._recording is None or self._kernel is None:
            return
        self._recording = None
        self._kernel.private = False
        self._say("leased", {"id": self._kernel.kernel_id})
        self._kernel.client_full(self._number, full=self._full_since is not None)

    async def _obtain(self, request: LeaseRequest) -> None:
        try:
            if request.result and self._routes.results.enabled:
                stored = self._find(request)
                if stored is not None:
                    self._show(stored)
                    return
            kernel = await self._lease(request)
        except ApplianceError as exc:
            self._ticket = ""
            self._refuse(exc)
            return
        except Exception:  # noqa: BLE001 - the page waits for a word
            log.failure("a kernel was leased and could not be connected to")
            self._refuse(ApplianceError())
            return
        if kernel is None:
            return
        if not self._open:
            kernel.stop(DeathReason.CLIENT_GONE)
            return
        self._join(kernel, request.requests)

    def _find(self, request: LeaseRequest) -> Stored | None:
        """Return what is kept of an earlier visitor; raises what `Kernels.resolve` does."""
        self._check_terms()
        environment, profile = self._routes.kernels.resolve(WantedKernel(request.environment, request.profile))
        self._key = self._routes.results.key(request.requests[0], environment, profile)
        stored = self._routes.results.find(self._key)
        if stored is not None:
            self._routes.log_stored(request.requests[0], environment, profile, self._caller.visitor)
        return stored

    def _show(self, stored: Stored) -> None:
        """Say what a kernel said to an earlier visitor, and end."""
        made = datetime.datetime.fromtimestamp(stored.made, datetime.UTC).isoformat(timespec="seconds")
        self._say("leased", {"id": "", "stored": made})
        for text in stored.texts:
            self.send(text, hold=True)
        over = DeathReason.RELEASED
        self._say("status", {"execution_state": "dead", "reason": over.value, "message": over.sentence}, "iopub")
        self.close(CLOSE_NORMAL)

    def _check_terms(self) -> None:
        if not self._caller.accepted:
            raise TermsNotAccepted

    async def _lease(self, request: LeaseRequest) -> LiveKernel | None:
        """Return a kernel, or None when the client left while it waited."""
        self._check_terms()
        kernels, visitor = self._routes.kernels, self._caller.visitor
        wanted = WantedKernel(request.environment, request.profile)
        kind = "result" if self._key else "visitor"
        answer = await kernels.lease_or_queue(kind, request.timeout_seconds, wanted, visitor)
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
        if self._key:
            kernel.private = True
            self._recording = Recording(kernel.kernel_id, self._routes.results.max_result_bytes)
        self._say("leased", {"id": "" if kernel.private else kernel.kernel_id})
        self._number = kernel.add_new_client(self, Returning(self._caller.session_id, "", ""))
        if self._recording is None:
            kernel.client_full(self._number, full=self._full_since is not None)
        for message in requests:
            kernel.client_message(self._number, message)
        early, self._early = self._early, []
        for text in early:
            self.text_received(text)

    def _refuse(self, error: ApplianceError) -> None:
        content: dict[str, Any] = {"error": error.code, "message": error.message, "status": error.http_status}
        if error.http_status in RETRY_STATUSES:
            content["retry_after"] = error.retry_after_seconds or self._routes.retry_after_seconds
        self._say("refused", content)
        self.close(CLOSE_POLICY if isinstance(error, InvalidMessage) else CLOSE_NORMAL)

    def _say(self, kind: str, content: dict[str, Any], channel: str = "control") -> None:
        """Say something that no kernel said; it has no id, so that nobody asks to hear what followed it."""
        frame = make_frame(channel, kind, content, parent={}, msg_id="", session="", date=self._now())
        self.send(frame.text, hold=kind == "leased")


class LeaseRoutes(Service):
    """The handler, its address, and the connections that have no kernel."""

    def __init__(
        self,
        config: Config,
        kernels: Kernels,
        access: Access,
        clock: Any,
        now: Callable[[], str],
        results: Results,
        request_log: RequestLog | None = None,
    ) -> None:
        self.kernels = kernels
        self.results = results
        self._request_log = request_log
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

    def log_stored(self, request: ClientMessage, environment: str, profile: str, visitor: Visitor) -> None:
        """Tell the request log of a visitor who got a kept result."""
        if self._request_log is not None:
            code = str(json.loads(request.parts[3]).get("code", "")) if self._request_log.wants_code else ""
            self._request_log.record(
                "evaluate", visitor, code=code, language=environment, profile=profile, outcome="stored"
            )

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
        self.results.tick()
        for socket in list(self._waiting):
            try:
                socket.tick()
            except Exception:  # noqa: BLE001 - one connection's trouble is not another's
                log.failure("waiting connection failed")
