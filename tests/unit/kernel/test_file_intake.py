"""A file that comes over a socket, byte by byte, and all that may be wrong with it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket

import pytest

from appliance.kernel.file_intake import CHUNK_BYTES, MAX_HEAD_BYTES, Intake, Ledger
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


# ---- files that are fetched


def opened(ledger, name):
    intake = Intake(ledger)
    return intake, json.loads(intake.take(head(fetch=name)))


def part(intake, start, length):
    assert intake.take(f"{start} {length}\n".encode()) is None
    pieces = list(iter(intake.piece, b""))
    assert max(map(len, pieces), default=0) <= CHUNK_BYTES
    return b"".join(pieces)


def test_a_file_is_fetched_in_pieces_whole_or_in_part(ledger, home):
    data = bytes(range(256)) * 1000
    (home / "d").mkdir()
    (home / "d" / "ü").write_bytes(data)
    intake, answer = opened(ledger, "d/ü")
    assert answer == {"status": "ok", "size": len(data), "changed": (home / "d" / "ü").stat().st_mtime_ns}
    assert intake.piece() == b""
    assert part(intake, 0, len(data)) == data
    # each connection is for one part
    assert intake.take(b"0 10\n") is None
    assert intake.piece() == b""
    intake.close()
    intake, _ = opened(ledger, "d/ü")
    for byte in b"7 100":
        assert intake.take(bytes([byte])) is None
        assert intake.piece() == b""
    assert intake.take(b"\n") is None
    assert intake.piece() == data[7:107]
    intake.close()
    intake.close()


def test_what_is_brought_can_be_fetched_at_once(ledger):
    assert bring(ledger, "a", b"brought") == OK
    intake, answer = opened(ledger, "a")
    assert part(intake, 0, answer["size"]) == b"brought"
    intake.close()


@pytest.mark.parametrize("name", ["none", "folder", "pipe", "socket", "link", "up", "folder/link", "a/b", "closed"])
def test_nothing_but_a_regular_file_below_the_home_is_fetched(ledger, home, tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    (home / "a").write_text("a")
    (home / "folder").mkdir()
    os.mkfifo(home / "pipe")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(home / "socket"))
    (home / "link").symlink_to(home / "a")
    (home / "up").symlink_to(tmp_path)
    (home / "folder" / "link").symlink_to("/etc/passwd")
    if name == "closed" and os.geteuid():
        (home / "closed").touch(0o000)
    intake, answer = opened(ledger, name)
    assert answer == {"status": "error", "code": "no_file"}
    assert intake.take(b"0 10\n") is None
    assert intake.piece() == b""
    assert opened(ledger, f"{name}/secret")[1]["code"] == "no_file"
    listener.close()


@pytest.mark.parametrize("name", ["", "..", "../secret", "a/../b", "/etc/passwd", "a//b", "a\0b", "."])
def test_a_path_that_is_none_is_not_fetched(ledger, home, name):
    (home.parent / "secret").write_text("secret")
    assert opened(ledger, name)[1] == {"status": "error", "code": "bad_name"}


@pytest.mark.parametrize("line", [b"\n", b"-1 5\n", b"0\n", b"0 -5\n", b"0 5 5\n", b"x y\n", b"9" * 100])
def test_a_part_that_is_none_is_refused(ledger, home, line):
    (home / "a").write_text("0123456789")
    intake, _ = opened(ledger, "a")
    assert json.loads(intake.take(line)) == {"status": "error", "code": "malformed"}
    assert intake.piece() == b""


def test_a_part_beyond_the_end_is_nothing(ledger, home):
    (home / "a").write_text("0123456789")
    intake, _ = opened(ledger, "a")
    assert part(intake, 8, 10**18) == b"89"
    intake.close()
    intake, _ = opened(ledger, "a")
    assert part(intake, 10**18, 5) == b""
    intake.close()


def test_a_file_that_grows_is_sent_as_it_was_opened_and_one_that_shrinks_ends_it(ledger, home):
    file = home / "a"
    file.write_bytes(b"x" * 10)
    intake, _ = opened(ledger, "a")
    file.write_bytes(b"y" * 1000)
    assert part(intake, 0, 1000) == b"y" * 10
    intake.close()
    intake, _ = opened(ledger, "a")
    os.truncate(file, 5)
    assert intake.take(b"0 1000\n") is None
    assert intake.piece() == b"y" * 5
    with pytest.raises(OSError, match="No data available"):
        intake.piece()
    intake.close()


def test_a_lease_on_a_file_holds_nobody_up(ledger, home):
    # whoever has the lease is told of it
    told = signal.signal(signal.SIGIO, signal.SIG_IGN)
    with (home / "a").open("w") as file:
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert opened(ledger, "a")[1] == {"status": "error", "code": "failed"}
    signal.signal(signal.SIGIO, told)


def test_a_wrong_signature_fetches_nothing(ledger, home):
    (home / "a").write_text("a")
    answer = json.loads(Intake(ledger).take(head(b"other", fetch="a")))
    assert answer == {"status": "error", "code": "malformed"}


def test_no_descriptor_is_left(ledger, home):
    (home / "a").write_text("a")
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a", "none", "..", "a/b"):
        intake, _ = opened(ledger, name)
        intake.take(b"0 1\n")
        intake.close()
        bring(ledger, name, b"x")
        left = Intake(ledger)
        left.take(head(name=name, size=5, room=10))
        left.close()
    assert len(os.listdir("/proc/self/fd")) == before
