"""The table of attacks at the end of a run: number, attack, the layer that stopped it, result.

A test is part of it by the mark ``attack(number, layer, name)``; without a name, that of the test function is taken.
Tests in other folders may carry the mark, too. `./dev attacks` runs them all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from tests.escape.lines import ELSEWHERE, LINES
from tests.integration.installed import served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.terminal import TerminalReporter

    from tests.integration.installed import Installed
    from tests.integration.running import Appliance

#: Few kernels, no library loaded before, and files that are not kept.
SMALL = """
[pool]
max_kernels = 6
ready = 1
ready_max = 1
lease_wait_seconds = 3.0
[environment.python]
preload = []
[web]
files_seconds = 1.0
"""

#: Outcome of a test that failed with this outcome of its report.
_RESULTS = {
    "passed": "stopped",
    "failed": "NOT STOPPED",
    "error": "NO RESULT",
    "skipped": "not run",
    "xfailed": "OPEN",
    "xpassed": "stopped",
}

#: The worst outcome of several tests of one attack is that of the attack.
_ORDER = ("NOT STOPPED", "NO RESULT", "OPEN", "not run", "stopped")


@dataclass
class _Row:
    number: int
    attack: str
    layer: str
    results: list[str] = field(default_factory=list)

    @property
    def result(self) -> str:
        for result in _ORDER:
            if result in self.results:
                count = self.results.count(result)
                return result if len(self.results) == 1 else f"{result} ({count} of {len(self.results)})"
        return "no result"


class _Table:
    """Collects marked tests."""

    def __init__(self) -> None:
        self.rows: dict[tuple[int, str, str], _Row] = {}
        self.by_test: dict[str, list[_Row]] = {}

    def add(self, item: pytest.Item) -> None:
        for mark in item.iter_markers("attack"):
            number, layer, *name = mark.args
            function = getattr(item, "originalname", item.name)
            attack = name[0] if name else function.removeprefix("test_").replace("_", " ")
            row = self.rows.setdefault((number, attack, layer), _Row(number, attack, layer))
            self.by_test.setdefault(item.nodeid, []).append(row)

    def take(self, stats: dict[str, list[object]]) -> None:
        for outcome, result in _RESULTS.items():
            for report in stats.get(outcome, []):
                for row in self.by_test.get(getattr(report, "nodeid", ""), []):
                    row.results.append(result)


_table = _Table()


@pytest.fixture(scope="session")
def small() -> Iterator[Appliance | Installed]:
    """Return an appliance that is soon exhausted; in a guest, the installed one is that from here on."""
    with served(SMALL) as appliance:
        yield appliance


def pytest_collection_finish(session: pytest.Session) -> None:
    for item in session.items:
        _table.add(item)


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    if not _table.rows:
        return
    _table.take(terminalreporter.stats)
    rows = sorted(_table.rows.values(), key=lambda row: row.number)
    width = max(len(row.attack) for row in rows)
    layers = max(len(row.layer) for row in rows)
    write = terminalreporter.write_line
    terminalreporter.section("attacks")
    write(f"{'':>4}{'attack':<{width}}  {'stopped by':<{layers}}  result")
    for number, subject in LINES.items():
        mine = [row for row in rows if row.number == number]
        if not mine and len({row.number for row in rows}) < len(LINES) // 2:
            continue  # a few tests were asked for
        write(f"{number:>2}  {subject}", bold=True)
        for row in mine:
            write(f"{'':>4}{row.attack:<{width}}  {row.layer:<{layers}}  {row.result}")
        for sentence in ELSEWHERE.get(number, ()):
            write(f"{'':>4}not run here: {sentence}")
        if not mine and number not in ELSEWHERE:
            write(f"{'':>4}NO TEST WAS RUN")
    totals = [result for row in rows for result in row.results]
    counts = ", ".join(f"{totals.count(result)} {result}" for result in reversed(_ORDER) if result in totals)
    write(f"{len(rows)} attacks, {len(totals)} tests: {counts}")
