"""One kernel's sockets: shell, stdin and iopub over ``ipc://``, with a subscription known to work (trust line T6).

A subscription takes effect some time after it was made, and what the kernel says before that is lost. So the
connection begins with a `kernel_info_request` of its own and waits until both its reply and its ``status: idle`` are
here; if the reply came and the idle did not, the subscription was late and another request follows. The same round
trip later shows what of the output was lost. Shell and stdin have the same routing id: that is how a kernel finds whom
to ask for input (Jupyter messaging, "Messages on the stdin channel"). Control is the pool's business (`Interrupt`, T3),
but for one question.

A kernel that another process used before may be at work, and answers nothing on shell while it is. One of ours is asked
on control instead, what it said so far (`replay_request`): a thread of its own answers, and marks on iopub where that
ends. In what it says again are replies, too, that went to the other process. Kernels that are programs of their own
do not know this question; they are given the time that their evaluation takes.

ZeroMQ ends a connection over which a message larger than its limit comes, and does not make it again (protocol errors
are final in libzmq 4.3). The round trip shows that too: then the socket is replaced, and what was on its way is lost.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from typing import TYPE_CHECKING, Any, Protocol

from jupyter_client.session import Session as WireSession
from twisted.logger import Logger

from appliance.log import kernel_name
from appliance.protocol.frames import (
    MAX_REPLAYED,
    REPLAY_MARK,
    ClientMessage,
    FrameRejectedError,
    KernelFrame,
    parent_header,
    parse_kernel_message,
    parse_replay,
    serialize,
)
from appliance.zmq_sockets import (
    SEND_HIGH_WATER_MARK,
    DealerConnection,
    SendQueueFullError,
    Sockets,
    SubscriberConnection,
)

if TYPE_CHECKING:
    from appliance.web.pool_client import KernelAddress

log = Logger()

#: A first reply without its idle for this long means that the subscription was late; a later one, that output is being
#: lost, or that much of it stands before the idle. Doubled each time up to the maximum. A visitor waits for the first,
#: and a request costs a tenth of a millisecond.
FIRST_RESEND_SECONDS = 0.01
RESEND_SECONDS = 0.05
MAX_RESEND_SECONDS = 1.0

#: Round trips tried before a new kernel counts as unreachable.
MAX_FIRST_ROUND_TRIPS = 10

#: Replies without their idle after which the iopub socket is taken for dead and replaced, if nothing came over it.
MAX_DEAF_ROUND_TRIPS = 3

#: Longest wait for a kernel's first reply: it was ready when it was leased.
FIRST_REPLY_SECONDS = 10.0

#: A kernel that has not said by then what it said before is asked again; doubled each time up to the maximum. The
#: thread that answers shares a lock with what is computed.
REPLAY_SECONDS = 1.0
MAX_REPLAY_SECONDS = 8.0

#: What may come meanwhile.
MAX_WAITING_BYTES = 2_097_152

#: Name under which the web role itself asks kernels.
USERNAME = "cell-web"

#: Rejected messages of one kernel that are logged; the rest is silent, since a kernel can send any number.
MAX_LOGGED_REJECTIONS = 5


class Listener(Protocol):
    """Who hears what a kernel says."""

    def kernel_frame(self, frame: KernelFrame) -> None:
        """Take a message."""

    def kernel_frame_rejected(self, channel: str, code: str) -> None:
        """Take note that a message was dropped."""

    def round_trip_done(self) -> None:
        """Take note that everything said before now has arrived or is lost."""

    def kernel_said_again(self, frames: list[KernelFrame]) -> None:
        """Take what the kernel said before, after an evaluation that another process had begun."""

    def kernel_recovered(self, frames: list[KernelFrame], *, forgot: bool) -> None:
        """Take what the kernel said before this connection was made; ``forgot``: not all of it."""

    def kernel_unreachable(self) -> None:
        """Take note that the kernel cannot be talked to."""


class KernelConnection:
    """The sockets of one kernel."""

    def __init__(
        self,
        sockets: Sockets,
        clock: Any,
        address: KernelAddress,
        listener: Listener,
        *,
        used: bool = False,
        recover: bool = False,
    ) -> None:
        """Connect. ``used``: the kernel may be at work; ``recover``: ask it what it said before."""
        self._clock = clock
        self._used = used
        self._recover = self._recovering = recover
        self._replay: tuple[str, list[KernelFrame], bool] | None = None
        #: Questions what was said before, each with whether its answer has come, and those whose mark has.
        self._asked: dict[str, bool] = {}
        self._marks: set[str] = set()
        self._control: DealerConnection | None = None
        self._waiting: list[KernelFrame] = []
        self._waiting_bytes = 0
        self._waiting_lost = False
        self._kernel_id = address.kernel_id
        self._key = address.key
        self._listener = listener
        self._wire = WireSession(key=address.key, username=USERNAME)
        self._own_ids = self._wire.session
        self._rejected = 0
        self._request_id = ""
        self._replied = False
        self._idle = False
        self._heard = False
        self._round_trips = 0
        self._proved = False
        self._timer: Any = None
        self._unanswered = 0
        self._sockets = sockets
        self._base = f"ipc://{os.path.join(address.directory, '')}"
        # iopub first: its subscription is then on its way before the first request is
        self._iopub = self._new_iopub()
        try:
            self._shell, self._stdin = self._new_shell_and_stdin()
        except OSError:
            self._iopub.shutdown()
            raise

    def _new_iopub(self) -> SubscriberConnection:
        return SubscriberConnection(self._sockets, f"{self._base}iopub", self._iopub_received, self._failed)

    def _new_shell_and_stdin(self) -> tuple[DealerConnection, DealerConnection]:
        self._unanswered = 0
        routing_id = uuid.uuid4().hex.encode("ascii")
        # stdin first: what comes over shell may make the kernel ask at once
        stdin = DealerConnection(self._sockets, f"{self._base}stdin", self._stdin_received, self._failed, routing_id)
        try:
            shell = DealerConnection(
                self._sockets, f"{self._base}shell", self._shell_received, self._failed, routing_id
            )
        except OSError:
            stdin.shutdown()
            raise
        return shell, stdin

    def start(self) -> None:
        """Make the first round trip."""
        if not self._used:
            self._arm(FIRST_REPLY_SECONDS, self._silent)
        self.round_trip()

    def round_trip(self) -> None:
        """Send a request through shell and iopub, or control and iopub; `Listener.round_trip_done` follows."""
        self._round_trips += 1
        self._replied = self._idle = False
        if self._recover:
            self._ask_again()
            return
        message = self._wire.msg("kernel_info_request")
        self._request_id = message["header"]["msg_id"]
        try:
            self._send(self._wire.serialize(message))
        except SendQueueFullError as exc:
            log.info("kernel {kernel} does not read: {exc}", kernel=kernel_name(self._kernel_id), exc=exc)
            if self._proved:
                self._arm(MAX_RESEND_SECONDS, self._again)

    def send(self, message: ClientMessage) -> bool:
        """Send a message to the kernel; False when its queue is full."""
        try:
            if message.channel == "stdin":
                self._stdin.send(serialize(self._key, message))
            else:
                self._send(serialize(self._key, message))
        except SendQueueFullError as exc:
            log.info("message for kernel {kernel} refused: {exc}", kernel=kernel_name(self._kernel_id), exc=exc)
            return False
        return True

    def _send(self, parts: list[bytes]) -> None:
        try:
            self._shell.send(parts)
        except SendQueueFullError:
            if self._shell.closed or self._unanswered >= SEND_HIGH_WATER_MARK:
                raise
            # the queue cannot be full, so there is no connection to queue for
            log.info("shell socket of kernel {kernel} replaced", kernel=kernel_name(self._kernel_id))
            self._shell.shutdown()
            self._stdin.shutdown()
            self._shell, self._stdin = self._new_shell_and_stdin()
            self._shell.send(parts)
        self._unanswered += 1

    @property
    def paused(self) -> bool:
        """Whether reading is paused."""
        return self._iopub.paused

    def pause(self) -> None:
        """Stop reading; the kernel's output is dropped at the kernel when the queues are full."""
        self._iopub.pause()
        self._shell.pause()
        self._stdin.pause()

    def resume(self) -> None:
        """Read again."""
        self._iopub.resume()
        self._shell.resume()
        self._stdin.resume()

    def close(self) -> None:
        """Close the sockets."""
        self._disarm()
        self._iopub.shutdown()
        self._shell.shutdown()
        self._stdin.shutdown()
        if self._control is not None:
            self._control.shutdown()

    # --- what arrives

    def _iopub_received(self, parts: list[bytes]) -> None:
        self._heard = True
        self._received("iopub", parts)

    def _shell_received(self, parts: list[bytes]) -> None:
        self._unanswered = 0
        self._received("shell", parts)

    def _stdin_received(self, parts: list[bytes]) -> None:
        self._received("stdin", parts)

    def _received(self, channel: str, parts: list[bytes]) -> None:
        try:
            frame = parse_kernel_message(channel, parts, self._key)
        except FrameRejectedError as exc:
            self._reject(channel, exc.code)
            return
        if frame.msg_type == REPLAY_MARK:
            # others ask, too
            if frame.parent_id in self._asked:
                self._marks.add(frame.parent_id)
                self._replay_arrived()
        elif frame.parent_id.startswith(self._own_ids):
            self._own_answer(frame)
        elif self._recovering:
            self._wait(frame)
        else:
            self._listener.kernel_frame(frame)

    # --- what was said before

    def _wait(self, frame: KernelFrame) -> None:
        """Keep a message until it is known what was said before it."""
        if len(self._waiting) < MAX_REPLAYED and self._waiting_bytes + frame.size <= MAX_WAITING_BYTES:
            self._waiting.append(frame)
            self._waiting_bytes += frame.size
        else:
            self._waiting_lost = True

    def _ask_again(self) -> None:
        """Ask what the kernel said before, and again when nothing comes."""
        if self._control is None:
            self._control = DealerConnection(self._sockets, f"{self._base}control", self._replayed, self._failed)
        pause = min(MAX_REPLAY_SECONDS, REPLAY_SECONDS * 2 ** min(self._round_trips - 1, 10))
        self._arm(pause, self._ask_once_more)
        request = self._wire.msg("replay_request")
        with contextlib.suppress(SendQueueFullError):
            self._control.send(self._wire.serialize(request))
            self._asked[request["header"]["msg_id"]] = False

    def _ask_once_more(self) -> None:
        self._timer = None
        self.round_trip()

    def _replayed(self, parts: list[bytes]) -> None:
        try:
            reply = parse_kernel_message("control", parts, self._key)
        except FrameRejectedError as exc:
            self._reject("control", exc.code)
            return
        if self._asked.get(reply.parent_id) is not False:
            return  # a kernel may answer what nobody asked, or twice
        self._asked[reply.parent_id] = True
        try:
            said = parse_replay(reply.buffers[0] if reply.buffers else b"", self._key)
        except FrameRejectedError as exc:
            self._reject("control", exc.code)
            said, forgot = [], True
        else:
            forgot = reply.content.get("forgot") is True
        self._replay = (reply.parent_id, said, forgot)
        self._replay_arrived()

    def _replay_arrived(self) -> None:
        """Go on when what was said is there, and the mark that shows that we hear what follows."""
        if self._replay is None:
            return
        request_id, said, forgot = self._replay
        if request_id not in self._marks and (self._proved or self._round_trips < MAX_FIRST_ROUND_TRIPS):
            # the subscription was late, or output is being lost
            self._arm_again()
            return
        self._disarm()
        self._replay = None
        self._asked.clear()
        self._marks.clear()
        self._round_trips = 0
        self._proved = True
        if self._recovering:
            self._recovered(said, forgot)
        else:
            self._listener.kernel_said_again(said)
            self._listener.round_trip_done()

    def _recovered(self, said: list[KernelFrame], forgot: bool) -> None:
        self._recovering = False
        waiting, self._waiting = self._waiting, []
        forgot = forgot or self._waiting_lost
        known = {frame.msg_id for frame in said}
        everything = [*said, *(frame for frame in waiting if frame.msg_id not in known)]
        # questions of the process that was here before are nobody's business
        self._listener.kernel_recovered(
            [frame for frame in everything if parent_header(frame).get("username") != USERNAME], forgot=forgot
        )
        self._listener.round_trip_done()

    def _reject(self, channel: str, code: str) -> None:
        if code == "type_not_allowed":
            # kernels say more than browsers get, each its iopub_welcome
            return
        self._rejected += 1
        if self._rejected <= MAX_LOGGED_REJECTIONS:
            log.info(
                "message of kernel {kernel} on {channel} dropped: {code}",
                kernel=kernel_name(self._kernel_id),
                channel=channel,
                code=code,
            )
            self._listener.kernel_frame_rejected(channel, code)

    def _own_answer(self, frame: KernelFrame) -> None:
        if frame.parent_id != self._request_id:
            return
        if frame.channel == "shell":
            self._replied = True
        elif frame.content.get("execution_state") == "idle":
            self._idle = True
        if not self._replied:
            return
        self._disarm()
        if not self._idle:
            self._arm_again()
            return
        self._request_id = ""
        self._round_trips = 0
        self._proved = True
        self._listener.round_trip_done()

    def _arm_again(self) -> None:
        first = RESEND_SECONDS if self._proved else FIRST_RESEND_SECONDS
        self._arm(min(MAX_RESEND_SECONDS, first * 2 ** min(self._round_trips - 1, 10)), self._again)

    def _again(self) -> None:
        self._timer = None
        heard, self._heard = self._heard, False
        if self._proved and self._round_trips % MAX_DEAF_ROUND_TRIPS == 0 and not heard:
            log.info("iopub socket of kernel {kernel} replaced", kernel=kernel_name(self._kernel_id))
            self._iopub.shutdown()
            self._iopub = self._new_iopub()
        if self._proved or self._recover or self._round_trips < MAX_FIRST_ROUND_TRIPS:
            self.round_trip()
        else:
            log.warn("kernel {kernel} replies but publishes nothing", kernel=kernel_name(self._kernel_id))
            self._listener.kernel_unreachable()

    def _silent(self) -> None:
        self._timer = None
        if self.paused:
            # its reply may be there, and is not read
            self._arm(FIRST_REPLY_SECONDS, self._silent)
        elif not self._proved:
            log.warn(
                "kernel {kernel} did not reply in {seconds} s",
                kernel=kernel_name(self._kernel_id),
                seconds=FIRST_REPLY_SECONDS,
            )
            self._listener.kernel_unreachable()

    def _failed(self, _exc: Exception) -> None:
        self._listener.kernel_unreachable()

    def _arm(self, seconds: float, call: Any, *arguments: Any) -> None:
        self._disarm()
        self._timer = self._clock.callLater(seconds, call, *arguments)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
