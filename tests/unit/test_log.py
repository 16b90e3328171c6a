from __future__ import annotations

import io
import logging
import os
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from twisted.logger import Logger, LogLevel, LogPublisher

from appliance import log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from twisted.logger import LogEvent


def logger_to(observer: Any) -> Logger:
    return Logger(namespace="here", observer=LogPublisher(observer))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain π", "plain π"),
        ("two\nlines", r"two\nlines"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\r\t\x00\x7f\x9b", r"\r\t\x00\x7f\x9b"),
        ("a\u2028b\ud800", "a\\u2028b\\ud800"),
        ("txt.\u202eexe\u200b", "txt.\\u202eexe\\u200b"),
    ],
)
def test_escape_leaves_one_harmless_line(text: str, shown: str) -> None:
    assert log.escape(text) == shown
    log.escape(text).encode()


def test_escape_cuts_what_is_too_long() -> None:
    assert len(log.escape("x" * 100_000)) == log.MAX_TEXT_CHARACTERS + 1


def test_an_event_is_one_line_with_level_namespace_and_message() -> None:
    stream = io.StringIO()
    logger_to(log.LineObserver(stream)).warn("kernel {kernel_id} said {text}", kernel_id="k1", text="a\nb\x1b[2J")
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith(" warn  here: kernel k1 said a\\nb\\x1b[2J\n")


def test_a_failure_brings_its_traceback_on_the_same_line() -> None:
    stream = io.StringIO()
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logger_to(log.LineObserver(stream)).failure("did not work")
    assert stream.getvalue().count("\n") == 1
    assert "did not work\\nTraceback" in stream.getvalue()
    assert "RuntimeError: broken" in stream.getvalue()


def test_a_stream_that_went_away_is_no_error() -> None:
    stream = io.StringIO()
    stream.close()
    logger_to(log.LineObserver(stream)).info("x")


def test_the_journal_gets_priority_and_fields() -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    observer = log.JournalObserver("pool", lambda message, **fields: sent.append((message, fields)))
    logger_to(observer).error("kernel {kernel_id} ended", kernel_id="k1", count=3, secret=object(), **{"a-b": "x"})
    ((message, fields),) = sent
    assert message == "kernel k1 ended"
    assert fields == {
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "cell-pool",
        "CELL_ROLE": "pool",
        "CELL_NAMESPACE": "here",
        "CELL_KERNEL_ID": "k1",
        "CELL_COUNT": "3",
    }


def test_an_event_has_a_bounded_number_of_fields() -> None:
    event: LogEvent = {f"field{number}": "x" * 100_000 for number in range(100)}
    fields = log.journal_fields(event)
    assert len(fields) == log.MAX_FIELDS
    assert max(map(len, fields.values())) == log.MAX_TEXT_CHARACTERS


def test_nothing_that_a_visitor_sends_is_a_line_or_a_command_in_the_journal() -> None:
    sent: list[tuple[str, dict[str, str]]] = []
    logger = logger_to(log.JournalObserver("web", lambda message, **fields: sent.append((message, fields))))
    logger.info("GET {path}", path="/x\nFORGED\r\x1b[2J\u2028")
    try:
        raise ValueError("x\nFORGED\x1b[2J")
    except ValueError:
        logger.failure("it failed")
    (line, fields), (failure, _) = sent
    assert line == "GET /x\\nFORGED\\r\\x1b[2J\\u2028"
    assert fields["CELL_PATH"] == "/x\\nFORGED\\r\\x1b[2J\\u2028"
    first, *others = failure.split("\n")
    assert first == "it failed"
    assert others[0] == "    Traceback (most recent call last):"
    assert others[-1] == "    FORGED\\x1b[2J"
    assert all(each.startswith("    ") for each in others)


def test_the_journal_is_used_only_when_standard_error_leads_there(tmp_path: Any) -> None:
    with open(tmp_path / "stream", "w", encoding="utf-8") as stream:
        status = os.fstat(stream.fileno())
        here = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert log.connected_to_journal(here, stream.fileno())
        for environ in ({}, {"JOURNAL_STREAM": "1:2"}, {"JOURNAL_STREAM": "x"}):
            assert not log.connected_to_journal(environ, stream.fileno())


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_events_below_the_level_are_dropped(level: str, expected: list[str]) -> None:
    stream = io.StringIO()
    logger = logger_to(log.observer("web", level, stream, {}))
    for name in ("debug", "info", "warn", "error"):
        logger.emit(LogLevel.lookupByName(name), "{name}", name=name)
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == expected


@pytest.mark.parametrize(("level", "shown"), [("debug", True), ("info", False)])
def test_what_twisted_says_about_its_ports_is_a_detail(level: str, shown: bool) -> None:
    stream = io.StringIO()
    observer = LogPublisher(log.observer("web", level, stream, {}))
    Logger("twisted.protocols.amp", observer=observer).info("connection established")
    Logger("appliance.web", observer=observer).info("Starting factory {factory!r}", factory="x")
    assert stream.getvalue().count("\n") == (2 if shown else 0)
    Logger("twisted.internet.defer", observer=observer).critical("unhandled error")
    assert "unhandled error" in stream.getvalue()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LogEvent]]:
    events: list[LogEvent] = []

    def begin(observers: list[Any], **_options: object) -> None:
        # What the library's handler emits goes to the global publisher; here it is caught.
        monkeypatch.setattr(log, "Logger", lambda namespace: Logger(namespace, observer=observers[0]))

    monkeypatch.setattr(log.globalLogBeginner, "beginLoggingTo", begin)
    monkeypatch.setattr(log, "observer", lambda *_: events.append)
    root, handlers, level = logging.getLogger(), logging.getLogger().handlers[:], logging.getLogger().level
    with warnings.catch_warnings():
        yield events
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_the_standard_library_and_warnings_arrive_as_events(started: list[LogEvent]) -> None:
    log.start("web", "info")
    logging.getLogger("some.library").info("number %d", 3)
    logging.getLogger("some.library").debug("too detailed")
    logging.getLogger("some.library").critical("100% {wrong}")
    warnings.simplefilter("always")
    warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [(event["log_namespace"], event["log_level"].name) for event in started] == [
        ("some.library", "info"),
        ("some.library", "critical"),
        ("py.warnings", "warn"),
    ]
    assert started[0]["text"] == "number 3"
    assert started[1]["text"] == "100% {wrong}"
    assert "DeprecationWarning: old" in started[2]["text"]
