"""``cellctl permalinks``: figures, single links, import and export, backup and restore, takedown."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pathlib
import sys
import time
from typing import IO, TYPE_CHECKING, Any

import attrs
import pysqlite3.dbapi2 as dbapi2

from appliance.cli import edge_cache
from appliance.cli.effective import effective
from appliance.errors import ApplianceError, ConfigError
from appliance.permalink import interchange, rescue
from appliance.permalink.archive import BATCH, BATCH_CHARACTERS, Added, Record, SQLiteArchive, now_seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from appliance.config import Config
    from appliance.permalink.archive import Archive, Item

#: Lines about single records that an import tells; the others are counted.
MAX_TOLD = 20

#: Longest reason of a takedown.
MAX_REASON_CHARACTERS = 1000

_STANDARD = "-"


def add_parser(commands: Any, config_option: Any) -> None:
    """Add the command and its verbs to cellctl's."""
    top = commands.add_parser(
        "permalinks",
        help="look after the permalink database",
        description="Look after the permalink database. All but restore and recover work while it is served.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        config_option(added)
        return added

    verb("stats", "print figures").add_argument("--json", action="store_true", help="print JSON")
    get = verb("get", "print a permalink: its code, or everything as JSON")
    get.add_argument("id", metavar="ID")
    get.add_argument("--json", action="store_true", help="print the whole record as JSON")
    imports = verb("import", "add permalinks from a file; their ids keep working")
    imports.add_argument("file", metavar="FILE", help="JSON lines, CSV, a SageMathCell database; - is standard input")
    imports.add_argument("--format", choices=interchange.FORMATS, help="instead of what the file looks like")
    exports = verb("export", "write every permalink to a file")
    exports.add_argument("file", metavar="FILE", help="- is standard output")
    exports.add_argument("--format", choices=interchange.FORMATS, default="jsonl", help="default: jsonl")
    verb("backup", "copy the database while it is served").add_argument("file", metavar="FILE")
    verb("restore", "put a backup in place; the present database is kept aside").add_argument("file", metavar="FILE")
    verb("check", "look for damage")
    recover = verb("recover", "copy what can be read of a damaged database into a new file")
    recover.add_argument("file", metavar="FILE", help="the new file, for restore")
    migrate = verb("migrate", "copy everything into another database, SQLite or PostgreSQL")
    migrate.add_argument("database", metavar="DATABASE", help="as permalink.database in the configuration")
    takedown = verb("takedown", "remove a permalink for good: it is answered 410, and the same cell is not taken again")
    takedown.add_argument("id", metavar="ID")
    takedown.add_argument("--reason", default="", help="kept in the database; visitors do not see it")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Run one verb; return the exit status."""
    config = effective(config, uid=os.geteuid(), environ=os.environ, listen=None)
    try:
        status: int = _VERBS[arguments.verb](config, arguments)
    except ConfigError:
        raise
    except ApplianceError as exc:
        print(f"cellctl: {exc.message}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as exc:
        print(f"cellctl: {exc}", file=sys.stderr)
        return 1
    except dbapi2.Error as exc:
        print(f"cellctl: permalink database {config.database_path}: {exc}", file=sys.stderr)
        return 1
    return status


@contextlib.contextmanager
def _opened(config: Config, *, create: bool = False) -> Iterator[Archive]:
    """Open the database. As root, a new file is given to the owner of its directory."""
    if config.database_url:
        from appliance.permalink.postgres_archive import PostgresArchive

        shared = PostgresArchive(config.database_url)
        try:
            yield shared
        finally:
            shared.close()
        return
    path = config.database_path
    new = not path.exists()
    if new and not create:
        raise ConfigError(f"there is no permalink database {path}")
    archive = SQLiteArchive(path)
    if new and os.geteuid() == 0:
        owner = path.parent.stat()
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.chown(f"{path}{suffix}", owner.st_uid, owner.st_gid)
    try:
        yield archive
    finally:
        archive.close()


def _time(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds)) if seconds else "never"


def _stats(config: Config, arguments: argparse.Namespace) -> int:
    with _opened(config) as archive:
        stats = archive.stats()
    if arguments.json:
        print(json.dumps(attrs.asdict(stats) | {"languages": dict(stats.languages)}))
        return 0
    limit = config.permalink.max_database_bytes
    for name, value in (
        ("permalinks", f"{stats.permalinks:,}"),
        ("never read", f"{stats.never_read:,}"),
        ("reads", f"{stats.reads:,}"),
        ("taken down", f"{stats.tombstones:,}"),
        ("size", f"{stats.size_bytes:,} bytes of {limit:,} ({100 * stats.size_bytes / limit:.1f} %)"),
        ("first", _time(stats.first_created)),
        ("last", _time(stats.last_created)),
        *((f"in {language}", f"{number:,}") for language, number in stats.languages),
    ):
        print(f"{name:<20} {value}")
    return 0


def _get(config: Config, arguments: argparse.Namespace) -> int:
    with _opened(config) as archive:
        record = archive.get(arguments.id)
    if arguments.json:
        print(json.dumps(interchange.fields_of(record), ensure_ascii=False))
    else:
        sys.stdout.write(record.cell.code)
    return 0


def _format_of(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        start = file.read(len(interchange.SQLITE_MAGIC))
    if start == interchange.SQLITE_MAGIC:
        return "sagecell"
    if path.suffix.lower() == ".csv":
        return "csv"
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json") or start.lstrip()[:1] == b"{":
        return "jsonl"
    raise ConfigError(f"{path} does not look like JSON lines, CSV or a database: name its --format")


@contextlib.contextmanager
def _items(arguments: argparse.Namespace, max_bytes: int) -> Iterator[Iterable[Item | interchange.Invalid]]:
    name = arguments.file
    if name == _STANDARD:
        chosen = arguments.format or "jsonl"
        if chosen == "sagecell":
            raise ConfigError("a SageMathCell database cannot come from standard input")
        if chosen == "csv":
            yield interchange.read_csv(io.TextIOWrapper(sys.stdin.buffer, "utf-8", newline=""), max_bytes)
        else:
            yield interchange.read_json_lines(sys.stdin.buffer, max_bytes)
        return
    path = pathlib.Path(name)
    chosen = arguments.format or _format_of(path)
    if chosen == "sagecell":
        yield interchange.read_sagecell(path, max_bytes)
    elif chosen == "csv":
        with path.open(encoding="utf-8", newline="") as text:
            yield interchange.read_csv(text, max_bytes)
    else:
        with path.open("rb") as file:
            yield interchange.read_json_lines(file, max_bytes)


def import_items(archive: Archive, items: Iterable[Item | interchange.Invalid]) -> tuple[Added, list[str], int]:
    """Store items in batches; return what became of them, why the first invalid ones are none, and their number."""
    added, invalid, size = Added(), 0, 0
    told: list[str] = []
    batch: list[Item] = []
    for item in items:
        if isinstance(item, interchange.Invalid):
            invalid += 1
            if len(told) < MAX_TOLD:
                told.append(f"{item.where}: {item.reason}")
            continue
        batch.append(item)
        if isinstance(item, Record):
            size += len(item.cell.code) + len(item.cell.interacts)
        if len(batch) == BATCH or size >= BATCH_CHARACTERS:
            archive.add(batch, added)
            batch, size = [], 0
    if batch:
        archive.add(batch, added)
    return added, told, invalid


def _import(config: Config, arguments: argparse.Namespace) -> int:
    with _items(arguments, config.permalink.max_code_bytes) as items, _opened(config, create=True) as archive:
        added, told, invalid = import_items(archive, items)
    for line in told:
        print(f"cellctl: {line}", file=sys.stderr)
    for permalink_id in added.conflicts[:MAX_TOLD]:
        print(f"cellctl: {permalink_id} is here already with other content", file=sys.stderr)
    print(
        f"{added.added:,} added, {added.present:,} were here, {added.removed:,} had been taken down, "
        f"{len(added.conflicts):,} in conflict, {invalid:,} invalid"
    )
    return 1 if invalid or added.conflicts else 0


def _export(config: Config, arguments: argparse.Namespace) -> int:
    with _opened(config) as archive:
        if arguments.file == _STANDARD:
            if arguments.format == "sagecell":
                raise ConfigError("a SageMathCell database cannot go to standard output")
            _write(archive, arguments.format, sys.stdout.buffer)
            return 0
        target = pathlib.Path(arguments.file)
        with rescue.new_file(target) as path:
            if arguments.format == "sagecell":
                number = interchange.write_sagecell(archive.items(), path)
            else:
                with path.open("wb") as file:
                    number = _write(archive, arguments.format, file)
    print(f"{number:,} written to {target}")
    return 0


def _write(archive: Archive, chosen: str, stream: IO[bytes]) -> int:
    if chosen == "csv":
        text = io.TextIOWrapper(stream, "utf-8", newline="")
        try:
            return interchange.write_csv(archive.items(), text)
        finally:
            text.flush()
            text.detach()
    return interchange.write_json_lines(archive.items(), stream)


def _only_a_file(config: Config) -> None:
    if config.database_url:
        raise ConfigError("permalinks are in PostgreSQL: use its own pg_dump and pg_restore, or export and import")


def _migrate(config: Config, arguments: argparse.Namespace) -> int:
    """Copy everything into another database; what is there already is kept."""
    permalink = attrs.evolve(config.permalink, database=arguments.database)
    with _opened(config) as source, _opened(attrs.evolve(config, permalink=permalink), create=True) as target:
        added, _, _ = import_items(target, source.items())
    print(f"{added.added:,} copied, {added.present:,} were there, {len(added.conflicts):,} in conflict")
    return 1 if added.conflicts else 0


def _backup(config: Config, arguments: argparse.Namespace) -> int:
    _only_a_file(config)
    number = rescue.backup(config.database_path, pathlib.Path(arguments.file))
    print(f"{number:,} permalinks in {arguments.file}")
    return 0


def _restore(config: Config, arguments: argparse.Namespace) -> int:
    _only_a_file(config)
    number, aside = rescue.restore(pathlib.Path(arguments.file), config.database_path)
    print(f"{number:,} permalinks in {config.database_path}" + (f"; before: {aside}" if aside else ""))
    return 0


def _check(config: Config, _arguments: argparse.Namespace) -> int:
    with _opened(config) as archive:
        found = archive.check()
    for line in found:
        print(f"cellctl: {line}", file=sys.stderr)
    print(f"{config.database_path}: {'damaged; see cellctl permalinks recover and restore' if found else 'sound'}")
    return 1 if found else 0


def _recover(config: Config, arguments: argparse.Namespace) -> int:
    _only_a_file(config)
    number = rescue.recover(config.database_path, pathlib.Path(arguments.file))
    print(f"{number:,} permalinks in {arguments.file}")
    return 0


def _takedown(config: Config, arguments: argparse.Namespace) -> int:
    if len(arguments.reason) > MAX_REASON_CHARACTERS:
        raise ConfigError(f"the reason is longer than {MAX_REASON_CHARACTERS} characters")
    with _opened(config) as archive:
        removed = archive.takedown(arguments.id, arguments.reason, now_seconds())
    for permalink_id in removed:
        print(f"{permalink_id} is taken down")
    try:
        edge_cache.clear()
    except OSError as exc:
        print(f"cellctl: what nginx keeps could not be removed, it ends within minutes: {exc}", file=sys.stderr)
        return 1
    return 0


_VERBS = {
    "stats": _stats,
    "get": _get,
    "import": _import,
    "export": _export,
    "backup": _backup,
    "restore": _restore,
    "check": _check,
    "migrate": _migrate,
    "recover": _recover,
    "takedown": _takedown,
}
