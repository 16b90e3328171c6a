from __future__ import annotations

import base64
import itertools
import json
import tracemalloc
import zlib

import pytest

from appliance.errors import BadRequest, InvalidZip, MissingArgument, TooLarge
from appliance.protocol import permalink
from appliance.protocol.permalink import SharedCell


def test_the_id_depends_on_the_content_only() -> None:
    cell = SharedCell(code="1+1\n", language="python", interacts="[]")
    assert next(permalink.candidate_ids(cell)) == next(
        permalink.candidate_ids(SharedCell(code="1+1\n", language="python"))
    )


def test_the_id_never_changes_between_releases() -> None:
    assert permalink.digest(SharedCell(code="print('x')", language="python")) == (
        "ypfDv40EJvgVlfKAb80q0Kn4nWro3cPEEpOmkT6ziLZ"
    )


@pytest.mark.parametrize(
    "other",
    [
        SharedCell(code="a\n"),
        SharedCell(code="a", language="r"),
        SharedCell(code="a", interacts="[1]"),
        SharedCell(code=" a"),
        SharedCell(code="asage", language=""),
        SharedCell(code="", language="asage"),
    ],
)
def test_cells_that_differ_anywhere_have_different_ids(other: SharedCell) -> None:
    assert permalink.digest(SharedCell(code="a")) != permalink.digest(other)


def test_candidate_ids_extend_one_another_up_to_the_whole_digest() -> None:
    cell = SharedCell(code="x")
    ids = list(permalink.candidate_ids(cell))
    assert [len(item) for item in ids] == [12, 16, 20, 24, 28, 32, 36, 40, 43]
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(ids))
    assert ids[-1] == permalink.digest(cell)
    assert ids[-1].isalnum()
    assert ids[-1].isascii()


@pytest.mark.parametrize("code", ["", " indented\n", "\ttab\r\n\n", "\x00nul", "π = 3 # 🙂", '"\\'])
def test_a_cell_survives_json_byte_for_byte(code: str) -> None:
    cell = SharedCell(code=code, language="python", interacts='[{"a": 1}]')
    assert permalink.parse_cell(permalink.render_cell(cell), 100) == cell


def test_language_and_interacts_are_optional_and_other_keys_ignored() -> None:
    assert permalink.parse_cell(b'{"code": "1", "n": 3}', 10) == SharedCell(code="1", language="sage", interacts="[]")


@pytest.mark.parametrize(
    ("body", "error", "word"),
    [
        (b"", BadRequest, "JSON object"),
        (b"[]", BadRequest, "JSON object"),
        (b"\xff", BadRequest, "JSON object"),
        (b"[" * 100_000, BadRequest, "JSON object"),
        (b"{}", MissingArgument, "code"),
        (b'{"code": 1}', BadRequest, "code must be a string"),
        (b'{"code": "", "language": null}', MissingArgument, "language"),
        (b'{"code": "\\ud800"}', BadRequest, "surrogate"),
        (b'{"code": "12345678901"}', TooLarge, "11 bytes"),
        (b'{"code": "", "interacts": "12345678901"}', TooLarge, "interacts"),
        (json.dumps({"code": "", "language": "x" * 65}).encode(), TooLarge, "language"),
    ],
)
def test_malformed_bodies_are_refused(body: bytes, error: type[Exception], word: str) -> None:
    with pytest.raises(error, match=word) as caught:
        permalink.parse_cell(body, 10)
    assert caught.type is error


def test_the_limit_counts_bytes_not_characters() -> None:
    with pytest.raises(TooLarge):
        permalink.parse_cell(json.dumps({"code": "é" * 6}).encode(), 11)
    assert permalink.parse_cell(json.dumps({"code": "é" * 6}).encode(), 12).code == "é" * 6


@pytest.mark.parametrize("text", ["", "1+1", "π\n" * 100, "\x00"])
def test_zipped_text_comes_back(text: str) -> None:
    zipped = permalink.zip_text(text)
    assert permalink.unzip_text(zipped, 1000) == text
    assert permalink.unzip_text(zipped.rstrip("="), 1000) == text
    assert not set(zipped) & set("+/")


@pytest.mark.parametrize(
    "zipped",
    [
        "",
        "x",
        "%%%%",
        "é",
        "AAAA",
        permalink.zip_text("some text")[:-6],
        base64.urlsafe_b64encode(zlib.compress(b"\xff\xfe")).decode(),
        permalink.zip_text("1") + "\n",
    ],
)
def test_what_is_not_zipped_text_is_invalid(zipped: str) -> None:
    with pytest.raises(InvalidZip):
        permalink.unzip_text(zipped, 1000)


def test_a_zip_bomb_is_refused_without_unpacking_it() -> None:
    bomb = base64.urlsafe_b64encode(zlib.compress(b"0" * 50_000_000, 9)).decode()
    tracemalloc.start()
    try:
        with pytest.raises(InvalidZip, match="more than 1000 bytes"):
            permalink.unzip_text(bomb, 1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
    assert permalink.unzip_text(permalink.zip_text("0" * 1000), 1000) == "0" * 1000
