from __future__ import annotations

import pytest

from appliance.protocol.session_files import (
    MAX_NAME_BYTES,
    MAX_PART_BYTES,
    RangeNotSatisfiableError,
    byte_range,
    is_name,
    kept_name,
)


@pytest.mark.parametrize("name", ["a", "a.txt", "tables/a b.csv", "ünïcode/ж", "...", ".hidden", "a" * MAX_PART_BYTES])
def test_names_below_a_home(name):
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc/passwd", "a/", "a//b", ".", "..", "../x", "a/../b", "a/./b", "a\0b", "a\nb", "\u202egnp.exe",
     "\udc80", "é" * MAX_PART_BYTES, "a/" * (MAX_NAME_BYTES // 2) + "a", None, 5, b"a", ["a"]],
)  # fmt: skip
def test_what_is_no_name(name):
    assert not is_name(name)


def test_the_kept_name_has_nothing_of_the_program_s():
    names = [kept_name(name) for name in ("a", "a/b", "../a")]
    assert len(set(names)) == 3
    assert all(len(name) == 64 and name.isalnum() for name in names)


@pytest.mark.parametrize(
    ("header", "part"),
    [("bytes=0-0", (0, 1)), ("bytes=2-4", (2, 5)), ("bytes=5-", (5, 10)), ("bytes=-3", (7, 10)), ("bytes=-99", (0, 10)),
     ("bytes=3-99", (3, 10)), ("bytes= 1 - 2 ", (1, 3)),
     ("", None), ("bytes=", None), ("bytes=-", None), ("bytes=4-2", None), ("bytes=0-1,3-4", None), ("lines=1-2", None),
     ("bytes=a-b", None), ("bytes=\u0661-2", None)],
)  # fmt: skip
def test_a_range_is_one_part_or_the_whole(header, part):
    assert byte_range(header, 10) == part


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_beyond_the_end(header, size):
    with pytest.raises(RangeNotSatisfiableError):
        byte_range(header, size)
