"""Many kernels over one SockJS connection: every message begins with the kernel's id, ``<id>/channels,<JSON>``.

The first message for a kernel attaches to it. ``complete,<JSON>`` asks for completions without naming a kernel
(`web.completer`). When the connection ends, its kernels lose a client, as with any other door.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from twisted.logger import Logger

from appliance.errors import ApplianceError, InvalidMessage, TermsNotAccepted
from appliance.log import kernel_name
from appliance.protocol.frames import make_frame, parse_client_message
from appliance.web.completer import Completer
from appliance.web.pool_client import ANY_KERNEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.protocol.frames import ClientMessage, KernelFrame
    from appliance.web.kernels import Kernels
    from appliance.web.live_kernel import LiveKernel
    from appliance.web.pool_client import Visitor, WantedKernel

log = Logger()

#: Kernels of one connection; a page has fewer than this many cells at work.
MAX_KERNELS = 64

#: Messages that wait while a kernel is being attached.
MAX_PENDING = 32

_CHANNELS = "/channels"


@attrs.define
class _Attached:
    """This connection as a client of one kernel."""

    kernel_id: str
    kernel: LiveKernel
    owner: Multiplexer
    number: int = 0

    def deliver(self, frame: KernelFrame) -> None:
        """Send a message of the kernel."""
        self.owner.send(f"{self.kernel_id}{_CHANNELS},{frame.text.decode('utf-8')}")

    def close(self, code: int) -> None:
        """Forget the kernel: it has ended, and said so."""
        self.owner.detached(self.kernel_id)

    def tick(self) -> None:
        """Do nothing: the connection looks after itself."""

    def move(self, successor: LiveKernel) -> None:
        """Become a client of the kernel that took the place of this one's."""
        self.join(successor)

    def join(self, kernel: LiveKernel) -> None:
        """Become a client of a kernel, which is to wait if the browser takes no more just now."""
        self.kernel = kernel
        self.number = kernel.add_client(self)
        kernel.client_full(self.number, full=self.owner.is_full)


class Multiplexer:
    """One connection's kernels. ``send`` takes a string for the browser; ``accepted``: no terms, or they were."""

    def __init__(
        self,
        kernels: Kernels,
        visitor: Visitor,
        now: Callable[[], str],
        send: Callable[[str], None],
        *,
        accepted: bool,
        wanted: WantedKernel = ANY_KERNEL,
        max_message_bytes: int,
    ) -> None:
        self.send = send
        self._kernels = kernels
        self._now = now
        self._accepted = accepted
        self._max_message_bytes = max_message_bytes
        self._attached: dict[str, _Attached] = {}
        self._pending: dict[str, list[str]] = {}
        self._closed = False
        #: Whether the browser takes no more just now.
        self.is_full = False
        self._completer = Completer(kernels, visitor, now, lambda text: self.send(f"complete,{text}"), wanted)

    def receive(self, text: str) -> None:
        """Take a string of the browser; raises `InvalidMessage` when it is for nobody."""
        if len(text) > self._max_message_bytes:
            raise InvalidMessage(f"A message is limited to {self._max_message_bytes} bytes.")
        target, comma, payload = text.partition(",")
        if not comma:
            raise InvalidMessage("A message begins with KERNEL_ID/channels, or complete, and a comma.")
        if target == "complete":
            self._check_terms()
            self._completer.ask(payload, self._newest())
            return
        kernel_id, slash, channel = target.partition("/")
        if not slash or channel != "channels":
            raise InvalidMessage("A message begins with KERNEL_ID/channels and a comma.")
        if kernel_id in self._attached:
            self._pass_on(self._attached[kernel_id], payload)
        elif kernel_id in self._pending:
            if len(self._pending[kernel_id]) >= MAX_PENDING:
                raise InvalidMessage("Too many messages for a kernel that is not connected yet.")
            self._pending[kernel_id].append(payload)
        elif len(self._attached) + len(self._pending) >= MAX_KERNELS:
            raise InvalidMessage(f"One connection serves at most {MAX_KERNELS} kernels.")
        else:
            self._pending[kernel_id] = [payload]
            self._kernels.background(self._attach(kernel_id))

    def _check_terms(self) -> None:
        if not self._accepted:
            raise InvalidMessage(TermsNotAccepted.sentence())

    def _newest(self) -> LiveKernel | None:
        """Return the kernel that was attached last: whoever completes is likely to be in its cell."""
        return next(reversed(self._attached.values())).kernel if self._attached else None

    async def _attach(self, kernel_id: str) -> None:
        try:
            kernel = await self._kernels.find(kernel_id)
            kernel.check_room()
        except ApplianceError as exc:
            log.info("kernel {kernel} not attached: {code}", kernel=kernel_name(kernel_id), code=exc.code)
            self._pending.pop(kernel_id, None)
            self._say_gone(kernel_id, exc)
            return
        waiting = self._pending.pop(kernel_id, [])
        if self._closed:
            return
        attached = _Attached(kernel_id, kernel, self)
        self._attached[kernel_id] = attached
        attached.join(kernel)
        for payload in waiting:
            if kernel_id in self._attached:
                self._pass_on(attached, payload)

    def _say_gone(self, kernel_id: str, error: ApplianceError) -> None:
        """Tell the browser that a kernel is not there: silence would leave its cell running for ever."""
        content = {"execution_state": "dead", "reason": error.code, "message": error.message}
        frame = make_frame(
            "iopub", "status", content, parent={}, msg_id=f"{kernel_id}_0", session=kernel_id, date=self._now()
        )
        self.send(f"{kernel_id}{_CHANNELS},{frame.text.decode('utf-8')}")

    def _pass_on(self, attached: _Attached, payload: str) -> None:
        message: ClientMessage
        try:
            message = parse_client_message(payload, self._now())
        except InvalidMessage as exc:
            attached.kernel.client_invalid(attached.number, exc)
            return
        attached.kernel.client_message(attached.number, message)

    def detached(self, kernel_id: str) -> None:
        """Forget a kernel that has ended."""
        self._attached.pop(kernel_id, None)

    def full(self, *, full: bool) -> None:
        """Stop the kernels' messages, or let them come again."""
        self.is_full = full
        for attached in list(self._attached.values()):
            attached.kernel.client_full(attached.number, full=full)

    def close(self) -> None:
        """Leave every kernel."""
        self._closed = True
        self._completer.close()
        attached, self._attached = self._attached, {}
        for one in attached.values():
            one.kernel.remove_client(one.number)
