from __future__ import annotations

import contextlib
import io
import json
import tarfile
from typing import TYPE_CHECKING

import pysqlite3.dbapi2 as dbapi2
import pytest

from appliance.cli import backup, units
from appliance.cli.backup import BackupFailed
from appliance.config import Config, Permalink
from appliance.permalink import database

if TYPE_CHECKING:
    import pathlib


def links(path: pathlib.Path) -> list[str]:
    with contextlib.closing(dbapi2.connect(str(path))) as connection:
        return [row[0] for row in connection.execute("SELECT code FROM permalink ORDER BY code")]


def keep(connection: dbapi2.Connection, code: str) -> None:
    connection.execute(
        "INSERT INTO permalink (id, code, language, interacts, created) VALUES (?, ?, '', '', 0)", (code, code)
    )
    connection.commit()


@pytest.fixture
def config(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setattr(units, "stopped", lambda _: contextlib.nullcontext())
    (tmp_path / "state").mkdir()
    (tmp_path / "etc" / "haproxy").mkdir(parents=True)
    (tmp_path / "etc" / "appliance.toml").write_text("log_level = 'info'\n")
    (tmp_path / "etc" / "haproxy" / "haproxy.cfg").write_text("global\n")
    return Config(permalink=Permalink(database=str(tmp_path / "state" / "p.sqlite3")))


def test_what_was_there_comes_back_and_what_came_later_is_kept_beside(config: Config, tmp_path: pathlib.Path) -> None:
    archive, etc = tmp_path / "b.tar.gz", tmp_path / "etc"
    with contextlib.closing(database.open_writer(config.database_path)) as live:
        keep(live, "one")
        assert "1 permalinks, 2 files" in backup.backup(config, archive, etc)
        keep(live, "two")
    assert archive.stat().st_mode & 0o777 == 0o600
    (etc / "appliance.toml").write_text("broken")
    assert backup.restore(config, archive, configuration=False, target=etc) == "1 permalinks restored"
    assert links(config.database_path) == ["one"]
    assert links(config.database_path.with_name("p.sqlite3.before-restore")) == ["one", "two"]
    assert (etc / "appliance.toml").read_text() == "broken"
    backup.restore(config, archive, configuration=True, target=etc)
    assert (etc / "appliance.toml").read_text() == "log_level = 'info'\n"
    assert (etc / "appliance.toml.before-restore").read_text() == "broken"
    assert not list(tmp_path.rglob(".*"))


def test_a_backup_without_a_database_says_so(config: Config, tmp_path: pathlib.Path) -> None:
    with pytest.raises(BackupFailed, match="there is no database"):
        backup.backup(config, tmp_path / "b.tar.gz", tmp_path / "etc")
    assert not (tmp_path / "b.tar.gz").exists()


def damaged(archive: pathlib.Path, changed: dict[str, bytes]) -> None:
    """Write an archive like another one with some members changed."""
    with tarfile.open(archive, "r:gz") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    with tarfile.open(archive, "w:gz") as tar:
        for name, data in {**members, **changed}.items():
            information = tarfile.TarInfo(name)
            information.size = len(data)
            tar.addfile(information, io.BytesIO(data))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"permalinks.sqlite3": b"SQLite format 3\0 not really"}, "permalinks.sqlite3 is damaged"),
        ({"manifest.json": b"{}"}, "no backup|not a backup"),
        ({"manifest.json": b'{"sha256": {}}'}, "has no permalinks.sqlite3"),
        ({"manifest.json": json.dumps({"sha256": {"absent": "0"}}).encode()}, "not a backup"),
    ],
)
def test_a_damaged_archive_changes_nothing(
    config: Config, tmp_path: pathlib.Path, changed: dict[str, bytes], said: str
) -> None:
    archive = tmp_path / "b.tar.gz"
    with contextlib.closing(database.open_writer(config.database_path)) as live:
        keep(live, "one")
    backup.backup(config, archive, tmp_path / "etc")
    damaged(archive, changed)
    with pytest.raises(BackupFailed, match=said):
        backup.restore(config, archive, configuration=True, target=tmp_path / "etc")
    assert links(config.database_path) == ["one"]
    assert not config.database_path.with_name("p.sqlite3.before-restore").exists()


def test_a_file_that_is_no_archive_is_refused(config: Config, tmp_path: pathlib.Path) -> None:
    (tmp_path / "b.tar.gz").write_text("hello")
    with pytest.raises(BackupFailed, match="not a backup"):
        backup.restore(config, tmp_path / "b.tar.gz", configuration=False)


def test_no_member_leaves_the_configuration(config: Config, tmp_path: pathlib.Path) -> None:
    with pytest.raises(BackupFailed, match="outside"):
        backup._replace(tmp_path / "x", tmp_path / "etc" / ".." / "passwd", tmp_path / "etc")
