"""The SQLite file: made whole or not at all, upgraded step by step, opened for writing or for reading only.

``schema/NNNN.sql`` takes a database from version NNNN - 1 to NNNN; SQLite's ``user_version`` holds the version and
``application_id`` marks the file as ours. Sources: sqlite.org/pragma.html, sqlite.org/wal.html, sqlite.org/uri.html.
"""

from __future__ import annotations

import importlib.resources
import os
import pathlib
import tempfile
import urllib.parse
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as dbapi2
from twisted.logger import Logger

from appliance.errors import ConfigError

if TYPE_CHECKING:
    from sqlite3 import Connection  # pysqlite3 has the same interface and no type information
else:
    Connection = dbapi2.Connection

log = Logger()

#: "Cell" in ASCII, in the file's header.
APPLICATION_ID = 0x43656C6C

#: Seconds a writer waits for another process (an administrator's, a backup) to release the file.
WRITER_BUSY_SECONDS = 2.0

#: Pages in the write-ahead log (4 KiB each) at which they are copied into the database.
CHECKPOINT_PAGES = 4000


def scripts() -> list[str]:
    """Return the schema scripts in order, that of version 1 first."""
    folder = importlib.resources.files("appliance.permalink") / "schema"
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".sql"))
    if names != [f"{number:04}.sql" for number in range(1, len(names) + 1)]:
        raise AssertionError(f"schema scripts are not numbered from 0001 without gaps: {names}")
    return [(folder / name).read_text(encoding="utf-8") for name in names]


def _connect(path: pathlib.Path, mode: str, busy_seconds: float) -> Connection:
    address = f"file:{urllib.parse.quote(str(path))}?mode={mode}"
    connection: Any = dbapi2.connect(
        address, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    return connection  # type: ignore[no-any-return]


def _pragma(connection: Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _apply(connection: Connection, number: int, script: str) -> None:
    """Run one script and raise the version in one transaction."""
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
    except dbapi2.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _sync_directory(path: pathlib.Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def create(path: pathlib.Path) -> None:
    """Make a new database beside ``path`` and link it into place: a crash leaves either none or a whole one.

    Raises `FileExistsError` when another process was faster.
    """
    for suffix in ("-wal", "-journal"):
        if os.path.exists(f"{path}{suffix}"):
            raise ConfigError(f"{path} is missing although {path}{suffix} exists: put it back, or move the latter away")
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.new-", dir=path.parent)
    os.close(fd)
    try:
        connection = _connect(pathlib.Path(name), "rw", WRITER_BUSY_SECONDS)
        try:
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            for number, script in enumerate(scripts(), 1):
                _apply(connection, number, script)
            if _pragma(connection, "journal_mode = WAL") != "wal":
                raise ConfigError(f"{path}: this file system cannot hold a database in WAL mode (shared memory)")
        finally:
            connection.close()
        with open(name, "rb") as file:
            os.fsync(file.fileno())
        os.link(name, path)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            pathlib.Path(f"{name}{suffix}").unlink(missing_ok=True)
    _sync_directory(path.parent)


def upgrade(connection: Connection, path: pathlib.Path) -> None:
    """Bring an opened database to the newest version.

    Raises `ConfigError` when the file is not ours or comes from a newer release.
    """
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise ConfigError(f"{path} is not a permalink database of Cell Appliance")
    version, steps = _pragma(connection, "user_version"), scripts()
    if version > len(steps):
        raise ConfigError(f"{path} was written by a newer release (version {version}; this one knows {len(steps)})")
    for number in range(version + 1, len(steps) + 1):
        _apply(connection, number, steps[number - 1])
        log.info("{path}: upgraded from version {old} to {new}", path=str(path), old=number - 1, new=number)


def open_writer(path: pathlib.Path) -> Connection:
    """Return a connection that writes durably, after making or upgrading the database.

    Raises `ConfigError` when that is impossible, saying why.
    """
    try:
        if not path.exists():
            create(path)
        connection = _connect(path, "rw", WRITER_BUSY_SECONDS)
        try:
            upgrade(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # A commit returns only when its frames are on disk (sqlite.org/pragma.html#pragma_synchronous).
            connection.execute("PRAGMA synchronous = FULL")
            # Pages of the index are written to by many commits: a longer log is copied back less often.
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            connection.execute("PRAGMA trusted_schema = OFF")
        except BaseException:
            connection.close()
            raise
    except (OSError, dbapi2.Error) as exc:
        raise ConfigError(f"permalink database {path}: {exc}") from exc
    return connection


def open_reader(path: pathlib.Path) -> Connection:
    """Return a connection that cannot write and never waits: it is used inside the reactor's turn."""
    try:
        connection = _connect(path, "ro", 0.0)
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
    except dbapi2.Error as exc:
        raise ConfigError(f"permalink database {path}: {exc}") from exc
    return connection
