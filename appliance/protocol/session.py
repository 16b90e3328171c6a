"""One visitor's session on one kernel: which evaluations are open, who is connected, when the kernel is done.

Every front door drives the same machine: it tells what happened by calling a method and performs the effects that come
back, in their order. Clients are small integers that the door hands out.

A request is *open* until its reply came on shell and `status: idle` with its id on iopub, in either order. A kernel
of a *single* session (``timeout=0``) is released when at least one evaluation was made and no request is open, unless
it has put something on the page that is to be used afterwards: it is *kept* then, which other sessions on it must know.
However a kernel ends, each open evaluation gets an ``execute_reply`` and ``status: idle`` first, then every client
the ``dead`` status, then the connections close.

iopub is lossy: a kernel drops output that nobody reads. A request that has only one of its two ends at two ticks in a
row makes the machine ask for a *synchronization*, a round trip through the kernel; what is still missing after it is
lost, and the machine says it instead.

What is delivered of a kernel's output is what the budget of its evaluation admits (`protocol.output_budget`). Output
that answers no open evaluation has a budget of its own, renewed when a client sends an evaluation or a comm message: a
kernel gets more only when somebody asks for more. Of each request the first busy, the first idle and the reply always
pass.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import ApplianceError, InvalidMessage
from appliance.protocol import frames
from appliance.protocol.death import DeathReason
from appliance.protocol.output_budget import (
    MAX_REPLY_BYTES,
    OutputBudget,
    OutputLimits,
    shortened_reply,
)
from appliance.protocol.own_messages import OwnMessages
from appliance.protocol.session_effects import (
    CancelGrace,
    Close,
    Deliver,
    Effect,
    Effects,
    InterruptKernel,
    Keep,
    KeepFile,
    Release,
    Send,
    StartGrace,
    Synchronize,
)
from appliance.protocol.session_files import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from appliance.protocol.frames import ClientMessage, KernelFrame

#: A kernel without a client is kept this long: a page may reload, a connection may be made again.
GRACE_SECONDS = 10.0

#: The same, when the page is one that comes back by itself after its connection broke.
RETURN_SECONDS = 60.0

#: A leased kernel waits this long for its first client.
ATTACH_SECONDS = 30.0

#: Open requests of one session.
MAX_OPEN_REQUESTS = 128

#: Messages that wait until the subscription to the kernel's output is confirmed.
MAX_QUEUED_MESSAGES = 32

#: Bytes of files that are kept until a client asks for something again; each counts as this many at least.
MAX_FILE_BYTES = 33_554_432
LEAST_FILE_BYTES = 4096

#: Malformed messages of one client, after which it is disconnected.
MAX_INVALID_MESSAGES = 20

#: Bytes of a status message beyond which ours takes its place: it repeats the header of a request and no more.
MAX_STATUS_BYTES = 65_536

#: What a kernel says of itself, and is believed when others ask for its state.
STATES = frozenset({"busy", "idle"})

#: What a kernel says when there is something on the page to use after its evaluations: widgets, interacts. It is then
#: no longer released with the last of them, but by its idle time.
KEEPING_TYPES = frozenset({"comm_open", frames.KERNEL_TIMEOUT})

#: Said on stderr where output is missing.
OUTPUT_LOST = "[Output of this cell was lost: it was more than its reader took.]\n"

# close codes of RFC 6455, section 7.4.1
CLOSE_NORMAL = 1000
CLOSE_POLICY = 1008


class Phase(enum.Enum):
    """Where a session is: output not yet confirmed to reach us, open, or over."""

    STARTING = "starting"
    OPEN = "open"
    DEAD = "dead"


@attrs.define
class _Request:
    header: Mapping[str, Any]
    reply_type: str
    client: int
    budget: OutputBudget | None = None
    busy: bool = False
    replied: bool = False
    idle: bool = False
    suspect: bool = False
    #: Whether another process passed it on: its reply goes there.
    elsewhere: bool = False
    #: The last message whose text is held back: what is told of it later is known by this id.
    held: str = ""


class Session:
    """The machine.

    ``single``: release the kernel when its evaluations are answered; ``now`` returns ISO 8601 time, ``seconds`` a time
    that only grows.
    """

    def __init__(
        self,
        kernel_id: str,
        *,
        single: bool,
        now: Callable[[], str],
        seconds: Callable[[], float],
        limits: OutputLimits,
    ) -> None:
        self.kernel_id = kernel_id
        self.phase = Phase.STARTING
        self._single = single
        self._seconds = seconds
        self._limits = limits
        self._unasked = OutputBudget(limits)
        self._file_bytes = 0
        self._clients: dict[int, int] = {}
        self._open: dict[str, _Request] = {}
        self._own = OwnMessages(kernel_id, now)
        self._queue: list[ClientMessage] = []
        self._evaluated = False
        self._synchronizing = False
        self._last_frame: KernelFrame | None = None
        self._last_state = "idle"

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self._clients)

    @property
    def busy(self) -> bool:
        """Whether a request is open."""
        return bool(self._open)

    @property
    def single(self) -> bool:
        """Whether the kernel is released when its evaluations are answered."""
        return self._single

    @property
    def state(self) -> str:
        """What Jupyter calls the execution state: what the kernel said last of itself."""
        return "starting" if self.phase is Phase.STARTING else self._last_state

    # --- clients

    def leased(self) -> Effects:
        """Begin: the kernel was handed to us and waits for its first client."""
        return [StartGrace(ATTACH_SECONDS)]

    def client_opened(self, client: int) -> Effects:
        """Take a client in."""
        if self._last_frame is not None:
            return [Deliver(self._last_frame, client), Close(CLOSE_NORMAL, client)]
        self._clients[client] = 0
        return [CancelGrace()]

    def client_closed(self, client: int, *, returns: bool = False) -> Effects:
        """Forget a client that went away; ``returns``: it lost its connection and tries to make another."""
        if self._clients.pop(client, None) is None or self._clients or self.phase is Phase.DEAD:
            return []
        return [StartGrace(RETURN_SECONDS if returns else GRACE_SECONDS)]

    def grace_expired(self) -> Effects:
        """End the kernel if still nobody uses it."""
        if self._clients or self.phase is Phase.DEAD:
            return []
        return self.stop(DeathReason.CLIENT_GONE)

    def client_message(self, client: int, message: ClientMessage) -> Effects:
        """Pass a message of a client to the kernel, at once or when the session opens."""
        if self.phase is Phase.DEAD:
            return []
        if message.msg_type == frames.INTERRUPT_REQUEST:
            return [InterruptKernel(client, message)]
        if message.msg_type == frames.SHUTDOWN_REQUEST:
            content = {"status": "ok", "restart": False}
            reply = self._own.frame("control", "shutdown_reply", content, message.header)
            return [Deliver(reply, client), *self.stop(DeathReason.STOPPED)]
        if message.msg_type in frames.REQUEST_TYPES:
            if message.msg_id in self._open:
                return self.client_invalid(client, InvalidMessage("header.msg_id belongs to an open request already."))
            if len(self._open) >= MAX_OPEN_REQUESTS:
                return self._refuse(client, message, "There are too many open requests on this kernel.")
        if self.phase is Phase.STARTING:
            if len(self._queue) >= MAX_QUEUED_MESSAGES:
                return self._refuse(client, message, "The kernel is starting and has enough to do.")
            self._queue.append(message)
        if message.msg_type in frames.REQUEST_TYPES:
            request = _Request(message.header, frames.reply_type(message.msg_type), client)
            self._open[message.msg_id] = request
            if message.msg_type == "execute_request":
                self._evaluated = True
                request.budget = OutputBudget(self._limits)
        if message.msg_type in frames.REQUEST_TYPES:
            self._file_bytes = 0
        if message.msg_type == "execute_request" or message.msg_type in frames.COMM_TYPES:
            self._unasked = OutputBudget(self._limits)
        return [] if self.phase is Phase.STARTING else [Send(message)]

    def client_invalid(self, client: int, error: ApplianceError) -> Effects:
        """Tell a client what is wrong with its message, and disconnect it when that happens too often."""
        if client not in self._clients:
            return []
        self._clients[client] += 1
        content = {"error": error.code, "message": error.message}
        effects: list[Effect] = [Deliver(self._own.frame("error", error.code, content, {}), client)]
        if self._clients[client] >= MAX_INVALID_MESSAGES:
            effects.append(Close(CLOSE_POLICY, client))
        return effects

    def _refuse(self, client: int, message: ClientMessage, sentence: str) -> Effects:
        if message.msg_type == "execute_request":
            return [Deliver(frame, client) for frame in self._own.failed(message.header, "RequestRefused", sentence)]
        content = {"error": "refused", "message": sentence}
        return [Deliver(self._own.frame("error", "refused", content, message.header), client)]

    # --- kernel

    def subscription_confirmed(self) -> Effects:
        """Open: what the kernel says from now on reaches us."""
        if self.phase is not Phase.STARTING:
            return []
        self.phase = Phase.OPEN
        queue, self._queue = self._queue, []
        return [Send(message) for message in queue]

    def send_refused(self, message: ClientMessage) -> Effects:
        """Answer a message in the kernel's place: it does not read."""
        if self.phase is Phase.DEAD:
            return []
        self._open.pop(message.msg_id, None)
        sentence = "The kernel is not reading messages."
        if message.msg_type != "execute_request":
            content = {"error": "refused", "message": sentence}
            return [Deliver(self._own.frame("error", "refused", content, message.header))]
        answers = [Deliver(frame) for frame in self._own.failed(message.header, "RequestRefused", sentence)]
        return [*answers, *self._end_if_done()]

    def recover(self, said: Sequence[KernelFrame]) -> Effects:
        """Take what a kernel said before this session was there: the process that had it was killed.

        What is open follows from what was said.
        """
        effects: list[Effect] = []
        for frame in said:
            if frame.msg_type == "status" and frame.content.get("execution_state") == "busy":
                self._reopen(frame)
            effects += self.kernel_frame(frame)
        return effects

    def _reopen(self, busy: KernelFrame) -> None:
        """Take note of a request that an earlier session passed on."""
        # it is a kernel that tells this header: what goes into messages of our own is what can be written again
        header = {name: value for name, value in frames.parent_header(busy).items() if isinstance(value, str | int)}
        kind = header.get("msg_type")
        if not isinstance(kind, str) or kind not in frames.REQUEST_TYPES:
            return
        if not busy.parent_id or busy.parent_id in self._open or len(self._open) >= MAX_OPEN_REQUESTS:
            return
        request = _Request(header, frames.reply_type(kind), 0, elsewhere=True)
        self._open[busy.parent_id] = request
        if kind == "execute_request":
            self._evaluated = True
            request.budget = OutputBudget(self._limits)

    def kernel_frame(self, frame: KernelFrame) -> Effects:
        """Deliver what a kernel said, as far as it may, and note which requests that answers."""
        if self.phase is Phase.DEAD:
            return []
        if frame.msg_type in KEEPING_TYPES and self._single:
            self._single = False
            return [Keep(), *self._heard(frame)]
        return self._heard(frame)

    def _heard(self, frame: KernelFrame) -> Effects:
        if frame.msg_type == frames.KERNEL_TIMEOUT:
            return []
        if frame.msg_type == frames.SESSION_FILE:
            return self._session_file(frame)
        request = self._open.get(frame.parent_id)
        if frame.channel == "stdin":
            return self._input_request(frame, request)
        state = frame.content.get("execution_state") if frame.msg_type == "status" else None
        if isinstance(state, str) and state in STATES:
            self._last_state = state
        if request is None:
            return self._output(frame, None)
        if frame.channel == "shell" and frame.msg_type == request.reply_type and not request.replied:
            request.replied = True
            effects: Effects = (Deliver(self._bounded_reply(frame, request)),)
        elif state == "idle" and not request.idle:
            request.idle = True
            effects = (*self._closing(request), Deliver(self._bounded_status(frame, request, "idle")))
            if request.elsewhere and not request.replied:
                effects = (*effects, *self._ask_for_reply(request))
        elif state == "busy" and not request.busy:
            request.busy = True
            return (Deliver(self._bounded_status(frame, request, "busy")),)
        else:
            return self._output(frame, request)
        if not (request.replied and request.idle):
            return effects
        del self._open[frame.parent_id]
        return (*effects, *self._end_if_done())

    def _ask_for_reply(self, request: _Request) -> Effects:
        """Have the kernel say again what it replied to a process that is not there any more, or has let go."""
        request.suspect = True
        if self._synchronizing:
            return ()
        self._synchronizing = True
        return (Synchronize(),)

    def said_again(self, said: Sequence[KernelFrame]) -> Effects:
        """Take the replies that are missing from what the kernel says again."""
        effects: list[Effect] = []
        for frame in said:
            request = self._open.get(frame.parent_id)
            if frame.channel == "shell" and request is not None and not request.replied:
                effects += self.kernel_frame(frame)
        return effects

    def _session_file(self, frame: KernelFrame) -> Effects:
        """Keep a file, unless its name is none or it is more than is kept of one request."""
        name = frame.content.get("name")
        if not isinstance(name, str) or not is_name(name) or len(frame.buffers) != 1:
            return []
        self._file_bytes += max(len(frame.buffers[0]), LEAST_FILE_BYTES)
        return [] if self._file_bytes > MAX_FILE_BYTES else [KeepFile(name, frame.buffers[0])]

    def _input_request(self, frame: KernelFrame, request: _Request | None) -> Effects:
        """Ask whoever runs the evaluation, or all if that client's connection was made again."""
        effects = self._output(frame, request)
        if request is None or request.client not in self._clients:
            return effects
        return [
            Deliver(effect.frame, request.client) if isinstance(effect, Deliver) and effect.frame is frame else effect
            for effect in effects
        ]

    def _output(self, frame: KernelFrame, request: _Request | None) -> Effects:
        """Deliver what the budget admits of a message."""
        budget = self._unasked if request is None or request.budget is None else request.budget
        verdict = budget.admit(frame, self._seconds())
        if request is not None and verdict.content is None and frame.msg_type == "stream":
            request.held = frame.msg_id
        if verdict.content is frame.content:
            return (Deliver(frame),)
        header = {"msg_id": frame.parent_id} if request is None else request.header
        effects: list[Effect] = []
        if verdict.content is not None:
            try:
                shown = self._own.frame(frame.channel, frame.msg_type, verdict.content, header, msg_id=frame.msg_id)
                effects.append(Deliver(shown))
            except (ValueError, RecursionError):  # numbers and depths that Python reads but does not write
                effects.append(
                    Deliver(self._own.notice(header, "[A message of this kernel could not be shortened.]\n"))
                )
        if verdict.notice:
            effects.append(Deliver(self._own.notice(header, verdict.notice)))
        return effects

    def _closing(self, request: _Request) -> list[Effect]:
        """Return what is to be said of an evaluation's output before its idle."""
        if request.budget is None:
            return []
        texts, last_update = request.budget.close()
        effects: list[Effect] = [Deliver(last_update)] if last_update is not None else []
        return [
            *effects,
            *(Deliver(self._own.stream(request.header, name, text, request.held)) for name, text in texts),
        ]

    def _bounded_reply(self, frame: KernelFrame, request: _Request) -> KernelFrame:
        if len(frame.text) <= MAX_REPLY_BYTES or frame.msg_type != "execute_reply":
            return frame
        content = shortened_reply(frame.content, self._limits.text_characters)
        return self._own.frame("shell", "execute_reply", content, request.header, msg_id=frame.msg_id)

    def _bounded_status(self, frame: KernelFrame, request: _Request, state: str) -> KernelFrame:
        if len(frame.text) <= MAX_STATUS_BYTES:
            return frame
        return self._own.frame("iopub", "status", {"execution_state": state}, request.header, msg_id=frame.msg_id)

    def frame_rejected(self, channel: str, code: str) -> Effects:
        """Say in the output of the running evaluation that a message of the kernel was dropped."""
        if self.phase is Phase.DEAD or channel != "iopub":
            return []
        parent = next((request.header for request in self._open.values() if not request.idle), {})
        return [Deliver(self._own.notice(parent, f"[A message of this kernel was dropped: {code}.]\n"))]

    def interrupt_answered(self, client: int, message: ClientMessage, error: ApplianceError | None) -> Effects:
        """Tell a client what became of its interrupt."""
        content: dict[str, Any] = {"status": "ok"}
        if error is not None:
            content = {"status": "error", "ename": error.code, "evalue": error.message, "traceback": []}
        return [Deliver(self._own.frame("control", "interrupt_reply", content, message.header), client)]

    def tick(self) -> Effects:
        """Look for text that was held back and for requests with one end missing.

        To be called every few seconds while output is being read.
        """
        if self.phase is not Phase.OPEN:
            return []
        effects: list[Effect] = [
            Deliver(self._own.stream(request.header, name, text, request.held))
            for request in self._open.values()
            if request.budget is not None
            for name, text in request.budget.release(self._seconds())
        ]
        if self._synchronizing:
            return effects
        for request in self._open.values():
            if request.suspect and request.replied != request.idle:
                self._synchronizing = True
                return [*effects, Synchronize()]
            request.suspect = request.replied != request.idle
        return effects

    def synchronized(self) -> Effects:
        """Supply the ends that a synchronization has shown to be lost."""
        self._synchronizing = False
        effects: list[Effect] = []
        for msg_id, request in list(self._open.items()):
            if not request.suspect or request.replied == request.idle or self.phase is Phase.DEAD:
                continue
            del self._open[msg_id]
            if request.replied:
                effects += self._closing(request)
                effects.append(Deliver(self._own.notice(request.header, OUTPUT_LOST)))
                effects.append(Deliver(self._own.idle(request.header)))
            elif request.reply_type == "execute_reply":
                effects.append(
                    Deliver(self._own.failure(request.header, "ReplyLost", "The reply of the kernel was lost."))
                )
        return [*effects, *self._end_if_done()] if effects else []

    def resumed(self, *, complete: bool) -> KernelFrame:
        """Return what tells a client that came back that it is up to date; not ``complete``: something is missing."""
        return self._own.frame("control", "resumed", {"complete": complete}, {})

    # --- end

    def kernel_died(self, reason: DeathReason) -> Effects:
        """End because the kernel did."""
        if self.phase is Phase.DEAD:
            return []
        return [*self._end(reason, "dead"), Close(CLOSE_NORMAL), CancelGrace()]

    def restarted(self) -> Effects:
        """End because another kernel takes the place of this one; clients go over to its session."""
        if self.phase is Phase.DEAD:
            return []
        return [*self._end(DeathReason.STOPPED, "restarting"), CancelGrace()]

    def _end(self, reason: DeathReason, state: str) -> list[Effect]:
        self.phase = Phase.DEAD
        answers = [
            effect
            for request in self._open.values()
            if request.reply_type == "execute_reply"
            for effect in self._missing(request, reason)
        ]
        content = {"execution_state": state, "reason": reason.value, "message": reason.sentence}
        self._last_frame = self._own.frame("iopub", "status", content, {})
        self._open.clear()
        self._queue.clear()
        self._clients.clear()
        return [*answers, Deliver(self._last_frame)]

    def stop(self, reason: DeathReason) -> Effects:
        """End and give the kernel back."""
        if self.phase is Phase.DEAD:
            return []
        return [*self.kernel_died(reason), Release(reason)]

    def _end_if_done(self) -> Effects:
        if self._single and self._evaluated and not self._open and self.phase is Phase.OPEN:
            return self.stop(DeathReason.RELEASED)
        return ()

    def _missing(self, request: _Request, reason: DeathReason) -> list[Effect]:
        effects: list[Effect] = [] if request.idle else self._closing(request)
        if not request.replied:
            effects.append(Deliver(self._own.failure(request.header, "KernelDied", reason.sentence)))
        return effects if request.idle else [*effects, Deliver(self._own.idle(request.header))]
