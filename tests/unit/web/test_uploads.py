"""Files on their way to a kernel, as far as the web role holds and judges them."""

from __future__ import annotations

import pytest

from appliance.config import Config, Web
from appliance.errors import ApplianceError
from appliance.web.pool_client import KernelAddress
from appliance.web.site import MAX_DRAINED_BYTES, FileBody, FileBudget
from appliance.web.uploads import (
    BadFileName,
    FileInTheWay,
    FileNotTaken,
    FilesTooLarge,
    FileTooLarge,
    NoSpaceForFile,
    Uploads,
    size_text,
    too_large,
    too_slow,
)
from tests.unit.web.running import run

LIMITS = Config(web=Web(max_upload_bytes=10, max_upload_bytes_per_kernel=2_097_152))
ADDRESS = KernelAddress("00000000-0000-4000-8000-000000000000", b"key", "/nowhere", "python")


def body(budget, limit=100, address="2001:db8::/64"):
    return FileBody(limit, too_large(limit), budget, address)


def test_a_body_is_held_while_there_is_room_for_it():
    budget = FileBudget(150, 100)
    one, other = body(budget), body(budget, address="192.0.2.1")
    one.write(bytes(100))
    other.write(bytes(40))
    assert (one.refusal, other.refusal) == (None, None)
    other.write(bytes(20))
    assert other.refusal.code == "too_many_files"
    assert (other.getvalue(), len(one.getvalue())) == (b"", 100)
    one.close()
    one.close()
    third = body(budget, address="192.0.2.2")
    third.write(bytes(100))
    assert third.refusal is None
    other.close()
    fourth = body(budget, address="192.0.2.3")
    fourth.write(bytes(51))
    assert fourth.refusal.code == "too_many_files"


def test_one_address_leaves_room_for_others():
    budget = FileBudget(1000, 100)
    held = [body(budget, address="192.0.2.1") for _ in range(6)]
    for one in held:
        one.write(bytes(100))
    assert [one.refusal for one in held[:5]] == [None] * 5
    assert held[5].refusal.code == "too_many_files"
    other = body(budget, address="192.0.2.2")
    other.write(bytes(100))
    assert other.refusal is None
    for one in (*held, other):
        one.close()
    assert budget._held == {}


def test_a_body_beyond_the_limit_is_dropped_and_not_counted():
    budget = FileBudget(300, 150)
    large = body(budget)
    large.write(bytes(90))
    large.write(bytes(11))
    assert isinstance(large.refusal, FileTooLarge)
    assert "100 bytes" in large.refusal.message
    assert large.getvalue() == b""
    assert not large.given_up
    other = body(budget, 150)
    other.write(bytes(150))
    assert other.refusal is None
    large.write(bytes(MAX_DRAINED_BYTES))
    assert large.given_up


def test_a_file_that_comes_too_slowly_is_dropped_and_not_counted():
    budget = FileBudget(300, 150)
    slow = FileBody(150, too_large(150), budget, "192.0.2.1", seconds=900.0, late=too_slow(900.0))
    slow.write(bytes(90))
    slow.came(899.0)
    assert (slow.refusal, len(slow.getvalue())) == (None, 90)
    slow.came(901.0)
    assert slow.given_up
    assert (slow.refusal.http_status, slow.refusal.code) == (408, "file_too_slow")
    assert "within 900 seconds" in slow.refusal.message
    assert "compressing" in slow.refusal.message
    assert slow.getvalue() == b""
    assert budget._held == {}


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "x" * 256, "a\u202eb"])
def test_names_and_sizes_are_looked_at_before_the_kernel_hears_of_them(name):
    uploads = Uploads(LIMITS, None)
    with pytest.raises(BadFileName):
        run(uploads.bring(ADDRESS, name, b""))
    with pytest.raises(FileTooLarge, match="up to 10 bytes"):
        run(uploads.bring(ADDRESS, "a", bytes(11)))


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        ({"status": "error", "code": "no_room"}, FilesTooLarge, "2 MiB"),
        ({"status": "error", "code": "no_space", "space": 268_435_456}, NoSpaceForFile, "256 MiB"),
        ({"status": "error", "code": "no_space", "space": 1 << 60}, NoSpaceForFile, "used up"),
        ({"status": "error", "code": "no_space", "space": "<b>"}, NoSpaceForFile, "used up"),
        ({"status": "error", "code": "bad_name"}, FileInTheWay, "Choose another"),
        ({"status": "error", "code": ["x"]}, FileNotTaken, "Try again"),
        ({"status": ["ok"]}, FileNotTaken, "Try again"),
        ({}, FileNotTaken, "Try again"),
    ],
)
def test_what_a_kernel_answers(answer, error, words):
    uploads = Uploads(LIMITS, None)
    with pytest.raises(error, match=words) as caught:
        uploads._judge(answer, "a")
    assert "<b>" not in caught.value.message
    uploads._judge({"status": "ok"}, "a")


def test_no_files_at_all():
    assert "takes no files" in too_large(0).message
    assert issubclass(FileTooLarge, ApplianceError)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (16 << 20, "16 MiB"), (1 << 30, "1 GiB")],
)
def test_sizes_in_words(size, text):
    assert size_text(size) == text
