"""One thread that writes in groups, whichever database is behind it.

While one commit waits for the disk, the next writes queue up and share the following commit: the disk is asked once for
each group, not once for each write. An answer comes after the commit that covers it.
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
        self._queue: queue.Queue[Job | None] = queue.Queue(MAX_QUEUED_WRITES + 1)  # one place for the end mark
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
        """Number of writes that wait."""
        return self._queue.qsize()

    def enqueue(self, write: Write) -> Deferred[Any]:
        """Give a write to the thread; the answer comes after the commit. Raises `PermalinksUnavailable`."""
        if self._closing is not None:
            raise PermalinksUnavailable("The permalink store is shutting down.")
        if self._queue.qsize() >= MAX_QUEUED_WRITES:
            raise PermalinksUnavailable("Too many permalinks are being written. Try again in a few seconds.")
        job = Job(write, Deferred())
        self._queue.put_nowait(job)
        return job.waiter

    async def close(self) -> None:
        """Commit what was accepted, and end the thread."""
        if self._closing is None:
            self._closing = Deferred()
            self._queue.put_nowait(None)
            await self._closing
            self._thread.join()

    def _run(self) -> None:
        """Commit groups until the end mark (the writer's thread)."""
        ended = False
        while not ended:
            item = self._queue.get()
            jobs = []
            while item is not None:
                jobs.append(item)
                if len(jobs) == MAX_GROUP:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            else:
                ended = True
            if jobs:
                self._commit(jobs)
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
        for job, answer in zip(jobs, answers, strict=True):
            if job.waiter.called:  # cancelled: its client went away
                continue
            if isinstance(answer, ApplianceError):
                job.waiter.errback(answer)
            else:
                job.waiter.callback(answer)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        log.error("a group of {count} permalink writes failed: {error!r}", count=len(jobs), error=error)
        why = self._why(error)
        for job in jobs:
            if not job.waiter.called:
                job.waiter.errback(why)

    def _ended(self) -> None:
        if self._closing is not None:
            self._closing.callback(None)
