"""Permalinks in PostgreSQL, for several appliances that share one database.

The same group commit as in SQLite, over one connection of the writer's thread; reads take one of a pool, in threads.
Text is kept as bytes of UTF-8: PostgreSQL's text has no zero character. A connection that broke is made anew, and the
group repeated once: what it holds may safely be written twice.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from appliance.errors import (
    ApplianceError,
    ConfigError,
    PermalinkRemoved,
    PermalinksFull,
    PermalinksUnavailable,
    UnknownPermalink,
)
from appliance.permalink.group import EXPIRY_ROWS, ROW_BYTES, Beat, CountReads, Expire, Put, Write
from appliance.permalink.store import Limits
from appliance.permalink.upkeep import MAX_QUIET_SECONDS, Upkeep
from appliance.permalink.writer import GroupWriter
from appliance.protocol.permalink import SharedCell, candidate_ids, may_be_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from twisted.internet.defer import Deferred

log = Logger()

#: Connections for reading, and seconds to wait for one and for any statement.
READ_CONNECTIONS = 8
READ_SECONDS = 3.0
STATEMENT_MILLISECONDS = 10_000

#: A network that swallows everything must not hold a connection for the quarter of an hour that TCP would try: what was
#: sent is acknowledged within so many milliseconds, and a silent connection is asked after seconds (libpq, "Parameter
#: Key Words"; tcp(7)).
TCP_LIMITS = {
    "tcp_user_timeout": 3000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
}

#: Version of the schema below.
SCHEMA_VERSION = 1

#: Held while the schema is made, so that two appliances that start at once do it one after the other.
_SCHEMA_LOCK = 0x43656C6C

SCHEMA = """
CREATE TABLE IF NOT EXISTS cell_schema (version INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS permalink (
    id TEXT COLLATE "C" PRIMARY KEY,
    code BYTEA NOT NULL,
    language BYTEA NOT NULL,
    interacts BYTEA NOT NULL,
    created BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS permalink_created ON permalink (created);
CREATE TABLE IF NOT EXISTS access (
    id TEXT COLLATE "C" PRIMARY KEY,
    reads BIGINT NOT NULL,
    last_read BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS tombstone (
    id TEXT COLLATE "C" PRIMARY KEY,
    digest BYTEA NOT NULL,
    removed BIGINT NOT NULL,
    reason BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS tombstone_digest ON tombstone (digest);
CREATE TABLE IF NOT EXISTS canary (id INTEGER PRIMARY KEY CHECK (id = 1), beat BIGINT NOT NULL);
INSERT INTO canary VALUES (1, 0) ON CONFLICT DO NOTHING;
INSERT INTO cell_schema SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM cell_schema);
"""

Connection = psycopg.Connection[Any]


def _bounded(url: str) -> str:
    """Return the connection's parameters with `TCP_LIMITS`. Raises `ConfigError`."""
    try:
        return make_conninfo(url, **TCP_LIMITS)
    except psycopg.ProgrammingError as exc:
        raise ConfigError(f"permalink.database: {str(exc).strip()}") from exc


def connect(url: str) -> Connection:
    """Return a connection whose commits are on disk when they return, after making the schema if it is missing.

    Raises `ConfigError` when the database is a newer release's or ``url`` names none, `psycopg.Error` when it cannot be
    reached.
    """
    connection = psycopg.connect(_bounded(url), autocommit=True, connect_timeout=5, application_name="cell-permalink")
    try:
        connection.execute(f"SET statement_timeout = {STATEMENT_MILLISECONDS}")
        connection.execute("SET synchronous_commit = on")
        with connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            connection.execute(SCHEMA)
            row = connection.execute("SELECT version FROM cell_schema").fetchone()
        if row is None or row[0] > SCHEMA_VERSION:
            raise ConfigError(f"permalink.database was made by a newer release (version {row and row[0]})")
    except BaseException:
        connection.close()
        raise
    return connection


def texts(cell: SharedCell) -> tuple[bytes, bytes, bytes]:
    """Return the columns of the content."""
    return cell.code.encode(), cell.language.encode(), cell.interacts.encode()


def cell_of(code: bytes, language: bytes, interacts: bytes) -> SharedCell:
    """Return the cell in columns of the content."""
    return SharedCell(code=code.decode(), language=language.decode(), interacts=interacts.decode())


def insert(connection: Connection, rows: Sequence[tuple[str, bytes, bytes, bytes, int]]) -> set[str]:
    """Insert rows whose ids are free, and return the ids of those; in the order of ids, so that nobody deadlocks."""
    if not rows:
        return set()
    columns = list(zip(*sorted(rows), strict=True))
    found = connection.execute(
        "INSERT INTO permalink (id, code, language, interacts, created) "
        "SELECT * FROM unnest(%s::text[], %s::bytea[], %s::bytea[], %s::bytea[], %s::bigint[]) "
        "ON CONFLICT (id) DO NOTHING RETURNING id",
        [list(column) for column in columns],
    )
    return {row[0] for row in found}


def contents(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[bytes, ...]]:
    """Return the content of those ids that exist."""
    found = connection.execute("SELECT id, code, language, interacts FROM permalink WHERE id = ANY(%s)", (list(ids),))
    return {row[0]: tuple(row[1:]) for row in found}


def _put_one(connection: Connection, put: Put) -> str:
    """Store a cell under the first of its ids that is free or its own."""
    for permalink_id in candidate_ids(put.cell):
        if connection.execute("SELECT 1 FROM tombstone WHERE id = %s", (permalink_id,)).fetchone():
            continue
        if insert(connection, [(permalink_id, *texts(put.cell), put.created)]):
            return permalink_id
        if contents(connection, [permalink_id]).get(permalink_id) == texts(put.cell):
            return permalink_id
    raise AssertionError("two different cells have the same 256-bit digest")


def put_all(connection: Connection, puts: Sequence[Put], max_bytes: int) -> list[str | ApplianceError]:
    """Store cells in the transaction that is open; return the id of each, or why it has none."""
    if not puts:
        return []
    ids, digests = [put.permalink_id for put in puts], [put.digest for put in puts]
    known = contents(connection, ids)
    tombstones = connection.execute(
        "SELECT digest, id FROM tombstone WHERE digest = ANY(%s) OR id = ANY(%s)", (digests, ids)
    ).fetchall()
    removed, taken = {bytes(row[0]) for row in tombstones}, {row[1] for row in tombstones}
    row = connection.execute("SELECT pg_total_relation_size('permalink')").fetchone()
    room = max_bytes - (row[0] if row else 0)
    answers: list[str | ApplianceError | None] = []
    fresh: dict[str, Put] = {}
    for put in puts:
        if put.digest in removed:
            answers.append(PermalinkRemoved())
        elif known.get(put.permalink_id) == texts(put.cell):
            answers.append(put.permalink_id)
        elif (room := room - put.cell.size_bytes() - ROW_BYTES) < 0:
            answers.append(PermalinksFull())
        else:
            answers.append(None)
            if put.permalink_id not in taken and put.permalink_id not in known:
                fresh.setdefault(put.permalink_id, put)
    inserted = insert(connection, [(name, *texts(put.cell), put.created) for name, put in fresh.items()])
    return [
        answer
        if answer is not None
        else put.permalink_id
        if put.permalink_id in inserted and fresh[put.permalink_id].digest == put.digest
        else _put_one(connection, put)
        for put, answer in zip(puts, answers, strict=True)
    ]


def _run(connection: Connection, write: Write) -> Any:
    """Run a write that is no `Put`."""
    if isinstance(write, Beat):
        row = connection.execute("UPDATE canary SET beat = beat + 1 RETURNING beat").fetchone()
        return row[0] if row else 0
    if isinstance(write, CountReads):
        names = sorted(write.reads)
        connection.execute(
            "INSERT INTO access AS a SELECT c.id, c.reads, %s FROM unnest(%s::text[], %s::bigint[]) AS c (id, reads) "
            "JOIN permalink USING (id) ON CONFLICT (id) DO UPDATE SET "
            "reads = a.reads + excluded.reads, last_read = greatest(a.last_read, excluded.last_read)",
            (write.when, names, [write.reads[name] for name in names]),
        )
        return None
    assert isinstance(write, Expire)  # noqa: S101 - the last kind there is
    deleted = connection.execute(
        "DELETE FROM permalink WHERE id IN (SELECT id FROM permalink p WHERE created < %s "
        "AND (SELECT max(created) FROM permalink) > %s "
        "AND NOT EXISTS (SELECT 1 FROM access a WHERE a.id = p.id) LIMIT %s)",
        (write.created_before, time.time() - MAX_QUIET_SECONDS, EXPIRY_ROWS),
    ).rowcount
    return (1 if deleted == EXPIRY_ROWS else None), deleted


class PostgresStore:
    """A `PermalinkStore` in PostgreSQL. ``reactor`` tells time, has the threads and brings answers back from them."""

    def __init__(
        self, url: str, reactor: Any, limits: Limits | None = None, now: Callable[[], float] = time.time
    ) -> None:
        self._url = url
        self._reactor = reactor
        self._now = now
        limits = limits or Limits()
        self._max_bytes = limits.max_bytes
        self._size = 0
        self._closed = False
        try:
            self._writer: Connection | None = connect(url)
        except psycopg.Error as exc:
            # it may come later; writes and reads are answered 503 until then
            log.error("the permalink database does not answer: {error}", error=str(exc).strip())
            self._writer = None
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            _bounded(url),
            min_size=1,
            max_size=READ_CONNECTIONS,
            timeout=READ_SECONDS,
            kwargs={
                "autocommit": True,
                "connect_timeout": 3,
                "options": f"-c statement_timeout={STATEMENT_MILLISECONDS}",
            },
            check=ConnectionPool.check_connection,
            open=True,
        )
        self._group = GroupWriter(reactor, self._commit, unavailable)
        self._upkeep = Upkeep(reactor, now, self._group.enqueue, lambda: int(now()), limits.expire_unread_days)

    async def put(self, cell: SharedCell) -> str:
        """Return the id of ``cell`` once it is on disk."""
        permalink_id: str = await self._group.enqueue(Put(cell, int(self._now())))
        return permalink_id

    async def get(self, permalink_id: str) -> SharedCell:
        """Return the cell with this id."""
        if not may_be_id(permalink_id):
            raise UnknownPermalink
        cell: SharedCell = await self._in_thread(self._get, permalink_id)
        self._upkeep.count(permalink_id)
        return cell

    def _get(self, permalink_id: str) -> SharedCell:
        with self._pool.connection() as connection:
            row = contents(connection, [permalink_id]).get(permalink_id)
            if row is not None:
                return cell_of(*row)
            if connection.execute("SELECT 1 FROM tombstone WHERE id = %s", (permalink_id,)).fetchone():
                raise PermalinkRemoved
        raise UnknownPermalink

    async def check(self) -> None:
        """Write a canary through the queue and the disk, and read it back."""
        beat = await self._group.enqueue(Beat())
        if await self._in_thread(self._beat) < beat:
            raise PermalinksUnavailable("A permalink that was written cannot be read back.")

    def _beat(self) -> int:
        with self._pool.connection() as connection:
            row = connection.execute("SELECT beat FROM canary").fetchone()
        return int(row[0]) if row else -1

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        running: Deferred[Any] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work, *arguments)
        try:
            return await running
        except (psycopg.Error, PoolTimeout) as exc:
            log.error("permalink read failed: {error}", error=str(exc).strip())
            raise unavailable(exc) from exc

    async def close(self) -> None:
        """Commit what was accepted, and disconnect."""
        if not self._closed:
            self._closed = True
            self._upkeep.stop()
            await self._group.close()
            self._pool.close()
            if self._writer is not None:
                self._writer.close()

    def figures(self) -> dict[str, int]:
        """Return numbers for the metrics."""
        return {
            "queue_writes": self._group.queued,
            "group_writes": self._group.last_group,
            "database_bytes": self._size,
            "database_limit_bytes": self._max_bytes,
            "damaged": 0,
        }

    def alive(self) -> bool:
        """Return whether the writer's thread runs."""
        return self._group.alive

    def _commit(self, writes: list[Write]) -> list[Any]:
        """Commit a group (the writer's thread), on a new connection if the one at hand is broken."""
        if self._writer is not None:
            try:
                return self._commit_once(self._writer, writes)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                if not self._writer.broken and not self._writer.closed:
                    raise
                self._writer = None
        self._writer = connect(self._url)
        return self._commit_once(self._writer, writes)

    def _commit_once(self, connection: Connection, writes: list[Write]) -> list[Any]:
        with connection.transaction():
            puts = iter(put_all(connection, [write for write in writes if isinstance(write, Put)], self._max_bytes))
            answers = [next(puts) if isinstance(write, Put) else _run(connection, write) for write in writes]
            row = connection.execute("SELECT pg_total_relation_size('permalink')").fetchone()
        self._size = row[0] if row else 0
        return answers


def unavailable(error: Exception) -> PermalinksUnavailable:
    """Return the client's error for a database error: what is wrong, without names of hosts."""
    if isinstance(error, psycopg.errors.DiskFull):
        return PermalinksUnavailable("The disk that holds permalinks is full.")
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.LockNotAvailable):
        return PermalinksUnavailable("The permalink database is locked by another program. Try again in a few seconds.")
    return PermalinksUnavailable()
