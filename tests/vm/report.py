"""A plugin of pytest for the guest: one line of JSON for each test, with how it ended and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

REPORTS = Path("/root/reports.jsonl")


_seconds: dict[str, float] = {}


def pytest_sessionstart() -> None:
    REPORTS.write_text("")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Write a report of what decides: the test itself, or whatever went wrong around it."""
    _seconds[report.nodeid] = _seconds.get(report.nodeid, 0.0) + report.duration
    if report.when != "call" and report.passed:
        return
    if hasattr(report, "wasxfail"):
        outcome, text = ("xfailed" if report.skipped else "failed"), f"known: {report.wasxfail}"
    elif report.skipped and isinstance(report.longrepr, tuple):
        outcome, text = "skipped", str(report.longrepr[2])
    else:
        outcome, text = report.outcome, report.longreprtext
    seconds = _seconds[report.nodeid]
    line = json.dumps({"node": report.nodeid, "outcome": outcome, "text": text, "seconds": seconds})
    with REPORTS.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
