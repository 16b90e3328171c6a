"""A permalink database in PostgreSQL as its administrator sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from appliance.errors import ConfigError, PermalinkRemoved, UnknownPermalink
from appliance.permalink.archive import MAX_LANGUAGES, Added, Item, Record, Stats, Tombstone, own_ids
from appliance.permalink.postgres import cell_of, connect, contents, insert, texts
from appliance.protocol.permalink import content_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: Rows that the server hands over at once.
_ROWS = 2000

_SELECT = (
    "SELECT p.id, p.code, p.language, p.interacts, p.created, coalesce(a.reads, 0), coalesce(a.last_read, 0) "
    "FROM permalink p LEFT JOIN access a ON a.id = p.id"
)


def _record(row: Any) -> Record:
    permalink_id, code, language, interacts, *numbers = row
    return Record(permalink_id, cell_of(code, language, interacts), *numbers)


class PostgresArchive:
    """An `Archive` in PostgreSQL. Raises `ConfigError` when it cannot be reached."""

    def __init__(self, url: str) -> None:
        try:
            self._connection = connect(url)
            self._connection.execute("SET statement_timeout = 0")
        except psycopg.Error as exc:
            raise ConfigError(f"permalink database: {str(exc).strip()}") from exc

    def _one(self, statement: str, *values: Any) -> Any:
        return self._connection.execute(statement, values).fetchone()

    def stats(self) -> Stats:
        """Return figures."""
        number, first, last = self._one(
            "SELECT count(*), coalesce(min(created), 0), coalesce(max(created), 0) FROM permalink"
        )
        reads, read_links = self._one("SELECT coalesce(sum(reads), 0)::bigint, count(*) FROM access")
        languages = self._connection.execute(
            "SELECT language, count(*) FROM permalink GROUP BY language ORDER BY count(*) DESC, language LIMIT %s",
            (MAX_LANGUAGES,),
        ).fetchall()
        return Stats(
            permalinks=number,
            tombstones=self._one("SELECT count(*) FROM tombstone")[0],
            size_bytes=self._one("SELECT pg_total_relation_size('permalink')")[0],
            reads=reads,
            never_read=max(0, number - read_links),
            first_created=first,
            last_created=last,
            languages=tuple((bytes(name).decode(), count) for name, count in languages),
        )

    def get(self, permalink_id: str) -> Record:
        """Return a record."""
        row = self._one(f"{_SELECT} WHERE p.id = %s", permalink_id)
        if row is not None:
            return _record(row)
        if self._one("SELECT 1 FROM tombstone WHERE id = %s", permalink_id):
            raise PermalinkRemoved
        raise UnknownPermalink(f"There is no permalink {permalink_id!r}.")

    def items(self) -> Iterator[Item]:
        """Yield every record and tombstone as of now, whatever is written meanwhile."""
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with self._connection.cursor("items") as cursor:
                cursor.itersize = _ROWS
                cursor.execute(f"{_SELECT} ORDER BY p.id")
                yield from map(_record, cursor)
            with self._connection.cursor("tombstones") as cursor:
                cursor.execute("SELECT id, digest, removed, reason FROM tombstone ORDER BY id")
                for permalink_id, digest, removed, reason in cursor:
                    yield Tombstone(permalink_id, bytes(digest), removed, bytes(reason).decode())

    def add(self, items: Sequence[Item], added: Added) -> None:
        """Store a batch."""
        with self._connection.transaction():
            self._add(items, added)

    def _add(self, items: Sequence[Item], added: Added) -> None:
        connection = self._connection
        ids = [item.id for item in items]
        known = contents(connection, ids)
        gone = {row[0] for row in connection.execute("SELECT id FROM tombstone WHERE id = ANY(%s)", (ids,))}
        fresh: list[tuple[str, bytes, bytes, bytes, int]] = []
        counts: dict[str, tuple[int, int]] = {}
        for item in items:
            if item.id in gone:
                added.removed += 1
            elif isinstance(item, Tombstone):
                gone.add(item.id)
                added.added += 1
                self._bury(item)
            elif item.id in known and known[item.id] != texts(item.cell):
                added.conflicts.append(item.id)
            else:
                if item.id in known:
                    added.present += 1
                else:
                    known[item.id] = texts(item.cell)
                    fresh.append((item.id, *texts(item.cell), item.created))
                    added.added += 1
                if item.reads:
                    counts[item.id] = item.reads, item.last_read
        insert(connection, fresh)
        if counts:
            connection.execute(
                "INSERT INTO access AS a SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[]) "
                "ON CONFLICT (id) DO UPDATE SET "
                "reads = greatest(a.reads, excluded.reads), last_read = greatest(a.last_read, excluded.last_read)",
                (list(counts), *map(list, zip(*counts.values(), strict=True))),
            )

    def _bury(self, tombstone: Tombstone) -> None:
        self._connection.execute("DELETE FROM permalink WHERE id = %s", (tombstone.id,))
        self._connection.execute("DELETE FROM access WHERE id = %s", (tombstone.id,))
        self._connection.execute(
            "INSERT INTO tombstone VALUES (%s, %s, %s, %s)",
            (tombstone.id, tombstone.digest, tombstone.removed, tombstone.reason.encode()),
        )

    def takedown(self, permalink_id: str, reason: str, now: int) -> list[str]:
        """Delete a permalink; the server's vacuum overwrites its text later."""
        with self._connection.transaction():
            record = self.get(permalink_id)
            wanted = texts(record.cell)
            same = sorted(
                name for name, found in contents(self._connection, list(own_ids(record))).items() if found == wanted
            )
            for other in same:
                self._bury(Tombstone(other, content_digest(record.cell), now, reason))
        return same

    def check(self) -> list[str]:
        """Read everything: what cannot be read is told."""
        try:
            for _ in self.items():
                pass
        except (psycopg.Error, UnicodeDecodeError) as exc:
            return [str(exc).strip()]
        return []

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()
