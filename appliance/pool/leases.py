"""The pool's side of T3: one AMP connection for each web role; the commands are in `appliance.pool_commands`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols import amp

from appliance import errors
from appliance.peercred import ROOT_UID, peer_uid
from appliance.pool_commands import (
    Attach,
    Claim,
    Drain,
    Interrupt,
    Keep,
    KernelDied,
    Lease,
    LeaveQueue,
    LetGo,
    ListKernels,
    Locate,
    Overview,
    PoolMetrics,
    PoolStatus,
    Release,
    Renew,
    Restart,
    Usage,
)
from appliance.protocol.death import DeathReason
from appliance.protocol.kernel_life import LeaseRequest
from appliance.protocol.pool_effects import Queued

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from appliance.pool.records import Record
    from appliance.pool.service import PoolService

log = Logger()

#: Longest kernel id, kind, name or reason in a command.
MAX_TEXT_CHARACTERS = 128


class LeaseConnection(amp.AMP):
    """One web role."""

    def __init__(self, pool: PoolService) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._pool = pool
        self._waiting: set[object] = set()
        self._held: set[str] = set()

    def holds(self, kernel_id: str) -> bool:
        """Return whether this web role uses a kernel."""
        return kernel_id in self._held

    def forget(self, kernel_id: str) -> None:
        """Note that a kernel has ended."""
        self._held.discard(kernel_id)

    def connectionMade(self) -> None:  # noqa: N802 - Twisted
        """Join the connections that deaths are announced to."""
        super().connectionMade()  # type: ignore[no-untyped-call]
        self.factory.connections.add(self)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]  # noqa: N802 - Twisted
        """Forget what this web role waited for; what it leased lives on for its successor."""
        self.factory.connections.discard(self)
        for token in self._waiting:
            self._pool.abandon(token)
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    @Lease.responder
    def lease(
        self,
        kind: str,
        environment: str,
        profile: str,
        idle_seconds: float,
        page: str,
        address: str,
        queue: bool,
        single: bool | None = None,
    ) -> Deferred[dict[str, Any]]:
        """Answer `Lease`."""
        token = object()
        request = LeaseRequest(
            token,
            _short(kind),
            _short(environment),
            _short(profile),
            idle_seconds,
            _short(page),
            _short(address),
            queue,
            bool(single),
        )
        return self._answer(token, self._pool.lease(request))

    @Claim.responder
    def claim(self, ticket: str) -> Deferred[dict[str, Any]]:
        """Answer `Claim`."""
        token = object()
        return self._answer(token, self._pool.claim(_short(ticket), token))

    @LeaveQueue.responder
    def leave_queue(self, ticket: str) -> dict[str, Any]:
        """Answer `LeaveQueue`."""
        self._pool.leave_line(_short(ticket))
        return {}

    def _answer(self, token: object, answer: Deferred[Record | Queued]) -> Deferred[dict[str, Any]]:
        self._waiting.add(token)

        def done(result: Any) -> Any:
            self._waiting.discard(token)
            return result

        return answer.addBoth(done).addCallbacks(self._describe_answer, _quota_refusal)

    @Attach.responder
    def attach(self, kernel_id: str) -> Deferred[dict[str, Any]]:
        """Answer `Attach`: this web role has a client now, others that have none let go."""

        def attached(record: Record) -> dict[str, Any]:
            self.factory.ask_others(record.kernel_id, self)
            return self._describe(record)

        return self._pool.attach(_short(kernel_id)).addCallback(attached)

    @Locate.responder
    def locate(self, kernel_id: str) -> Deferred[dict[str, Any]]:
        """Answer `Locate`."""
        return self._pool.attach(_short(kernel_id)).addCallback(self._description)

    @Keep.responder
    def keep(self, kernel_id: str) -> dict[str, Any]:
        """Answer `Keep`."""
        self._pool.keep(_short(kernel_id))
        return {}

    @Restart.responder
    def restart(self, kernel_id: str) -> Deferred[dict[str, Any]]:
        """Answer `Restart`."""
        return self._pool.restart(_short(kernel_id)).addCallbacks(self._describe, _quota_refusal)

    @ListKernels.responder
    def list_kernels(self, page: str) -> dict[str, Any]:
        """Answer `ListKernels`."""
        return {"kernels": self._pool.kernels_document(_short(page))}

    @Release.responder
    def release(self, kernel_id: str, reason: str) -> dict[str, Any]:
        """Answer `Release`: a web role that only lost its client lets go, and the last one ends the kernel."""
        self._held.discard(kernel_id)
        if reason == DeathReason.CLIENT_GONE.value and self.factory.is_held(kernel_id):
            return {}
        self._pool.release(_short(kernel_id), _short(reason))
        return {}

    @Interrupt.responder
    def interrupt(self, kernel_id: str) -> dict[str, Any]:
        """Answer `Interrupt`."""
        self._pool.interrupt(_short(kernel_id))
        return {}

    @PoolStatus.responder
    def pool_status(self) -> dict[str, Any]:
        """Answer `PoolStatus`."""
        return {"status": self._pool.status_document()}

    @PoolMetrics.responder
    def pool_metrics(self) -> dict[str, Any]:
        """Answer `PoolMetrics`."""
        return {"text": self._pool.metrics.registry.render()}

    @Usage.responder
    def usage(self, kernel_id: str) -> dict[str, Any]:
        """Answer `Usage`."""
        cpu_seconds, memory_bytes = self._pool.usage(_short(kernel_id))
        return {"cpu_seconds": cpu_seconds, "memory_bytes": memory_bytes}

    @Drain.responder
    def drain(self, on: bool) -> dict[str, Any]:
        """Answer `Drain`."""
        self._require_administrator()
        self._pool.drain(on=on)
        return {}

    @Renew.responder
    def renew(self, environment: str | None = None) -> dict[str, Any]:
        """Answer `Renew`."""
        self._require_administrator()
        self._pool.renew(_short(environment or ""))
        return {}

    @Overview.responder
    def overview(self) -> dict[str, Any]:
        """Answer `Overview`."""
        self._require_administrator()
        return {"overview": self._pool.overview()}

    def _require_administrator(self) -> None:
        """Raise `errors.BadRequest` unless root, or whoever runs the pool, is at the other end."""
        if peer_uid(self.transport) not in (ROOT_UID, os.getuid()):
            raise errors.BadRequest("only the administrator may ask that")

    def _describe_answer(self, answer: Record | Queued) -> dict[str, Any]:
        if isinstance(answer, Queued):
            return {"ticket": answer.ticket, "place": answer.before, "poll_seconds": answer.poll_seconds}
        return self._describe(answer)

    def _describe(self, record: Record) -> dict[str, Any]:
        self._held.add(record.kernel_id)
        return self._description(record)

    def _description(self, record: Record) -> dict[str, Any]:
        return {
            "kernel_id": record.kernel_id,
            "key": record.key,
            "directory": self._pool.directory(record.kernel_id),
            "environment": record.environment,
            "single": self._pool.is_single(record.kernel_id),
        }


class LeaseFactory(Factory):
    """Every connected web role."""

    noisy = False

    def __init__(self, pool: PoolService) -> None:
        self._pool = pool
        self.connections: set[LeaseConnection] = set()

    def buildProtocol(self, addr: object) -> LeaseConnection:  # noqa: N802 - Twisted
        """Return a new connection's protocol."""
        connection = LeaseConnection(self._pool)
        connection.factory = self
        return connection

    def is_held(self, kernel_id: str) -> bool:
        """Return whether any web role uses a kernel."""
        return any(connection.holds(kernel_id) for connection in self.connections)

    def ask_others(self, kernel_id: str, user: LeaseConnection) -> None:
        """Have web roles let go of a kernel that ``user`` has now, unless they have clients of it.

        One that was only leased there would be held until the patience of that role ends, for a client that is here.
        """
        for connection in [one for one in self.connections if one is not user and one.holds(kernel_id)]:
            asking = connection.callRemote(LetGo, kernel_id=kernel_id)  # type: ignore[no-untyped-call]
            asking.addCallbacks(
                lambda answer, asked=connection: asked.forget(kernel_id) if answer["left"] else None,
                lambda failure: log.debug("a web role was not asked to let go: {why}", why=str(failure)),
            )

    def announce(self, kernel_id: str, reason: str, detail: str, used: tuple[float, int]) -> None:
        """Tell the web roles that use a kernel that it ended, and what it had used: seconds, bytes."""
        for connection in [connection for connection in self.connections if connection.holds(kernel_id)]:
            connection.forget(kernel_id)
            calling = connection.callRemote(  # type: ignore[no-untyped-call]
                KernelDied,
                kernel_id=kernel_id,
                reason=reason,
                detail=detail[:1000],
                cpu_seconds=used[0],
                memory_bytes=used[1],
            )
            calling.addErrback(lambda failure: log.debug("a web role did not take the news: {why}", why=str(failure)))

    def disconnect(self) -> None:
        """Close every connection."""
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.loseConnection()


def _quota_refusal(failure: Failure) -> dict[str, Any]:
    """Return the answer to who has used up a quota; raise any other error."""
    failure.trap(errors.QuotaExceeded)  # type: ignore[no-untyped-call]
    error: Any = failure.value
    return {"refusal": error.message, "retry_after": float(error.retry_after_seconds)}


def _short(text: str) -> str:
    if len(text) > MAX_TEXT_CHARACTERS:
        raise errors.BadRequest("a name in the command is too long")
    return text
