"""Files below a home, whatever lies there instead."""

from __future__ import annotations

import os

import pytest

from appliance.kernel.home_files import opened_directory, opened_file


@pytest.fixture
def home(tmp_path):
    home = tmp_path / "home"
    (home / "d" / "e").mkdir(parents=True)
    (home / "d" / "file").write_text("mine")
    (tmp_path / "file").write_text("of others")
    (home / "up").symlink_to(tmp_path)
    (home / "d" / "link").symlink_to("file")
    os.mkfifo(home / "pipe")
    return home


def test_a_file_and_a_directory_are_opened(home):
    with open(opened_file(str(home), ("d", "file"))) as file:
        assert file.read() == "mine"
    descriptor = opened_directory(str(home), ("d",))
    assert sorted(os.listdir(descriptor)) == ["e", "file", "link"]
    os.close(descriptor)
    os.close(opened_directory(str(home), ("new", "below"), make=True))
    assert (home / "new" / "below").is_dir()


@pytest.mark.parametrize(
    "parts",
    [
        ("up", "file"), ("..", "file"), ("d", "..", "..", "file"), ("d", "link"), ("pipe",), ("d",), ("none",),
        ("", "etc", "passwd"), ("d", "a\0b"), ("d", "file", "x"), ("d", ""),
    ],
)  # fmt: skip
def test_nothing_else_is(home, parts):
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Errno"):
        opened_file(str(home), parts)
    assert len(os.listdir("/proc/self/fd")) == before
    assert sorted(os.listdir(home.parent)) == ["file", "home"]


@pytest.mark.parametrize("parts", [("up", "new"), ("..", "new"), ("pipe", "new"), ("d", "file", "new"), ("a\0b",)])
def test_no_directory_is_made_elsewhere(home, parts):
    with pytest.raises(OSError, match="Errno"):
        opened_directory(str(home), parts, make=True)
    assert sorted(os.listdir(home.parent)) == ["file", "home"]
