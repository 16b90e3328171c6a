"""Figures of use out of the events of the request log, without I/O."""

from __future__ import annotations

import html
import math
from collections import Counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from appliance.protocol.request_event import Event

#: Names of each kind (pages, languages, outcomes) that are told; the others are summed up.
MAX_NAMES = 12
#: Names that are counted at all: beyond that, new ones are "others" at once, so that memory stays flat.
MAX_COUNTED_NAMES = 10_000

HOUR_SECONDS = 3600
OTHERS = "(others)"
UNKNOWN = "(unknown)"

#: Upper ends of the classes of durations, in seconds.
DURATIONS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)

#: Upper ends of the classes of memory, in MiB.
MEMORY = (64, 128, 256, 512, 1024, 2048)

_MIB = 1_048_576
_BAR_CHARACTERS = 40
_BLOCKS = " ▏▎▍▌▋▊▉█"


@attrs.define
class Usage:
    """Counts of events between two times, in seconds since 1970-01-01 UTC; ``since`` included, ``until`` not."""

    since: float
    until: float
    events: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)
    hours: Counter[int] = attrs.field(factory=Counter)
    pages: Counter[str] = attrs.field(factory=Counter)
    languages: Counter[str] = attrs.field(factory=Counter)
    outcomes: Counter[str] = attrs.field(factory=Counter)
    durations: Counter[int] = attrs.field(factory=Counter)
    cpu_milliseconds: Counter[str] = attrs.field(factory=Counter)
    memory: Counter[int] = attrs.field(factory=Counter)

    def count(self, event: Event) -> None:
        """Count an event that lies between the two times; evaluations alone have outcomes and durations here."""
        if not self.since <= event.time < self.until:
            return
        self.events += 1
        self.kinds[event.kind] += 1
        self.hours[int(event.time // HOUR_SECONDS)] += 1
        _add(self.pages, event.page)
        if event.kind in ("evaluate", "service"):
            _add(self.languages, event.language)
            _add(self.outcomes, event.outcome)
            self.durations[sum(event.seconds > end for end in DURATIONS)] += 1
        if event.memory_bytes:
            _add(self.cpu_milliseconds, event.page, round(1000 * event.cpu_seconds))
            self.memory[sum(event.memory_bytes > end * _MIB for end in MEMORY)] += 1

    def tables(self) -> list[tuple[str, list[tuple[str, int]]]]:
        """Return named rows of counts."""
        return [
            ("kinds", self.kinds.most_common()),
            ("hours of the day (UTC)", self._day()),
            ("pages", _top(self.pages)),
            ("languages", _top(self.languages)),
            ("outcomes of evaluations", _top(self.outcomes)),
            ("durations of evaluations", self._durations()),
            ("processor seconds by page", [(name, round(ms / 1000)) for name, ms in _top(self.cpu_milliseconds)]),
            ("largest memory of evaluations", self._memory()),
        ]

    def _day(self) -> list[tuple[str, int]]:
        day: Counter[int] = Counter()
        for hour, number in self.hours.items():
            day[hour % 24] += number
        return [(f"{hour:02}:00", day[hour]) for hour in range(24)] if day else []

    def _durations(self) -> list[tuple[str, int]]:
        names = [f"up to {end:g} s" for end in DURATIONS] + [f"over {DURATIONS[-1]:g} s"]
        return [(name, self.durations[number]) for number, name in enumerate(names)] if self.durations else []

    def _memory(self) -> list[tuple[str, int]]:
        names = [f"up to {end} MiB" for end in MEMORY] + [f"over {MEMORY[-1]} MiB"]
        return [(name, self.memory[number]) for number, name in enumerate(names)] if self.memory else []

    def series(self) -> list[tuple[int, int]]:
        """Return every hour from the first to the last with events, and its count."""
        if not self.hours:
            return []
        return [(hour, self.hours[hour]) for hour in range(min(self.hours), max(self.hours) + 1)]


def _add(counter: Counter[str], name: str, number: int = 1) -> None:
    name = name or UNKNOWN
    counter[name if name in counter or len(counter) < MAX_COUNTED_NAMES else OTHERS] += number


def _top(counter: Counter[str]) -> list[tuple[str, int]]:
    found = counter.most_common()
    rest = sum(number for _, number in found[MAX_NAMES:])
    return found[:MAX_NAMES] + ([(OTHERS, rest)] if rest else [])


def bar(number: int, most: int) -> str:
    """Return a bar of text, as long as ``number`` is of ``most``."""
    eighths = math.ceil(number * _BAR_CHARACTERS * 8 / most) if most else 0
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")


def report_lines(usage: Usage, dropped: int) -> list[str]:
    """Return the report for a terminal."""
    lines = [f"{usage.events:,} events" + (f", {dropped:,} were dropped" if dropped else "")]
    for title, rows in usage.tables():
        if not rows:
            continue
        most = max(number for _, number in rows)
        width = max(len(name[:60]) for name, _ in rows)
        lines += ["", title]
        lines += [f"  {_printable(name[:60]):<{width}} {number:>9,} {bar(number, most)}" for name, number in rows]
    return lines


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; width: 100%; } td { padding: .1rem .5rem; } td.n { text-align: right; width: 6rem; }
td.b { width: 55%; } td.b div { background: #3465a4; height: .9rem; } svg { width: 100%; height: 160px; }
rect { fill: #3465a4; } h2 { margin-top: 2rem; font-size: 1.1rem; }
@media (prefers-color-scheme: dark) { body { background: #1c1c1c; color: #ddd; } }
"""


def report_page(usage: Usage, dropped: int, title: str) -> str:
    """Return the report as one page of HTML that needs nothing else."""
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1><p>{usage.events:,} events, {dropped:,} were dropped.</p>",
    ]
    series = usage.series()
    if series:
        parts.append(f"<h2>events an hour</h2>{_plot(series)}")
    for name, rows in usage.tables():
        if rows:
            parts.append(f"<h2>{html.escape(name)}</h2>{_table(rows)}")
    return "".join([*parts, "</body></html>\n"])


def _plot(series: Sequence[tuple[int, int]]) -> str:
    most = max(number for _, number in series)
    bars = "".join(
        f'<rect x="{place}" y="{100 - 100 * number / most:.2f}" width="0.9" height="{100 * number / most:.2f}"/>'
        for place, (_, number) in enumerate(series)
        if number
    )
    label = f"events an hour over {len(series)} hours, at most {most}"
    return (
        f'<svg viewBox="0 0 {len(series)} 100" preserveAspectRatio="none" role="img" aria-label="{label}">{bars}</svg>'
        f"<p>{len(series):,} hours; at most {most:,} in one</p>"
    )


def _table(rows: Sequence[tuple[str, int]]) -> str:
    most = max(number for _, number in rows) or 1
    return "<table>{}</table>".format(
        "".join(
            f'<tr><td>{html.escape(name)}</td><td class="n">{number:,}</td>'
            f'<td class="b"><div style="width:{100 * number / most:.1f}%"></div></td></tr>'
            for name, number in rows
        )
    )
