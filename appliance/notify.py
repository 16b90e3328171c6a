"""The service manager's side of a role: readiness, watchdog, status and inherited sockets (sd_notify(3)).

Without a service manager all of it does nothing, so that a role is the same under systemd and under ``cellctl serve``.
"""

from __future__ import annotations

import functools
import math
import os
from typing import TYPE_CHECKING, Any, Protocol

from systemd import daemon
from twisted.application.service import MultiService
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from twisted.python.failure import Failure

log = Logger()

#: Seconds between two looks at the role: how late READY=1 and a changed STATUS= may be.
LOOK_SECONDS = 0.1

#: A reactor that is later than this does not serve anybody: the watchdog's beat is withheld.
MAX_LAG_SECONDS = 2.0

#: Pieces of work that a role is asked to do in the time between two beats: one may fail without a beat being missed.
PROOFS_PER_BEAT = 3

#: Longest text of STATUS=; systemctl shows one line.
MAX_STATUS_CHARACTERS = 200


class Role(Protocol):
    """A role as the entry point sees it: an `IService` that knows how it is."""

    name: str | None
    running: bool

    def privilegedStartService(self) -> Any:  # noqa: N802 - IService
        """Prepare before privileges are dropped."""

    def startService(self) -> Any:  # noqa: N802 - IService
        """Start; raise `ApplianceError` or an error of Twisted's when that is impossible."""

    def stopService(self) -> Deferred[Any] | None:  # noqa: N802 - IService
        """Stop; the Deferred fires when everything has ended."""

    def setServiceParent(self, parent: Any) -> Any:  # noqa: N802 - IService
        """Become a child of ``parent``."""

    def healthy(self) -> bool:
        """Return whether the role does its work now. The first true answer is reported as READY=1."""

    def status(self) -> str:
        """Return one line for ``systemctl status``."""

    async def prove(self) -> None:
        """Do a piece of the real work; raise when it did not go through. What restarting cannot cure is no failure."""


@functools.cache
def _inherited() -> Mapping[int, str]:
    fds: dict[int, str] = daemon.listen_fds_with_names(unset_environment=True)
    return fds


def keep_inherited_sockets() -> None:
    """Note what systemd passed. Must come first: `twisted.internet.endpoints` takes it out of the environment."""
    _inherited()


def inherited_socket(name: str) -> int | None:
    """Return the listening descriptor that systemd passed under ``FileDescriptorName=name``, or None."""
    return next((fd for fd, given in _inherited().items() if given == name), None)


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the time after which the service manager takes this process for dead, or None (sd_watchdog_enabled(3))."""
    try:
        if int(environ.get("WATCHDOG_PID", pid)) != pid:
            return None
        microseconds = int(environ["WATCHDOG_USEC"])
    except (KeyError, ValueError):
        return None
    return microseconds / 1e6 if microseconds > 0 else None


class NotifyingService(MultiService):
    """Holds a role and reports it: READY=1 once it is up, WATCHDOG=1 while it does its work, STATUS=, STOPPING=1.

    A beat needs three things: the role calls itself healthy, the reactor is on time, and since the last beat a piece of
    real work went through (`Role.prove`).
    """

    def __init__(
        self,
        role: Role,
        reactor: Any,
        notify: Callable[[str], object] = daemon.notify,
        watchdog: float | None = None,
        stop_seconds: float = 0.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._role = role
        self._clock = reactor
        self._notify = notify
        self._look = LoopingCall(self._report)
        self._look.clock = reactor
        self._beat_interval = watchdog / 2 if watchdog else None
        self._stop_seconds = stop_seconds
        self._ready = False
        self._withheld = False
        self._unable = False
        self._status = ""
        self._expected = 0.0
        self._last_beat = 0.0
        self._proof: Deferred[None] | None = None
        self._next_proof = 0.0
        self._proved_at = -math.inf
        self._unproved = ""
        role.setServiceParent(self)

    def startService(self) -> None:  # noqa: N802 - IService
        """Start the role, then look at it every `LOOK_SECONDS`."""
        super().startService()  # type: ignore[no-untyped-call]
        self._expected = self._clock.seconds()
        self._last_beat = self._clock.seconds()
        self._look.start(LOOK_SECONDS).addErrback(
            lambda failure: log.failure("the role is no longer looked at", failure=failure)
        )

    def stopService(self) -> Deferred[Any]:  # noqa: N802 - IService
        """Tell the service manager and stop the role."""
        if self._look.running:
            self._look.stop()
        if self._proof is not None:
            self._proof.cancel()
        # The role's own limit holds, whatever TimeoutStopSec= says (sd_notify(3)).
        self._notify(f"STOPPING=1\nSTATUS=stopping\nEXTEND_TIMEOUT_USEC={int((self._stop_seconds + 1) * 1e6)}")
        stopped: Deferred[Any] = super().stopService()  # type: ignore[no-untyped-call]
        return stopped

    def _report(self) -> None:
        now = self._clock.seconds()
        lag, self._expected = now - self._expected, now + LOOK_SECONDS
        healthy, status = self._ask()
        lines = []
        if healthy and not self._ready:
            self._ready = True
            self._last_beat = now
            lines.append("READY=1")
            log.info("ready")
        if status != self._status:
            self._status = status
            lines.append(f"STATUS={status}")
        if self._beat_interval is not None and self._ready:
            if self._proof is None and now >= self._next_proof:
                self._start_proof(now, self._beat_interval)
            if now - self._last_beat >= self._beat_interval - LOOK_SECONDS:
                lines += self._beat(now, lag, healthy=healthy)
        if lines:
            self._notify("\n".join(lines))

    def _ask(self) -> tuple[bool, str]:
        """Return whether the role is well and its status; a role that cannot tell is not well."""
        try:
            healthy, status = self._role.healthy(), self._role.status()
        except Exception:  # noqa: BLE001 - the next look may find the role in a better state
            if not self._unable:
                log.failure("the role cannot tell its state")
            self._unable = True
            return False, self._status
        self._unable = False
        return healthy, " ".join(status.split())[:MAX_STATUS_CHARACTERS]

    def _start_proof(self, now: float, beat_interval: float) -> None:
        self._next_proof = now + beat_interval / PROOFS_PER_BEAT
        proof = self._proof = Deferred.fromCoroutine(self._prove())
        proof.addTimeout(beat_interval, self._clock)
        proof.addCallbacks(self._proved, self._not_proved)

    async def _prove(self) -> None:
        """Have the role prove itself; whatever goes wrong is the coroutine's failure, never the look's."""
        await self._role.prove()

    def _proved(self, _nothing: None) -> None:
        self._proof = None
        self._proved_at = self._clock.seconds()
        self._unproved = ""

    def _not_proved(self, failure: Failure) -> None:
        self._proof = None
        self._unproved = f"{type(failure.value).__name__} {failure.getErrorMessage()}".strip()[:MAX_STATUS_CHARACTERS]

    def _beat(self, now: float, lag: float, *, healthy: bool) -> list[str]:
        """Return the beat, or nothing and say why once; a withheld beat is due again at the next look."""
        if healthy and lag <= MAX_LAG_SECONDS and self._proved_at >= self._last_beat:
            self._last_beat = now
            self._withheld = False
            return ["WATCHDOG=1"]
        if not self._withheld:
            self._withheld = True
            log.warn(
                "no watchdog beat: healthy {healthy}, reactor {lag:.2f} s late, work went through {ago} ({unproved}), "
                "{status}",
                healthy=healthy,
                lag=lag,
                ago=f"{now - self._proved_at:.1f} s ago" if math.isfinite(self._proved_at) else "never",
                unproved=self._unproved or "no failure",
                status=self._status,
            )
        return []


def notifying(role: Role, reactor: Any, stop_seconds: float) -> NotifyingService:
    """Return ``role``, which stops within ``stop_seconds``, reporting to who started this process."""
    watchdog = watchdog_seconds(os.environ, os.getpid())
    return NotifyingService(role, reactor, watchdog=watchdog, stop_seconds=stop_seconds)
