from __future__ import annotations

import html.parser

from appliance.protocol import usage
from appliance.protocol.request_event import Event
from appliance.protocol.usage import Usage, bar, report_lines, report_page


def event(time: float, **fields: object) -> Event:
    return Event(id="0" * 32, time=time, **{"kind": "evaluate", "language": "python", **fields})


def counted(*events: Event) -> Usage:
    found = Usage(0.0, 1e12)
    for one in events:
        found.count(one)
    return found


def test_events_are_counted_by_what_they_say() -> None:
    found = counted(
        event(3600.0, page="https://a", seconds=0.05),
        event(3700.0, page="https://a", outcome="NameError", seconds=2.0),
        event(90_000.0, kind="permalink", page="https://b"),
    )
    tables = dict(found.tables())
    assert tables["kinds"] == [("evaluate", 2), ("permalink", 1)]
    assert tables["pages"] == [("https://a", 2), ("https://b", 1)]
    assert tables["languages"] == [("python", 2)]
    assert tables["outcomes of evaluations"] == [("ok", 1), ("NameError", 1)]
    assert dict(tables["hours of the day (UTC)"])["01:00"] == 3
    assert dict(tables["durations of evaluations"]) | {} == {
        **dict.fromkeys(("up to 0.03 s", "up to 0.3 s", "up to 1 s", "up to 10 s", "up to 30 s", "up to 100 s"), 0),
        "over 100 s": 0,
        "up to 0.1 s": 1,
        "up to 3 s": 1,
    }
    assert tables["processor seconds by page"] == []
    assert tables["largest memory of evaluations"] == []
    assert found.series()[0] == (1, 2)
    assert len(found.series()) == 25


def test_processor_time_and_memory_are_counted_where_they_are_known() -> None:
    found = counted(
        event(0.0, page="https://a", cpu_seconds=1.5, memory_bytes=100_000_000),
        event(0.0, page="https://a", cpu_seconds=1.5, memory_bytes=3_000_000_000),
        event(0.0, page="https://b"),
    )
    tables = dict(found.tables())
    assert tables["processor seconds by page"] == [("https://a", 3)]
    assert {name: number for name, number in tables["largest memory of evaluations"] if number} == {
        "up to 128 MiB": 1,
        "over 2048 MiB": 1,
    }


def test_what_is_outside_is_not_counted() -> None:
    found = Usage(100.0, 200.0)
    for time in (99.9, 100.0, 199.9, 200.0):
        found.count(event(time))
    assert found.events == 2


def test_names_are_bounded(monkeypatch) -> None:
    monkeypatch.setattr(usage, "MAX_COUNTED_NAMES", 20)
    found = counted(*(event(0.0, page=str(number)) for number in range(100)))
    assert len(found.pages) == 21
    rows = dict(found.tables())["pages"]
    assert len(rows) == usage.MAX_NAMES + 1
    assert sum(number for _, number in rows) == 100


def test_bars() -> None:
    assert bar(0, 10) == ""
    assert bar(10, 10) == "█" * 40
    assert bar(1, 1000) == "▏"


def test_an_empty_log_has_reports_too() -> None:
    assert report_lines(counted(), 0) == ["0 events"]
    assert "0 events" in report_page(counted(), 0, "t")


def test_a_name_stays_text_in_every_report() -> None:
    found = counted(event(0.0, page="<script>\x1b[2J", language='"><b>'))
    assert "\x1b" not in "\n".join(report_lines(found, 3))
    assert report_lines(found, 3)[0] == "1 events, 3 were dropped"
    tags: set[str] = set()

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)

    Parser().feed(report_page(found, 0, "t"))
    assert not tags & {"script", "b"}
    assert {"svg", "rect", "table"} <= tags
