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


class Meanwhile:
    """os.scandir, with something that happens once an entry has been read."""

    def __init__(self, then):
        self._then = then

    def __call__(self, directory):
        self._entries = scandir(directory)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._entries.close()

    def __iter__(self):
        for entry in sorted(self._entries, key=lambda entry: entry.name):
            self._then(entry.name)
            yield entry


scandir = os.scandir


def test_a_file_that_vanishes_hides_no_other(files, tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        (tmp_path / name).touch()
    gone = Meanwhile(lambda name: os.unlink(tmp_path / "b") if name == "b" else None)
    monkeypatch.setattr(os, "scandir", gone)
    assert [file.name for file in files.changed()] == ["a", "c"]
    monkeypatch.undo()
    assert files.changed() == []


def test_a_file_brought_during_a_look_is_not_new(files, tmp_path, monkeypatch):
    for name in ("a", "c"):
        (tmp_path / name).touch()

    def bring(name):
        if name == "c":
            for brought in ("b", "c"):
                (tmp_path / brought).write_text("brought")
                files.note(brought)

    monkeypatch.setattr(os, "scandir", Meanwhile(bring))
    assert [file.name for file in files.changed()] == ["a"]
    monkeypatch.undo()
    assert files.changed() == []
    (tmp_path / "c").write_text("changed")
    assert [file.name for file in files.changed()] == ["c"]


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


def test_what_changed_is_sent_up_to_limits(files, tmp_path, monkeypatch):
    monkeypatch.setattr(session_files, "MAX_SENT_BYTES", 6)
    monkeypatch.setattr(session_files, "MAX_ALL_SENT_BYTES", 10)
    for name, size in (("a", 6), ("b", 6), ("c", 7), ("d", 4)):
        (tmp_path / name).write_bytes(b"x" * size)
    sent = {}
    assert files.send_changed(sent.__setitem__) == (["a", "d"], ["b", "c"])
    assert sent == {"a": b"x" * 6, "d": b"x" * 4}
    assert files.send_changed(sent.__setitem__) == ([], [])


HTML = '<img src="cell://d/a%20b.png?q=1"><a href=CELL://c&amp;d.txt>x</a> <a href="cell://none">y</a>'


def test_objects_name_files_as_in_sagemathcell(files):
    assert files.linked({"text/html": HTML}) == ["d/a b.png", "c&d.txt", "none"]
    assert files.linked({"text/image-filename": "plot.png?m=5"}) == ["plot.png"]
    assert files.linked({"text/plain": "cell://a", "text/html": None}) == []
    assert not session_files.names_files({"text/plain": "cell://a", "text/html": None})
    markdown = {"text/markdown": "![a](cell://d/a%20b.png) [x](CELL://c.txt?q=1 'title') (cell://e)"}
    assert files.linked(markdown) == ["d/a b.png", "c.txt", "e"]
    assert session_files.names_files(markdown)


def test_named_files_are_put_into_markdown(files, tmp_path):
    (tmp_path / "c.txt").write_bytes(b"txt")
    assert files.with_linked({"text/markdown": "[x](cell://c.txt) (cell://none)"}) == {
        "text/markdown": "[x](data:text/plain;name=c.txt;base64,dHh0) (cell://none)"
    }


def test_named_files_are_put_into_the_object(files, tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a b.png").write_bytes(b"png")
    (tmp_path / "c&d.txt").write_bytes(b"txt")
    assert files.with_linked({"text/html": HTML, "text/plain": "t"}) == {
        "text/html": '<img src="data:image/png;name=a%20b.png;base64,cG5n">'
        "<a href=data:text/plain;name=c%26d.txt;base64,dHh0>x</a> "
        '<a href="cell://none">y</a>',
        "text/plain": "t",
    }


@pytest.mark.parametrize(
    ("name", "form", "value"),
    [("p.png", "image/png", "PHN2Zz4="), ("p.jpg", "image/jpeg", "PHN2Zz4="), ("p.svg", "image/svg+xml", "<svg>")],
)
def test_a_picture_in_a_file_becomes_a_picture(files, tmp_path, name, form, value):
    (tmp_path / name).write_bytes(b"<svg>")
    data = {"text/image-filename": f"{name}?m=1"}
    assert files.with_linked(data) == {**data, form: value}


def test_files_that_are_not_there_or_too_large_leave_the_object_as_it_is(files, tmp_path, monkeypatch):
    monkeypatch.setattr(session_files, "MAX_INLINE_BYTES", 3)
    (tmp_path / "big.png").write_bytes(b"1234")
    for data in ({"text/html": "cell://big.png"}, {"text/image-filename": "none.png"}, {"text/image-filename": 5}):
        assert files.with_linked(data) is data


def test_named_files_are_sent_where_they_can_be_fetched(files, tmp_path):
    (tmp_path / "p.png").write_bytes(b"png")
    sent = {}
    files.send_linked({"text/image-filename": "p.png", "text/html": "cell://none"}, sent.__setitem__)
    assert sent == {"p.png": b"png"}


def test_paths_that_are_longer_than_an_address_may_be_are_not_gone_into(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    files = SessionFiles(str(home))
    directory = os.open(home, os.O_RDONLY)
    for _ in range(600):
        os.mkdir("d", dir_fd=directory)
        os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
        below = os.open("d", os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)
    names = [file.name for file in files.changed()]
    assert (len(names), max(map(len, names))) == (512, 1023)
