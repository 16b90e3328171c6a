from __future__ import annotations

import os
import uuid

import pytest

from appliance.errors import NotFound
from appliance.web import kept_files as module
from appliance.web.kept_files import PAGE_BYTES, SWEEP_SECONDS, FileGone, KeptFiles

SECONDS = 100.0


class Kept:
    """Two instances that share one directory, and their time."""

    def __init__(self, root):
        self.root = root
        self.time = 1000.0
        self.one, self.two = (
            KeptFiles(
                root,
                seconds=SECONDS,
                max_bytes=5 * PAGE_BYTES,
                max_kernel_bytes=3 * PAGE_BYTES,
                now=lambda: self.time,
            )
            for _ in range(2)
        )

    def has(self, kernel_id, name):
        try:
            kept = self.two.open(kernel_id, name)
        except FileGone:
            return False
        kept.file.close()
        return True


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path)


@pytest.fixture
def kernels():
    return [str(uuid.uuid4()) for _ in range(4)]


def test_a_file_is_read_by_another_instance(kept, kernels):
    kept.one.keep(kernels[0], "d/a b.txt", b"text")
    found = kept.two.open(kernels[0], "d/a b.txt")
    with found.file as file:
        assert (file.read(), found.size) == (b"text", 4)
    assert not kept.has(kernels[0], "d")
    assert not kept.has(kernels[1], "d/a b.txt")


def test_a_file_is_replaced_as_a_whole(kept, kernels):
    kept.one.keep(kernels[0], "a", b"first")
    before = kept.two.open(kernels[0], "a")
    kept.one.keep(kernels[0], "a", b"2")
    with before.file as file:
        assert file.read() == b"first"
    with kept.two.open(kernels[0], "a").file as file:
        assert file.read() == b"2"


@pytest.mark.parametrize("kernel_id", ["..", "", "x", "../x", "/etc"])
def test_what_is_no_kernel_has_no_files(kept, kernel_id):
    with pytest.raises(NotFound):
        kept.one.open(kernel_id, "passwd")


def test_links_are_not_followed(kept, kernels, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    kept.one.keep(kernels[0], "a", b"text")
    (stored,) = (kept.root / kernels[0]).iterdir()
    (elsewhere / stored.name).write_text("secret")
    os.symlink(elsewhere, kept.root / kernels[1])
    assert not kept.has(kernels[1], "a")
    stored.unlink()
    os.symlink(elsewhere / stored.name, stored)
    assert not kept.has(kernels[0], "a")


def test_a_kernel_s_oldest_files_make_room_for_its_new_ones(kept, kernels):
    for name in "abcd":
        kept.one.keep(kernels[0], name, b"x")
    assert [kept.has(kernels[0], name) for name in "abcd"] == [False, True, True, True]
    kept.one.keep(kernels[0], "big", bytes(3 * PAGE_BYTES + 1))
    assert not kept.has(kernels[0], "big")
    assert kept.has(kernels[0], "d")


def test_the_oldest_kernel_makes_room_for_others(kept, kernels):
    for kernel_id in kernels[:3]:
        kept.one.keep(kernel_id, "a", bytes(2 * PAGE_BYTES))
    assert [kept.has(kernel_id, "a") for kernel_id in kernels[:3]] == [False, True, True]
    used = sum(file.stat().st_size for file in kept.root.rglob("*") if file.is_file())
    assert used <= 5 * PAGE_BYTES
    assert not (kept.root / kernels[0]).exists()


def test_files_are_kept_for_a_time_after_the_kernel(kept, kernels):
    kept.one.keep(kernels[0], "a", b"x")
    kept.one.keep(kernels[1], "a", b"x")
    for kernel_id in kernels[:2]:
        os.utime(kept.root / kernel_id, (kept.time, kept.time))
    for _ in range(int(SECONDS / SWEEP_SECONDS)):
        kept.time += SWEEP_SECONDS
        kept.one.tick([kernels[0]])
        # an instance that knows nothing of the kernel removes nothing of it
        kept.two.tick([])
    assert kept.has(kernels[0], "a")
    assert kept.has(kernels[1], "a")
    kept.time += SWEEP_SECONDS
    kept.two.tick([])
    assert kept.has(kernels[0], "a")
    assert not (kept.root / kernels[1]).exists()


def test_what_another_instance_removed_counts_no_more(kept, kernels):
    living, ended = kernels[:2]
    for kernel_id in (living, ended):
        kept.one.keep(kernel_id, "a", bytes(2 * PAGE_BYTES))
        os.utime(kept.root / kernel_id, (kept.time, kept.time))
    kept.time += SECONDS + SWEEP_SECONDS
    kept.one.renew(living)
    kept.two.tick([])
    assert not (kept.root / ended).exists()
    kept.one.tick([living])
    kept.one.keep(kernels[2], "a", bytes(3 * PAGE_BYTES))
    assert kept.has(living, "a")


def test_nothing_is_kept_where_that_is_not_wanted(tmp_path, kernels):
    files = KeptFiles(tmp_path, seconds=0, max_bytes=10**6, max_kernel_bytes=10**6, now=lambda: 0.0)
    files.keep(kernels[0], "a", b"x")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_missing_is_told_and_survived(tmp_path, kernels):
    files = KeptFiles(tmp_path / "none", seconds=9, max_bytes=10**6, max_kernel_bytes=10**6, now=lambda: 0.0)
    files.keep(kernels[0], "a", b"x")
    files.tick([kernels[0]])
    with pytest.raises(FileGone):
        files.open(kernels[0], "a")


@pytest.mark.parametrize("how", ["drop", "replace", "make room", "time"])
def test_who_reads_a_file_that_is_removed_holds_no_memory(kept, kernels, how, monkeypatch):
    monkeypatch.setattr(module, "READ_AT_ONCE_BYTES", PAGE_BYTES)
    kept.one.keep(kernels[0], "a", bytes(2 * PAGE_BYTES))
    kept.one.renew(kernels[0])
    file = kept.one.open(kernels[0], "a").file
    match how:
        case "drop":
            kept.two.drop(kernels[0], "a")
        case "replace":
            kept.one.keep(kernels[0], "a", b"new")
        case "make room":
            kept.one.keep(kernels[0], "b", bytes(2 * PAGE_BYTES))
        case "time":
            kept.time += SECONDS + SWEEP_SECONDS
            kept.two.tick([])
    assert os.fstat(file.fileno()).st_blocks == 0
    assert file.read() == b""
    file.close()
    assert kept.has(kernels[0], "a") == (how == "replace")


def test_what_is_dropped_counts_no_more(kept, kernels):
    for _ in range(10):
        kept.one.keep(kernels[0], "a", bytes(3 * PAGE_BYTES))
        kept.one.drop(kernels[0], "a")
    kept.one.keep(kernels[0], "b", bytes(3 * PAGE_BYTES))
    kept.one.drop(kernels[0], "none")
    kept.one.drop(kernels[1], "none")
    assert kept.has(kernels[0], "b")
    assert kept.one._total == 3 * PAGE_BYTES
