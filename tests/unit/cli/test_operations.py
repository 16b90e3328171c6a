"""Units, screens, completion, manual and the checks of the edge: what is made from text."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest

from appliance.cli import check, completion, manual, status, support_bundle, top
from appliance.cli.command_line import parser
from appliance.cli.health_question import Answer
from appliance.cli.units import ROLES, Unit, parse_units
from appliance.errors import ConfigError
from appliance.pool.overview import MAX_KERNELS, Death, Deaths, render
from appliance.protocol.kernel_life import Kernel, State

ROOT = pathlib.Path(__file__).resolve().parents[3]

SHOWN = """
Id=cell-pool.service
ActiveState=active
SubState=running
Result=success
NRestarts=2
MainPID=77
StatusText=3 leased, 4 ready = fine
MemoryCurrent=18446744073709551615
CPUUsageNSec=2000000000
ActiveEnterTimestampMonotonic=5000000
ExecMainStatus=0

Id=cell-web@1.service
ActiveState=failed
Result=exit-code
MemoryCurrent=[not set]
CPUUsageNSec=0
"""


def test_units_are_read_from_systemctl() -> None:
    pool, web = parse_units(SHOWN)
    assert (pool.role, pool.restarts, pool.pid, pool.active_since) == ("pool", 2, 77, 5.0)
    assert pool.status == "3 leased, 4 ready = fine"
    assert (pool.memory_bytes, web.memory_bytes) == (None, None)
    assert (web.role, web.active, web.pid) == ("web", "failed", 0)


def test_status_shows_why_a_unit_failed() -> None:
    lines = status.unit_rows(parse_units(SHOWN))
    assert "failed (exit-code)" in lines[2]
    assert status.size(3 << 20) == "3.0 MiB"
    assert "no web role answers (refused)" in status.health_line(Answer(0, error="refused"))
    assert "DRAINING" in status.pool_line(
        {"leased": 1, "ready": 2, "starting": 0, "limit": 40, "in_line": 0, "draining": True, "last_failure": ""}
    )


def overview(number: int = 2) -> dict[str, object]:
    kernels = [Kernel(1000 + n, f"{n:08}-aaaa", "python", "default", State.LEASED, 10.0) for n in range(number)]
    kernels[0].busy_since = 15.0
    deaths = Deaths()
    for n in range(60):
        deaths.note(Death(float(n), n, "python", "memory_limit", "\x1b[2J" + "x" * 5000))
    document: dict[str, object] = json.loads(render(kernels, deaths, 100.0, lambda slot: slot / 1000))
    return document


def test_the_screen_of_top_fits_and_obeys_nobody() -> None:
    before, now = top.Sample(0.0, {"cell-pool.service": 0}), top.Sample(2.0, {"cell-pool.service": 1_000_000_000})
    lines = top.screen(parse_units(SHOWN), before, now, None, overview(), 30)
    assert any("50.0" in line and "cell-pool.service" in line for line in lines)
    assert any("memory_limit 60" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    assert len(top.screen(parse_units(SHOWN), before, now, None, overview(), 5)) == 5


def test_an_overview_of_a_full_pool_fits_into_an_answer() -> None:
    document = overview(2 * MAX_KERNELS)
    assert document["kernel_count"] == 2 * MAX_KERNELS
    assert len(document["kernels"]) == MAX_KERNELS  # type: ignore[arg-type]
    assert len(json.dumps(document, separators=(",", ":"))) < 65_535


@pytest.mark.parametrize("page", manual.PAGES)
def test_the_manual_is_what_the_program_says(page: str) -> None:
    text = (ROOT / "docs" / "manual" / page).read_text()
    assert text == manual.PAGES[page](), "run: .venv/bin/python -m appliance.cli.manual docs/manual"


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_the_completion_is_that_of_the_parser(shell: str) -> None:
    text = (ROOT / "docs" / "manual" / f"cellctl.{shell}").read_text()
    assert text == completion.render(shell, parser()), "run: .venv/bin/python -m appliance.cli.manual docs/manual"


def test_bash_completes() -> None:
    script = (ROOT / "docs" / "manual" / "cellctl.bash").read_text()
    ask = 'COMP_WORDS=(cellctl {0}); COMP_CWORD={1}; _cellctl; echo "${{COMPREPLY[@]}}"'

    def complete(words: str, number: int) -> list[str]:
        command = ["bash", "-c", script + ask.format(words, number)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    assert complete("supp", 1) == ["support-bundle"]
    assert "--wait" in complete("drain --", 2)
    assert complete("completion z", 2) == ["zsh"]


def test_the_limits_of_the_edge_are_read_as_systemd_reads_them() -> None:
    assert check.parse_environment("# c\n\nA=1\nB='two words'\n", "f") == {"A": "1", "B": "two words"}
    with pytest.raises(ConfigError, match="f, line 2: expected NAME=VALUE, found 'no limit'"):
        check.parse_environment("A=1\nno limit\n", "f")


def test_an_unknown_limit_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.write_text("CELL_A=1\n")
    own.write_text("CELL_B=1\n")
    monkeypatch.setattr(check, "EDGE_FILES", (shipped, own))
    with pytest.raises(ConfigError, match="unknown name CELL_B"):
        check.edge_environment()
    own.write_text("CELL_A=2\n")
    assert check.edge_environment() == {"CELL_A": "2"}


def test_no_secret_gets_into_a_bundle() -> None:
    text = 'database = "postgresql://cells:hunter2@db/cells"\napi_token = "abc"\nmax_kernels = 40\n'
    shown = support_bundle.without_secrets(text)
    assert "hunter2" not in shown
    assert "abc" not in shown
    assert "max_kernels = 40" in shown


def test_every_role_has_a_unit() -> None:
    units = {file.name for file in (ROOT / "units").glob("cell-*.service")}
    assert {name if name.endswith(".service") else f"{name}.service" for name in ROLES.values()} <= units
    assert Unit("cell-zygote@sage.service", "", "", "", 0, 0, "", None, None, 0.0, 0).role == "zygote"
