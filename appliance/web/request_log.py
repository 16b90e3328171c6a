"""What the web role tells the request log and the metrics: evaluations, messages of interacts, permalinks."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

import attrs

from appliance.log import kernel_name
from appliance.protocol.request_event import MAX_CODE_CHARACTERS, Event, shortened
from appliance.web.pool_client import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.config import RequestLog as Settings
    from appliance.protocol.frames import ClientMessage, KernelFrame
    from appliance.web.metrics import WebMetrics
    from appliance.web.pool_client import Visitor

#: Requests of one kernel that are under way; the session allows about as many.
MAX_OPEN = 256

#: Messages that show something.
_RESULTS = frozenset({"stream", "execute_result", "display_data", "error"})

#: What an evaluation came to when its kernel ended before its reply.
GONE = "gone"


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

    def record(self, kind: str, visitor: Visitor, *, code: str = "", **fields: Any) -> None:
        """Send an event of a visitor; the address is shortened and the code left out as is configured."""
        if self._send is None:
            return
        self._send(
            Event(
                id=uuid.uuid4().hex,
                time=self._wall(),
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


@attrs.frozen
class _Open:
    kind: str
    since: float
    code: str


class Watch:
    """Follows the requests of one kernel from its messages."""

    def __init__(
        self, log: RequestLog, kernel_id: str, kind: str, language: str, profile: str, visitor: Visitor = NOBODY
    ) -> None:
        self._log = log
        self._kernel = kernel_name(kernel_id)
        self._kind = "service" if kind == "service" else "evaluate"
        self._language = language
        self._profile = profile
        self._visitor = visitor
        self._open: dict[str, _Open] = {}
        self._first: float | None = None
        self._shown = False

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
        self._open[message.msg_id] = _Open(kind, now, code)

    def delivered(self, frame: KernelFrame) -> None:
        """Take note of a message for the browser: a reply ends an evaluation, idle a message of an interact."""
        request = self._open.get(frame.parent_id)
        if request is None:
            return
        if not self._shown and frame.msg_type in _RESULTS and self._log.metrics is not None:
            self._shown = True
            self._log.metrics.first_result(self._log.monotonic() - (self._first or 0.0))
        if frame.msg_type == "execute_reply":
            status = frame.content.get("status")
            self._close(frame.parent_id, "ok" if status == "ok" else str(frame.content.get("ename") or status))
        elif (
            request.kind == "interact" and frame.msg_type == "status" and frame.content.get("execution_state") == "idle"
        ):
            self._close(frame.parent_id, "ok")

    def ended(self) -> None:
        """Take note that nothing more comes."""
        for msg_id in list(self._open):
            self._close(msg_id, GONE)

    def _close(self, msg_id: str, outcome: str) -> None:
        request = self._open.pop(msg_id)
        seconds = max(0.0, self._log.monotonic() - request.since)
        if self._log.metrics is not None:
            self._log.metrics.evaluated(request.kind, outcome, seconds)
        self._log.record(
            request.kind,
            self._visitor,
            code=request.code,
            kernel=self._kernel,
            language=self._language,
            profile=self._profile,
            seconds=seconds,
            outcome=outcome,
        )
