from __future__ import annotations

import io
import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from appliance.permalink import interchange
from appliance.permalink.archive import Record, Tombstone
from appliance.permalink.interchange import Invalid
from appliance.protocol.permalink import SharedCell

if TYPE_CHECKING:
    import pathlib

ITEMS = [
    Record("a", SharedCell(code='π,"quoted"\r\nnext\x00', language="r", interacts="[1]"), 5, 3, 9),
    Record("0f8c3d0e-6b7c-4c0e-9d55-1b0c5f5d1c9a", SharedCell(code=""), 0),
    Tombstone("c", b"\x01\xff", 7, "why"),
]


def test_json_lines_come_back() -> None:
    stream = io.BytesIO()
    assert interchange.write_json_lines(ITEMS, stream) == 3
    stream.seek(0)
    assert list(interchange.read_json_lines(stream, 100)) == ITEMS


def test_csv_comes_back() -> None:
    stream = io.StringIO(newline="")
    assert interchange.write_csv(ITEMS, stream) == 3
    stream.seek(0)
    assert list(interchange.read_csv(stream, 100)) == ITEMS


def test_a_sagecell_database_comes_back_without_tombstones(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sqlite.db"
    assert interchange.write_sagecell(ITEMS, path) == 2
    assert list(interchange.read_sagecell(path, 100)) == ITEMS[:2]


def test_a_database_as_sagemathcell_makes_it(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sqlite.db"
    connection = sqlite3.connect(path)
    connection.execute(
        "CREATE TABLE permalinks (ident VARCHAR NOT NULL, code VARCHAR, language VARCHAR, interacts VARCHAR, "
        "created DATETIME, last_accessed DATETIME, requested INTEGER, PRIMARY KEY (ident))"
    )
    rows = [
        ("qwerty", "1+1", "sage", "[]", "2013-08-01 12:00:00.250000", "2014-01-01 00:00:00", 7),
        ("never", "2", "gap", None, "2013-08-01 12:00:00", None, 0),
        ("odd", "3", None, "", "yesterday", None, None),
        ("none", None, "sage", "[]", None, None, 0),
        ("bytes", b"\xff", "sage", "[]", None, None, 0),
    ]
    connection.executemany("INSERT INTO permalinks VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute("UPDATE permalinks SET code = CAST(x'ff' AS TEXT) WHERE ident = 'bytes'")
    connection.commit()
    connection.close()
    assert list(interchange.read_sagecell(path, 100)) == [
        Record("qwerty", SharedCell(code="1+1"), 1375358400, 7, 1388534400),
        Record("never", SharedCell(code="2", language="gap"), 1375358400),
        Record("odd", SharedCell(code="3"), 0),
        Invalid("row 'none'", "code is not text"),
        Invalid("row 'bytes'", "code is not text"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"x", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "recursion"),
        (b"{}", "id is not"),
        (b'{"id": "a\\n", "code": ""}', "id is not"),
        (b'{"id": 3, "code": ""}', "id is not"),
        (json.dumps({"id": "x" * 65, "code": ""}).encode(), "id is not"),
        (b'{"id": "a"}', "code is not text"),
        (b'{"id": "a", "code": "\\ud800"}', "not Unicode"),
        (b'{"id": "a", "code": "12345678901"}', "more than permalink.max_code_bytes = 10"),
        (b'{"id": "a", "code": "", "created": -1}', "created is not"),
        (b'{"id": "a", "code": "", "created": true}', "created is not"),
        (b'{"id": "a", "code": "", "reads": "many"}', "reads is not"),
        (b'{"id": "a", "removed": 1, "digest": "xy"}', "hexadecimal"),
    ],
)
def test_a_line_that_is_no_record_is_told_and_the_next_read(line: bytes, reason: str) -> None:
    found = list(interchange.read_json_lines(io.BytesIO(line + b'\n\n{"id": "b", "code": "1"}\n'), 10))
    assert found[1:] == [Record("b", SharedCell(code="1"), 0)]
    assert isinstance(found[0], Invalid)
    assert found[0].where == "line 1"
    assert reason in found[0].reason


def test_csv_that_is_none() -> None:
    with pytest.raises(ValueError, match="must name the columns id and code, found 'a, b'"):
        list(interchange.read_csv(io.StringIO("a,b\n1,2\n"), 10))
    with pytest.raises(ValueError, match="must name"):
        list(interchange.read_csv(io.StringIO(""), 10))
    found = list(interchange.read_csv(io.StringIO('id,code\na,1,2\nb,3\nc\nd,"4"5\ne,6\n', newline=""), 10))
    assert [item for item in found if isinstance(item, Record)] == [
        Record("b", SharedCell(code="3"), 0),
        Record("e", SharedCell(code="6"), 0),
    ]
    assert [item.where for item in found if isinstance(item, Invalid)] == ["line 2", "line 4", "line 4"]


def test_a_file_that_is_no_sagecell_database(tmp_path: pathlib.Path) -> None:
    (tmp_path / "text").write_text("x" * 2000)
    with pytest.raises(ValueError, match="not a SageMathCell database"):
        list(interchange.read_sagecell(tmp_path / "text", 10))
    sqlite3.connect(tmp_path / "empty").close()
    with pytest.raises(ValueError, match="no table permalinks"):
        list(interchange.read_sagecell(tmp_path / "empty", 10))
