"""Which kernels live: the pool's decisions, without I/O.

`Pool` takes what happened (with the time it happened) and returns what to do about it, as a list of effects. A kernel
passes through these states::

    STARTING --verified--> READY --leased--> LEASED
        |                    |                 |
        +--------------------+-----------------+--> ENDING --died--> (forgotten; its slot may be used again)

A slot is the kernel's account. It is taken again only after the kernel that held it has died, and as late as possible:
slots are handed out in turn.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import attrs

from appliance import errors
from appliance.protocol.arrivals import Arrivals
from appliance.protocol.death import DeathReason
from appliance.protocol.demand import Demand
from appliance.protocol.failed_starts import FailedStarts
from appliance.protocol.kernel_life import Kernel, LeaseRequest, State
from appliance.protocol.pool_effects import Died, End, Grant, Queued, Refuse, Start
from appliance.protocol.quota import CpuLedger, QuotaLimits, check_cpu, check_kernels
from appliance.protocol.waiting_line import WaitingLine, poll_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from appliance.protocol.pool_effects import Effect

#: Seconds in which an interrupted kernel must have stopped what it did; after that it is ended.
INTERRUPT_GRACE = 1.0

#: Seconds that the ready set must last: in about this time a burst has brought new kernels.
READY_HORIZON = 1.0

#: Leases of the health check allowed beyond the limit, so that a full server is not an ill one.
PROBE_RESERVE = 1

#: Seconds for which kernels of an earlier pool count though no zygote has told of them: the longest imports last
#: minutes, but an environment that stays away must not keep the room of all others.
EXPECTED_SECONDS = 300.0

KINDS = ("visitor", "service", "result", "probe")


@attrs.frozen
class Settings:
    """The numbers that the pool's decisions rest on; times in seconds. See the configuration for each."""

    max_kernels: int
    ready: Mapping[str, int]
    ready_max: int
    ready_age: float
    max_starting: int
    refill_delay: float
    start_limit: float
    lease_wait: float
    retry_after: float
    idle: float
    busy: float
    life: float
    first_slot: int
    last_slot: int
    environments: frozenset[str]
    profiles: frozenset[str]
    quota: QuotaLimits = attrs.field(factory=QuotaLimits)
    queue_length: int = 0
    queue_seconds: float = 120.0


@attrs.frozen
class _Waiting:
    request: LeaseRequest
    deadline: float


class Pool:
    """The kernels of one server."""

    def __init__(self, settings: Settings, new_id: Callable[[], str]) -> None:
        """``new_id`` returns an unguessable kernel id (a random UUID as text)."""
        self._settings = settings
        self._new_id = new_id
        self._kernels: dict[int, Kernel] = {}
        self._by_id: dict[str, Kernel] = {}
        #: Kernels of an earlier pool that count though no zygote has told of them yet; the slots of all such kernels.
        self._expected: dict[int, Kernel] = {}
        self._reserved: set[int] = set()
        self._waiting: deque[_Waiting] = deque()
        self._arrivals: dict[str, Arrivals] = {}
        self._environments: set[str] = set()
        self._spent: set[str] = set()
        self._next_slot = settings.first_slot
        self._refill_at = 0.0
        self._memory_low = False
        self._failures = FailedStarts()
        self._held = False
        self._cpu = CpuLedger()
        self._line: WaitingLine[LeaseRequest] = WaitingLine(settings.queue_length, settings.queue_seconds)

    # -- questions ------------------------------------------------------------------------------------------------

    def kernel(self, kernel_id: str) -> Kernel:
        """Return a leased kernel. Raises `errors.UnknownKernel`."""
        kernel = self._by_id.get(kernel_id)
        if kernel is None or kernel.state is not State.LEASED:
            raise errors.UnknownKernel
        return kernel

    def leased_to(self, page: str) -> list[Kernel]:
        """Return the kernels leased to a page, but for those whose ids nobody is told: they work for a result."""
        leased = (kernel for kernel in self._by_id.values() if kernel.state is State.LEASED)
        return [kernel for kernel in leased if kernel.page == page and kernel.kind != "result"]

    def check_cpu(self, address: str, now: float) -> None:
        """Raise `errors.QuotaExceeded` when an address has used up its processor time."""
        check_cpu(self._settings.quota, self._cpu, address, now)

    def in_slot(self, slot: int) -> Kernel | None:
        """Return the kernel in ``slot``, if there is one."""
        return self._kernels.get(slot)

    def count(self, state: State) -> int:
        """Return how many kernels are in ``state``."""
        return sum(1 for kernel in self._kernels.values() if kernel.state is state)

    @property
    def kernels(self) -> list[Kernel]:
        """Every kernel that is not yet forgotten."""
        return list(self._kernels.values())

    @property
    def in_line(self) -> int:
        """How many wait in the line."""
        return len(self._line)

    @property
    def environments(self) -> frozenset[str]:
        """Environments with a connected zygote."""
        return frozenset(self._environments)

    @property
    def last_failure(self) -> str:
        """Why starts fail in some environment, or empty when they succeed in all."""
        return self._failures.last

    def next_event_at(self, now: float) -> float | None:
        """Return when `tick` next has something to do, or None."""
        times = [waiting.deadline for waiting in self._waiting]
        for kernel in self._kernels.values():
            if kernel.state is State.STARTING:
                times.append(kernel.since + self._settings.start_limit)
            elif kernel.state is State.READY:
                times.append(kernel.since + self._settings.ready_age)
            elif kernel.state is State.LEASED:
                times.append(kernel.since + self._settings.life)
                if kernel.interrupted_at is not None:
                    times.append(kernel.interrupted_at + INTERRUPT_GRACE)
                if kernel.busy_since is not None:
                    times.append(kernel.busy_since + self._settings.busy)
                else:
                    times.append(kernel.idle_since + kernel.idle_limit)
        if self._wants_more(now):
            times.append(self._fill_due(now))
        times += self._failures.pauses_until(now)
        return min(times, default=None)

    # -- what happened ----------------------------------------------------------------------------------------------

    def zygote_connected(self, environment: str, now: float) -> list[Effect]:
        """Note that kernels of ``environment`` can be started."""
        self._environments.add(environment)
        self._spent.discard(environment)
        self._failures.forget(environment)
        self._refill_at = now
        return list(self._fill(now))

    def zygote_spent(self, environment: str) -> None:
        """Note that the zygote has made its last kernel: none can be started before the next zygote is there."""
        self._spent.add(environment)

    def zygote_lost(self, environment: str) -> list[Effect]:
        """Note that no kernel of ``environment`` can be started; those that run go on, half-made ones do not."""
        self._environments.discard(environment)
        effects: list[Effect] = []
        for kernel in list(self._kernels.values()):
            if kernel.environment == environment and kernel.state is State.STARTING:
                effects += self._forget(kernel, DeathReason.CRASHED, "its zygote ended")
        return effects

    def expect(self, kernel: Kernel) -> None:
        """Keep the slot of an earlier pool's kernel, and count it, until its zygote tells whether it runs."""
        self._reserved.add(kernel.slot)
        if kernel.environment in self._settings.environments:
            self._expected[kernel.slot] = kernel

    def gone(self, slot: int) -> None:
        """Note that an expected kernel does not run."""
        self._expected.pop(slot, None)
        self._reserved.discard(slot)

    def adopt(self, kernel: Kernel) -> None:
        """Take over a kernel that already runs, after a restart of the pool."""
        self.gone(kernel.slot)
        self._add(kernel)

    def lease(self, request: LeaseRequest, now: float) -> list[Effect]:
        """Answer a request for a kernel now, or keep it until one is ready, or refuse it."""
        if request.environment not in self._settings.environments:
            return [Refuse(request.token, errors.BadRequest(f"there is no environment {request.environment!r} here"))]
        if request.profile not in self._settings.profiles:
            return [Refuse(request.token, errors.BadRequest(f"there is no profile {request.profile!r} here"))]
        self._line.expire(now)
        try:
            self._check_quota(request, now)
        except errors.QuotaExceeded as exc:
            return [Refuse(request.token, exc)]
        if self._held and request.kind != "probe":
            return [self._refusal(request, errors.Draining)]
        # whoever stands in the line comes first; the probe has a kernel of its own
        ahead = 0 if request.kind == "probe" else len(self._line)
        if self._promised(request.kind) + ahead >= self._limit(request.kind):
            return [self._join(request, now)]
        return self._serve(request, now)

    def claim(self, ticket: str, token: object, now: float) -> list[Effect]:
        """Answer who comes back with a ticket: with a kernel when its turn has come, else with its place."""
        self._line.expire(now)
        before = self._line.ask(ticket, now)
        if before is None:
            return [Refuse(token, errors.UnknownTicket())]
        if self._promised("visitor") + before >= self._settings.max_kernels:
            return [Queued(token, ticket, before, poll_seconds(before))]
        wish = self._line.leave(ticket)
        assert wish is not None  # noqa: S101 - it was in the line
        request = attrs.evolve(wish, token=token)
        try:
            self._check_quota(request, now)
        except errors.QuotaExceeded as exc:
            return [Refuse(token, exc)]
        return self._serve(request, now)

    def leave_line(self, ticket: str) -> None:
        """Note that somebody does not want to wait any more."""
        self._line.leave(ticket)

    def _join(self, request: LeaseRequest, now: float) -> Effect:
        ticket = self._new_id()
        before = self._line.join(ticket, request, now) if request.queue else None
        if before is None:
            return self._refusal(request, errors.PoolExhausted)
        return Queued(request.token, ticket, before, poll_seconds(before))

    def _serve(self, request: LeaseRequest, now: float) -> list[Effect]:
        """Answer a request for which there is room."""
        if self._failures.is_failing(request.environment):
            return [self._start_refusal(request)]
        if request.kind != "probe":
            self._arrivals.setdefault(request.environment, Arrivals()).note(now)
        self._waiting.append(_Waiting(request, now + self._settings.lease_wait))
        effects = list(self._deal(now))
        # Whoever was dealt a ready kernel runs first; only who still waits needs a start at once.
        self._refill_at = now + self._settings.refill_delay
        effects += self._fill(now)
        return effects

    def cpu_used(self, slot: int, seconds: float, now: float) -> None:
        """Charge processor time of a kernel to the address that leased it."""
        kernel = self._kernels.get(slot)
        if kernel is not None:
            self._cpu.charge(kernel.address, seconds, now)

    def abandon(self, token: object) -> None:
        """Forget a waiting request whose asker went away."""
        self._waiting = deque(waiting for waiting in self._waiting if waiting.request.token is not token)

    def verified(self, slot: int, now: float) -> list[Effect]:
        """Note that a started kernel answered."""
        kernel = self._kernels.get(slot)
        if kernel is None or kernel.state is not State.STARTING:
            return []
        kernel.state, kernel.since = State.READY, now
        self._failures.forget(kernel.environment)
        return [*self._deal(now), *self._fill(now)]

    def start_failed(self, slot: int, why: str, now: float) -> list[Effect]:
        """Note that a start failed; the kernel, if there is one, is ended."""
        kernel = self._kernels.get(slot)
        if kernel is None or kernel.state is not State.STARTING:
            return []
        self._failures.count(kernel.environment, why, now)
        effects = self._end(kernel, DeathReason.CRASHED, why, now)
        if self._failures.is_failing(kernel.environment):
            waiting, self._waiting = self._waiting, deque()
            for one in waiting:
                if one.request.environment == kernel.environment:
                    effects.append(self._start_refusal(one.request))
                else:
                    self._waiting.append(one)
        return effects

    def died(self, slot: int, reason: DeathReason, detail: str, now: float) -> list[Effect]:
        """Note that a kernel is gone. A reason we ended it for outranks ``reason``."""
        kernel = self._kernels.get(slot)
        if kernel is None:
            return []
        was_starting = kernel.state is State.STARTING
        effects = self._forget(kernel, kernel.reason or reason, kernel.detail if kernel.reason else detail)
        if was_starting:
            self._failures.count(kernel.environment, detail or "the kernel ended while it started", now)
        return [*effects, *self._fill(now)]

    def status(self, slot: int, *, busy: bool, now: float) -> None:
        """Note what a kernel says of itself."""
        kernel = self._kernels.get(slot)
        if kernel is None or kernel.state is not State.LEASED:
            return
        if busy:
            kernel.busy_since = now
        else:
            kernel.busy_since, kernel.idle_since, kernel.interrupted_at = None, now, None

    def idle_limit(self, slot: int) -> float:
        """Return how long the kernel in ``slot`` may be idle."""
        kernel = self._kernels.get(slot)
        return kernel.idle_limit if kernel is not None else self._settings.idle

    def interrupted(self, kernel_id: str, now: float) -> None:
        """Note that a busy kernel was interrupted: it has `INTERRUPT_GRACE` to become idle."""
        kernel = self._by_id.get(kernel_id)
        if kernel is not None and kernel.busy_since is not None and kernel.interrupted_at is None:
            kernel.interrupted_at = now

    def over_cpu(self, slot: int, now: float) -> list[Effect]:
        """End a kernel whose evaluation used more processor time than it may."""
        kernel = self._kernels.get(slot)
        if kernel is None or kernel.state is not State.LEASED:
            return []
        return self._end(kernel, DeathReason.CPU_LIMIT, "", now)

    def release(self, kernel_id: str, reason: DeathReason, now: float) -> list[Effect]:
        """End a leased kernel. Raises `errors.UnknownKernel`."""
        return self._end(self.kernel(kernel_id), reason, "", now)

    def unresponsive(self, slot: int, now: float) -> list[Effect]:
        """End a kernel that no longer answers its heartbeat."""
        kernel = self._kernels.get(slot)
        if kernel is None or kernel.state is State.ENDING:
            return []
        return self._end(kernel, DeathReason.UNRESPONSIVE, "", now)

    def tick(self, now: float) -> list[Effect]:
        """Let time pass: end what is over its clocks, refuse who waited too long, refill."""
        effects: list[Effect] = []
        while self._waiting and self._waiting[0].deadline <= now:
            request = self._waiting.popleft().request
            connected = request.environment in self._environments
            effects.append(self._refusal(request, errors.KernelLate if connected else errors.EnvironmentUnavailable))
        self._expected = {
            slot: kernel for slot, kernel in self._expected.items() if kernel.since + EXPECTED_SECONDS > now
        }
        for kernel in list(self._kernels.values()):
            if kernel.state is State.STARTING and kernel.since + self._settings.start_limit <= now:
                effects += self.start_failed(kernel.slot, "it was not ready in time", now)
            elif kernel.state is State.READY and kernel.since + self._settings.ready_age <= now:
                effects += self._end(kernel, DeathReason.LIFETIME, "", now)
            elif kernel.state is State.LEASED:
                reason = self._over(kernel, now)
                if reason is not None:
                    detail = "it ignored an interrupt" if kernel.interrupted_at is not None else ""
                    effects += self._end(kernel, reason, detail, now)
        effects += self._shed(now)
        effects += self._fill(now)
        return effects

    def hold(self, *, on: bool, now: float) -> list[Effect]:
        """Deal no kernel to visitors while ``on``; those in use live on, and who stands in line is sent away."""
        self._held = on
        if on:
            self._line = WaitingLine(self._settings.queue_length, self._settings.queue_seconds)
        return list(self._fill(now))

    @property
    def held(self) -> bool:
        """Whether no kernel is dealt to visitors."""
        return self._held

    def renew(self, environment: str, now: float) -> list[Effect]:
        """End the ready kernels of an environment: fresh ones will come from another zygote."""
        effects: list[Effect] = []
        for kernel in list(self._kernels.values()):
            if kernel.state is State.READY and kernel.environment == environment:
                effects += self._end(kernel, DeathReason.RELEASED, "", now)
        return effects

    def memory(self, *, low: bool) -> None:
        """Note whether the host is short of memory: then no kernel is started ahead of need."""
        self._memory_low = low

    # -- how it decides ---------------------------------------------------------------------------------------------

    def _check_quota(self, request: LeaseRequest, now: float) -> None:
        """Raise `errors.QuotaExceeded`; requests count from when they wait.

        Kernels count until they are gone for an address, and until they are told to end for a page.
        """
        holders = [*self._holders(), *(waiting.request for waiting in self._waiting), *self._line.wishes]
        self._check_kernels(request, holders)
        check_cpu(self._settings.quota, self._cpu, request.address, now)

    def _check_kernels(self, request: LeaseRequest, holders: list[Kernel | LeaseRequest]) -> None:
        # a page names itself, and ends a kernel before it asks for the next; an address cannot choose who it is
        page = sum(holder.page == request.page and not _is_ending(holder) for holder in holders) if request.page else 0
        address = sum(1 for holder in holders if holder.address == request.address) if request.address else 0
        check_kernels(self._settings.quota, page, address, self._settings.retry_after)

    def _holders(self) -> list[Kernel | LeaseRequest]:
        return [kernel for kernel in self._living() if kernel.leased_at is not None]

    def _living(self) -> list[Kernel]:
        """Return every kernel that takes room."""
        return [*self._kernels.values(), *self._expected.values()]

    def _limit(self, kind: str) -> int:
        return self._settings.max_kernels + (PROBE_RESERVE if kind == "probe" else 0)

    def _promised(self, kind: str) -> int:
        """Return how many kernels are with somebody, promised, or not yet gone, as far as they limit ``kind``.

        The reserve is the probes' alone: a probe under way takes nothing from visitors. A kernel that was ready and
        makes room for another is nobody's.
        """
        kinds = [kernel.kind for kernel in self._living() if kernel.leased_at is not None]
        kinds += [waiting.request.kind for waiting in self._waiting]
        return len(kinds) - (0 if kind == "probe" else min(PROBE_RESERVE, kinds.count("probe")))

    def _over(self, kernel: Kernel, now: float) -> DeathReason | None:
        if kernel.since + self._settings.life <= now:
            return DeathReason.LIFETIME
        if kernel.interrupted_at is not None and kernel.interrupted_at + INTERRUPT_GRACE <= now:
            return DeathReason.STOPPED
        if kernel.busy_since is not None:
            return DeathReason.BUSY if kernel.busy_since + self._settings.busy <= now else None
        return DeathReason.IDLE if kernel.idle_since + kernel.idle_limit <= now else None

    def _deal(self, now: float) -> Iterator[Effect]:
        """Give ready kernels to those who wait, first come first served."""
        unserved: deque[_Waiting] = deque()
        while self._waiting:
            waiting = self._waiting.popleft()
            try:
                # kernels of an earlier pool may have been taken over since the request was let in
                self._check_kernels(waiting.request, self._holders())
            except errors.QuotaExceeded as exc:
                yield Refuse(waiting.request.token, exc)
                continue
            kernel = self._find_ready(waiting.request)
            if kernel is None:
                unserved.append(waiting)
                continue
            kernel.state, kernel.since, kernel.kind = State.LEASED, now, waiting.request.kind
            kernel.leased_at = kernel.idle_since = now
            kernel.page, kernel.address = waiting.request.page, waiting.request.address
            kernel.single = waiting.request.single
            kernel.idle_limit = min(waiting.request.idle or self._settings.idle, self._settings.idle)
            yield Grant(waiting.request.token, kernel.kernel_id)
        self._waiting = unserved

    def _find_ready(self, request: LeaseRequest) -> Kernel | None:
        for kernel in self._kernels.values():
            if (
                kernel.state is State.READY
                and kernel.environment == request.environment
                and kernel.profile == request.profile
            ):
                return kernel
        return None

    def ready_target(self, environment: str, now: float) -> int:
        """Return how many kernels of an environment to keep ready: more when many come, none when memory is short."""
        if self._memory_low:
            return 0
        arrivals = self._arrivals.get(environment)
        expected = arrivals.expected(now, READY_HORIZON) if arrivals is not None else 0
        least = self._settings.ready[environment]
        return min(max(least, expected), max(least, self._settings.ready_max))

    def _shed(self, now: float) -> Iterator[Effect]:
        """End ready kernels while the host is short of memory: before Linux must end something."""
        if self._memory_low:
            for kernel in list(self._kernels.values()):
                if kernel.state is State.READY:
                    yield from self._end(kernel, DeathReason.RELEASED, "", now)

    def _wants_more(self, now: float) -> bool:
        return self._room() > 0 and self._demand(now).missing > 0

    def _room(self) -> int:
        limit = self._settings.max_kernels + PROBE_RESERVE
        starting = self.count(State.STARTING)
        return min(limit - len(self._living()), self._settings.max_starting - starting)

    def _demand(self, now: float) -> Demand:
        """Return what is wanted of the environments in which a kernel can be started now."""
        startable = self._environments - self._spent - self._failures.paused(now)
        targets = {name: self.ready_target(name, now) for name in startable}
        return Demand(targets, self._kernels.values(), [waiting.request for waiting in self._waiting])

    def _fill_due(self, now: float) -> float:
        return now if self._demand(now).is_waited_for else max(now, self._refill_at)

    def _make_room(self, now: float) -> Iterator[Effect]:
        """End ready kernels that nobody waits for when those that somebody waits for find no room beside them."""
        if not self._waiting or now < self._fill_due(now):
            return
        room = self._settings.max_kernels + PROBE_RESERVE - len(self._living())
        spare = self._demand(now).unserved - room - self.count(State.ENDING)
        for kernel in list(self._kernels.values()):
            if spare > 0 and kernel.state is State.READY:
                spare -= 1
                yield from self._end(kernel, DeathReason.RELEASED, "", now)

    def _fill(self, now: float) -> Iterator[Effect]:
        yield from self._make_room(now)
        while now >= self._fill_due(now) and self._wants_more(now):
            environment, profile = self._demand(now).most_wanted
            kernel = Kernel(self._take_slot(), self._new_id(), environment, profile, State.STARTING, now)
            self._add(kernel)
            yield Start(kernel.slot, kernel.kernel_id, environment, profile)

    def _take_slot(self) -> int:
        while True:
            slot = self._next_slot
            self._next_slot = slot + 1 if slot < self._settings.last_slot else self._settings.first_slot
            if slot not in self._kernels and slot not in self._reserved:
                return slot

    def _add(self, kernel: Kernel) -> None:
        self._kernels[kernel.slot] = kernel
        self._by_id[kernel.kernel_id] = kernel

    def _end(self, kernel: Kernel, reason: DeathReason, detail: str, now: float) -> list[Effect]:
        kernel.state, kernel.since = State.ENDING, now
        kernel.reason, kernel.detail = reason, detail
        self._refill_at = max(self._refill_at, now + self._settings.refill_delay)
        return [End(kernel.slot, kernel.kernel_id)]

    def _forget(self, kernel: Kernel, reason: DeathReason, detail: str) -> list[Effect]:
        del self._kernels[kernel.slot]
        del self._by_id[kernel.kernel_id]
        return [Died(kernel.slot, kernel.kernel_id, reason, detail, leased=kernel.leased_at is not None)]

    def _start_refusal(self, request: LeaseRequest) -> Refuse:
        why = self._failures.why(request.environment)
        message = f"{errors.EnvironmentUnavailable.sentence()} Starting a kernel failed: {why}"
        error = errors.EnvironmentUnavailable(message, retry_after_seconds=self._settings.retry_after)
        return Refuse(request.token, error)

    def _refusal(self, request: LeaseRequest, error: type[errors.ApplianceError]) -> Refuse:
        return Refuse(request.token, error(retry_after_seconds=self._settings.retry_after))


def _is_ending(holder: Kernel | LeaseRequest) -> bool:
    """Return whether this is a kernel that was told to end."""
    return isinstance(holder, Kernel) and holder.state is State.ENDING
