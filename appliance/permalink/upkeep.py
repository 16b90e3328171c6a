"""What the store does besides: it counts reads in batches, and lets links expire that nobody ever opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from appliance.errors import PermalinksUnavailable
from appliance.permalink.group import CountReads, Expire, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

log = Logger()

#: Seconds between two batches of counts; a crash loses at most one batch.
COUNT_SECONDS = 10.0

#: Links of one batch; a full batch is handed over at once.
MAX_COUNTED_LINKS = 10_000

#: Seconds between two steps of a sweep for links to expire, and between two sweeps.
STEP_SECONDS = 1.0
SWEEP_SECONDS = 86_400.0

#: No link expires while the clock may be wrong: it has moved by more than this against the monotonic clock since the
#: start, or the newest link is older than this.
MAX_CLOCK_DRIFT_SECONDS = 3600.0
MAX_QUIET_SECONDS = 30 * 86_400

DAY_SECONDS = 86_400


class Upkeep:
    """Counts and expiry of one store.

    ``enqueue`` gives a write to the writer's thread and raises `PermalinksUnavailable`; ``newest`` returns when the
    newest link was made, None without links; ``expire_days`` of 0 lets none expire.
    """

    def __init__(
        self,
        clock: Any,
        now: Callable[[], float],
        enqueue: Callable[[Write], Deferred[Any]],
        newest: Callable[[], int | None],
        expire_days: int,
    ) -> None:
        self._clock = clock
        self._now = now
        self._enqueue = enqueue
        self._newest = newest
        self._expire_days = expire_days
        self._reads: dict[str, int] = {}
        self._offset = now() - clock.seconds()
        self._rowid = 0
        self._stepping = False
        self._next_sweep = clock.seconds()
        self._calls = [LoopingCall(self.flush)]
        if expire_days:
            self._calls.append(LoopingCall(self.expire))
        for call, seconds in zip(self._calls, (COUNT_SECONDS, STEP_SECONDS), strict=False):
            call.clock = clock
            call.start(seconds, now=False).addErrback(
                lambda failure: log.failure("upkeep of permalinks has ended", failure=failure)
            )

    def stop(self) -> None:
        """Hand over what was counted and do nothing more."""
        for call in self._calls:
            if call.running:
                call.stop()
        self.flush()

    def count(self, permalink_id: str) -> None:
        """Count one read."""
        self._reads[permalink_id] = self._reads.get(permalink_id, 0) + 1
        if len(self._reads) >= MAX_COUNTED_LINKS:
            self.flush()

    def flush(self) -> None:
        """Hand the counts to the writer; while it takes none, they stay, up to a full batch."""
        if not self._reads:
            return
        try:
            # why a write failed is logged with its group; its counts are lost, no link is
            self._enqueue(CountReads(self._reads, int(self._now()))).addErrback(lambda _failure: None)
        except PermalinksUnavailable:
            if len(self._reads) < MAX_COUNTED_LINKS:
                return
        self._reads = {}

    def expire(self) -> None:
        """Take one step of a sweep, unless the clock cannot be trusted."""
        now, monotonic = self._now(), self._clock.seconds()
        if self._stepping or monotonic < self._next_sweep:
            return
        if abs(now - monotonic - self._offset) > MAX_CLOCK_DRIFT_SECONDS:
            log.warn("no permalinks expire: the clock was set since the start")
            self._sweep_again()
            return
        try:
            newest = self._newest()
            if newest is None or abs(now - newest) > MAX_QUIET_SECONDS:
                self._sweep_again()
                return
            step = self._enqueue(Expire(self._rowid, int(now) - self._expire_days * DAY_SECONDS))
        except PermalinksUnavailable:
            return
        self._stepping = True
        step.addCallbacks(self._expired, lambda _failure: setattr(self, "_stepping", False))

    def _expired(self, answer: tuple[int | None, int]) -> None:
        last, deleted = answer
        self._stepping = False
        if deleted:
            log.info("{count} permalinks that nobody read have expired", count=deleted)
        if last is None:
            self._sweep_again()
        else:
            self._rowid = last

    def _sweep_again(self) -> None:
        self._rowid = 0
        self._next_sweep = self._clock.seconds() + SWEEP_SECONDS
