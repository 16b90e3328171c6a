"""What a run prints: the machine, a table for each quantity, and the bars."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.series import Bar, Table

#: Characters of the longest label.
LABEL_WIDTH = 36

#: Characters of a line of prose.
LINE_WIDTH = 100


def number(value: float) -> str:
    """Return a number with three significant digits or its whole part."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def machine_lines(machine: Mapping[str, str]) -> Iterator[str]:
    """Return the lines that say where this was measured."""
    width = max(map(len, machine))
    for name, text in machine.items():
        yield f"{name:<{width}}  {text}"


def table_lines(table: Table) -> Iterator[str]:
    """Return the lines of a table; the last column is how many times better the first row is."""
    yield ""
    yield f"{table.title} [{table.unit}]"
    if table.series:
        yield f"  {'':<{LABEL_WIDTH}}{'n':>5}{'median':>10}{'p99':>10}{'min':>10}{'ratio':>9}"
    for series in table.series:
        ratio = "" if series is table.series[0] else f"{number(table.advantage(series))}x"
        yield (
            f"  {series.label:<{LABEL_WIDTH}}{len(series.values):>5}{number(series.median):>10}"
            f"{number(series.p99):>10}{number(series.minimum):>10}{ratio:>9}"
        )
    for note in table.notes:
        yield from textwrap.wrap(note, LINE_WIDTH, initial_indent="  ", subsequent_indent="  ")


def bar_lines(bars: Sequence[Bar], what: str = "how many times better than the better peer") -> Iterator[str]:
    """Return the lines of the table of bars."""
    yield ""
    yield f"Bars: {what}, by medians"
    width = max((len(bar.name) for bar in bars), default=0)
    for bar in bars:
        verdict = "pass" if bar.passed else "FAIL"
        found = f"{bar.found:.2f}x"
        yield f"  {verdict}  {bar.name:<{width}}  >= {number(bar.wanted)}x  {found:>8}  ({bar.against})"
