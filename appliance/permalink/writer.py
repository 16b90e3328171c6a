"""One thread that writes in groups, whichever database is behind it.

While one commit waits for the disk, the next writes queue up and share the following commit: the disk is asked once for
each group, not once for each write. An answer comes after the commit that covers it. Writes that arrive in one turn of
the reactor go to the thread together: waking it for each would have two threads quarrel over Python's global lock.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from appliance.errors import ApplianceError, PermalinksUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from appliance.permalink.group import Write

log = Logger()

#: Writes accepted and not yet committed; each holds at most two texts of permalink.max_code_bytes.
MAX_QUEUED_WRITES = 1024

#: Writes of one commit: beyond this, a larger group saves no more time.
MAX_GROUP = 256


@attrs.frozen
class Job:
    """A write and the Deferred of whoever waits for it."""

    write: Write
    waiter: Deferred[Any]


class GroupWriter:
    """Commits what it is given. ``reactor`` brings answers back from the thread.

    ``commit`` runs writes in one durable transaction, in the thread, and returns their answers; an answer that is an
    `ApplianceError` refuses one write alone. ``failed`` is told, in the reactor's thread, why a whole group failed, and
    returns the error for everybody who waits.
    """

    def __init__(
        self,
        reactor: Any,
        commit: Callable[[list[Write]], list[Any]],
        failed: Callable[[Exception], ApplianceError],
    ) -> None:
        self._reactor = reactor
        self._commit_group = commit
        self._why = failed
        #: Batches for the thread; an empty one is the end mark.
        self._queue: queue.SimpleQueue[list[Job]] = queue.SimpleQueue()
        self._batch: list[Job] = []
        self._queued = 0
        self._closing: Deferred[None] | None = None
        self.last_group = 0
        self._thread = threading.Thread(target=self._run, name="permalink-writer", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether writes are being taken."""
        return self._closing is None and self._thread.is_alive()

    @property
    def queued(self) -> int:
        """Number of writes that wait for their commit."""
        return self._queued

    def enqueue(self, write: Write) -> Deferred[Any]:
        """Give a write to the thread; the answer comes after the commit. Raises `PermalinksUnavailable`."""
        if self._closing is not None:
            raise PermalinksUnavailable("The permalink store is shutting down.")
        if self._queued >= MAX_QUEUED_WRITES:
            raise PermalinksUnavailable("Too many permalinks are being written. Try again in a few seconds.")
        self._queued += 1
        if not self._batch:
            self._reactor.callLater(0, self._hand_over)
        job = Job(write, Deferred())
        self._batch.append(job)
        return job.waiter

    async def close(self) -> None:
        """Commit what was accepted, and end the thread."""
        if self._closing is None:
            self._closing = Deferred()
            self._hand_over()
            self._queue.put([])
            await self._closing
            self._thread.join()

    def _hand_over(self) -> None:
        """Give the thread what has come."""
        if self._batch:
            batch, self._batch = self._batch, []
            self._queue.put(batch)

    def _run(self) -> None:
        """Commit groups until the end mark (the writer's thread)."""
        ended = False
        while not ended:
            jobs: list[Job] = []
            batch = self._queue.get()
            while batch:
                jobs += batch
                if len(jobs) >= MAX_GROUP:
                    break
                try:
                    batch = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                ended = True
            for first in range(0, len(jobs), MAX_GROUP):
                self._commit(jobs[first : first + MAX_GROUP])
        self._reactor.callFromThread(self._ended)

    def _commit(self, jobs: list[Job]) -> None:
        try:
            answers = self._commit_group([job.write for job in jobs])
            self.last_group = len(jobs)
        except Exception as exc:  # noqa: BLE001 - the thread must live; each waiter gets the error
            self._reactor.callFromThread(self._failed, jobs, exc)
        else:
            self._reactor.callFromThread(self._done, jobs, answers)

    def _done(self, jobs: list[Job], answers: list[Any]) -> None:
        self._queued -= len(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            if job.waiter.called:  # cancelled: its client went away
                continue
            if isinstance(answer, ApplianceError):
                job.waiter.errback(answer)
            else:
                job.waiter.callback(answer)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        self._queued -= len(jobs)
        log.error("a group of {count} permalink writes failed: {error!r}", count=len(jobs), error=error)
        why = self._why(error)
        for job in jobs:
            if not job.waiter.called:
                job.waiter.errback(why)

    def _ended(self) -> None:
        if self._closing is not None:
            self._closing.callback(None)
