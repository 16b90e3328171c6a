"""A permalink database as its administrator sees it: whole records in order, imports, takedowns, figures.

Everything here may happen while the permalink role serves the same database.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import pysqlite3.dbapi2 as dbapi2

from appliance.errors import PermalinkRemoved, UnknownPermalink
from appliance.permalink import database
from appliance.permalink.group import size_bytes
from appliance.protocol.permalink import SharedCell, candidate_ids, content_digest

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Iterator, Sequence
    from sqlite3 import Connection

#: Records of one transaction of an import, and characters of their texts. Ids are spread over the whole index, so that
#: a larger batch writes fewer pages a record; the role's own writes wait for it, a few tenths of a second.
BATCH = 25_000
BATCH_CHARACTERS = 33_554_432

#: Pages in the write-ahead log after which an import empties it: pages written again and again are copied once.
_CHECKPOINT_PAGES = 50_000

#: Seconds that an administrator's command waits for the role's transaction, or another command's.
BUSY_SECONDS = 30.0

#: KiB of pages that a command keeps in memory.
_CACHE_KIB = 65_536

#: Languages in the figures; the others are summed up.
MAX_LANGUAGES = 20


@attrs.frozen
class Record:
    """A permalink with everything that is known of it. Times are seconds since 1970-01-01 UTC; 0 is never."""

    id: str
    cell: SharedCell
    created: int
    reads: int = 0
    last_read: int = 0


@attrs.frozen
class Tombstone:
    """What is left of a permalink that was taken down."""

    id: str
    digest: bytes
    removed: int
    reason: str


Item = Record | Tombstone


@attrs.define
class Added:
    """What became of the records of an import."""

    added: int = 0
    present: int = 0
    removed: int = 0
    conflicts: list[str] = attrs.field(factory=list)


@attrs.frozen(kw_only=True)
class Stats:
    """Figures of a database."""

    permalinks: int
    tombstones: int
    size_bytes: int
    reads: int
    never_read: int
    first_created: int
    last_created: int
    languages: tuple[tuple[str, int], ...]


class Archive(Protocol):
    """A permalink database of whichever engine."""

    def stats(self) -> Stats:
        """Return figures; looks at every record."""

    def get(self, permalink_id: str) -> Record:
        """Return a record; raises `UnknownPermalink` or `PermalinkRemoved`."""

    def items(self) -> Iterator[Item]:
        """Yield every record, then every tombstone, each in the order of their ids; memory stays flat."""

    def add(self, items: Sequence[Item], added: Added) -> None:
        """Store a batch in one transaction. What is there is never changed, but counts of reads grow."""

    def takedown(self, permalink_id: str, reason: str, now: int) -> list[str]:
        """Delete a permalink, and those that the same cell has by its content; return the ids.

        Raises `UnknownPermalink` or `PermalinkRemoved`.
        """

    def check(self) -> list[str]:
        """Return what is wrong with the database, nothing if it is sound."""

    def close(self) -> None:
        """Let go of the database."""


def own_ids(record: Record) -> set[str]:
    """Return the ids under which a cell may be stored: that of the record and those of the content."""
    return {record.id, *candidate_ids(record.cell)}


class SQLiteArchive:
    """An `Archive` in SQLite. Raises `ConfigError` when the file is not a permalink database."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._connection: Connection = database.open_writer(path)
        self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")

    def stats(self) -> Stats:
        """Return figures."""
        one = self._connection.execute(
            "SELECT count(*), coalesce(min(created), 0), coalesce(max(created), 0) FROM permalink"
        ).fetchone()
        reads, read_links = self._connection.execute("SELECT coalesce(sum(reads), 0), count(*) FROM access").fetchone()
        languages = self._connection.execute(
            "SELECT language, count(*) FROM permalink GROUP BY language ORDER BY count(*) DESC, language LIMIT ?",
            (MAX_LANGUAGES,),
        ).fetchall()
        return Stats(
            permalinks=one[0],
            tombstones=self._connection.execute("SELECT count(*) FROM tombstone").fetchone()[0],
            size_bytes=size_bytes(self._connection),
            reads=reads,
            never_read=max(0, one[0] - read_links),
            first_created=one[1],
            last_created=one[2],
            languages=tuple((name, number) for name, number in languages),
        )

    def get(self, permalink_id: str) -> Record:
        """Return a record."""
        row = self._connection.execute(f"{_SELECT} WHERE p.id = ?", (permalink_id,)).fetchone()
        if row is not None:
            return _record(row)
        if self._connection.execute("SELECT 1 FROM tombstone WHERE id = ?", (permalink_id,)).fetchone():
            raise PermalinkRemoved
        raise UnknownPermalink(f"There is no permalink {permalink_id!r}.")

    def items(self) -> Iterator[Item]:
        """Yield every record and tombstone as of now, whatever is written meanwhile."""
        reader = database.open_reader(self._path)
        try:
            reader.execute("BEGIN")
            for row in reader.execute(f"{_SELECT} ORDER BY p.id"):
                yield _record(row)
            for row in reader.execute("SELECT id, digest, removed, reason FROM tombstone ORDER BY id"):
                yield Tombstone(*row)
        finally:
            reader.close()

    def add(self, items: Sequence[Item], added: Added) -> None:
        """Store a batch."""

        def run() -> None:
            if not self._add_new(items, added):
                self._add(items, added)

        self._transaction(run)

    def _add_new(self, items: Sequence[Item], added: Added) -> bool:
        """Store a batch of records none of which is here, as almost all are; return whether they were such."""
        connection = self._connection
        if connection.execute("SELECT 1 FROM tombstone LIMIT 1").fetchone() or not all(
            isinstance(item, Record) for item in items
        ):
            return False
        connection.execute("SAVEPOINT new_records")
        rows = [
            (item.id, item.cell.code, item.cell.language, item.cell.interacts, item.created)
            for item in items
            if isinstance(item, Record)
        ]
        stored = connection.executemany(f"{_INSERT} ON CONFLICT (id) DO NOTHING", rows).rowcount
        if stored < len(items):
            connection.execute("ROLLBACK TO new_records")
        else:
            self._count([item for item in items if isinstance(item, Record) and item.reads])
            added.added += len(items)
        connection.execute("RELEASE new_records")
        return stored == len(items)

    def _count(self, records: Sequence[Record]) -> None:
        self._connection.executemany(
            "INSERT INTO access (id, reads, last_read) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
            "reads = max(reads, excluded.reads), last_read = max(last_read, excluded.last_read)",
            [(record.id, record.reads, record.last_read) for record in records],
        )

    def _add(self, items: Sequence[Item], added: Added) -> None:
        connection = self._connection
        marks = ", ".join("?" * len(items))
        ids = [item.id for item in items]
        known: dict[str, Any] = {
            row[0]: row[1:]
            for row in connection.execute(
                f"SELECT id, code, language, interacts FROM permalink WHERE id IN ({marks})",  # noqa: S608 - question marks
                ids,
            )
        }
        gone = {
            row[0]
            for row in connection.execute(
                f"SELECT id FROM tombstone WHERE id IN ({marks})",  # noqa: S608 - question marks
                ids,
            )
        }
        fresh: list[tuple[str, str, str, str, int]] = []
        read: list[Record] = []
        for item in items:
            if item.id in gone:
                added.removed += 1
            elif isinstance(item, Tombstone):
                gone.add(item.id)
                added.added += 1
                self._bury(item)
            else:
                texts = (item.cell.code, item.cell.language, item.cell.interacts)
                if item.id not in known:
                    known[item.id] = texts
                    fresh.append((item.id, *texts, item.created))
                    added.added += 1
                elif known[item.id] == texts:
                    added.present += 1
                else:
                    added.conflicts.append(item.id)
                    continue
                if item.reads:
                    read.append(item)
        connection.executemany(_INSERT, fresh)
        self._count(read)

    def _bury(self, tombstone: Tombstone) -> None:
        connection = self._connection
        connection.execute("DELETE FROM permalink WHERE id = ?", (tombstone.id,))
        connection.execute("DELETE FROM access WHERE id = ?", (tombstone.id,))
        connection.execute(
            "INSERT INTO tombstone (id, digest, removed, reason) VALUES (?, ?, ?, ?)", attrs.astuple(tombstone)
        )

    def takedown(self, permalink_id: str, reason: str, now: int) -> list[str]:
        """Delete a permalink; its text is overwritten in the file as well."""
        self._connection.execute("PRAGMA secure_delete = ON")
        removed: list[str] = []

        def run() -> None:
            record = self.get(permalink_id)
            texts = (record.cell.code, record.cell.language, record.cell.interacts)
            digest = content_digest(record.cell)
            for other in sorted(own_ids(record)):
                row = self._connection.execute(
                    "SELECT code, language, interacts FROM permalink WHERE id = ?", (other,)
                ).fetchone()
                if row == texts:
                    self._bury(Tombstone(other, digest, now, reason))
                    removed.append(other)

        self._transaction(run)
        # the log holds the text until it is begun anew; a reader that is at work can delay that
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return removed

    def check(self) -> list[str]:
        """Look at every page and every index."""
        try:
            found = [row[0] for row in self._connection.execute("PRAGMA integrity_check(20)")]
        except dbapi2.Error as exc:
            return [str(exc)]
        return [] if found == ["ok"] else found

    def close(self) -> None:
        """Let go of the database, with a log that is as short as its readers allow."""
        with contextlib.suppress(dbapi2.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._connection.close()

    def _transaction(self, run: Callable[[], None]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            run()
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise


_SELECT = (
    "SELECT p.id, p.code, p.language, p.interacts, p.created, coalesce(a.reads, 0), coalesce(a.last_read, 0) "
    "FROM permalink p LEFT JOIN access a ON a.id = p.id"
)


_INSERT = "INSERT INTO permalink (id, code, language, interacts, created) VALUES (?, ?, ?, ?, ?)"


def _record(row: Any) -> Record:
    permalink_id, code, language, interacts, created, reads, last_read = row
    return Record(
        permalink_id, SharedCell(code=code, language=language, interacts=interacts), created, reads, last_read
    )


def now_seconds() -> int:
    """Return the time in seconds since 1970-01-01 UTC."""
    return int(time.time())
