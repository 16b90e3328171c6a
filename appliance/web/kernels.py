"""The kernels that this process talks to: leased here, or attached because a client came with the id of one.

Nothing here ends a kernel when this process stops: another instance, or the next start, attaches to it by its id.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from appliance.config import DEFAULT_PROFILE
from appliance.errors import PoolUnavailable, UnknownEnvironment, UnknownKernel, UnknownProfile
from appliance.log import kernel_name
from appliance.protocol.death import DeathReason
from appliance.protocol.output_budget import OutputLimits
from appliance.web.live_kernel import LiveKernel
from appliance.web.pool_client import ANY_KERNEL, NOBODY, UNKNOWN_USE, Place
from appliance.web.request_log import Watch
from appliance.zmq_sockets import Sockets

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.config import Config
    from appliance.web.kept_files import KeptFiles
    from appliance.web.pool_client import KernelAddress, PoolClient, Used, Visitor, WantedKernel
    from appliance.web.request_log import RequestLog

log = Logger()

#: Interval at which sessions look for lost output and clients for lost connections.
TICK_SECONDS = 2.0

#: Releases that could not be told to the pool yet; older ones are left to the pool's own clocks.
MAX_OWED_RELEASES = 1000

#: Kernels that ended are remembered this long, and this many, for browsers whose connection was broken at the end.
ENDED_SECONDS = 60.0
MAX_ENDED = 32

_REASONS = {reason.value: reason for reason in DeathReason}

_KERNEL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Kernels(Service):
    """The table of kernels, and what is done with the pool in their name."""

    def __init__(
        self,
        config: Config,
        reactor: Any,
        pool: PoolClient,
        now: Callable[[], str],
        files: KeptFiles,
        request_log: RequestLog | None = None,
    ) -> None:
        self.clock = reactor
        self.pool = pool
        self.files = files
        self.sockets = Sockets(reactor)
        self._config = config
        self._now = now
        self._request_log = request_log
        self._limits = OutputLimits(**attrs.asdict(config.output))
        self._live: dict[str, LiveKernel] = {}
        self._ended: dict[str, tuple[LiveKernel, float]] = {}
        self._attaching: dict[str, list[Deferred[LiveKernel]]] = {}
        self._owed: dict[str, DeathReason] = {}
        #: Kernels that took the place of another, by the id that clients know them by.
        self._successors: dict[str, str] = {}
        self._tick = LoopingCall(self._tick_all)
        self._tick.clock = reactor
        self.default_environment = config.default_environment

    @property
    def count(self) -> int:
        """Number of kernels."""
        return len(self._live)

    @property
    def clients(self) -> int:
        """Number of clients of all kernels."""
        return sum(kernel.clients for kernel in self._live.values())

    def startService(self) -> None:  # noqa: N802 - IService
        """Start looking after sessions."""
        super().startService()  # type: ignore[no-untyped-call]
        ticking = self._tick.start(TICK_SECONDS, now=False)
        ticking.addErrback(lambda failure: log.failure("sessions are no longer looked after", failure=failure))

    def stopService(self) -> None:  # noqa: N802 - IService
        """Close everything; kernels live on, for whoever attaches next."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._tick.running:
            self._tick.stop()
        for kernel in list(self._live.values()):
            kernel.abandon()
        self.sockets.shutdown()

    def _tick_all(self) -> None:
        now = self.clock.seconds()
        self._ended = {name: ended for name, ended in self._ended.items() if ended[1] > now}
        self.files.tick(list(self._live))
        for kernel in list(self._live.values()):
            try:
                kernel.tick()
            except Exception:  # noqa: BLE001 - one session's trouble is not another's
                log.failure("session of kernel {kernel} failed", kernel=kernel_name(kernel.kernel_id))

    async def lease(
        self, kind: str, timeout_seconds: float, wanted: WantedKernel = ANY_KERNEL, visitor: Visitor = NOBODY
    ) -> LiveKernel:
        """Take a kernel; ``timeout_seconds`` 0 means that it is returned after its first evaluations.

        Raises `UnknownEnvironment`, `UnknownProfile`, `QuotaExceeded`, `PoolExhausted`, `EnvironmentUnavailable` or
        `PoolUnavailable`.
        """
        environment, profile = self.resolve(wanted)
        idle_seconds = self._idle_seconds(timeout_seconds)
        address = await self.pool.lease(kind, environment, profile, idle_seconds, visitor, single=timeout_seconds <= 0)
        return self._add(address, self._watch(address, kind, wanted, visitor))

    async def lease_or_queue(
        self, kind: str, timeout_seconds: float, wanted: WantedKernel, visitor: Visitor
    ) -> LiveKernel | Place:
        """Take a kernel, or a place in the line when all are taken; raises what `lease` does."""
        environment, profile = self.resolve(wanted)
        idle_seconds = self._idle_seconds(timeout_seconds)
        answer = await self.pool.lease_or_queue(
            kind, environment, profile, idle_seconds, visitor, single=timeout_seconds <= 0
        )
        if isinstance(answer, Place):
            return answer
        return self._add(answer, self._watch(answer, kind, wanted, visitor))

    async def claim(self, ticket: str, visitor: Visitor = NOBODY) -> LiveKernel | Place:
        """Come back with a ticket; raises `UnknownTicket` and what `lease` does."""
        answer = await self.pool.claim(ticket)
        if isinstance(answer, Place):
            return answer
        return self._add(answer, self._watch(answer, "visitor", None, visitor))

    def _watch(
        self, address: KernelAddress, kind: str, wanted: WantedKernel | None = None, visitor: Visitor = NOBODY
    ) -> Watch | None:
        """Return what tells the request log of a kernel's requests; health checks are nobody's."""
        if self._request_log is None or kind not in ("visitor", "service", "result"):
            return None
        environment, profile = ("", "") if wanted is None else self.resolve(wanted)
        use_of = self._request_log.use_of(self.pool)
        return Watch(self._request_log, address.kernel_id, kind, environment, profile, visitor, use_of)

    def _idle_seconds(self, timeout_seconds: float) -> float:
        most = self._config.clocks.idle_seconds
        return min(timeout_seconds, most) if timeout_seconds > 0 else most

    def resolve(self, wanted: WantedKernel) -> tuple[str, str]:
        """Return the names of the environment and the profile.

        Raises `UnknownEnvironment` or `UnknownProfile`, which tell those that may be asked for.
        """
        environment, profile = wanted.environment or self.default_environment, wanted.profile or DEFAULT_PROFILE
        if environment == "python" and environment not in self._config.environment:
            # what cells of Python name: a server may call its environment otherwise
            environment = self.default_environment
        if environment not in self._config.environment:
            known = ", ".join(sorted(self._config.environment))
            raise UnknownEnvironment(f"There is no environment {environment[:64]!r} here. Environments: {known}.")
        if profile not in self._config.exposed_profiles:
            known = ", ".join(sorted(self._config.exposed_profiles))
            raise UnknownProfile(f"There is no profile {profile[:64]!r} here. Profiles: {known}.")
        return environment, profile

    def _add(
        self, address: KernelAddress, watch: Watch | None, *, used: bool = False, recover: bool = False
    ) -> LiveKernel:
        try:
            kernel = LiveKernel(
                self,
                address,
                now=self._now,
                max_clients=self._config.web.max_connections_per_kernel,
                limits=self._limits,
                watch=watch,
                used=used,
                recover=recover,
            )
        except Exception:
            # there may be no descriptor left: a kernel that nobody can talk to is given back
            if not used:
                self.release(address.kernel_id, DeathReason.STOPPED)
            raise
        self._live[address.kernel_id] = kernel
        return kernel

    async def find(self, kernel_id: str) -> LiveKernel:
        """Return a kernel by its id, attaching to it if this process does not know it.

        Raises `UnknownKernel` or `PoolUnavailable`.
        """
        if not _KERNEL_ID.fullmatch(kernel_id) or kernel_id in self._owed:
            raise UnknownKernel
        kernel = self.live(kernel_id)
        if kernel is not None:
            return kernel
        if kernel_id in self._attaching:
            waiting: Deferred[LiveKernel] = Deferred()
            self._attaching[kernel_id].append(waiting)
            return await waiting
        self._attaching[kernel_id] = []
        try:
            kernel = self._attached(kernel_id, await self.pool.attach(kernel_id))
        except BaseException as exc:
            for waiting in self._attaching.pop(kernel_id):
                waiting.errback(exc)
            raise
        log.info("kernel {kernel} attached", kernel=kernel_name(kernel_id))
        for waiting in self._attaching.pop(kernel_id):
            waiting.callback(kernel)
        return kernel

    async def address(self, kernel_id: str) -> KernelAddress:
        """Return where a leased kernel is, whichever process its page is connected to.

        Raises `UnknownKernel` or `PoolUnavailable`.
        """
        if not _KERNEL_ID.fullmatch(kernel_id) or kernel_id in self._owed:
            raise UnknownKernel
        kernel = self.live(kernel_id)
        return kernel.address if kernel is not None else await self.pool.locate(kernel_id)

    def live(self, kernel_id: str) -> LiveKernel | None:
        """Return a kernel by its id if this process has it. Raises `UnknownKernel` for one that is nobody's."""
        kernel = self._live.get(self._successors.get(kernel_id, kernel_id))
        if kernel is not None and kernel.private:
            raise UnknownKernel
        return kernel

    def _attached(self, kernel_id: str, address: KernelAddress) -> LiveKernel:
        if address.kernel_id != kernel_id:
            self._successors[kernel_id] = address.kernel_id
        # one that took the place of another is new
        used = address.kernel_id == kernel_id
        return self._live.get(address.kernel_id) or self._add(
            address, self._watch(address, "visitor"), used=used, recover=used and self._is_ours(address)
        )

    def _is_ours(self, address: KernelAddress) -> bool:
        """Return whether a kernel is a fork of a zygote, which remembers what it said."""
        environment = self._config.environment.get(address.environment)
        return environment is not None and not environment.kernelspec

    def ended(self, kernel_id: str) -> LiveKernel | None:
        """Return a kernel that ended lately, for who comes back to hear its last words."""
        return self._ended[kernel_id][0] if kernel_id in self._ended else None

    async def restart(self, kernel_id: str) -> LiveKernel:
        """Put a fresh kernel in the place of one, under the same id and with its clients.

        Raises `UnknownKernel` and what `lease` does; then the old one stays.
        """
        if not _KERNEL_ID.fullmatch(kernel_id):
            raise UnknownKernel
        before = self.live(kernel_id)
        successor = self._attached(kernel_id, await self.pool.restart(kernel_id))
        if before is not None:
            before.restarted(successor)
        return successor

    async def delete(self, kernel_id: str) -> None:
        """End a kernel because its user wants so; one that is unknown has ended already.

        Raises `PoolUnavailable`.
        """
        if not _KERNEL_ID.fullmatch(kernel_id):
            return
        kernel = self.live(kernel_id)
        if kernel is not None:
            kernel.stop(DeathReason.STOPPED)
            return
        try:
            await self.pool.release(kernel_id, DeathReason.STOPPED.value)
        except UnknownKernel:
            return

    def release(self, kernel_id: str, reason: DeathReason) -> None:
        """Give a kernel back, now or when the pool can be reached."""
        if len(self._owed) < MAX_OWED_RELEASES:
            self._owed[kernel_id] = reason
        self.background(self._pay(kernel_id))

    async def _pay(self, kernel_id: str) -> None:
        reason = self._owed.get(kernel_id)
        if reason is None:
            return
        # the pool knows what it found out itself; the rest it is told as one of the reasons of T3
        told = reason if reason in (DeathReason.RELEASED, DeathReason.CLIENT_GONE) else DeathReason.STOPPED
        try:
            await self.pool.release(kernel_id, told.value)
        except PoolUnavailable:
            return
        except UnknownKernel:
            pass
        self._owed.pop(kernel_id, None)
        log.info("kernel {kernel} released: {reason}", kernel=kernel_name(kernel_id), reason=reason.value)

    def keep(self, kernel_id: str) -> None:
        """Have a kernel outlive its evaluations, whichever process its page connects to next."""
        self.background(self._keep(kernel_id))

    async def _keep(self, kernel_id: str) -> None:
        # where the pool cannot be told, the session here still knows
        with contextlib.suppress(PoolUnavailable, UnknownKernel):
            await self.pool.keep(kernel_id)

    def let_go(self, kernel_id: str) -> bool:
        """Leave a kernel to another process that was asked for it; return whether nobody uses it here."""
        kernel = self._live.get(kernel_id)
        if kernel is None:
            return True
        if kernel.clients:
            return False
        kernel.abandon()
        log.info("kernel {kernel} left to another web role", kernel=kernel_name(kernel_id))
        return True

    def forget(self, kernel: LiveKernel) -> None:
        """Drop a kernel from the table."""
        if self._live.get(kernel.kernel_id) is kernel:
            if kernel.resumable:
                self._keep_ended(kernel)
            del self._live[kernel.kernel_id]
            self._successors = {old: new for old, new in self._successors.items() if new != kernel.kernel_id}

    def _keep_ended(self, kernel: LiveKernel) -> None:
        if len(self._ended) >= MAX_ENDED:
            del self._ended[next(iter(self._ended))]
        self._ended[kernel.kernel_id] = (kernel, self.clock.seconds() + ENDED_SECONDS)

    def died(self, kernel_id: str, reason: str, detail: str, used: Used = UNKNOWN_USE) -> None:
        """Take the pool's word that a kernel ended, and what it had used."""
        self._owed.pop(kernel_id, None)
        kernel = self._live.get(kernel_id)
        if kernel is None:
            return
        log.info(
            "kernel {kernel} ended: {reason} {detail}", kernel=kernel_name(kernel_id), reason=reason, detail=detail
        )
        kernel.died(_REASONS.get(reason, DeathReason.CRASHED), used)

    def pool_connected(self) -> None:
        """Tell a pool that may have been restarted which kernels are in use here, and which are not any more."""
        for kernel_id in list(self._owed):
            self.background(self._pay(kernel_id))
        for kernel_id, kernel in list(self._live.items()):
            # a pool that was restarted does not know which kernels are nobody's
            kernel.private = False
            self.background(self._reattach(kernel_id))

    async def _reattach(self, kernel_id: str) -> None:
        try:
            await self.pool.attach(kernel_id)
        except UnknownKernel:
            self.died(kernel_id, DeathReason.CRASHED.value, "the pool does not know it")
        except PoolUnavailable:
            # the next connection comes here again
            return

    def background(self, work: Any) -> None:
        """Run a coroutine whose end nobody waits for."""
        Deferred.fromCoroutine(work).addErrback(lambda failure: log.failure("work failed", failure=failure))


def timeout_seconds(text: str) -> float | None:
    """Return the number of seconds in ``text``, ``inf`` included; None when it is none."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return None if math.isnan(seconds) or seconds < 0 else seconds
