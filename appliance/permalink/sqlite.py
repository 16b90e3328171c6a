"""Permalinks in SQLite: one thread writes in groups, the reactor's thread reads.

A write is answered after the commit that covers it, so an acknowledged permalink is on disk. While one commit waits
for the disk, the next writes queue up and share the following commit: the disk is asked once for each group, not once
for each write. Reads take microseconds from the page cache and see only what is committed.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import pysqlite3.dbapi2 as dbapi2
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from appliance.errors import PermalinksUnavailable, UnknownPermalink
from appliance.permalink import database
from appliance.protocol.permalink import MAX_LOOKUP_LENGTH, SharedCell, candidate_ids

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence
    from sqlite3 import Connection

log = Logger()

#: Writes accepted and not yet committed; each holds at most two texts of permalink.max_code_bytes.
MAX_QUEUED_WRITES = 1024

#: Writes of one commit: beyond this, a larger group saves no more time.
MAX_GROUP = 256


def unavailable(error: Exception) -> PermalinksUnavailable:
    """Return the client's error for a database error: what is wrong, without paths."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return PermalinksUnavailable("The disk that holds permalinks is full.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return PermalinksUnavailable("The permalink database is locked by another program. Try again in a few seconds.")
    if name.startswith("SQLITE_READONLY"):
        return PermalinksUnavailable("The permalink database cannot be written.")
    return PermalinksUnavailable()


@attrs.frozen
class Put:
    """Store a cell, answer its id."""

    cell: SharedCell
    created: int

    def run(self, connection: Connection) -> str:
        """Insert the cell unless it is there, in the transaction of the group."""
        cell = self.cell
        wanted = (cell.code, cell.language, cell.interacts)
        for permalink_id in candidate_ids(cell):
            row = connection.execute(
                "SELECT code, language, interacts FROM permalink WHERE id = ?", (permalink_id,)
            ).fetchone()
            if row is None:
                connection.execute(
                    "INSERT INTO permalink (id, code, language, interacts, created) VALUES (?, ?, ?, ?, ?)",
                    (permalink_id, *wanted, self.created),
                )
                return permalink_id
            if row == wanted:
                return permalink_id
        raise AssertionError("two different cells have the same 256-bit digest")


@attrs.frozen
class Beat:
    """Advance the canary, answer its new value."""

    def run(self, connection: Connection) -> int:
        """Write the canary in the transaction of the group."""
        beat: int = connection.execute("UPDATE canary SET beat = beat + 1 WHERE id = 1 RETURNING beat").fetchone()[0]
        return beat


@attrs.frozen
class Job:
    """A write and the Deferred of whoever waits for it."""

    write: Put | Beat
    waiter: Deferred[Any]


def commit_group(connection: Connection, writes: Sequence[Put | Beat]) -> list[Any]:
    """Run ``writes`` in one durable transaction and return their answers; on an error nothing is stored."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = [write.run(connection) for write in writes]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return answers


class SQLiteStore:
    """A `PermalinkStore` in one SQLite file. ``reactor`` brings answers back from the writer's thread."""

    def __init__(self, path: pathlib.Path, reactor: Any, now: Callable[[], float] = time.time) -> None:
        self._reactor = reactor
        self._now = now
        self._writer = database.open_writer(path)
        try:
            self._reader = database.open_reader(path)
        except BaseException:
            self._writer.close()
            raise
        self._queue: queue.Queue[Job | None] = queue.Queue(MAX_QUEUED_WRITES + 1)  # one place for the end mark
        self._closing: Deferred[None] | None = None
        self._thread = threading.Thread(target=self._write, name="permalink-writer", daemon=True)
        self._thread.start()

    async def put(self, cell: SharedCell) -> str:
        """Return the id of ``cell`` once it is on disk."""
        permalink_id: str = await self._submit(Put(cell, int(self._now())))
        return permalink_id

    async def get(self, permalink_id: str) -> SharedCell:
        """Return the cell with this id."""
        if not 0 < len(permalink_id) <= MAX_LOOKUP_LENGTH or not permalink_id.isprintable():
            raise UnknownPermalink
        row = self._read("SELECT code, language, interacts FROM permalink WHERE id = ?", permalink_id)
        if row is None:
            raise UnknownPermalink
        return SharedCell(code=row[0], language=row[1], interacts=row[2])

    async def check(self) -> None:
        """Write a canary through the queue and the disk, and read it back."""
        beat = await self._submit(Beat())
        row = self._read("SELECT beat FROM canary WHERE id = ?", 1)
        # Another check may have written after ours, never before.
        if row is None or row[0] < beat:
            raise PermalinksUnavailable("A permalink that was written cannot be read back.")

    async def close(self) -> None:
        """Commit what was accepted, end the thread and close the database."""
        if self._closing is None:
            self._closing = Deferred()
            self._queue.put_nowait(None)
            await self._closing
            self._thread.join()
            self._reader.close()
            self._writer.close()

    def alive(self) -> bool:
        """Return whether the writer's thread runs."""
        return self._closing is None and self._thread.is_alive()

    def _read(self, statement: str, key: str | int) -> Any:
        try:
            return self._reader.execute(statement, (key,)).fetchone()
        except dbapi2.Error as exc:
            log.error("permalink read failed: {error}", error=str(exc))
            raise unavailable(exc) from exc

    async def _submit(self, write: Put | Beat) -> Any:
        if self._closing is not None:
            raise PermalinksUnavailable("The permalink store is shutting down.")
        if self._queue.qsize() >= MAX_QUEUED_WRITES:
            raise PermalinksUnavailable("Too many permalinks are being written. Try again in a few seconds.")
        job = Job(write, Deferred())
        self._queue.put_nowait(job)
        return await job.waiter

    def _write(self) -> None:
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
            answers = commit_group(self._writer, [job.write for job in jobs])
        except Exception as exc:  # noqa: BLE001 - the thread must live; each waiter gets the error
            self._reactor.callFromThread(self._failed, jobs, exc)
        else:
            self._reactor.callFromThread(self._done, jobs, answers)

    def _done(self, jobs: list[Job], answers: list[Any]) -> None:
        for job, answer in zip(jobs, answers, strict=True):
            if not job.waiter.called:  # cancelled: its client went away
                job.waiter.callback(answer)

    def _failed(self, jobs: list[Job], error: Exception) -> None:
        log.error("a group of {count} permalink writes failed: {error!r}", count=len(jobs), error=error)
        for job in jobs:
            if not job.waiter.called:
                job.waiter.errback(unavailable(error))

    def _ended(self) -> None:
        if self._closing is not None:
            self._closing.callback(None)
