from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pysqlite3.dbapi2 as dbapi2
import pytest

from appliance.errors import ConfigError
from appliance.permalink import database

if TYPE_CHECKING:
    import pathlib


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "permalinks.sqlite3"


def names(path: pathlib.Path) -> list[str]:
    return sorted(item.name for item in path.parent.iterdir())


def test_a_new_database_is_whole_durable_and_alone(path: pathlib.Path) -> None:
    connection = database.open_writer(path)
    assert connection.execute("PRAGMA application_id").fetchone() == (database.APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(database.scripts()),)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("SELECT beat FROM canary").fetchone() == (0,)
    connection.close()
    assert names(path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_failed_creation_leaves_nothing(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "scripts", lambda: ["CREATE TABLE a (b);", "CREATE TABLE a (b);"])
    with pytest.raises(ConfigError, match="table a already exists"):
        database.open_writer(path)
    assert names(path) == []


def test_an_upgrade_is_step_by_step_and_each_step_whole(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ["CREATE TABLE a (x);"]
    monkeypatch.setattr(database, "scripts", lambda: steps)
    database.open_writer(path).close()
    steps += ["ALTER TABLE a ADD y;", "CREATE TABLE b (x); CREATE TABLE b (x);"]
    with pytest.raises(ConfigError, match="table b already exists"):
        database.open_writer(path)
    with sqlite3.connect(path) as reader:
        assert reader.execute("PRAGMA user_version").fetchone() == (2,)
        assert reader.execute("SELECT name FROM sqlite_schema").fetchall() == [("a",)]
    reader.close()
    steps[2] = "CREATE TABLE b (x);"
    connection = database.open_writer(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()


def test_a_database_of_a_newer_release_is_refused(path: pathlib.Path) -> None:
    connection = database.open_writer(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ConfigError, match="newer release"):
        database.open_writer(path)


def test_a_file_that_is_not_ours_is_refused_and_untouched(path: pathlib.Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE precious (x)")
    other.commit()
    other.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="not a permalink database"):
        database.open_writer(path)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(ConfigError, match="file is not a database"):
        database.open_writer(path)
    assert len(before) > 0


def test_a_write_ahead_log_without_its_database_is_not_mixed_with_a_new_one(path: pathlib.Path) -> None:
    path.with_name(f"{path.name}-wal").write_bytes(b"x")
    with pytest.raises(ConfigError, match="is missing although"):
        database.open_writer(path)
    assert not path.exists()


def test_a_directory_that_is_missing_is_an_error_with_its_name(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        database.open_writer(tmp_path / "nowhere" / "permalinks.sqlite3")


def test_a_path_with_special_characters_is_a_path(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "50% ?mode=memory#x"
    database.open_writer(path).close()
    assert names(path) == [path.name]


def test_a_reader_cannot_write(path: pathlib.Path) -> None:
    writer = database.open_writer(path)
    reader = database.open_reader(path)
    for statement in ("DELETE FROM canary", "CREATE TABLE x (y)", "PRAGMA user_version = 7"):
        with pytest.raises(dbapi2.OperationalError, match="readonly"):
            reader.execute(statement)
    writer.execute("UPDATE canary SET beat = 5")
    assert reader.execute("SELECT beat FROM canary").fetchone() == (5,)
    reader.close()
    writer.close()
