"""Permalinks in files: JSON lines, CSV, and databases of SageMathCell.

Reading gives a record or the reason why there is none, so that one bad line of a million is told and not fatal.
"""

from __future__ import annotations

import csv
import datetime
import json
import sqlite3
from typing import IO, TYPE_CHECKING, Any

import attrs

from appliance.permalink.archive import Item, Record, Tombstone
from appliance.protocol.permalink import MAX_LANGUAGE_BYTES, SharedCell, may_be_id

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable, Iterator

FORMATS = ("jsonl", "csv", "sagecell")

COLUMNS = ("id", "code", "language", "interacts", "created", "reads", "last_read", "digest", "removed", "reason")

#: Longest line of JSON, longest field of CSV: two texts at their configured limit are far below it.
MAX_LINE_CHARACTERS = 67_108_864

_MAX_NUMBER = 2**62

_decode = json.JSONDecoder().decode

#: First bytes of every SQLite database (sqlite.org/fileformat.html, section 1.3).
SQLITE_MAGIC = b"SQLite format 3\x00"

_SAGECELL_SCHEMA = """
CREATE TABLE permalinks (
    ident VARCHAR NOT NULL PRIMARY KEY, code VARCHAR NOT NULL, language VARCHAR NOT NULL, interacts VARCHAR NOT NULL,
    created DATETIME, last_accessed DATETIME, requested INTEGER
);
CREATE INDEX ix_permalinks_ident ON permalinks (ident);
"""


@attrs.frozen
class Invalid:
    """A line or row that is no record: where it is, and what is wrong with it."""

    where: str
    reason: str


def _text(value: Any, name: str, max_bytes: int) -> str:
    if type(value) is str and len(value) <= max_bytes and value.isascii():
        return value  # as almost all are
    if not isinstance(value, str):
        raise ValueError(f"{name} is not text")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as exc:
        raise ValueError(f"{name} is not Unicode text") from exc
    if size > max_bytes:
        raise ValueError(f"{name} has {size} bytes, more than permalink.max_code_bytes = {max_bytes}")
    return value


def _number(value: Any, name: str) -> int:
    if type(value) is int and 0 <= value < _MAX_NUMBER:
        return value
    if isinstance(value, str):
        value = int(value) if value.isdecimal() else None if value else 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_NUMBER:
        raise ValueError(f"{name} is not a number of seconds or times")
    return int(value)


def item_of(fields: dict[str, Any], max_bytes: int) -> Item:
    """Return the record or tombstone in named values. Raises `ValueError` saying what is wrong."""
    permalink_id = fields.get("id")
    if not isinstance(permalink_id, str) or not may_be_id(permalink_id):
        raise ValueError(f"id is not 1 to 64 printable characters: {str(permalink_id)[:80]!r}")
    if fields.get("removed") not in (None, ""):
        try:
            digest = bytes.fromhex(fields.get("digest") or "")
        except (TypeError, ValueError) as exc:
            raise ValueError("digest is not hexadecimal") from exc
        reason = _text(fields.get("reason") or "", "reason", max_bytes)
        return Tombstone(permalink_id, digest, _number(fields["removed"], "removed"), reason)
    cell = SharedCell(
        code=_text(fields.get("code"), "code", max_bytes),
        language=_text(fields.get("language") or "sage", "language", MAX_LANGUAGE_BYTES),
        interacts=_text(fields.get("interacts") or "[]", "interacts", max_bytes),
    )
    created = _number(fields.get("created") or 0, "created")
    reads = _number(fields.get("reads") or 0, "reads")
    return Record(permalink_id, cell, created, reads, _number(fields.get("last_read") or 0, "last_read"))


def fields_of(item: Item) -> dict[str, Any]:
    """Return the named values of a record or tombstone."""
    if isinstance(item, Tombstone):
        return {"id": item.id, "removed": item.removed, "digest": item.digest.hex(), "reason": item.reason}
    cell = item.cell
    fields = {"id": item.id, "code": cell.code, "language": cell.language, "interacts": cell.interacts}
    numbers = {"created": item.created, "reads": item.reads, "last_read": item.last_read}
    return {**fields, **numbers}


def read_json_lines(stream: IO[bytes], max_bytes: int) -> Iterator[Item | Invalid]:
    """Yield what is in lines of JSON objects in UTF-8."""
    number = 0
    while line := stream.readline(MAX_LINE_CHARACTERS):
        number += 1
        if not line.strip():
            continue
        try:
            document = _decode(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            if not isinstance(document, dict):
                raise ValueError("not a JSON object")
            yield item_of(document, max_bytes)
        except (ValueError, RecursionError) as exc:
            yield Invalid(f"line {number}", _reason(exc))


def _reason(exc: Exception) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"not JSON: {exc.msg}"
    if isinstance(exc, UnicodeDecodeError):
        return "not UTF-8"
    return str(exc) or type(exc).__name__


def read_csv(stream: Iterable[str], max_bytes: int) -> Iterator[Item | Invalid]:
    """Yield what is in CSV with a line of names first, as text opened with ``newline=""``.

    Raises `ValueError` when the names have no ``id`` and ``code``.
    """
    csv.field_size_limit(MAX_LINE_CHARACTERS)
    reader = csv.DictReader(stream, strict=True)
    names = reader.fieldnames or []
    if not {"id", "code"} <= set(names):
        raise ValueError(
            f"the first line of the CSV must name the columns id and code, found {', '.join(names)[:200]!r}"
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield Invalid(f"line {reader.line_num}", str(exc))
            continue
        try:
            if None in row:
                raise ValueError("more values than names")
            yield item_of(row, max_bytes)
        except ValueError as exc:
            yield Invalid(f"line {reader.line_num}", str(exc))


def _seconds(value: Any) -> int:
    """Return the time that SageMathCell wrote, ``YYYY-MM-DD HH:MM:SS[.ffffff]`` in UTC; 0 when there is none."""
    try:
        moment = datetime.datetime.fromisoformat(value).replace(tzinfo=datetime.UTC)
    except (TypeError, ValueError):
        return 0
    return max(0, int(moment.timestamp()))


def read_sagecell(path: pathlib.Path, max_bytes: int) -> Iterator[Item | Invalid]:
    """Yield what is in a SageMathCell database. Raises `ValueError` when it is none."""
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        try:
            columns = {row[1] for row in connection.execute("PRAGMA table_info(permalinks)")}
        except sqlite3.Error as exc:
            raise ValueError(f"not a SageMathCell database: {exc}") from exc
        if not {"ident", "code"} <= columns:
            raise ValueError("not a SageMathCell database: it has no table permalinks with columns ident and code")
        wanted = ("ident", "code", "language", "interacts", "created", "last_accessed", "requested")
        names = ", ".join(name if name in columns else "NULL" for name in wanted)
        connection.text_factory = _decoded
        for row in connection.execute(f"SELECT {names} FROM permalinks ORDER BY rowid"):  # noqa: S608 - names from above
            ident, code, language, interacts, created, accessed, requested = row
            fields = {"id": ident, "code": code, "language": language, "interacts": interacts}
            reads = requested if isinstance(requested, int) and requested > 0 else 0
            numbers = {"created": _seconds(created), "reads": reads, "last_read": _seconds(accessed) if reads else 0}
            try:
                yield item_of({**fields, **numbers}, max_bytes)
            except ValueError as exc:
                yield Invalid(f"row {str(ident)[:80]!r}", str(exc))
    except sqlite3.Error as exc:
        raise ValueError(f"the database cannot be read to its end: {exc}") from exc
    finally:
        connection.close()


def _decoded(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data  # refused as not text, with its row


def write_json_lines(items: Iterable[Item], stream: IO[bytes]) -> int:
    """Write one JSON object a line; return how many."""
    number = 0
    for item in items:
        stream.write(json.dumps(fields_of(item), ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
        number += 1
    return number


def write_csv(items: Iterable[Item], stream: IO[str]) -> int:
    """Write CSV into text opened with ``newline=""``; return how many records."""
    writer = csv.DictWriter(stream, COLUMNS)
    writer.writeheader()
    number = 0
    for item in items:
        writer.writerow(fields_of(item))
        number += 1
    return number


def _moment(seconds: int) -> str | None:
    if not seconds:
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S.000000")


def write_sagecell(items: Iterable[Item], path: pathlib.Path) -> int:
    """Make a SageMathCell database; return how many records. What was taken down has no place in it."""
    connection = sqlite3.connect(path)
    try:
        connection.executescript(_SAGECELL_SCHEMA)
        rows = (
            (
                item.id,
                item.cell.code,
                item.cell.language,
                item.cell.interacts,
                _moment(item.created),
                _moment(item.last_read or item.created),
                item.reads,
            )
            for item in items
            if isinstance(item, Record)
        )
        number = connection.executemany("INSERT INTO permalinks VALUES (?, ?, ?, ?, ?, ?, ?)", rows).rowcount
        connection.commit()
    finally:
        connection.close()
    return max(0, number)
