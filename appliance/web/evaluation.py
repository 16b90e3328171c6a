"""Evaluations that the server makes itself, for ``POST /service`` and ``/healthz``.

A collector is a client of a kernel like a browser's connection, without the browser.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from appliance.protocol.death import DeathReason
from appliance.protocol.frames import KernelFrame, make_client_message
from appliance.web.pool_client import ANY_KERNEL, NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.web.kernels import Kernels
    from appliance.web.live_kernel import LiveKernel
    from appliance.web.pool_client import Visitor, WantedKernel

log = Logger()

#: Characters of output kept of one evaluation, all streams together.
MAX_OUTPUT_CHARS = 1_000_000

#: Said at the end of a stream of which only the beginning was kept.
TRUNCATED = "\n[The rest of this output was dropped.]\n"


@attrs.frozen
class Outcome:
    """What an evaluation came to: text by stream, and the content of ``execute_reply``; None when time was up."""

    streams: Mapping[str, str]
    reply: Mapping[str, Any] | None


class Collector:
    """A client that collects streams and the reply of one request."""

    def __init__(self, msg_id: str) -> None:
        self._msg_id = msg_id
        self._streams: dict[str, list[str]] = {}
        self._room = MAX_OUTPUT_CHARS
        self._idle = False
        self._reply: Mapping[str, Any] | None = None
        self.done: Deferred[None] = Deferred()

    def deliver(self, frame: KernelFrame) -> None:
        """Take a message of the kernel, or of the session in its place."""
        if frame.parent_id != self._msg_id or self.done.called:
            return
        content = frame.content
        if frame.msg_type == "stream":
            self._collect(content.get("name"), content.get("text"))
        elif frame.msg_type == "execute_reply":
            self._reply = content
        elif frame.msg_type == "status" and content.get("execution_state") == "idle":
            self._idle = True
        if self._idle and self._reply is not None:
            self.done.callback(None)

    def _collect(self, name: Any, text: Any) -> None:
        if name not in ("stdout", "stderr") or not isinstance(text, str) or self._room < 0:
            return
        kept = text[: self._room]
        self._room -= len(text)
        self._streams.setdefault(name, []).append(kept if self._room >= 0 else kept + TRUNCATED)

    def close(self, code: int) -> None:
        """Take note that the session is over."""
        if not self.done.called:
            self.done.callback(None)

    def tick(self) -> None:
        """Do nothing: this client is always there."""

    def move(self, successor: LiveKernel) -> None:
        """Take note that the session is over: this kernel is not restarted by anybody."""
        self.close(0)

    @property
    def outcome(self) -> Outcome:
        """What was collected so far."""
        return Outcome({name: "".join(texts) for name, texts in self._streams.items()}, self._reply)


async def evaluate(
    kernels: Kernels,
    kind: str,
    code: str,
    user_expressions: Mapping[str, Any],
    seconds: float,
    now: Callable[[], str],
    wanted: WantedKernel = ANY_KERNEL,
    visitor: Visitor = NOBODY,
) -> Outcome:
    """Run code in a kernel of its own and return what came of it within ``seconds``.

    Raises what `Kernels.lease` does.
    """
    kernel: LiveKernel = await kernels.lease(kind, 0, wanted, visitor)
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "username": kind,
        "session": kernel.kernel_id,
        "date": now(),
        "version": "5.3",
    }
    content = {
        "code": code,
        "silent": False,
        "store_history": False,
        "user_expressions": user_expressions,
        "allow_stdin": False,
        "stop_on_error": True,
    }
    collector = Collector(header["msg_id"])
    kernel.add_client(collector)
    timeout = kernels.clock.callLater(seconds, collector.close, 0)
    kernel.client_message(1, make_client_message(header, content))
    try:
        await collector.done
    finally:
        if timeout.active():
            timeout.cancel()
        kernel.stop(DeathReason.RELEASED)
    return collector.outcome
