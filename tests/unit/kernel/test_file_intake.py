"""A file that comes over a socket, byte by byte, and all that may be wrong with it."""

from __future__ import annotations

import json
import os

import pytest

from appliance.kernel.file_intake import MAX_HEAD_BYTES, Intake, Ledger
from appliance.signature import Signer

KEY = b"key"


@pytest.fixture
def home(tmp_path):
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def brought():
    return []


@pytest.fixture
def ledger(home, brought):
    return Ledger(str(home), KEY, brought.append)


def head(key=KEY, **document):
    text = json.dumps(document).encode()
    return Signer(key).sign((text,)) + b" " + text + b"\n"


def bring(ledger, name, data=b"", room=10**9, size=None):
    intake = Intake(ledger)
    answer = intake.take(head(name=name, size=len(data) if size is None else size, room=room) + data)
    return None if answer is None else json.loads(answer)


OK = {"status": "ok"}


def test_a_file_comes_in_pieces(ledger, home, brought):
    intake = Intake(ledger)
    whole = head(name="d/e/ü", size=5, room=5) + b"hello"
    for number in range(len(whole) - 1):
        assert intake.take(whole[number : number + 1]) is None
        assert not (home / "d/e/ü").exists()
    assert json.loads(intake.take(whole[-1:])) == OK
    assert (home / "d/e/ü").read_bytes() == b"hello"
    assert os.listdir(home / "d/e") == ["ü"]
    assert brought == ["d/e/ü"]
    # who says more is not heard
    assert intake.take(b"more") is None
    assert (home / "d/e/ü").read_bytes() == b"hello"


def test_an_empty_file_and_more_bytes_than_were_told(ledger, home):
    assert bring(ledger, "empty") == OK
    assert bring(ledger, "long", b"123456", size=3) == OK
    assert ((home / "empty").read_bytes(), (home / "long").read_bytes()) == (b"", b"123")


def test_files_of_a_kernel_have_so_much_room_together(ledger, home):
    assert bring(ledger, "a", bytes(6), room=10) == OK
    assert bring(ledger, "b", bytes(5), room=10) == {"status": "error", "code": "no_room"}
    assert bring(ledger, "a", bytes(10), room=10) == OK
    assert bring(ledger, "a", bytes(5), room=10) == OK
    assert bring(ledger, "b", bytes(5), room=10) == OK
    assert sorted(os.listdir(home)) == ["a", "b"]


def test_what_is_on_its_way_counts_until_it_is_given_up(ledger, home):
    intake = Intake(ledger)
    assert intake.take(head(name="a", size=8, room=10) + b"1234") is None
    assert bring(ledger, "b", bytes(5), room=10)["code"] == "no_room"
    intake.close()
    assert os.listdir(home) == []
    assert bring(ledger, "b", bytes(5), room=10) == OK


@pytest.mark.parametrize(
    "line",
    [
        head(key=b"other", name="a", size=1, room=9),
        b"nonsense\n",
        head(name="a", size="x", room=9),
        head(name="a", size=-1, room=9),
        head(name="a", size=float("inf"), room=9),
        b"[" * 9000 + b"\n",
        head(name="a", room=9),
        head(size=1, room=9),
        b"x" * (MAX_HEAD_BYTES + 1),
    ],
)
def test_who_is_not_the_server_or_says_nonsense(ledger, home, line):
    assert json.loads(Intake(ledger).take(line)) == {"status": "error", "code": "malformed"}
    assert os.listdir(home) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/..", "/a", "a//b", "a/", "a\0b", "x" * 256, "../home/a"])
def test_what_is_no_name(ledger, home, name):
    assert bring(ledger, name, b"x")["code"] == "bad_name"
    assert os.listdir(home) == []


def test_nothing_that_is_there_leads_astray(ledger, home, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("precious")
    (home / "link").symlink_to(outside)
    (home / "end").symlink_to(outside / "file")
    os.link(outside / "file", home / "hard")
    os.mkfifo(home / "pipe")
    (home / "folder").mkdir()
    (home / "plain").touch()
    for name in ("link/x", "plain/x", "folder", "pipe/x"):
        assert bring(ledger, name, b"bad")["code"] == "bad_name", name
    # what has the place of a file is replaced and not written to
    for name in ("end", "hard", "pipe", "plain"):
        assert bring(ledger, name, b"good") == OK
        assert (home / name).read_bytes() == b"good"
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "precious"


def test_a_full_disk_leaves_nothing_and_says_how_large_it_is(ledger, home, monkeypatch):
    def full(fd, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("appliance.kernel.file_intake.os.write", full)
    answer = bring(ledger, "a", b"x")
    monkeypatch.undo()
    assert (answer["status"], answer["code"]) == ("error", "no_space")
    assert answer["space"] > 0
    assert os.listdir(home) == []
    assert bring(ledger, "a", b"x", room=1) == OK
