"""The pool role: performs what `appliance.protocol.pool` decides.

Zygotes (T4) fork and kill, web roles (T3) lease and release, each kernel is watched through `KernelProcess`. Kernels
outlive this process: at its start it takes over those that zygotes report and whose records it finds.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import uuid
from typing import TYPE_CHECKING, Any

import attrs
import psutil
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.protocols import amp

from appliance import errors, self_connection, unix_socket
from appliance.config import Config, uid_of
from appliance.log import kernel_name
from appliance.notify import inherited_socket
from appliance.peercred import ROOT_UID, require_peer
from appliance.pool import overview, pressure
from appliance.pool.exit_status import explain
from appliance.pool.kernel_process import KernelProcess
from appliance.pool.leases import LeaseFactory
from appliance.pool.metrics import PoolMetrics
from appliance.pool.records import Directories, Record
from appliance.pool.zygote_link import ZygoteLink, ZygoteListener
from appliance.pool_commands import PoolStatus
from appliance.protocol import pool as decisions
from appliance.protocol.death import DeathReason
from appliance.protocol.kernel_life import Kernel, LeaseRequest, State
from appliance.protocol.pool_effects import Died, Effect, End, Grant, Queued, Refuse, Start
from appliance.protocol.quota import QuotaLimits
from appliance.zmq_sockets import Sockets

if TYPE_CHECKING:
    import pathlib
    import socket

log = Logger()

#: Slots below are the zygote's own id and those that /etc/passwd names; see `appliance.zygote.zygote`.
FIRST_SLOT = 1000

#: Layers without which there is no kernel at all.
ALWAYS_ON = ("user namespace", "uid pool", "namespaces", "read-only root", "no new privileges", "seccomp")

#: Ready kernels that are asked for a heartbeat to prove that the pool hears kernels; one answer is enough.
MAX_PROBED_KERNELS = 3

#: Seconds between looks at the host's memory.
MEMORY_LOOK_SECONDS = 5.0

#: Seconds between looks at what zygotes were asked and have not done: a socket that was full has lost the request.
REMIND_SECONDS = 5.0

#: Seconds between looks at the processor time of busy kernels.
CPU_LOOK_SECONDS = 1.0


def settings(config: Config) -> decisions.Settings:
    """Return the numbers of the configuration that decisions rest on."""
    return decisions.Settings(
        max_kernels=config.pool.max_kernels,
        ready=config.ready,
        ready_max=config.pool.ready_max,
        ready_age=config.pool.ready_age_seconds,
        max_starting=config.pool.max_starting,
        refill_delay=config.pool.refill_delay_seconds,
        start_limit=config.pool.start_seconds,
        lease_wait=config.pool.lease_wait_seconds,
        retry_after=config.pool.retry_after_seconds,
        idle=config.clocks.idle_seconds,
        busy=config.clocks.busy_seconds,
        life=config.clocks.life_seconds,
        first_slot=FIRST_SLOT,
        last_slot=FIRST_SLOT + config.kernel_slots - 1,
        environments=frozenset(config.environment),
        profiles=config.exposed_profiles,
        queue_length=config.pool.queue_length,
        queue_seconds=config.pool.queue_seconds,
        quota=QuotaLimits(**attrs.asdict(config.quota)),
    )


def _new_key() -> bytes:
    """Return a key of 256 random bits, as text: connection files of other kernels hold it as such."""
    return secrets.token_hex(32).encode("ascii")


class PoolService(MultiService):
    """The pool of one server."""

    name = "pool"

    def __init__(self, config: Config, reactor: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._config = config
        self._reactor = reactor
        self._sockets = Sockets(reactor)
        self._directories = Directories(config.kernels_path)
        self._pool = decisions.Pool(settings(config), lambda: str(uuid.uuid4()))
        self._processes: dict[int, KernelProcess] = {}
        self._links: dict[str, ZygoteLink] = {}
        self._greeting: set[ZygoteLink] = set()
        #: When an environment was last seen to have no zygote.
        self._missing_since = dict.fromkeys(config.environment, self._now())
        #: When the zygote of an environment came.
        self._connected_at: dict[str, float] = {}
        self._orphans: dict[int, Record] = {}
        self._awaited: dict[str, list[Deferred[Record]]] = {}
        self._interrupts_due: set[int] = set()
        #: Kernels that took the place of another, by the id that clients know them by.
        self._successors: dict[str, str] = {}
        self._restarting: set[str] = set()
        self._answers: dict[object, Deferred[Record | Queued]] = {}
        self._tick_call: Any = None
        self._port: Any = None
        self._inherited: int | None = None
        self._memory_low = False
        self._deaths = overview.Deaths()
        self._looks = [
            (LoopingCall(self._look_at_memory), MEMORY_LOOK_SECONDS),
            (LoopingCall(self._look_at_processor_time), CPU_LOOK_SECONDS),
            (LoopingCall(self._remind_zygotes), REMIND_SECONDS),
        ]
        self.metrics = PoolMetrics(self._counts, config.pool.max_kernels, lambda: self._pool.in_line)
        self._leases = LeaseFactory(self)
        self._zygotes = ZygoteListener(
            reactor, config.zygote_socket, frozenset({config.ids.base, os.getuid()}), self._zygote_accepted
        )

    # -- the role ---------------------------------------------------------------------------------------------------

    def startService(self) -> None:  # noqa: N802 - IService
        """Find the kernels of an earlier pool, then listen for zygotes and web roles."""
        super().startService()  # type: ignore[no-untyped-call]
        self._orphans = {record.slot: record for record in self._directories.load()}
        for record in self._orphans.values():
            self._pool.expect(self._kernel_of(record))
        if self._drain_mark.exists():
            self._pool.hold(on=True, now=self._now())
        self._zygotes.inherited = inherited_socket("zygote")
        self._zygotes.start()
        uids = frozenset({uid_of(self._config.users.web), os.getuid(), ROOT_UID})
        factory = require_peer(self._leases, uids)
        factory.noisy = False
        self._inherited = inherited_socket("pool")
        self._port = unix_socket.listen(self._reactor, factory, self._config.pool_socket, inherited=self._inherited)
        for look, seconds in self._looks:
            look.clock = self._reactor
            look.start(seconds).addErrback(lambda failure: log.failure("a look at the host failed", failure=failure))

    def stopService(self) -> Any:  # noqa: N802 - IService
        """Stop listening; kernels go on and the next pool finds them."""
        for look, _ in self._looks:
            if look.running:
                look.stop()
        if self._tick_call is not None and self._tick_call.active():
            self._tick_call.cancel()
        self._zygotes.stop()
        for link in [*self._links.values(), *self._greeting]:
            link.close()
        for process in self._processes.values():
            # No record is worth more than no kernel: the next pool ends one that it finds without a record.
            if process.ended or process.pidfd < 0:
                self._directories.remove(process.record.kernel_id)
            process.close()
        self._sockets.shutdown()
        self._leases.disconnect()
        stopping = maybeDeferred(self._port.stopListening) if self._port is not None else None
        if self._inherited is None:
            unix_socket.remove(self._config.pool_socket)
        super().stopService()  # type: ignore[no-untyped-call]
        return stopping

    def healthy(self) -> bool:
        """Return whether the pool can be asked."""
        return self._port is not None

    async def prove(self) -> None:
        """Answer a question of our own as a web role's, and hear one of the ready kernels, if there is any."""
        asker = amp.AMP()  # type: ignore[no-untyped-call]
        factory = Factory.forProtocol(lambda: asker)
        factory.noisy = False
        self_connection.connect(self._reactor, self._leases, factory)
        try:
            await asker.callRemote(PoolStatus)  # type: ignore[no-untyped-call]
        finally:
            if asker.transport is not None:
                asker.transport.loseConnection()
        ready = [kernel.slot for kernel in self._pool.kernels if kernel.state is State.READY]
        probes = [self._processes[slot].probe() for slot in ready[:MAX_PROBED_KERNELS]]
        if probes:
            await DeferredList(probes, fireOnOneCallback=True, consumeErrors=True)

    def _counts(self) -> dict[str, int]:
        return {state.name.lower(): self._pool.count(state) for state in State}

    def status(self) -> str:
        """Return one line of counts."""
        count = self._pool.count
        text = (
            f"{count(State.LEASED)} leased, {count(State.READY)} ready, "
            f"{count(State.STARTING)} starting of {self._config.pool.max_kernels}"
        )
        if self._pool.held:
            text += "; draining"
        if self._missing_since:
            text += f"; no zygote for {', '.join(sorted(self._missing_since))}"
        if self._pool.last_failure:
            text += f"; last start failed: {self._pool.last_failure}"
        return text

    def _look_at_memory(self) -> None:
        low = psutil.virtual_memory().available < self._config.pool.memory_reserve_bytes
        low = low or pressure.memory_percent() > self._config.pool.memory_pressure_percent
        if low != self._memory_low:
            self._memory_low = low
            if low:
                log.warn("the host is short of memory: no kernel is kept ready")
            else:
                log.info("the host has memory again")
        self._pool.memory(low=low)
        self._tick()

    def _remind_zygotes(self) -> None:
        """Ask again for the ends and interrupts that should long have come."""
        for link in self._links.values():
            if link.retired:
                with contextlib.suppress(OSError):
                    link.retire()
        for kernel in self._pool.kernels:
            if kernel.state is not State.ENDING:
                self._interrupt_if_due(kernel)
            elif kernel.since + REMIND_SECONDS <= self._now():
                self._signal(kernel.slot, signal.SIGKILL)

    def _look_at_processor_time(self) -> None:
        limit, background = self._config.clocks.cpu_seconds, self._config.clocks.background_seconds
        for process in list(self._processes.values()):
            self._charge(process.record.slot)
            seconds = process.evaluation_cpu_seconds()
            # Again and again: what it starts may be in sessions of its own. Who is interrupted has little time.
            computes = bool(background) and seconds > background and not process.interrupted
            self._place(process, in_background=computes)
            if limit and seconds > limit:
                self._perform(self._pool.over_cpu(process.record.slot, self._now()))

    def _place(self, process: KernelProcess, *, in_background: bool) -> None:
        """Let a kernel give way to others, or not any more; it is asked for again until a zygote was there."""
        link = self._links.get(process.record.environment)
        if link is None or not (in_background or process.in_background):
            return
        try:
            link.set_background(process.record.slot, on=in_background)
        except OSError:
            return
        process.in_background = in_background

    def _charge(self, slot: int) -> None:
        """Charge a kernel's processor time to whoever leased it."""
        kernel = self._pool.in_slot(slot)
        process = self._processes.get(slot)
        if process is not None and kernel is not None and kernel.leased_at is not None:
            self._pool.cpu_used(slot, process.new_cpu_seconds(), self._now())
            if self._config.requestlog.enabled:
                process.memory_peak_bytes()

    # -- what web roles ask (T3) --------------------------------------------------------------------------------------

    def lease(self, request: LeaseRequest) -> Deferred[Record | Queued]:
        """Return the record of a kernel for whoever asks, or a place in the line; fails with an `ApplianceError`."""
        if request.kind not in decisions.KINDS:
            raise errors.BadRequest(f"kind must be one of {', '.join(decisions.KINDS)}, found {request.kind!r}")
        answer = self._new_answer(request.token)
        self._perform(self._pool.lease(request, self._now()))
        return answer

    def claim(self, ticket: str, token: object) -> Deferred[Record | Queued]:
        """Return the record of a kernel for who comes back with a ticket, or the place; fails as `lease` does."""
        answer = self._new_answer(token)
        self._perform(self._pool.claim(ticket, token, self._now()))
        return answer

    def leave_line(self, ticket: str) -> None:
        """Forget a ticket."""
        self._pool.leave_line(ticket)

    def _new_answer(self, token: object) -> Deferred[Record | Queued]:
        answer: Deferred[Record | Queued] = Deferred(lambda _: self._pool.abandon(token))
        self._answers[token] = answer
        return answer

    def abandon(self, token: object) -> None:
        """Forget a lease whose asker went away."""
        self._pool.abandon(token)
        self._answers.pop(token, None)

    def record(self, kernel_id: str) -> Record:
        """Return the record of a leased kernel. Raises `errors.UnknownKernel`."""
        return self._processes[self._pool.kernel(kernel_id).slot].record

    def usage(self, kernel_id: str) -> tuple[float, int]:
        """Return processor time and the largest memory of a leased kernel. Raises `errors.UnknownKernel`."""
        process = self._processes[self._pool.kernel(self._successors.get(kernel_id, kernel_id)).slot]
        return process.cpu_seconds(), process.memory_peak_bytes()

    def attach(self, kernel_id: str) -> Deferred[Record]:
        """Return the record of a leased kernel, waiting for one of an earlier pool to be taken over.

        Fails with `errors.UnknownKernel`.
        """
        for orphan in self._orphans.values():
            if orphan.known_as == kernel_id:
                kernel_id = orphan.kernel_id
        kernel_id = self._successors.get(kernel_id, kernel_id)
        if any(record.kernel_id == kernel_id for record in self._orphans.values()):
            answer: Deferred[Record] = Deferred()
            self._awaited.setdefault(kernel_id, []).append(answer)
            return answer
        return maybeDeferred(self.record, kernel_id)

    def _answer_awaited(self, kernel_id: str) -> None:
        for answer in self._awaited.pop(kernel_id, []):
            try:
                answer.callback(self.record(kernel_id))
            except errors.UnknownKernel as exc:
                answer.errback(exc)

    def is_single(self, kernel_id: str) -> bool:
        """Return whether a leased kernel ends with its evaluations. Raises `errors.UnknownKernel`."""
        return self._pool.kernel(kernel_id).single

    def keep(self, kernel_id: str) -> None:
        """Have a leased kernel outlive its evaluations. Raises `errors.UnknownKernel`."""
        kernel = self._pool.kernel(kernel_id)
        kernel.single = False
        try:
            self._directories.mark_leased(kernel_id, kernel.page, kernel.address)
        except OSError as exc:
            log.error("kernel {slot} cannot be marked as kept: {why}", slot=kernel.slot, why=str(exc))

    def directory(self, kernel_id: str) -> str:
        """Return the directory of a kernel's sockets."""
        return str(self._directories.path(kernel_id))

    def release(self, kernel_id: str, reason: str) -> None:
        """End a leased kernel. Raises `errors.UnknownKernel` or `errors.BadRequest`."""
        try:
            why = DeathReason.of(reason)
        except ValueError as exc:
            raise errors.BadRequest(f"there is no reason {reason!r}") from exc
        self._perform(self._pool.release(self._successors.get(kernel_id, kernel_id), why, self._now()))

    def restart(self, kernel_id: str) -> Deferred[Record]:
        """Put a fresh kernel in the place of a leased one and return its record.

        Fails with `errors.UnknownKernel`, and as `lease` does; then the old one stays.
        """
        if kernel_id in self._restarting:
            return fail(errors.BadRequest("This kernel is being restarted already."))
        try:
            old = self._pool.kernel(self._successors.get(kernel_id, kernel_id))
            self._pool.check_cpu(old.address, self._now())
        except errors.ApplianceError:
            return fail()
        # not counted for its visitor before the old one is given up: a restart must not need room in a quota
        request = LeaseRequest(object(), "visitor", old.environment, old.profile, old.idle_limit, "", "", queue=False)

        def leased(record: Record | Queued) -> Record:
            assert isinstance(record, Record)  # noqa: S101 - who does not queue gets no place
            kernel = self._pool.kernel(record.kernel_id)
            kernel.page, kernel.address = old.page, old.address
            self._directories.mark_leased(record.kernel_id, old.page, old.address, kernel_id)
            self._successors[kernel_id] = record.kernel_id
            with contextlib.suppress(errors.UnknownKernel):
                self._perform(self._pool.release(old.kernel_id, DeathReason.STOPPED, self._now()))
            return record

        def done(result: Any) -> Any:
            self._restarting.discard(kernel_id)
            return result

        self._restarting.add(kernel_id)
        return self.lease(request).addCallback(leased).addBoth(done)

    def kernels_document(self, page: str) -> str:
        """Return the kernels leased to a page as JSON text; its fields are those of `ListKernels`."""
        known_as = {successor: kernel_id for kernel_id, successor in self._successors.items()}
        kernels = self._pool.leased_to(page) if page else []
        return json.dumps(
            [
                {
                    "id": known_as.get(kernel.kernel_id, kernel.kernel_id),
                    "environment": kernel.environment,
                    "profile": kernel.profile,
                }
                for kernel in kernels
            ]
        )

    def interrupt(self, kernel_id: str) -> None:
        """Send SIGINT to a leased kernel, as soon as there is a zygote. Raises `errors.UnknownKernel`."""
        kernel_id = self._successors.get(kernel_id, kernel_id)
        kernel = self._pool.kernel(kernel_id)
        process = self._processes[kernel.slot]
        process.interrupted = True
        self._place(process, in_background=False)
        self._interrupts_due.add(kernel.slot)
        self._interrupt_if_due(kernel)

    def _interrupt_if_due(self, kernel: Kernel) -> None:
        """Send an interrupt that has not been sent; the time in which it must be obeyed begins then."""
        if kernel.slot in self._interrupts_due and self._signal(kernel.slot, signal.SIGINT):
            self._interrupts_due.discard(kernel.slot)
            self._pool.interrupted(kernel.kernel_id, self._now())
            self._schedule_tick()

    # -- what the administrator asks (T3) -----------------------------------------------------------------------------

    def drain(self, *, on: bool) -> None:
        """Deal no kernels, or deal again; a restarted pool remembers."""
        mark = self._drain_mark
        if on:
            mark.touch(0o640)
        else:
            mark.unlink(missing_ok=True)
        log.info("draining: no kernel is dealt to visitors" if on else "no longer draining")
        self._perform(self._pool.hold(on=on, now=self._now()))

    def renew(self, only: str = "") -> None:
        """Have zygotes end, so that keepers start others from what is installed now, and replace what is ready.

        ``only``: the environment whose zygote is meant, empty for all.
        """
        for environment, link in list(self._links.items()):
            if only not in ("", environment):
                continue
            log.info("zygote {environment} is started anew", environment=environment)
            try:
                link.retire()
            except OSError as exc:
                log.warn("zygote {environment} cannot be told: {why}", environment=environment, why=str(exc))
            self._perform(self._pool.renew(environment, self._now()))

    def overview(self) -> str:
        """Return every kernel and the last deaths as JSON text."""
        return overview.render(self._pool.kernels, self._deaths, self._now(), self._cpu_seen)

    def _cpu_seen(self, slot: int) -> float:
        process = self._processes.get(slot)
        return process.cpu_seconds() if process is not None else 0.0

    @property
    def _drain_mark(self) -> pathlib.Path:
        return self._config.pool_socket.with_name("draining")

    def status_document(self) -> str:
        """Return counts and layers as JSON text; its fields are those of `appliance.pool_commands.PoolStatus`."""
        count = self._pool.count
        layers = dict.fromkeys(ALWAYS_ON, "on")
        now = self._now()
        for link in self._links.values():
            layers |= {name: f"unavailable: {reason}" if reason else "on" for name, reason in link.layers.items()}
        return json.dumps(
            {
                "limit": self._config.pool.max_kernels,
                "leased": count(State.LEASED),
                "ready": count(State.READY),
                "starting": count(State.STARTING),
                "in_line": self._pool.in_line,
                "draining": self._pool.held,
                "environments": sorted(self._pool.environments),
                "missing": {name: round(now - since, 1) for name, since in self._missing_since.items()},
                "last_failure": self._pool.last_failure,
                "layers": layers,
                "connected": {name: round(now - since, 1) for name, since in self._connected_at.items()},
            }
        )

    # -- what zygotes tell (T4) -----------------------------------------------------------------------------------

    def _zygote_accepted(self, connection: socket.socket) -> None:
        self._greeting.add(ZygoteLink(self._reactor, connection, self))

    def zygote_hello(self, link: ZygoteLink) -> None:
        """Accept a zygote of a configured environment; it replaces an earlier one."""
        self._greeting.discard(link)
        if link.environment not in self._config.environment:
            log.warn("zygote refused: there is no environment {environment!r}", environment=link.environment)
            link.close()
            return
        earlier = self._links.pop(link.environment, None)
        if earlier is not None:
            earlier.close()
            self._without_zygote(link.environment)
        self._links[link.environment] = link
        log.info("zygote {environment} connected", environment=link.environment)

    def zygote_alive(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        """Take over a running kernel: one of ours, one of an earlier pool's, or one that nobody knows, which ends."""
        record = self._orphans.get(slot)
        if self._knows(link, slot):
            os.close(pidfd)
        elif slot not in self._processes and record is not None and record.environment == link.environment:
            del self._orphans[slot]
            process = self._new_process(record)
            process.forked(pidfd)
            if record.leased:
                process.taken_over()
            self._adopt(record)
            process.connect()
            self._answer_awaited(record.kernel_id)
        else:
            self._end_unknown(link, slot, pidfd)

    def _end_unknown(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        """End a kernel that is none of ours; a zygote that does not read starts over, and tells of it again."""
        try:
            link.signal(slot, signal.SIGKILL, pidfd)
        except OSError as exc:
            log.error("zygote {environment} dropped: {why}", environment=link.environment, why=str(exc))
            link.close()
            self.zygote_lost(link)
        finally:
            os.close(pidfd)

    def zygote_ready(self, link: ZygoteLink) -> None:
        """Drop the records of kernels that no longer run, end again what should have ended, start what is missing."""
        for record in [record for record in self._orphans.values() if record.environment == link.environment]:
            del self._orphans[record.slot]
            self._pool.gone(record.slot)
            self._directories.remove(record.kernel_id)
            self._answer_awaited(record.kernel_id)
        for kernel in self._pool.kernels:
            if kernel.environment != link.environment:
                continue
            if kernel.state is State.ENDING:
                self._signal(kernel.slot, signal.SIGKILL)
            else:
                self._interrupt_if_due(kernel)
        self._missing_since.pop(link.environment, None)
        self._connected_at[link.environment] = self._now()
        self._perform(self._pool.zygote_connected(link.environment, self._now()))

    def zygote_forked(self, link: ZygoteLink, slot: int, pidfd: int) -> None:
        """Watch a new kernel; if it was given up meanwhile, end it."""
        if slot == link.last_slot:
            self._pool.zygote_spent(link.environment)
        process = self._processes.get(slot)
        if process is None or process.pidfd >= 0 or not self._knows(link, slot):
            self._end_unknown(link, slot, pidfd)
            return
        process.forked(pidfd)
        kernel = self._pool.in_slot(slot)
        if kernel is not None and kernel.state is State.ENDING:
            self._signal(slot, signal.SIGKILL)

    def zygote_failed(self, link: ZygoteLink, slot: int, why: str) -> None:
        """Note that a kernel could not be forked: there is no process that could end."""
        if not self._knows(link, slot):
            return
        log.error("kernel in slot {slot} could not be forked: {why}", slot=slot, why=why)
        self.metrics.failed(slot)
        now = self._now()
        self._perform([*self._pool.start_failed(slot, why, now), *self._pool.died(slot, DeathReason.CRASHED, why, now)])

    def zygote_exited(self, link: ZygoteLink, slot: int, status: int, *, oom: bool) -> None:
        """Note how a kernel ended."""
        if not self._knows(link, slot):
            return
        reason, detail = explain(status, oom=oom, init=self._has_init(link.environment))
        self._perform(self._pool.died(slot, reason, detail, self._now()))

    def zygote_lost(self, link: ZygoteLink) -> None:
        """Go on without the zygote until its keeper has started another."""
        self._greeting.discard(link)
        if self._links.get(link.environment) is link:
            del self._links[link.environment]
            if link.retired:
                log.info("zygote {environment} ended as it was told", environment=link.environment)
            else:
                log.warn("zygote {environment} went away", environment=link.environment)
            self._without_zygote(link.environment)

    def _without_zygote(self, environment: str) -> None:
        now = self._now()
        self._missing_since[environment] = now
        self._connected_at.pop(environment, None)
        self._perform(self._pool.zygote_lost(environment))
        # what was given up before it was forked has no process whose end would be noticed
        for process in list(self._processes.values()):
            if process.record.environment == environment and process.pidfd < 0:
                self._perform(self._pool.died(process.record.slot, DeathReason.CRASHED, "its zygote ended", now))

    # -- what kernels tell ------------------------------------------------------------------------------------------

    def kernel_verified(self, slot: int) -> None:
        """Note that a kernel can be dealt."""
        self.metrics.verified(slot, self._now())
        self._perform(self._pool.verified(slot, self._now()))
        self._settled(slot)

    def kernel_failed(self, slot: int, why: str) -> None:
        """Note that a kernel's set-up failed."""
        log.error("kernel in slot {slot} could not be set up: {why}", slot=slot, why=why)
        self.metrics.failed(slot)
        self._perform(self._pool.start_failed(slot, why, self._now()))

    def kernel_status(self, slot: int, *, busy: bool) -> None:
        """Feed the clocks."""
        process = self._processes[slot]
        process.evaluation(running=busy)
        if not busy:
            # what was to be interrupted is over; a late signal would hit what comes next
            self._interrupts_due.discard(slot)
        self._place(process, in_background=False)
        now = self._now()
        self._pool.status(slot, busy=busy, now=now)
        # Twice for each evaluation: only make sure that a tick comes in time, which looks at everything.
        self._tick_by(now + (self._config.clocks.busy_seconds if busy else self._pool.idle_limit(slot)))

    def kernel_unresponsive(self, slot: int) -> None:
        """End a kernel that no longer answers."""
        self._perform(self._pool.unresponsive(slot, self._now()))

    def kernel_gone(self, slot: int) -> None:
        """Note that a kernel ended, nobody knows how."""
        self._perform(self._pool.died(slot, DeathReason.CRASHED, "", self._now()))

    # -- what is decided ----------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return float(self._reactor.seconds())

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Start():
                    self._start(effect)
                case Grant():
                    self._grant(effect)
                case Refuse():
                    self._refuse(effect)
                case Queued():
                    answer = self._answers.pop(effect.token, None)
                    if answer is not None:
                        answer.callback(effect)
                case End():
                    self._charge(effect.slot)
                    self._processes[effect.slot].ending = True
                    self._signal(effect.slot, signal.SIGKILL)
                case Died():
                    self._forget(effect)
        self._schedule_tick()

    def _start(self, effect: Start) -> None:
        record = Record(effect.kernel_id, effect.slot, effect.environment, effect.profile, _new_key())
        process = self._new_process(record)
        self.metrics.started(effect.slot, effect.environment, self._now())
        descriptors: list[socket.socket] = []
        try:
            descriptors = self._directories.create(record)
            # before the listener for files: a launcher from before an upgrade knows of no such, and drops it
            descriptors.insert(-1, process.expect())
            profile = self._config.profile[effect.profile]
            egress = effect.profile if profile.egress else ""
            data = effect.profile if profile.data else ""
            link = self._links[effect.environment]
            link.fork(effect.slot, profile.limits, egress, data, [fd.fileno() for fd in descriptors])
        except OSError as exc:
            self._reactor.callLater(0, self._start_impossible, effect.slot, str(exc))
        finally:
            for descriptor in descriptors:
                descriptor.close()

    def _start_impossible(self, slot: int, why: str) -> None:
        log.error("kernel in slot {slot} could not be started: {why}", slot=slot, why=why)
        self.metrics.failed(slot)
        now = self._now()
        self._perform([*self._pool.start_failed(slot, why, now), *self._pool.died(slot, DeathReason.CRASHED, why, now)])

    def _grant(self, effect: Grant) -> None:
        answer = self._answers.pop(effect.token, None)
        if answer is None:
            self._perform(self._pool.release(effect.kernel_id, DeathReason.CLIENT_GONE, self._now()))
            return
        record = self.record(effect.kernel_id)
        kernel = self._pool.kernel(effect.kernel_id)
        try:
            self._directories.mark_leased(effect.kernel_id, kernel.page, kernel.address, single=kernel.single)
        except OSError as exc:
            log.error("kernel {slot} cannot be marked as leased: {why}", slot=record.slot, why=str(exc))
            self._perform(self._pool.release(effect.kernel_id, DeathReason.CRASHED, self._now()))
            answer.errback(errors.PoolUnavailable())
            return
        self.metrics.dealt()
        answer.callback(record)

    def _refuse(self, effect: Refuse) -> None:
        answer = self._answers.pop(effect.token, None)
        if answer is not None:
            log.debug("lease refused: {code}", code=effect.error.code)
            self.metrics.refused(effect.error.code)
            answer.errback(effect.error)

    def _forget(self, effect: Died) -> None:
        self._interrupts_due.discard(effect.slot)
        self._settled(effect.slot)
        self.metrics.ended(effect.slot, effect.reason.value, leased=effect.leased)
        process = self._processes.pop(effect.slot, None)
        used = (0.0, 0)
        if process is not None:
            if effect.leased:
                used = process.cpu_seconds(), process.memory_peak_bytes()
            process.close()
        self._directories.remove(effect.kernel_id)
        self._successors = {old: new for old, new in self._successors.items() if new != effect.kernel_id}
        if effect.leased:
            log.info(
                "kernel {kernel} in slot {slot} ended: {reason} {detail}",
                kernel=kernel_name(effect.kernel_id),
                slot=effect.slot,
                reason=effect.reason.value,
                detail=effect.detail,
            )
            self._deaths.note(
                overview.Death(
                    self._now(),
                    effect.slot,
                    process.record.environment if process is not None else "",
                    effect.reason.value,
                    effect.detail,
                )
            )
            self._leases.announce(effect.kernel_id, effect.reason.value, effect.detail, used)

    def _settled(self, slot: int) -> None:
        for link in list(self._links.values()):
            link.settled(slot)

    def _signal(self, slot: int, number: signal.Signals) -> bool:
        """Have a zygote signal a kernel; return False when none can now (a new one is told when it connects)."""
        process = self._processes.get(slot)
        link = self._links.get(process.record.environment) if process is not None else None
        if process is None or link is None or process.pidfd < 0:
            return False
        try:
            link.signal(slot, number, process.pidfd)
        except OSError as exc:
            log.error("kernel in slot {slot} cannot be signalled: {why}", slot=slot, why=str(exc))
            return False
        return True

    def _has_init(self, environment: str) -> bool:
        """Return whether kernels of an environment are programs of their own below an init."""
        settings = self._config.environment.get(environment)
        return settings is not None and bool(settings.kernelspec)

    def _knows(self, link: ZygoteLink, slot: int) -> bool:
        """Return whether the kernel in ``slot`` is of the zygote's environment: it speaks of no other."""
        process = self._processes.get(slot)
        return process is not None and process.record.environment == link.environment

    def _new_process(self, record: Record) -> KernelProcess:
        process = KernelProcess(
            self._reactor,
            self._sockets,
            self.directory(record.kernel_id),
            record,
            self,
            beats_while_busy=not self._has_init(record.environment),
        )
        self._processes[record.slot] = process
        return process

    def _adopt(self, record: Record) -> None:
        kernel = self._kernel_of(record)
        if record.known_as:
            self._successors[record.known_as] = record.kernel_id
        self._pool.adopt(kernel)
        log.info("kernel in slot {slot} taken over, {state}", slot=record.slot, state=kernel.state.name.lower())

    def _kernel_of(self, record: Record) -> Kernel:
        """Return the kernel of an earlier pool, whose clocks begin anew."""
        now = self._now()
        state = State.LEASED if record.leased else State.READY
        kernel = Kernel(record.slot, record.kernel_id, record.environment, record.profile, state, now, idle_since=now)
        kernel.idle_limit = self._config.clocks.idle_seconds
        kernel.leased_at = now if record.leased else None
        kernel.page, kernel.address, kernel.single = record.page, record.address, record.single
        return kernel

    def _schedule_tick(self) -> None:
        due = self._pool.next_event_at(self._now())
        if due is not None:
            self._tick_by(due)

    def _tick_by(self, due: float) -> None:
        """Have `_tick` called at ``due`` at the latest."""
        delay = max(0.0, due - self._now())
        call = self._tick_call
        if call is not None and call.active():
            if call.getTime() <= due:
                return
            call.cancel()
        self._tick_call = self._reactor.callLater(delay, self._tick)

    def _tick(self) -> None:
        self._perform(self._pool.tick(self._now()))


def make_service(config: Config, reactor: Any) -> PoolService:
    """Return the pool role."""
    return PoolService(config, reactor)
