"""One kernel in use: joins the decisions of `protocol.session` to sockets, clients, clock and pool."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from twisted.logger import Logger

from appliance.errors import ApplianceError
from appliance.log import kernel_name
from appliance.protocol import session as machine
from appliance.protocol import session_effects as asked
from appliance.protocol.death import DeathReason
from appliance.protocol.frames import KernelFrame
from appliance.protocol.session import Session
from appliance.web.kernel_connection import KernelConnection
from appliance.web.pool_client import UNKNOWN_USE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from appliance.protocol.frames import ClientMessage
    from appliance.protocol.output_budget import OutputLimits
    from appliance.web.kernels import Kernels
    from appliance.web.pool_client import KernelAddress, Used
    from appliance.web.request_log import Watch
    from appliance.web.websocket import Returning

log = Logger()

#: WebSocket close code of a server that goes away (RFC 6455, section 7.4.1).
CLOSE_GOING_AWAY = 1001
CLOSE_NORMAL = 1000

#: Kept of what was said, for a browser that comes back after its connection broke.
MAX_SAID_BYTES = 2_097_152
MAX_SAID = 4096

_NO_CONTENT: Mapping[str, Any] = {}


def _without_content(frame: KernelFrame) -> KernelFrame:
    """Return a message without its parsed content, but for the state by which a client tells what follows.

    Objects and lists take many times the memory of their text, which is what counts. `attrs.evolve` costs three times
    as much.
    """
    state = frame.content.get("execution_state") if frame.msg_type == "status" else None
    return KernelFrame(
        frame.channel,
        frame.msg_type,
        frame.msg_id,
        frame.parent_id,
        {"execution_state": state} if isinstance(state, str) else _NO_CONTENT,
        frame.text,
        frame.parts,
        frame.buffers,
    )


class TooManyConnections(ApplianceError):
    """This kernel has as many connections as this server allows."""

    code = "too_many_connections"
    http_status = 503


class Client(Protocol):
    """A front door's end of a session."""

    def deliver(self, frame: KernelFrame) -> None:
        """Take a message."""

    def close(self, code: int) -> None:
        """End, with a close code of RFC 6455."""

    def tick(self) -> None:
        """Look whether the other side is still there."""

    def move(self, successor: LiveKernel) -> None:
        """Become a client of the kernel that took the place of this one's."""


class LiveKernel:
    """A kernel, its session and its clients; performs what the session decides."""

    def __init__(
        self,
        kernels: Kernels,
        address: KernelAddress,
        *,
        now: Callable[[], str],
        max_clients: int,
        limits: OutputLimits,
        watch: Watch | None = None,
        used: bool = False,
        recover: bool = False,
    ) -> None:
        """Begin. ``used``: another process had the kernel, which may be at work; ``recover``: it tells what it said."""
        self.address = address
        self.kernel_id = address.kernel_id
        self.environment = address.environment
        self._kernels = kernels
        self._clock = kernels.clock
        self._max_clients = max_clients
        self._session = Session(
            address.kernel_id, single=address.single, now=now, seconds=kernels.clock.seconds, limits=limits
        )
        self._clients: dict[int, Client] = {}
        self._full: set[int] = set()
        self._watch = watch
        self._made = 0
        self._grace: Any = None
        self._said: deque[KernelFrame] = deque()
        self._said_bytes = 0
        self._forgot = False
        self._recovering = recover
        #: Whether a client may come back for its last words.
        self.resumable = False
        #: Whether this kernel works for a result and is nobody's: who asks for it by its id is told that there is none.
        self.private = False
        self._returning: dict[int, Returning] = {}
        self._connection = KernelConnection(kernels.sockets, kernels.clock, address, self, used=used, recover=recover)
        self._connection.start()
        self._perform(self._session.leased())

    @property
    def clients(self) -> int:
        """Number of clients."""
        return len(self._clients)

    @property
    def busy(self) -> bool:
        """Whether a request is open."""
        return self._session.busy

    @property
    def single(self) -> bool:
        """Whether it is released when its evaluations are answered."""
        return self._session.single

    @property
    def execution_state(self) -> str:
        """What Jupyter calls the execution state."""
        return self._session.state

    def restarted(self, successor: LiveKernel) -> None:
        """Let go of the kernel, since ``successor`` takes its place, with its clients."""
        # they are told through this kernel, and only then are they the other's
        self._perform(self._session.restarted())
        clients, self._clients = self._clients, {}
        for client in clients.values():
            client.move(successor)

    # --- clients

    def check_room(self) -> None:
        """Raise `TooManyConnections` when one more client would be too many."""
        if len(self._clients) >= self._max_clients:
            raise TooManyConnections

    def add_client(self, client: Client) -> int:
        """Take a client in and return its number."""
        self._made += 1
        self._clients[self._made] = client
        self._pause_or_resume()
        self._perform(self._session.client_opened(self._made))
        return self._made

    def knows(self, returning: Returning) -> bool:
        """Return whether a client has a connection already, which a new one takes the place of."""
        return any(known.session_id == returning.session_id for known in self._returning.values())

    def add_returning_client(self, client: Client, returning: Returning) -> int:
        """Take in a client that tells what it has heard: it hears what followed, then ``resumed``.

        Its earlier connection is closed.
        """
        for number, known in list(self._returning.items()):
            if known.session_id == returning.session_id:
                self._close_clients(number, CLOSE_GOING_AWAY)
        self.resumable = True
        if not self._recovering:
            self._catch_up(client, returning)
        if self._session.phase is machine.Phase.DEAD:
            client.close(CLOSE_NORMAL)
            return 0
        self._returning[self._made + 1] = returning
        return self.add_client(client)

    def add_new_client(self, client: Client, returning: Returning) -> int:
        """Take in a client that has heard nothing yet, and comes back by itself if its connection breaks."""
        self.resumable = True
        self._returning[self._made + 1] = returning
        return self.add_client(client)

    def _catch_up(self, client: Client, returning: Returning) -> None:
        missed, complete = self._missed(returning.after, returning.after_kernel)
        for frame in missed:
            client.deliver(frame)
        client.deliver(self._session.resumed(complete=complete))

    def _missed(self, after: str, after_kernel: str) -> tuple[list[KernelFrame], bool]:
        """Return what was said after a message, and whether that is all of it."""
        said = list(self._said)
        for wanted in (after, after_kernel):
            for index in range(len(said) - 1, -1, -1):
                if wanted and said[index].msg_id == wanted:
                    return said[index + 1 :], True
        return said, not self._forgot

    def _remember(self, frame: KernelFrame) -> None:
        """Keep what was said for clients that come back."""
        self._said.append(_without_content(frame))
        self._said_bytes += frame.size
        while self._said_bytes > MAX_SAID_BYTES or len(self._said) > MAX_SAID:
            self._said_bytes -= self._said.popleft().size
            self._forgot = True

    def remove_client(self, number: int, *, lost: bool = False) -> None:
        """Forget a client; ``lost``: its connection broke. A number that is not known is ignored."""
        if self._clients.pop(number, None) is not None:
            self._full.discard(number)
            self._pause_or_resume()
            returns = self._returning.pop(number, None) is not None and lost
            self._perform(self._session.client_closed(number, returns=returns))

    def client_message(self, number: int, message: ClientMessage) -> None:
        """Take a message of a client."""
        self._perform(self._session.client_message(number, message))

    def client_invalid(self, number: int, error: ApplianceError) -> None:
        """Take note of a message that is none."""
        log.info(
            "message for kernel {kernel} refused: {reason}", kernel=kernel_name(self.kernel_id), reason=error.message
        )
        self._perform(self._session.client_invalid(number, error))

    def client_full(self, number: int, *, full: bool) -> None:
        """Stop reading from the kernel while no client takes more."""
        if number in self._clients:
            (self._full.add if full else self._full.discard)(number)
            self._pause_or_resume()

    def _pause_or_resume(self) -> None:
        # one client that does not read must not hold up the others; its own connection limits what is kept for it
        if self._full and len(self._full) == len(self._clients):
            self._connection.pause()
        else:
            self._connection.resume()

    # --- kernel

    def kernel_frame(self, frame: KernelFrame) -> None:
        """Take a message of the kernel."""
        self._perform(self._session.kernel_frame(frame))

    def kernel_frame_rejected(self, channel: str, code: str) -> None:
        """Take note of a message of the kernel that was dropped."""
        self._perform(self._session.frame_rejected(channel, code))

    def round_trip_done(self) -> None:
        """Take note that the subscription works, or that what is missing is lost."""
        if self._session.phase is machine.Phase.STARTING:
            self._perform(self._session.subscription_confirmed())
        else:
            self._perform(self._session.synchronized())

    def kernel_recovered(self, frames: list[KernelFrame], *, forgot: bool) -> None:
        """Take what the kernel said while another process listened."""
        self._forgot = forgot
        # those who are connected hear it from where they were
        clients, self._clients = self._clients, {}
        try:
            self._perform(self._session.recover(frames))
        finally:
            self._clients = clients
        self._recovering = False
        for number, returning in list(self._returning.items()):
            if number in clients:
                self._catch_up(clients[number], returning)
        if self._session.phase is machine.Phase.DEAD:
            self._close_clients(None, CLOSE_NORMAL)

    def kernel_said_again(self, frames: list[KernelFrame]) -> None:
        """Take from what the kernel said before what has not come here."""
        self._perform(self._session.said_again(frames))

    def kernel_unreachable(self) -> None:
        """Give up a kernel that does not talk."""
        self.stop(DeathReason.UNRESPONSIVE)

    def died(self, reason: DeathReason, used: Used = UNKNOWN_USE) -> None:
        """Take note that the kernel ended, having used so much."""
        if self._watch is not None:
            self._watch.ending(reason.value, used)
        self._perform(self._session.kernel_died(reason))

    def stop(self, reason: DeathReason) -> None:
        """End the kernel."""
        if self._watch is not None:
            self._watch.ending(reason.value)
        self._perform(self._session.stop(reason))

    def tick(self) -> None:
        """Look for lost output and lost clients."""
        if not self._connection.paused:
            self._perform(self._session.tick())
        for client in list(self._clients.values()):
            client.tick()

    def abandon(self) -> None:
        """Let go of the kernel without ending it."""
        # it goes on elsewhere: what it said here are not its last words
        self.resumable = False
        self._close_clients(None, CLOSE_GOING_AWAY)
        self._shut()

    # --- effects

    def _perform(self, effects: asked.Effects) -> None:
        for effect in effects:
            match effect:
                case asked.Deliver(frame, None):
                    if self._watch is not None:
                        self._watch.delivered(frame)
                    self._remember(frame)
                    for client in list(self._clients.values()):
                        client.deliver(frame)
                case asked.Deliver(frame, number):
                    if self._watch is not None:
                        self._watch.delivered(frame)
                    if number in self._clients:
                        self._clients[number].deliver(frame)
                case asked.Send(message):
                    if self._watch is not None:
                        self._watch.sent(message)
                    if not self._connection.send(message):
                        self._perform(self._session.send_refused(message))
                case asked.KeepFile(name, data):
                    self._kernels.files.keep(self.kernel_id, name, data)
                case asked.InterruptKernel(number, message):
                    self._kernels.background(self._interrupt(number, message))
                case asked.Synchronize():
                    self._connection.round_trip()
                case asked.StartGrace(seconds):
                    self._cancel_grace()
                    self._grace = self._clock.callLater(seconds, self._grace_expired)
                case asked.CancelGrace():
                    self._cancel_grace()
                case asked.Close(code, number):
                    self._close_clients(number, code)
                case asked.Keep():
                    self._kernels.keep(self.kernel_id)
                case asked.Release(reason):
                    self._kernels.release(self.kernel_id, reason)
        if self._session.phase is machine.Phase.DEAD:
            self._shut()

    async def _interrupt(self, number: int, message: ClientMessage) -> None:
        error: ApplianceError | None = None
        try:
            await self._kernels.pool.interrupt(self.kernel_id)
        except ApplianceError as exc:
            error = exc
        self._perform(self._session.interrupt_answered(number, message, error))

    def _close_clients(self, number: int | None, code: int) -> None:
        numbers = list(self._clients) if number is None else [number]
        for one in numbers:
            client = self._clients.pop(one, None)
            if client is not None:
                self._full.discard(one)
                self._returning.pop(one, None)
                left = self._session.client_closed(one)
                client.close(code)
                if number is not None:
                    # the kernel goes on: it waits for another client, and those who stay may all take more
                    self._pause_or_resume()
                    self._perform(left)

    def _grace_expired(self) -> None:
        self._grace = None
        self._perform(self._session.grace_expired())

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _shut(self) -> None:
        self._cancel_grace()
        if self._watch is not None:
            self._watch.ended()
        self._connection.close()
        self._kernels.files.renew(self.kernel_id)
        self._kernels.forget(self)
