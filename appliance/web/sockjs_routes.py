"""``/sockjs``: one connection for all kernels of a page, over whatever gets through: SockJS 0.3.

``/sockjs/<server>/<session>/<transport>`` carry sessions, ``/sockjs/websocket`` is a WebSocket without SockJS's frames,
``/sockjs/info`` tells a client what there is. Sessions over HTTP live in this process.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from appliance.errors import ApplianceError, BadRequest, NotFound, TooLarge
from appliance.protocol import sockjs
from appliance.web.http import NO_STORE, Call, Response, json_response
from appliance.web.multiplexer import Multiplexer
from appliance.web.site import Route
from appliance.web.sockjs_session import HttpReceiver, SockJsSession, SockJsSocket
from appliance.web.websocket import become_websocket, is_upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.config import Config
    from appliance.web.access import Access
    from appliance.web.kernels import Kernels

log = Logger()

TICK_SECONDS = 1.0

_PART = r"[^/.]{1,64}"

#: No intermediary may keep or gather up what is sent here.
_HEADERS = (("Cache-Control", "no-store, no-transform"), ("X-Accel-Buffering", "no"))

_PLAIN = "text/plain; charset=UTF-8"


class TooManySessions(ApplianceError):
    """This server has as many connections of this kind as it allows. Try again later."""

    code = "too_many_sessions"
    http_status = 503


class SockJsRoutes(Service):
    """The handlers, the table of their addresses, and the sessions."""

    def __init__(self, config: Config, kernels: Kernels, access: Access, clock: Any, now: Callable[[], str]) -> None:
        self._kernels = kernels
        self._access = access
        self._clock = clock
        self._now = now
        self._max_message_bytes = config.web.max_message_bytes
        self._max_sessions = config.web.sockjs_sessions
        self._sessions: dict[tuple[str, str], SockJsSession] = {}
        self._sockets: set[SockJsSocket] = set()
        self._tick = LoopingCall(self._tick_all)
        self._tick.clock = clock

    def routes(self) -> Sequence[Route]:
        """Return the addresses."""
        session = rf"/sockjs/(?P<server>{_PART})/(?P<session_id>{_PART})"
        return (
            Route(re.compile("/sockjs/?"), {"GET": self.greet}),
            Route(re.compile("/sockjs/info"), {"GET": self.info}),
            Route(re.compile(r"/sockjs/iframe[0-9a-z.-]{0,40}\.html"), {"GET": self.frame}),
            Route(re.compile("/sockjs/websocket"), {"GET": self.raw_websocket}),
            Route(re.compile(f"{session}/websocket"), {"GET": self.websocket}),
            Route(re.compile(f"{session}/xhr"), {"POST": self.xhr}),
            Route(re.compile(f"{session}/xhr_streaming"), {"POST": self.xhr_streaming}),
            Route(re.compile(f"{session}/eventsource"), {"GET": self.eventsource}),
            Route(re.compile(f"{session}/jsonp"), {"GET": self.jsonp}),
            Route(re.compile(f"{session}/xhr_send"), {"POST": self.xhr_send}),
            Route(re.compile(f"{session}/jsonp_send"), {"POST": self.jsonp_send}),
        )

    @property
    def count(self) -> int:
        """Number of sessions."""
        return len(self._sessions) + len(self._sockets)

    def startService(self) -> None:  # noqa: N802 - IService
        """Start looking after sessions."""
        super().startService()  # type: ignore[no-untyped-call]
        ticking = self._tick.start(TICK_SECONDS, now=False)
        ticking.addErrback(lambda failure: log.failure("SockJS is no longer looked after", failure=failure))

    def stopService(self) -> None:  # noqa: N802 - IService
        """Close every session; kernels live on."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._tick.running:
            self._tick.stop()
        for session in list(self._sessions.values()):
            session.close(sockjs.GO_AWAY)
        for socket in list(self._sockets):
            socket.close(1001)

    def _tick_all(self) -> None:
        sessions: list[SockJsSession | SockJsSocket] = [*self._sessions.values(), *self._sockets]
        for one in sessions:
            try:
                one.tick()
            except Exception:  # noqa: BLE001 - one session's trouble is not another's
                log.failure("SockJS session failed")

    # --- what is asked before a session

    async def greet(self, call: Call) -> Response:
        """Say that this is SockJS."""
        return Response(200, sockjs.GREETING, _PLAIN, NO_STORE)

    async def info(self, call: Call) -> Response:
        """Tell what there is; the entropy seeds clients without randomness of their own."""
        document = {
            "websocket": True,
            "cookie_needed": False,
            "origins": ["*:*"],
            "entropy": random.SystemRandom().getrandbits(32),
        }
        return json_response(document)

    async def frame(self, call: Call) -> Response:
        """Answer who looks for the page of the transports in frames: browsers that need them are gone."""
        raise NotFound("Transports in frames are not offered.")

    # --- WebSockets

    def _make(self, call: Call) -> Callable[[Callable[[str], None]], Multiplexer]:
        accepted = not self._access.terms or call.arguments.get("accepted_tos").lower() == "true"
        visitor, wanted = call.visitor, call.wanted_kernel

        def make(send: Callable[[str], None]) -> Multiplexer:
            return Multiplexer(
                self._kernels,
                visitor,
                self._now,
                send,
                accepted=accepted,
                wanted=wanted,
                max_message_bytes=self._max_message_bytes,
            )

        return make

    def _check_room(self) -> None:
        if self.count >= self._max_sessions:
            raise TooManySessions

    def _upgrade(self, call: Call, *, raw: bool) -> None:
        if not is_upgrade(call.request):
            raise BadRequest('Can "Upgrade" only to "WebSocket".')
        self._check_room()
        socket = SockJsSocket(
            self._make(call),
            call.request.channel,
            self._clock,
            self._max_message_bytes,
            raw=raw,
            forget=self._sockets.discard,
        )
        # listed first: it may end while it begins
        self._sockets.add(socket)
        try:
            become_websocket(call.request, socket)
        except BadRequest:
            self._sockets.discard(socket)
            raise

    async def raw_websocket(self, call: Call) -> None:
        """Connect by WebSocket, without SockJS's frames."""
        self._upgrade(call, raw=True)

    async def websocket(self, call: Call, server: str, session_id: str) -> None:
        """Connect by WebSocket."""
        self._upgrade(call, raw=False)

    # --- HTTP

    def _session(self, call: Call, server: str, session_id: str) -> SockJsSession:
        key = (server, session_id)
        if key not in self._sessions:
            self._check_room()
            self._sessions[key] = SockJsSession(self._make(call), self._clock, lambda: self._forget(key))
        return self._sessions[key]

    def _forget(self, key: tuple[str, str]) -> None:
        self._sessions.pop(key, None)

    async def _receive(self, call: Call, server: str, session_id: str, transport: sockjs.Transport) -> None:
        session = self._session(call, server, session_id)
        response = Response(200, b"", transport.content_type, _HEADERS)
        HttpReceiver(call.request, transport, response, call.origin, session).start()

    async def xhr(self, call: Call, server: str, session_id: str) -> None:
        """Wait for one frame."""
        await self._receive(call, server, session_id, sockjs.XHR)

    async def xhr_streaming(self, call: Call, server: str, session_id: str) -> None:
        """Receive frames, one a line."""
        await self._receive(call, server, session_id, sockjs.XHR_STREAMING)

    async def eventsource(self, call: Call, server: str, session_id: str) -> None:
        """Receive frames as server-sent events."""
        await self._receive(call, server, session_id, sockjs.EVENTSOURCE)

    async def jsonp(self, call: Call, server: str, session_id: str) -> None:
        """Wait for one frame, as a script."""
        callback = call.arguments.get("c") or call.arguments.get("callback")
        await self._receive(call, server, session_id, sockjs.jsonp_transport(callback))

    async def xhr_send(self, call: Call, server: str, session_id: str) -> Response:
        """Send messages."""
        self._send(server, session_id, _text(call.body))
        return Response(204, b"", _PLAIN, NO_STORE)

    async def jsonp_send(self, call: Call, server: str, session_id: str) -> Response:
        """Send messages, as a form or as plain text."""
        self._send(server, session_id, call.arguments.get("d") if "d" in call.arguments else _text(call.body))
        return Response(200, b"ok", _PLAIN, NO_STORE)

    def _send(self, server: str, session_id: str, text: str) -> None:
        session = self._sessions.get((server, session_id))
        if session is None:
            raise NotFound("There is no such session.")
        if len(text) > self._max_message_bytes:
            raise TooLarge
        session.receive(sockjs.parse_messages(text))


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise BadRequest("The payload is not UTF-8.") from exc
