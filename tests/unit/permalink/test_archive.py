from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from appliance.errors import ConfigError, PermalinkRemoved, UnknownPermalink
from appliance.permalink import database, rescue
from appliance.permalink.archive import Added, Item, Record, SQLiteArchive, Tombstone
from appliance.permalink.group import Put, commit_group
from appliance.protocol.permalink import SharedCell, candidate_ids, content_digest

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

CELL = SharedCell(code="π\x00\r\n", language="python", interacts="[1]")


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "p.sqlite3"


@pytest.fixture
def archive(path: pathlib.Path) -> Iterator[SQLiteArchive]:
    opened = SQLiteArchive(path)
    yield opened
    opened.close()


def add(archive: SQLiteArchive, *items: Item) -> Added:
    added = Added()
    archive.add(items, added)
    return added


def test_records_come_back_as_they_were_in_the_order_of_their_ids(archive: SQLiteArchive) -> None:
    records = [Record("b", CELL, 5, 2, 9), Record("a-0", SharedCell(code=""), 7)]
    assert add(archive, *records).added == 2
    assert list(archive.items()) == [records[1], records[0]]
    assert archive.get("b") == records[0]
    with pytest.raises(UnknownPermalink, match="'c'"):
        archive.get("c")


def test_what_is_there_is_never_changed(archive: SQLiteArchive) -> None:
    add(archive, Record("a", CELL, 5, 2, 9))
    added = add(archive, Record("a", CELL, 6, 1, 10), Record("a", SharedCell(code="other"), 5), Record("b", CELL, 1))
    assert (added.added, added.present, added.conflicts) == (1, 1, ["a"])
    assert archive.get("a") == Record("a", CELL, 5, 2, 10)
    again = add(archive, Record("b", CELL, 1), Record("b", SharedCell(code="x"), 1))
    assert (again.added, again.present, again.conflicts) == (0, 1, ["b"])


def test_a_batch_of_new_records_with_one_that_comes_twice_is_stored_once(archive: SQLiteArchive) -> None:
    new = [Record(str(number), CELL, 5, number % 2, number % 2) for number in range(20)]
    added = add(archive, *new, new[3])
    assert (added.added, added.present, added.conflicts) == (20, 1, [])
    assert sorted(new, key=lambda record: record.id) == list(archive.items())


def test_a_takedown_removes_the_text_under_all_its_own_ids_and_from_the_file(
    archive: SQLiteArchive, path: pathlib.Path
) -> None:
    cell = SharedCell(code="very-bad-text " * 50)
    own = next(candidate_ids(cell))
    add(archive, Record("old", cell, 1), Record("stays", CELL, 1))
    writer = database.open_writer(path)
    assert commit_group(writer, [Put(cell, 2)], 10**9) == [own]
    assert archive.takedown("old", "asked for", 7) == sorted(["old", own])
    with pytest.raises(PermalinkRemoved):
        archive.get(own)
    with pytest.raises(PermalinkRemoved):
        archive.takedown("old", "", 8)
    with pytest.raises(UnknownPermalink):
        archive.takedown("never", "", 8)
    ((refused,),) = [commit_group(writer, [Put(cell, 2)], 10**9)]
    assert isinstance(refused, PermalinkRemoved)
    assert list(archive.items())[1] == Tombstone(*sorted(["old", own])[:1], content_digest(cell), 7, "asked for")
    writer.close()
    archive.close()
    assert b"very-bad-text" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


def test_a_tombstone_takes_away_what_is_there_and_keeps_it_away(archive: SQLiteArchive) -> None:
    add(archive, Record("a", CELL, 1, 1, 1))
    add(archive, Tombstone("a", b"\x01", 5, "r"))
    assert add(archive, Record("a", CELL, 1)).removed == 1
    assert list(archive.items()) == [Tombstone("a", b"\x01", 5, "r")]


def test_figures(archive: SQLiteArchive) -> None:
    add(archive, Record("a", CELL, 5, 2, 9), Record("b", SharedCell(code="1"), 7), Tombstone("c", b"", 1, ""))
    stats = archive.stats()
    assert (stats.permalinks, stats.tombstones, stats.reads, stats.never_read) == (2, 1, 2, 1)
    assert (stats.first_created, stats.last_created) == (5, 7)
    assert stats.languages == (("python", 1), ("sage", 1))
    assert archive.check() == []


def test_memory_does_not_grow_with_what_is_read(archive: SQLiteArchive) -> None:
    for start in range(0, 4000, 1000):
        add(archive, *(Record(f"id{start + number}", SharedCell(code="x" * 2000), 1) for number in range(1000)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in archive.items()) == 4000
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_backup_is_made_while_the_database_is_written_and_can_be_restored(
    archive: SQLiteArchive, path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    add(archive, Record("a", CELL, 1))
    copy = tmp_path / "copy"
    writer = database.open_writer(path)
    writer.execute("BEGIN IMMEDIATE")
    assert rescue.backup(path, copy) == 1
    writer.execute("ROLLBACK")
    writer.close()
    add(archive, Record("later", CELL, 1))
    with pytest.raises(ConfigError, match="is in use"):
        rescue.restore(copy, path)
    assert archive.get("later")
    archive.close()
    number, aside = rescue.restore(copy, path)
    assert number == 1
    assert aside is not None
    assert aside.exists()
    restored = SQLiteArchive(path)
    assert [item.id for item in restored.items()] == ["a"]
    restored.close()
    assert {item.name for item in tmp_path.iterdir()} == {path.name, copy.name, aside.name}


def test_a_damaged_backup_is_refused_and_nothing_changed(
    archive: SQLiteArchive, path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    add(archive, *(Record(f"id{number}", SharedCell(code="x" * 3000), 1) for number in range(50)))
    archive.close()
    copy = tmp_path / "copy"
    rescue.backup(path, copy)
    data = bytearray(copy.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8192] = b"\xff" * 8192
    copy.write_bytes(data)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r"damaged|malformed"):
        rescue.restore(copy, path)
    (tmp_path / "text").write_text("no database")
    with pytest.raises(ConfigError, match="not a database"):
        rescue.restore(tmp_path / "text", path)
    assert path.read_bytes() == before


def test_what_can_be_read_of_a_damaged_database_is_recovered(
    archive: SQLiteArchive, path: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    records = [Record(f"id{number:03}", SharedCell(code=f"{number:03}" * 300), 1) for number in range(200)]
    add(archive, *records, Tombstone("gone", b"\x01", 1, "r"))
    archive.close()
    data = bytearray(path.read_bytes())
    at = data.rindex(records[100].cell.code.encode()) // 4096 * 4096
    data[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(data)
    damaged = SQLiteArchive(path)
    assert damaged.check()
    damaged.close()
    target = tmp_path / "rescued"
    number = rescue.recover(path, target)
    assert 180 < number < 200
    rescued = SQLiteArchive(target)
    items = list(rescued.items())
    assert items[-1] == Tombstone("gone", b"\x01", 1, "r")
    assert set(items[:-1]) < set(records)
    assert rescued.check() == []
    rescued.close()
    with pytest.raises(ConfigError, match="exists already"):
        rescue.recover(path, target)
