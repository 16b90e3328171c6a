"""``cellctl backup`` and ``restore``: the permalinks and the configuration in one compressed archive.

The database is copied by SQLite's online backup: the role goes on meanwhile, and what it acknowledged before the copy
began is in it. A restore puts the database in place while the role is stopped. Members: ``manifest.json`` (version,
time, SHA-256 of every other), ``permalinks.sqlite3``, ``etc/...``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pathlib
import tarfile
import tempfile
import time
from typing import TYPE_CHECKING

import pysqlite3.dbapi2 as dbapi2

import appliance
from appliance.cli import units
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.config import Config

MANIFEST = "manifest.json"
DATABASE = "permalinks.sqlite3"
CONFIGURATION = pathlib.Path("/etc/cell-appliance")
PERMALINK_UNIT = "cell-permalink.service"

#: Pages copied before other readers and writers get a turn.
PAGES_AT_ONCE = 1024

#: Largest file of the configuration that is kept.
MAX_CONFIGURATION_BYTES = 1_048_576

_BLOCK_BYTES = 1 << 20


class BackupFailed(ApplianceError):
    """The backup could not be made or used."""


def _digest(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _configuration_files(root: pathlib.Path) -> Iterator[pathlib.Path]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_CONFIGURATION_BYTES:
            yield path


def copy_database(source: pathlib.Path, target: pathlib.Path) -> int:
    """Copy a database that may be in use; return how many permalinks the copy has. Raises `BackupFailed`."""
    if not source.exists():
        raise BackupFailed(f"there is no database {source}")
    owner = source.stat()
    try:
        with (
            contextlib.closing(dbapi2.connect(f"file:{source}?mode=ro", uri=True)) as live,
            contextlib.closing(dbapi2.connect(str(target))) as copy,
        ):
            live.backup(copy, pages=PAGES_AT_ONCE)
            return check_database(copy, target)
    except dbapi2.Error as exc:
        raise BackupFailed(f"{source} cannot be copied: {exc}") from exc
    finally:
        # SQLite may have made these as root; the role must be able to write them
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.chown(f"{source}{suffix}", owner.st_uid, owner.st_gid)


def check_database(connection: dbapi2.Connection, path: pathlib.Path) -> int:
    """Return how many permalinks a database has; raises `BackupFailed` when it is damaged."""
    (verdict,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if verdict != "ok":
        raise BackupFailed(f"{path} is damaged: {verdict}")
    number: int = connection.execute("SELECT count(*) FROM permalink").fetchone()[0]
    return number


def backup(config: Config, archive: pathlib.Path, configuration: pathlib.Path = CONFIGURATION) -> str:
    """Write ``archive``, readable by nobody else; return what is in it. Raises `BackupFailed`, leaving nothing."""
    try:
        with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".backup-") as work:
            database = pathlib.Path(work) / DATABASE
            number = copy_database(config.database_path, database)
            members = {DATABASE: database}
            members |= {f"etc/{path.relative_to(configuration)}": path for path in _configuration_files(configuration)}
            manifest = {
                "version": appliance.__version__,
                "created": int(time.time()),
                "permalinks": number,
                "sha256": {name: _digest(path) for name, path in members.items()},
            }
            made = pathlib.Path(work) / "archive"
            with tarfile.open(made, "w:gz") as tar:
                text = json.dumps(manifest, indent=2).encode()
                information = tarfile.TarInfo(MANIFEST)
                information.size, information.mode = len(text), 0o600
                tar.addfile(information, io.BytesIO(text))
                for name, path in members.items():
                    tar.add(path, arcname=name, recursive=False)
            made.chmod(0o600)
            with made.open("rb") as file:
                os.fsync(file.fileno())
            made.rename(archive)
    except OSError as exc:
        raise BackupFailed(f"{archive} cannot be written: {exc.strerror or exc}") from exc
    return f"{archive}: {number} permalinks, {len(members) - 1} files of the configuration"


def _unpack(archive: pathlib.Path, work: pathlib.Path) -> dict[str, pathlib.Path]:
    """Unpack what the manifest names into ``work``, each file checked; raises `BackupFailed`."""
    try:
        with tarfile.open(archive, "r:gz") as tar:
            manifest = json.load(_member(tar, MANIFEST))
            found = {}
            for number, (name, digest) in enumerate(manifest["sha256"].items()):
                path = work / str(number)
                with path.open("wb") as target, _member(tar, name) as source:
                    while block := source.read(_BLOCK_BYTES):
                        target.write(block)
                if _digest(path) != digest:
                    raise BackupFailed(f"{archive}: {name} is damaged")
                found[name] = path
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BackupFailed(f"{archive} is not a backup of this program: {exc}") from exc
    if DATABASE not in found:
        raise BackupFailed(f"{archive} has no {DATABASE}")
    return found


def _member(tar: tarfile.TarFile, name: str) -> io.BufferedIOBase:
    file = tar.extractfile(name)
    if file is None:
        raise BackupFailed(f"{name} is no file")
    return file  # type: ignore[return-value]


def restore(config: Config, archive: pathlib.Path, *, configuration: bool, target: pathlib.Path = CONFIGURATION) -> str:
    """Put the permalinks of ``archive``, and its ``configuration`` if wished, in place of what is there.

    What was there stays beside it, named ``.before-restore``. Raises `BackupFailed` and changes nothing when the
    archive is damaged.
    """
    database = config.database_path
    with tempfile.TemporaryDirectory(dir=database.parent, prefix=".restore-") as directory:
        members = _unpack(archive, pathlib.Path(directory))
        try:
            with contextlib.closing(dbapi2.connect(f"file:{members[DATABASE]}?mode=ro", uri=True)) as connection:
                number = check_database(connection, archive)
        except dbapi2.Error as exc:
            raise BackupFailed(f"{archive}: its database cannot be read: {exc}") from exc
        owner = database.parent.stat()
        os.chown(members[DATABASE], owner.st_uid, owner.st_gid)
        members[DATABASE].chmod(0o640)
        with units.stopped(PERMALINK_UNIT):
            pathlib.Path(f"{database}-shm").unlink(missing_ok=True)
            # after a crash the log holds what is not in the database yet: it belongs to it under its new name, too
            for suffix in ("-wal", ""):
                if os.path.exists(f"{database}{suffix}"):
                    os.rename(f"{database}{suffix}", f"{database}.before-restore{suffix}")
            members[DATABASE].rename(database)
        if configuration:
            for name, path in members.items():
                if name.startswith("etc/"):
                    _replace(path, target / pathlib.PurePosixPath(name).relative_to("etc"), target)
    return f"{number} permalinks restored" + (", and the configuration" if configuration else "")


def _replace(source: pathlib.Path, target: pathlib.Path, root: pathlib.Path) -> None:
    if ".." in target.parts or not target.is_relative_to(root):
        raise BackupFailed(f"{target} is outside {root}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        target.rename(f"{target}.before-restore")
    target.write_bytes(source.read_bytes())
