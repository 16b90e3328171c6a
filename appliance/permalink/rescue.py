"""Copies of a permalink database: backup while it is served, restore, and what can be read of a damaged one.

New files are made beside their place, synchronized, and then named: a crash leaves the old file or the new one.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import tempfile
import time
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as dbapi2

from appliance.errors import ConfigError
from appliance.permalink import database

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Rows that are read at once from a damaged database before each is tried by itself.
_SEGMENT = 500

#: Rows beyond the last one that could be read where others are still looked for.
_GAP = 1_000_000


@contextlib.contextmanager
def new_file(target: pathlib.Path) -> Iterator[pathlib.Path]:
    """Give an empty file of our own beside ``target``; name it ``target`` when the block has ended well.

    As root, it gets the owner of the directory, so that a role may use it.
    """
    fd, name = tempfile.mkstemp(prefix=f".{target.name}.new-", dir=target.parent)
    os.close(fd)
    path = pathlib.Path(name)
    try:
        yield path
        if os.geteuid() == 0:
            owner = target.parent.stat()
            os.chown(path, owner.st_uid, owner.st_gid)
        with path.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(path, target)
        sync_directory(target.parent)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            pathlib.Path(f"{name}{suffix}").unlink(missing_ok=True)


def sync_directory(path: pathlib.Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def verify(path: pathlib.Path) -> int:
    """Return how many permalinks are in a file. Raises `ConfigError` when it is damaged, or not ours."""
    try:
        connection = database.open_reader(path)
        try:
            if connection.execute("PRAGMA application_id").fetchone()[0] != database.APPLICATION_ID:
                raise ConfigError(f"{path} is not a permalink database of Cell Appliance")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > len(database.scripts()):
                raise ConfigError(f"{path} was written by a newer release (version {version})")
            found = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
            if found != ["ok"]:
                raise ConfigError(f"{path} is damaged: {'; '.join(found)}")
            return int(connection.execute("SELECT count(*) FROM permalink").fetchone()[0])
        finally:
            connection.close()
    except dbapi2.Error as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def _copy(source: pathlib.Path, empty: pathlib.Path) -> None:
    """Copy a database, its write-ahead log included, in a reader's transaction: writers go on.

    Source: sqlite.org/lang_vacuum.html#vacuuminto.
    """
    connection = database.open_reader(source)
    try:
        connection.execute("PRAGMA query_only = OFF")
        connection.execute("VACUUM INTO ?", (str(empty),))
    finally:
        connection.close()


def backup(source: pathlib.Path, target: pathlib.Path) -> int:
    """Copy a database as of now, while it is served and written; return how many permalinks the copy has.

    The copy is checked before it gets its name. Raises `ConfigError`.
    """
    if not source.exists():
        raise ConfigError(f"there is no permalink database {source}")
    try:
        with new_file(target) as path:
            _copy(source, path)
            return verify(path)
    except (OSError, dbapi2.Error) as exc:
        raise ConfigError(f"backup to {target}: {exc}") from exc


def _release(path: pathlib.Path) -> None:
    """Empty the write-ahead log into the database, which works only while nobody else has it open.

    Raises `ConfigError` when somebody has; a database that is too damaged for it stays as it is.
    """
    try:
        connection: Any = dbapi2.connect(str(path), timeout=1.0, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = DELETE").fetchone()
        finally:
            connection.close()
    except dbapi2.Error as exc:
        if getattr(exc, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise ConfigError(f"{path} is in use: stop the permalink role (systemctl stop cell.target) first") from exc


def set_aside(path: pathlib.Path) -> pathlib.Path | None:
    """Move a database that nobody uses, and what belongs to it, out of the way; return its new name."""
    if not path.exists():
        return None
    _release(path)
    aside = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    if aside.exists():
        raise ConfigError(f"{aside} exists already: try again in a second")
    for suffix in ("-wal", "-shm", "-journal", ""):
        with contextlib.suppress(FileNotFoundError):
            os.rename(f"{path}{suffix}", f"{aside}{suffix}")
    sync_directory(path.parent)
    return aside


def restore(source: pathlib.Path, target: pathlib.Path) -> tuple[int, pathlib.Path | None]:
    """Put a copy of ``source`` in the place of ``target``, which is kept under another name.

    Returns how many permalinks it has, and that name. Raises `ConfigError` and changes nothing when the copy is
    damaged or the database in use.
    """
    number = verify(source)
    try:
        with new_file(target) as path:
            _copy(source, path)
            number = verify(path)
            aside = set_aside(target)
    except OSError as exc:
        raise ConfigError(f"restore of {source}: {exc}") from exc
    return number, aside


def _readable(connection: Any, table: str, columns: str) -> Iterator[Any]:
    """Yield rows of a table that can still be read, in the order of their numbers."""
    select = f"SELECT rowid, {columns} FROM {table} WHERE rowid"  # noqa: S608 - names from this module
    try:
        last = connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0  # noqa: S608
    except dbapi2.Error:
        last = 0
    first, seen = 1, 0
    while first <= (last or seen + _GAP):
        try:
            rows = connection.execute(f"{select} BETWEEN ? AND ?", (first, first + _SEGMENT - 1)).fetchall()
        except dbapi2.Error:
            rows = []
            for number in range(first, first + _SEGMENT):
                with contextlib.suppress(dbapi2.Error):
                    rows += connection.execute(f"{select} = ?", (number,)).fetchall()
        for row in rows:
            seen = row[0]
            yield row[1:]
        first += _SEGMENT


def recover(damaged: pathlib.Path, target: pathlib.Path) -> int:
    """Make a sound database of what can be read of a damaged one; return how many permalinks that is.

    Raises `ConfigError` when nothing can be read, or ``target`` exists.
    """
    if target.exists():
        raise ConfigError(f"{target} exists already")
    try:
        source: Any = dbapi2.connect(f"{damaged.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        with new_file(target) as path:
            path.unlink()
            copy = database.open_writer(path)
            copy.execute("BEGIN")
            columns = "id, code, language, interacts, created"
            number = 0
            for row in _readable(source, "permalink", columns):
                if all(isinstance(value, str) for value in row[:4]) and isinstance(row[4], int):
                    copy.execute(f"INSERT OR IGNORE INTO permalink ({columns}) VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608
                    number += 1
            for statement, into in (
                ("SELECT id, reads, last_read FROM access", "access VALUES (?, ?, ?)"),
                ("SELECT id, digest, removed, reason FROM tombstone", "tombstone VALUES (?, ?, ?, ?)"),
            ):
                with contextlib.suppress(dbapi2.Error):  # as far as it can be read
                    for row in source.execute(statement):
                        copy.execute(f"INSERT OR IGNORE INTO {into}", row)
            copy.execute("DELETE FROM permalink WHERE id IN (SELECT id FROM tombstone)")
            copy.execute("COMMIT")
            copy.execute("PRAGMA journal_mode = DELETE").fetchone()
            copy.close()
            source.close()
            if not number:
                raise ConfigError(f"nothing can be read of {damaged}")
            verify(path)
    except (OSError, dbapi2.Error) as exc:
        raise ConfigError(f"recovery of {damaged}: {exc}") from exc
    return number
