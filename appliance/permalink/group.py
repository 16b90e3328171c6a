"""What the writer's thread does in one transaction of SQLite.

Between two steps of a statement Python's global lock changes hands, and the reactor's thread may keep it for
milliseconds. A group of permalinks is therefore one question and one insertion, however many they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import ApplianceError, PermalinkRemoved, PermalinksFull
from appliance.protocol.permalink import ID_LENGTH, base62, candidate_ids, content_digest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from sqlite3 import Connection

    from appliance.protocol.permalink import SharedCell

#: What a row takes besides its texts: id, its place in the index, numbers.
ROW_BYTES = 100

#: Rows that one step of the expiry looks at: a few milliseconds.
EXPIRY_ROWS = 5000


@attrs.define(slots=True)
class Put:
    """Store a cell, answer its id."""

    cell: SharedCell
    created: int
    digest: bytes = attrs.field(init=False)
    permalink_id: str = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.digest = content_digest(self.cell)
        self.permalink_id = base62(self.digest, ID_LENGTH)

    @property
    def text(self) -> tuple[str, str, str]:
        """The columns of the content."""
        return self.cell.code, self.cell.language, self.cell.interacts


@attrs.frozen
class Beat:
    """Advance the canary, answer its new value."""

    def run(self, connection: Connection) -> int:
        """Write the canary in the transaction of the group."""
        beat: int = connection.execute("UPDATE canary SET beat = beat + 1 WHERE id = 1 RETURNING beat").fetchone()[0]
        return beat


@attrs.frozen
class CountReads:
    """Add the reads that were counted since the last time."""

    reads: dict[str, int]
    when: int

    def run(self, connection: Connection) -> None:
        """Add them in the transaction of the group; links that are gone by now count nothing."""
        connection.executemany(
            "INSERT INTO access (id, reads, last_read) SELECT id, ?, ? FROM permalink WHERE id = ? "
            "ON CONFLICT (id) DO UPDATE SET "
            "reads = reads + excluded.reads, last_read = max(last_read, excluded.last_read)",
            [(number, self.when, permalink_id) for permalink_id, number in self.reads.items()],
        )


@attrs.frozen
class Expire:
    """Delete links that nobody ever read and that are older than ``created_before``, among rows after ``rowid``."""

    rowid: int
    created_before: int

    def run(self, connection: Connection) -> tuple[int | None, int]:
        """Return the row to go on after, None at the end, and how many links were deleted."""
        last, number = connection.execute(
            "SELECT max(rowid), count(*) FROM (SELECT rowid FROM permalink WHERE rowid > ? ORDER BY rowid LIMIT ?)",
            (self.rowid, EXPIRY_ROWS),
        ).fetchone()
        if last is None:
            return None, 0
        deleted = connection.execute(
            "DELETE FROM permalink WHERE rowid > ? AND rowid <= ? AND created < ? "
            "AND NOT EXISTS (SELECT 1 FROM access WHERE access.id = permalink.id)",
            (self.rowid, last, self.created_before),
        ).rowcount
        # a step that is not full has reached the end: new rows must not keep the sweep from beginning again
        return last if number == EXPIRY_ROWS else None, deleted


Write = Put | Beat | CountReads | Expire


def size_bytes(connection: Connection) -> int:
    """Return the size of the database without its write-ahead log, free pages left out."""
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * page_bytes)


def _marks(number: int, columns: int) -> str:
    return ", ".join([f"({', '.join('?' * columns)})"] * number)


def _insert(connection: Connection, puts: Sequence[Put]) -> None:
    if puts:
        connection.execute(
            f"INSERT INTO permalink (id, code, language, interacts, created) VALUES {_marks(len(puts), 5)}",  # noqa: S608 - question marks
            [value for put in puts for value in (put.permalink_id, *put.text, put.created)],
        )


def _collided(connection: Connection, put: Put, fresh: dict[str, Put]) -> str:
    """Return the id of a cell whose shortest id belongs to another cell, and mark it as new if it is."""
    for permalink_id in candidate_ids(put.cell):
        if permalink_id in fresh:
            if fresh[permalink_id].digest == put.digest:
                return permalink_id
            continue
        row = connection.execute(
            "SELECT code, language, interacts FROM permalink WHERE id = ?", (permalink_id,)
        ).fetchone()
        if row == put.text:
            return permalink_id
        if row is None and not connection.execute("SELECT 1 FROM tombstone WHERE id = ?", (permalink_id,)).fetchone():
            put.permalink_id = permalink_id
            fresh[permalink_id] = put
            return permalink_id
    raise AssertionError("two different cells have the same 256-bit digest")


def put_all(connection: Connection, puts: Sequence[Put], max_bytes: int) -> list[str | ApplianceError]:
    """Store cells in the transaction that is open; return the id of each, or why it has none."""
    if not puts:
        return []
    marks = ", ".join("?" * len(puts))
    known = {
        row[0]: row[1:]
        for row in connection.execute(
            f"SELECT id, code, language, interacts FROM permalink WHERE id IN ({marks})",  # noqa: S608 - question marks
            [put.permalink_id for put in puts],
        )
    }
    tombstones = connection.execute(
        f"SELECT digest, id FROM tombstone WHERE digest IN ({marks}) OR id IN ({marks})",  # noqa: S608 - question marks
        [*(put.digest for put in puts), *(put.permalink_id for put in puts)],
    ).fetchall()
    removed = {row[0] for row in tombstones}
    taken = known.keys() | {row[1] for row in tombstones}
    room = max_bytes - size_bytes(connection)
    fresh: dict[str, Put] = {}
    answers: list[str | ApplianceError] = []
    for put in puts:
        if put.digest in removed:
            answers.append(PermalinkRemoved())
        elif known.get(put.permalink_id) == put.text:
            answers.append(put.permalink_id)
        elif (room := room - put.cell.size_bytes() - ROW_BYTES) < 0:
            answers.append(PermalinksFull())
        elif put.permalink_id in taken or put.permalink_id in fresh:
            answers.append(_collided(connection, put, fresh))
        else:
            fresh[put.permalink_id] = put
            answers.append(put.permalink_id)
    _insert(connection, list(fresh.values()))
    return answers


def commit_group(connection: Connection, writes: Sequence[Write], max_bytes: int) -> list[Any]:
    """Run ``writes`` in one durable transaction and return their answers; on an error nothing is stored.

    An answer that is an `ApplianceError` refuses one write and leaves the others alone.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        answers = iter(put_all(connection, [write for write in writes if isinstance(write, Put)], max_bytes))
        found = [next(answers) if isinstance(write, Put) else write.run(connection) for write in writes]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return found
