"""A kernel's directory: made whole or not at all, found again, removed by name."""

from __future__ import annotations

import os
import stat

import pytest

from appliance.pool.records import SOCKETS, Directories, Record

ID = "01234567-89ab-4cde-8f01-23456789abcd"


@pytest.fixture
def directories(tmp_path, monkeypatch):
    # a Unix socket's name must be short; the directory is named relative to the working directory
    monkeypatch.chdir(tmp_path)
    return Directories(tmp_path.relative_to(tmp_path))


@pytest.fixture
def record():
    return Record(ID, 1007, "python", "default", bytes(range(32)))


def create(directories, record):
    for listener in directories.create(record):
        listener.close()


def test_a_record_is_found_again(directories, record):
    create(directories, record)
    assert list(directories.load()) == [record]
    directories.mark_leased(ID)
    (found,) = directories.load()
    assert found.leased
    assert (found.page, found.address) == ("", "")


def test_who_leased_a_kernel_is_found_again(directories, record):
    create(directories, record)
    directories.mark_leased(ID, "page", "2001:db8::/64", single=True)
    (found,) = directories.load()
    assert (found.leased, found.page, found.address, found.single) == (True, "page", "2001:db8::/64", True)
    directories.mark_leased(ID)
    (found,) = directories.load()
    assert (found.leased, found.page, found.address, found.single) == (True, "", "", False)


def test_what_an_earlier_version_wrote_of_a_lease_is_read(directories, record, tmp_path):
    create(directories, record)
    (tmp_path / ID / "leased").write_text('{"page": "p", "address": "192.0.2.7", "known_as": ""}')
    (found,) = directories.load()
    assert (found.page, found.address, found.single) == ("p", "192.0.2.7", False)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"page": "p"}'])
def test_a_kernel_whose_holder_cannot_be_read_counts_for_nobody(directories, record, tmp_path, text):
    create(directories, record)
    (tmp_path / ID / "leased").write_text(text)
    (found,) = directories.load()
    assert (found.leased, found.page, found.address) == (True, "", "")


def test_sockets_are_for_the_group_and_the_record_for_the_owner(directories, record):
    create(directories, record)
    modes = {name: stat.S_IMODE(os.stat(f"{ID}/{name}").st_mode) for name in (*SOCKETS, "record.json")}
    assert modes == {**dict.fromkeys(SOCKETS, 0o660), "record.json": 0o600}


def test_remove_leaves_nothing_and_may_be_repeated(directories, record):
    create(directories, record)
    directories.mark_leased(ID)
    directories.remove(ID)
    directories.remove(ID)
    assert os.listdir(".") == []


def test_a_failed_creation_leaves_nothing(directories, record, monkeypatch):
    monkeypatch.setattr("appliance.pool.records.json.dumps", _no_space)
    with pytest.raises(OSError, match="No space"):
        directories.create(record)
    assert os.listdir(".") == []


def test_an_unreadable_record_is_dropped(directories, record):
    create(directories, record)
    with open(f"{ID}/record.json", "w") as file:
        file.write("{")
    assert list(directories.load()) == []
    assert os.listdir(".") == []


def test_other_names_are_left_alone(directories):
    os.mkdir("not-a-kernel")
    assert list(directories.load()) == []
    assert os.listdir(".") == ["not-a-kernel"]


def test_the_key_is_not_shown(record):
    assert "key" not in repr(record)


def _no_space(*_):
    raise OSError(28, "No space left on device")
