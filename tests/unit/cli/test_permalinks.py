from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from appliance.cli import main
from appliance.permalink.archive import Record
from appliance.permalink.interchange import write_sagecell
from appliance.protocol.permalink import SharedCell

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

Run = "Callable[..., tuple[int, str, str]]"


@pytest.fixture
def run(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    (tmp_path / "state").mkdir()
    config = tmp_path / "c.toml"
    config.write_text(f'state_dir = "{tmp_path}/state"\nruntime_dir = "/tmp/none"\n')

    def run(verb: str, *arguments: object) -> tuple[int, str, str]:
        status = main(["permalinks", verb, "--config", str(config), *map(str, arguments)])
        output = capsys.readouterr()
        return status, output.out, output.err

    return run


def test_a_sagecell_database_moves_in_and_out(run: Callable[..., tuple[int, str, str]], tmp_path: pathlib.Path) -> None:
    old = tmp_path / "sqlite.db"
    write_sagecell([Record("qwerty", SharedCell(code="1+1\n"), 5, 2, 9)], old)
    assert run("import", old) == (
        0,
        "1 added, 0 were here, 0 had been taken down, 0 in conflict, 0 invalid\n",
        "",
    )
    assert run("get", "qwerty") == (0, "1+1\n", "")
    assert json.loads(run("get", "qwerty", "--json")[1])["reads"] == 2
    for chosen in ("jsonl", "csv", "sagecell"):
        assert run("export", tmp_path / f"out.{chosen}", "--format", chosen)[:2] == (
            0,
            f"1 written to {tmp_path}/out.{chosen}\n",
        )
        assert run("import", tmp_path / f"out.{chosen}")[1].startswith("0 added, 1 were here")
    with sqlite3.connect(tmp_path / "out.sagecell") as out:
        assert out.execute("SELECT ident, code, requested FROM permalinks").fetchall() == [("qwerty", "1+1\n", 2)]
    out.close()
    assert json.loads(run("export", "-")[1])["id"] == "qwerty"
    assert json.loads(run("stats", "--json")[1])["permalinks"] == 1
    assert "permalinks           1\n" in run("stats")[1]


def test_what_is_wrong_is_told(run: Callable[..., tuple[int, str, str]], tmp_path: pathlib.Path) -> None:
    assert run("stats")[0] == 78
    assert "there is no permalink database" in run("get", "x")[2]
    (tmp_path / "a.jsonl").write_text('{"id": "a", "code": "1"}\n{"id": "a", "code": "2"}\nnonsense\n')
    status, text, errors = run("import", tmp_path / "a.jsonl")
    assert status == 1
    assert text == "1 added, 0 were here, 0 had been taken down, 1 in conflict, 1 invalid\n"
    assert errors.splitlines() == [
        "cellctl: line 3: not JSON: Expecting value",
        "cellctl: a is here already with other content",
    ]
    assert run("get", "b")[::2] == (1, "cellctl: There is no permalink 'b'.\n")
    (tmp_path / "odd").write_text("what is this")
    assert "name its --format" in run("import", tmp_path / "odd")[2]
    assert "No such file" in run("import", tmp_path / "missing.csv")[2]
    (tmp_path / "b.csv").write_bytes(b"id,code\n\xff,1\n")
    assert run("import", tmp_path / "b.csv")[0] == 1


def test_takedown_backup_check_and_restore(run: Callable[..., tuple[int, str, str]], tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "a", "code": "1"}\n{"id": "b", "code": "2"}\n')
    run("import", tmp_path / "a.jsonl")
    assert run("backup", tmp_path / "copy")[:2] == (0, f"2 permalinks in {tmp_path}/copy\n")
    assert run("takedown", "a", "--reason", "asked")[:2] == (0, "a is taken down\n")
    assert run("get", "a")[::2] == (
        1,
        "cellctl: The administrator of this server has removed what this permalink named.\n",
    )
    assert run("import", tmp_path / "a.jsonl")[1] == (
        "0 added, 1 were here, 1 had been taken down, 0 in conflict, 0 invalid\n"
    )
    assert run("check")[:2] == (0, f"{tmp_path}/state/permalinks.sqlite3: sound\n")
    assert run("recover", tmp_path / "rescued")[:2] == (0, f"1 permalinks in {tmp_path}/rescued\n")
    assert run("restore", tmp_path / "copy")[0] == 0
    assert run("get", "a")[0] == 0
