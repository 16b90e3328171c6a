"""Which files are told of, and what of them is brought."""

from __future__ import annotations

import base64
import os

import pytest

from appliance.kernel import session_files
from appliance.kernel.session_files import MIME, SessionFile, SessionFiles


@pytest.fixture
def files(tmp_path):
    return SessionFiles(str(tmp_path))


def test_new_and_changed_files_once(files, tmp_path):
    assert files.display() is None
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "c.csv").write_text("1,2\n")
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "x").write_text("x")
    assert files.changed() == [SessionFile("a.txt", 3, "text/plain"), SessionFile("d/c.csv", 4, "text/csv")]
    assert files.changed() == []
    (tmp_path / "a.txt").write_text("longer")
    assert [file.name for file in files.changed()] == ["a.txt"]
    os.unlink(tmp_path / "a.txt")
    assert files.changed() == []
    (tmp_path / "a.txt").write_text("longer")
    assert [file.name for file in files.changed()] == ["a.txt"]


def test_what_is_no_plain_file_is_left_out(files, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "folder").symlink_to("/etc")
    assert files.changed() == []
    assert files.read("pipe", 10) is None
    assert files.read("link", 10_000) is None
    assert files.read("not there", 10) is None


def test_data_is_brought_up_to_a_limit(files, tmp_path, monkeypatch):
    monkeypatch.setattr(session_files, "MAX_BROUGHT_BYTES", 10)
    monkeypatch.setattr(session_files, "MAX_LISTED", 3)
    for name, size in (("a", 6), ("b", 6), ("c.png", 4), ("d", 1)):
        (tmp_path / name).write_bytes(b"x" * size)
    shown = files.display()
    assert shown[MIME] == {
        "files": [
            {"name": "a", "size": 6, "type": "application/octet-stream", "data": base64.b64encode(b"x" * 6).decode()},
            {"name": "b", "size": 6, "type": "application/octet-stream"},
            {"name": "c.png", "size": 4, "type": "image/png", "data": base64.b64encode(b"x" * 4).decode()},
        ],
        "more": 1,
    }
    assert shown["text/plain"] == "Files: a (6 bytes), b (6 bytes), c.png (4 bytes) and 1 more"


def test_a_name_that_is_no_text_is_shown_as_far_as_it_is(files, tmp_path):
    with open(os.fsencode(tmp_path) + b"/\xff.txt", "wb"):
        pass
    assert files.display()[MIME]["files"][0]["name"] == "?.txt"


def test_countless_entries_are_not_all_looked_at(files, tmp_path, monkeypatch):
    monkeypatch.setattr(session_files, "MAX_LOOKED_AT", 5)
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert len(files.changed()) == 5
