"""The web role's link to the pool: AMP over a Unix socket, made again whenever it breaks (trust line T3)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
from twisted.application.internet import ClientService
from twisted.internet.defer import CancelledError, Deferred, TimeoutError  # noqa: A004 - Twisted's own TimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols import amp

from appliance.config import Config, uid_of
from appliance.errors import ApplianceError, PoolUnavailable, QuotaExceeded
from appliance.log import kernel_name
from appliance.peercred import ROOT_UID, CheckedEndpoint
from appliance.pool_commands import (
    Attach,
    Claim,
    Interrupt,
    Keep,
    KernelDied,
    Lease,
    LeaveQueue,
    LetGo,
    ListKernels,
    Locate,
    PoolMetrics,
    PoolStatus,
    Release,
    Restart,
    Usage,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = Logger()

#: Longest wait for the link itself: the pool is back within two seconds of a crash.
CONNECT_SECONDS = 2.0

#: Longest wait for an answer of the pool, beyond what it may wait itself.
ANSWER_SECONDS = 5.0

#: Times that a question is asked when the link breaks under it: a pool that was restarted answers the next one.
MAX_ATTEMPTS = 3

#: Pauses before the link is tried again.
FIRST_RETRY_SECONDS = 0.05
LAST_RETRY_SECONDS = 1.0


@attrs.frozen
class KernelAddress:
    """Where a kernel is and how to talk to it."""

    kernel_id: str
    key: bytes = attrs.field(repr=False)
    directory: str
    environment: str = ""
    #: Whether it ends with its evaluations.
    single: bool = False


@attrs.frozen
class Used:
    """What a kernel has used: processor time, and the largest memory it had; 0 is unknown."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0


UNKNOWN_USE = Used()


@attrs.frozen
class Visitor:
    """Who asks for a kernel, as far as quotas go (`appliance.protocol.quota`); empty: not counted."""

    page: str = ""
    address: str = ""
    #: The page that embeds the cell, for the request log alone.
    site: str = attrs.field(default="", eq=False)


NOBODY = Visitor()


@attrs.frozen
class WantedKernel:
    """What kernel is asked for, by name; empty: the default."""

    environment: str = ""
    profile: str = ""


ANY_KERNEL = WantedKernel()


@attrs.frozen
class Place:
    """A place in the line of those who wait for a kernel: ``before`` are before it; ask again in ``poll_seconds``."""

    ticket: str
    before: int
    poll_seconds: float


def retry_seconds(failed_attempts: int) -> float:
    """Return the pause before the link is tried again."""
    return float(min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** min(failed_attempts, 10)))


def _address(answer: dict[str, Any]) -> KernelAddress:
    """Return the address in an answer of the pool; one of an earlier version does not say whether it is single."""
    return KernelAddress(
        answer["kernel_id"], answer["key"], answer["directory"], answer["environment"] or "", bool(answer["single"])
    )


class PoolProtocol(amp.AMP):
    """One connection to the pool."""

    factory: PoolFactory

    @KernelDied.responder
    def kernel_died(
        self,
        kernel_id: str,
        reason: str,
        detail: str,
        cpu_seconds: float | None = None,
        memory_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Take the pool's word that a kernel has ended."""
        self.factory.on_died(kernel_id, reason, detail, Used(cpu_seconds or 0.0, memory_bytes or 0))
        return {}

    @LetGo.responder
    def let_go(self, kernel_id: str) -> dict[str, Any]:
        """Leave a kernel to another web role, unless it is used here."""
        return {"left": self.factory.on_wanted_elsewhere(kernel_id)}

    def connectionLost(self, reason: Any = connectionDone) -> None:  # noqa: N802 - Twisted
        """Log the end of the link."""
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        log.info("link to the pool lost: {reason}", reason=reason.getErrorMessage())


class PoolFactory(Factory):
    """Makes connections to the pool."""

    protocol = PoolProtocol  # type: ignore[assignment]
    noisy = False

    def __init__(
        self, on_died: Callable[[str, str, str, Used], None], on_wanted_elsewhere: Callable[[str], bool]
    ) -> None:
        self.on_died = on_died
        self.on_wanted_elsewhere = on_wanted_elsewhere


class PoolClient(ClientService):
    """The pool, as the web role sees it.

    ``on_died(kernel_id, reason, detail, used)`` is called when a kernel ends; ``on_wanted_elsewhere(kernel_id)`` when
    another web role was asked for one, and returns whether it is left to that; ``on_connected()`` whenever the link
    was made: a restarted pool knows nothing of who used which kernel.
    """

    def __init__(
        self,
        config: Config,
        reactor: Any,
        on_died: Callable[[str, str, str, Used], None],
        on_wanted_elsewhere: Callable[[str], bool],
        on_connected: Callable[[], None],
    ) -> None:
        path = str(config.pool_socket)
        endpoint = UNIXClientEndpoint(reactor, path, timeout=CONNECT_SECONDS)  # type: ignore[no-untyped-call]
        uids = frozenset({ROOT_UID, uid_of(config.users.pool)})
        super().__init__(
            CheckedEndpoint(endpoint, uids),
            PoolFactory(on_died, on_wanted_elsewhere),
            retryPolicy=retry_seconds,
            clock=reactor,
            prepareConnection=lambda protocol: self._prepare(protocol),
        )
        self._clock = reactor
        self._on_connected = on_connected
        self._lease_seconds = config.pool.lease_wait_seconds + ANSWER_SECONDS
        self._protocol: Any = None

    @property
    def connected(self) -> bool:
        """Whether there is a link now."""
        transport = self._protocol.transport if self._protocol is not None else None
        return transport is not None and bool(transport.connected)

    def _prepare(self, protocol: Any) -> None:
        self._protocol = protocol
        log.info("link to the pool made")
        # not inside the state machine of ClientService, which is about to say that it is connected
        self._clock.callLater(0, self._on_connected)

    async def lease(
        self,
        kind: str,
        environment: str,
        profile: str,
        idle_seconds: float,
        visitor: Visitor = NOBODY,
        *,
        single: bool = False,
    ) -> KernelAddress:
        """Take a kernel; ``single``: it is to end with its evaluations.

        Raises `QuotaExceeded`, `PoolExhausted`, `EnvironmentUnavailable` or `PoolUnavailable`. A kernel that comes
        after that is given back.
        """
        address = await self.lease_or_queue(
            kind, environment, profile, idle_seconds, visitor, single=single, queue=False
        )
        assert isinstance(address, KernelAddress)  # noqa: S101 - who does not queue gets no place
        return address

    async def lease_or_queue(
        self,
        kind: str,
        environment: str,
        profile: str,
        idle_seconds: float,
        visitor: Visitor,
        *,
        single: bool = False,
        queue: bool = True,
    ) -> KernelAddress | Place:
        """Take a kernel, or a place in the line when all are taken; raises what `lease` does."""
        answer = await self._ask(
            self._lease_seconds,
            self._give_back,
            Lease,
            kind=kind,
            environment=environment,
            profile=profile,
            idle_seconds=idle_seconds,
            page=visitor.page,
            address=visitor.address,
            queue=queue,
            single=single,
        )
        return self._kernel_or_place(answer)

    async def claim(self, ticket: str) -> KernelAddress | Place:
        """Come back with a ticket; raises `UnknownTicket` and what `lease` does."""
        return self._kernel_or_place(await self._ask(self._lease_seconds, self._give_back, Claim, ticket=ticket))

    async def leave_queue(self, ticket: str) -> None:
        """Give a ticket back; raises `PoolUnavailable`."""
        await self._ask(ANSWER_SECONDS, None, LeaveQueue, ticket=ticket)

    @staticmethod
    def _kernel_or_place(answer: dict[str, Any]) -> KernelAddress | Place:
        if answer["refusal"] is not None:
            raise QuotaExceeded(answer["refusal"], retry_after_seconds=answer["retry_after"])
        if answer["ticket"] is not None:
            return Place(answer["ticket"], answer["place"], answer["poll_seconds"])
        return _address(answer)

    def _give_back(self, answer: dict[str, Any]) -> None:
        if answer["kernel_id"] is None:
            return
        log.warn("kernel {kernel} came too late", kernel=kernel_name(answer["kernel_id"]))
        releasing = Deferred.fromCoroutine(self.release(answer["kernel_id"], "released"))
        releasing.addErrback(lambda failure: log.failure("kernel could not be given back", failure=failure))

    async def attach(self, kernel_id: str) -> KernelAddress:
        """Return the address of a leased kernel; raises `UnknownKernel` or `PoolUnavailable`."""
        return _address(await self._ask(ANSWER_SECONDS, None, Attach, kernel_id=kernel_id))

    async def locate(self, kernel_id: str) -> KernelAddress:
        """Return the same without becoming a user of the kernel; raises `UnknownKernel` or `PoolUnavailable`."""
        return _address(await self._ask(ANSWER_SECONDS, None, Locate, kernel_id=kernel_id))

    async def keep(self, kernel_id: str) -> None:
        """Have a kernel outlive its evaluations; raises `UnknownKernel` or `PoolUnavailable`."""
        await self._ask(ANSWER_SECONDS, None, Keep, kernel_id=kernel_id)

    async def restart(self, kernel_id: str) -> KernelAddress:
        """Put a fresh kernel in the place of one; raises `UnknownKernel` and what `lease` does."""
        answer = await self._ask(self._lease_seconds, None, Restart, kernel_id=kernel_id)
        address = self._kernel_or_place(answer)
        assert isinstance(address, KernelAddress)  # noqa: S101 - who does not queue gets no place
        return address

    async def list_kernels(self, page: str) -> list[dict[str, str]]:
        """Return ``id``, ``environment`` and ``profile`` of the kernels leased to a page; raises `PoolUnavailable`."""
        answer = await self._ask(ANSWER_SECONDS, None, ListKernels, page=page)
        kernels: list[dict[str, str]] = json.loads(answer["kernels"])
        return kernels

    async def release(self, kernel_id: str, reason: str) -> None:
        """End a kernel; raises `UnknownKernel` or `PoolUnavailable`."""
        await self._ask(ANSWER_SECONDS, None, Release, kernel_id=kernel_id, reason=reason)

    async def interrupt(self, kernel_id: str) -> None:
        """Interrupt a kernel; raises `UnknownKernel` or `PoolUnavailable`."""
        await self._ask(ANSWER_SECONDS, None, Interrupt, kernel_id=kernel_id)

    async def usage(self, kernel_id: str) -> Used:
        """Return what a kernel has used so far; raises `UnknownKernel` or `PoolUnavailable`."""
        return Used(**await self._ask(ANSWER_SECONDS, None, Usage, kernel_id=kernel_id))

    async def pool_status(self) -> dict[str, Any]:
        """Return counts and layers; raises `PoolUnavailable`."""
        answer = await self._ask(ANSWER_SECONDS, None, PoolStatus)
        status: dict[str, Any] = json.loads(answer["status"])
        return status

    async def metrics(self) -> str:
        """Return the pool's metrics as text; raises `PoolUnavailable`."""
        return str((await self._ask(ANSWER_SECONDS, None, PoolMetrics))["text"])

    async def _ask(
        self,
        seconds: float,
        on_late_answer: Callable[[dict[str, Any]], None] | None,
        command: type[amp.Command],
        **arguments: Any,
    ) -> dict[str, Any]:
        """Ask, again if the link breaks meanwhile: a pool that ends without an answer has done nothing."""
        for attempt in range(1, MAX_ATTEMPTS + 1):
            protocol = await self._link()
            try:
                return await self._answer(protocol.callRemote(command, **arguments), seconds, on_late_answer)
            except ApplianceError:
                raise
            except (ConnectionDone, ConnectionLost) as exc:
                if attempt == MAX_ATTEMPTS or not self.running:
                    raise PoolUnavailable from exc
                # the service of which this is a method hears of the loss only after its protocol
                await deferLater(self._clock, 0)
            except Exception as exc:
                log.warn("pool did not answer {command}: {exc!r}", command=command.__name__, exc=exc)
                raise PoolUnavailable from exc
        raise AssertionError("unreachable")

    async def _link(self) -> Any:
        """Return the link; raises `PoolUnavailable` when there is none in time, or the service has stopped."""
        if self.connected:
            return self._protocol
        if not self.running:
            raise PoolUnavailable
        try:
            return await self.whenConnected().addTimeout(CONNECT_SECONDS, self._clock)
        except (TimeoutError, CancelledError) as exc:
            raise PoolUnavailable from exc

    def _answer(
        self,
        asking: Deferred[dict[str, Any]],
        seconds: float,
        on_late_answer: Callable[[dict[str, Any]], None] | None,
    ) -> Deferred[dict[str, Any]]:
        """Return the answer or a timeout; an AMP call cannot be taken back, so its late answer is dealt with."""
        waiting: Deferred[dict[str, Any]] = Deferred()
        timeout = self._clock.callLater(seconds, lambda: waiting.errback(TimeoutError(f"no answer in {seconds} s")))

        def arrived(result: Any, *, failed: bool) -> None:
            if timeout.active():
                timeout.cancel()
                (waiting.errback if failed else waiting.callback)(result)
            elif not failed and on_late_answer is not None:
                on_late_answer(result)

        asking.addCallbacks(lambda result: arrived(result, failed=False), lambda failure: arrived(failure, failed=True))
        return waiting
