from __future__ import annotations

import datetime
import os
from typing import TYPE_CHECKING

import pytest

from appliance.requestlog.spool import Segment, Spool, segment_of, segments

if TYPE_CHECKING:
    import pathlib

DAY = datetime.date(2027, 1, 15)
ONE = datetime.timedelta(1)


def line(number: int, size: int = 0) -> bytes:
    return b"%d%b\n" % (number, b"x" * size)


def everything(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while True:
        lines, place = spool.pending()
        if not lines:
            return found
        found += lines
        spool.passed_on(place)


def test_lines_are_passed_on_in_order_over_days_and_starts(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, 10**6, 400)
    spool.append([line(0)], DAY)
    spool.follow()
    assert spool.pending()[0] == []  # what was there before anybody followed stays here
    spool.append([line(1), line(2)], DAY)
    spool.append([line(3)], DAY + ONE)
    assert spool.pending()[0] == [line(1), line(2)]
    spool.close()
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    assert everything(spool) == [line(1), line(2), line(3)]
    spool.append([line(4)], DAY + ONE)
    assert everything(spool) == [line(4)]
    spool.close()
    spool = Spool(tmp_path, 10**6, 400)
    assert everything(spool) == []


def test_a_batch_is_bounded_and_has_whole_lines(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, 10**9, 400)
    spool.follow()
    spool.append([line(number, 100_000) for number in range(10)], DAY)
    lines, _ = spool.pending()
    assert len(lines) == 3
    assert everything(spool) == [line(number, 100_000) for number in range(10)]


def test_a_clock_that_goes_back_changes_no_order(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    spool.append([line(1)], DAY)
    spool.append([line(2)], DAY - 10 * ONE)
    spool.close()
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    spool.append([line(3)], DAY - 10 * ONE)
    assert everything(spool) == [line(1), line(2), line(3)]


def test_at_the_cap_the_oldest_goes_and_what_was_not_passed_on_is_counted(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, 16_000, 400)
    spool.follow()
    spool.append([line(number, 90) for number in range(10)], DAY)
    assert len(everything(spool)) == 10
    for start in range(10, 300, 10):
        spool.append([line(number, 90) for number in range(start, start + 10)], DAY)
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= 16_000
    kept = len(everything(spool))
    assert spool.dropped > 0
    assert kept + spool.dropped == 290
    spool.close()
    assert Spool(tmp_path, 16_000, 400).dropped == spool.dropped


def test_what_is_too_old_goes_unless_the_clock_may_be_wrong(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, 10**6, 5)
    for days in range(8):
        spool.append([line(days)], DAY + days * ONE)
    assert [segment.day for segment in segments(tmp_path)] == [DAY + days * ONE for days in range(2, 8)]
    spool.append([line(9)], DAY + 20_000 * ONE)
    assert len(segments(tmp_path)) == 7
    assert spool.dropped == 0


def test_a_line_that_a_crash_left_unfinished_is_cut_off(tmp_path: pathlib.Path) -> None:
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    spool.append([line(1)], DAY)
    spool.close()
    (file,) = tmp_path.glob("*.jsonl")
    with file.open("ab") as stream:
        stream.write(b"half")
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    spool.append([line(2)], DAY)
    assert everything(spool) == [line(1), line(2)]


def test_a_full_disk_leaves_nothing_half_written(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    spool.append([line(1)], DAY)
    write = os.write

    def full(fd: int, data: bytes) -> int:
        write(fd, data[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space"):
        spool.append([line(2), line(3)], DAY)
    monkeypatch.setattr(os, "write", write)
    spool.append([line(4)], DAY)
    assert everything(spool) == [line(1), line(4)]


@pytest.mark.parametrize("name", ["requests-2027-13-01-0000.jsonl", "x.jsonl", "requests-2027-01-15.jsonl", ""])
def test_other_names_are_not_the_logs(name: str) -> None:
    assert segment_of(name) is None
    assert segment_of(Segment(DAY, 3).name) == Segment(DAY, 3)


def test_a_mark_that_cannot_be_read_begins_anew(tmp_path: pathlib.Path) -> None:
    (tmp_path / "passed-on.json").write_text("nonsense")
    spool = Spool(tmp_path, 10**6, 400)
    spool.follow()
    spool.append([line(1)], DAY)
    assert everything(spool) == [line(1)]
