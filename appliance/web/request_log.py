"""What the web role tells the request log and the metrics: evaluations, messages of interacts, permalinks."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from appliance.errors import ApplianceError
from appliance.log import kernel_name
from appliance.protocol.request_event import MAX_CODE_CHARACTERS, Event, shortened
from appliance.web.pool_client import NOBODY, UNKNOWN_USE, Used

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from appliance.config import RequestLog as Settings
    from appliance.protocol.frames import ClientMessage, KernelFrame
    from appliance.web.metrics import WebMetrics
    from appliance.web.pool_client import PoolClient, Visitor

log = Logger()

#: Requests of one kernel that are under way; the session allows about as many.
MAX_OPEN = 256

#: Messages that show something.
_RESULTS = frozenset({"stream", "execute_result", "display_data", "error"})

#: What an evaluation came to when its kernel ended before its reply.
GONE = "gone"

#: Name of the error with which evaluations end whose kernel has ended; the event tells the reason instead.
_KERNEL_DIED = "KernelDied"


class RequestLog:
    """Makes events. ``send`` takes them, None where there is no log; ``wall`` and ``monotonic`` tell time."""

    def __init__(
        self,
        settings: Settings,
        send: Callable[[Event], None] | None,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        metrics: WebMetrics | None = None,
    ) -> None:
        self.metrics = metrics
        self._settings = settings
        self._send = send
        self._wall = wall
        self.monotonic = monotonic

    def use_of(self, pool: PoolClient) -> Callable[[str], Awaitable[Used]] | None:
        """Return what asks for the use of a kernel: None without a log, for which it costs the pool nothing."""
        return pool.usage if self._send is not None else None

    def wall(self) -> float:
        """Return seconds since 1970-01-01 UTC."""
        return self._wall()

    def record(self, kind: str, visitor: Visitor, *, code: str = "", when: float | None = None, **fields: Any) -> None:
        """Send an event of a visitor; the address is shortened and the code left out as is configured."""
        if self._send is None:
            return
        self._send(
            Event(
                id=uuid.uuid4().hex,
                time=self._wall() if when is None else when,
                kind=kind,
                page=visitor.site,
                address=shortened(visitor.address, self._settings.address),
                code=code[:MAX_CODE_CHARACTERS] if self._settings.code else "",
                **fields,
            )
        )

    @property
    def wants_code(self) -> bool:
        """Whether code is kept."""
        return self._settings.code and self._send is not None


@attrs.define
class _Open:
    kind: str
    since: float
    code: str
    #: What the kernel had used when the request went to it; unknown until the pool has answered.
    before: Used = UNKNOWN_USE


class Watch:
    """Follows the requests of one kernel from its messages; ``use_of`` asks the pool what the kernel has used."""

    def __init__(
        self,
        log: RequestLog,
        kernel_id: str,
        kind: str,
        language: str,
        profile: str,
        visitor: Visitor = NOBODY,
        use_of: Callable[[str], Awaitable[Used]] | None = None,
    ) -> None:
        self._log = log
        self._kernel_id = kernel_id
        self._kernel = kernel_name(kernel_id)
        self._use_of = use_of
        self._kind = "service" if kind == "service" else "evaluate"
        self._language = language
        self._profile = profile
        self._visitor = visitor
        self._open: dict[str, _Open] = {}
        self._first: float | None = None
        self._shown = False
        #: Why the kernel ends, and what it had used in the end.
        self._reason = ""
        self._last: Used | None = None
        #: Use that is charged to requests already.
        self._charged_seconds = 0.0

    def sent(self, message: ClientMessage) -> None:
        """Take note of a message that went to the kernel."""
        kind = {"execute_request": self._kind, "comm_msg": "interact"}.get(message.msg_type)
        if kind is None or len(self._open) >= MAX_OPEN:
            return
        code = ""
        if kind != "interact" and self._log.wants_code:
            code = str(json.loads(message.parts[3]).get("code", ""))
        now = self._log.monotonic()
        self._first = now if self._first is None else self._first
        request = self._open[message.msg_id] = _Open(kind, now, code)
        self._ask(lambda used: setattr(request, "before", used))

    def delivered(self, frame: KernelFrame) -> None:
        """Take note of a message for the browser: a reply ends an evaluation, idle a message of an interact.

        A result may come after the reply, which travels on another channel of the kernel.
        """
        if not self._shown and self._first is not None and frame.msg_type in _RESULTS:
            self._shown = True
            if self._log.metrics is not None:
                self._log.metrics.first_result(self._log.monotonic() - self._first)
        request = self._open.get(frame.parent_id)
        if request is None:
            return
        if frame.msg_type == "execute_reply":
            status = frame.content.get("status")
            self._close(frame.parent_id, "ok" if status == "ok" else str(frame.content.get("ename") or status))
        elif (
            request.kind == "interact" and frame.msg_type == "status" and frame.content.get("execution_state") == "idle"
        ):
            self._close(frame.parent_id, "ok")

    def ending(self, reason: str, used: Used | None = None) -> None:
        """Take note why the kernel ends, and what it had used when it has ended already."""
        self._reason = reason
        self._last = used

    def ended(self) -> None:
        """Take note that nothing more comes."""
        self._last = self._last or UNKNOWN_USE
        for msg_id in list(self._open):
            self._close(msg_id, GONE)

    def _close(self, msg_id: str, outcome: str) -> None:
        request = self._open.pop(msg_id)
        if outcome == _KERNEL_DIED and self._reason:
            outcome = self._reason
        seconds = max(0.0, self._log.monotonic() - request.since)
        if self._log.metrics is not None:
            self._log.metrics.evaluated(request.kind, outcome, seconds)
        when = self._log.wall()
        if self._last is not None:
            self._record(request, outcome, seconds, when, self._last)
        else:
            # asked before the kernel is given back, on the same link: it is still there when the pool hears of it
            self._ask(lambda used: self._record(request, outcome, seconds, when, used))

    def _ask(self, take: Callable[[Used], None]) -> None:
        """Call ``take`` with what the kernel has used, or with nothing known."""
        if self._use_of is None:
            take(UNKNOWN_USE)
        elif self._last is None:
            asking = Deferred.fromCoroutine(self._asked(self._use_of, take))
            asking.addErrback(lambda failure: log.failure("an event of the request log was lost", failure=failure))

    async def _asked(self, use_of: Callable[[str], Awaitable[Used]], take: Callable[[Used], None]) -> None:
        try:
            used = await use_of(self._kernel_id)
        except CancelledError:
            raise
        except ApplianceError:
            used = self._last or UNKNOWN_USE
        take(used)

    def _record(self, request: _Open, outcome: str, seconds: float, when: float, used: Used) -> None:
        # of requests that waited for each other in the kernel, each is charged with what followed the one before
        before = max(request.before.cpu_seconds, self._charged_seconds)
        self._charged_seconds = max(self._charged_seconds, used.cpu_seconds)
        self._log.record(
            request.kind,
            self._visitor,
            code=request.code,
            when=when,
            kernel=self._kernel,
            language=self._language,
            profile=self._profile,
            seconds=seconds,
            cpu_seconds=max(0.0, used.cpu_seconds - before),
            memory_bytes=used.memory_bytes,
            outcome=outcome,
        )
