"""Permalinks in SQLite: one thread writes in groups, the reactor's thread reads.

A write is answered after the commit that covers it, so an acknowledged permalink is on disk (`writer.py`). Reads take
microseconds from the page cache and see only what is committed.

A third thread looks through the whole file once after the start. Damage ends writing and health; reads go on.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as dbapi2
from twisted.logger import Logger

from appliance.errors import PermalinkRemoved, PermalinksUnavailable, UnknownPermalink
from appliance.permalink import database
from appliance.permalink.group import Beat, Put, Write, commit_group, size_bytes
from appliance.permalink.store import Limits
from appliance.permalink.upkeep import Upkeep
from appliance.permalink.writer import GroupWriter
from appliance.protocol.permalink import SharedCell, may_be_id

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

    from twisted.internet.defer import Deferred

log = Logger()

#: Findings of the check at the start that are told.
MAX_FINDINGS = 5

DAMAGED = "The permalink database is damaged; its administrator has to restore it."


def _name(error: Exception) -> str:
    return getattr(error, "sqlite_errorname", "") or ""


def _means_damage(error: Exception) -> bool:
    return _name(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def unavailable(error: Exception) -> PermalinksUnavailable:
    """Return the client's error for a database error: what is wrong, without paths."""
    if _means_damage(error):
        return PermalinksUnavailable(DAMAGED)
    name = _name(error)
    if name.startswith("SQLITE_FULL"):
        return PermalinksUnavailable("The disk that holds permalinks is full.")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return PermalinksUnavailable("The permalink database is locked by another program. Try again in a few seconds.")
    if name.startswith("SQLITE_READONLY"):
        return PermalinksUnavailable("The permalink database cannot be written.")
    return PermalinksUnavailable()


class SQLiteStore:
    """A `PermalinkStore` in one SQLite file. ``reactor`` tells time and brings answers back from threads."""

    def __init__(
        self,
        path: pathlib.Path,
        reactor: Any,
        limits: Limits | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._reactor = reactor
        self._now = now
        limits = limits or Limits()
        self._max_bytes = limits.max_bytes
        self._writer = database.open_writer(path)
        try:
            self._reader = database.open_reader(path)
            self._checker = database.open_reader(path)
        except BaseException:
            self._writer.close()
            raise
        self._damaged = False
        self._closed = False
        self._group = GroupWriter(reactor, self._commit, self._failed)
        self._size = size_bytes(self._writer)
        self._upkeep = Upkeep(reactor, now, self._enqueue, self._newest, limits.expire_unread_days)
        self._check_thread = threading.Thread(target=self._quick_check, name="permalink-check", daemon=True)
        self._check_thread.start()

    async def put(self, cell: SharedCell) -> str:
        """Return the id of ``cell`` once it is on disk."""
        permalink_id: str = await self._enqueue(Put(cell, int(self._now())))
        return permalink_id

    async def get(self, permalink_id: str) -> SharedCell:
        """Return the cell with this id."""
        if not may_be_id(permalink_id):
            raise UnknownPermalink
        row = self._read("SELECT code, language, interacts FROM permalink WHERE id = ?", permalink_id)
        if row is None:
            if self._read("SELECT 1 FROM tombstone WHERE id = ?", permalink_id):
                raise PermalinkRemoved
            raise UnknownPermalink
        self._upkeep.count(permalink_id)
        return SharedCell(code=row[0], language=row[1], interacts=row[2])

    async def check(self) -> None:
        """Write a canary through the queue and the disk, and read it back."""
        beat = await self._enqueue(Beat())
        row = self._read("SELECT beat FROM canary WHERE id = ?", 1)
        # Another check may have written after ours, never before.
        if row is None or row[0] < beat:
            raise PermalinksUnavailable("A permalink that was written cannot be read back.")

    async def close(self) -> None:
        """Commit what was accepted, end the threads and close the database."""
        if not self._closed:
            self._closed = True
            self._upkeep.stop()
            await self._group.close()
            self._checker.interrupt()
            self._check_thread.join()
            for connection in (self._checker, self._reader, self._writer):
                connection.close()

    def figures(self) -> dict[str, int]:
        """Return numbers for the metrics."""
        return {
            "queue_writes": self._group.queued,
            "group_writes": self._group.last_group,
            "database_bytes": self._size,
            "database_limit_bytes": self._max_bytes,
            "damaged": int(self._damaged),
        }

    def alive(self) -> bool:
        """Return whether the writer's thread runs."""
        return self._group.alive

    def _read(self, statement: str, key: str | int) -> Any:
        try:
            return self._reader.execute(statement, (key,)).fetchone()
        except dbapi2.Error as exc:
            log.error("permalink read failed: {error}", error=str(exc))
            raise unavailable(exc) from exc

    def _newest(self) -> int | None:
        row = self._read("SELECT created FROM permalink WHERE rowid > ? ORDER BY rowid DESC LIMIT 1", 0)
        return None if row is None else int(row[0])

    def _enqueue(self, write: Write) -> Deferred[Any]:
        """Give a write to the writer's thread; the answer comes after the commit. Raises `PermalinksUnavailable`."""
        if self._damaged:
            raise PermalinksUnavailable(DAMAGED)
        return self._group.enqueue(write)

    def _commit(self, writes: list[Write]) -> list[Any]:
        """Commit a group (the writer's thread)."""
        answers = commit_group(self._writer, writes, self._max_bytes)
        self._size = size_bytes(self._writer)
        return answers

    def _failed(self, error: Exception) -> PermalinksUnavailable:
        if _means_damage(error):
            self._found_damage([str(error)])
        return unavailable(error)

    def _quick_check(self) -> None:
        """Look for damage in the whole file (a thread of its own): a large one takes minutes, and is served."""
        try:
            found = [row[0] for row in self._checker.execute(f"PRAGMA quick_check({MAX_FINDINGS})")]
        except dbapi2.Error as exc:
            if not _means_damage(exc):
                return  # interrupted by the end, or the file cannot be read now: whoever reads next is told
            found = [str(exc)]
        if found != ["ok"]:
            self._reactor.callFromThread(self._found_damage, found)

    def _found_damage(self, findings: list[str]) -> None:
        self._damaged = True
        log.error(
            "the permalink database is damaged and takes no more writes: {findings} (cellctl permalinks check)",
            findings="; ".join(findings),
        )
