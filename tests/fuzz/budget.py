"""How long each fuzzer runs: FUZZ_SECONDS for all together, else 30 s each in continuous integration, 3 s elsewhere.

Hypothesis counts examples, not seconds, so a fuzzer is a property that is tried in rounds until its time is over. A
failure prints the smallest example that it could find, and the line that repeats it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Callable

#: Fuzzers in this folder; `test_there_are_as_many` keeps it true.
FUZZERS = 15

#: One round.
ROUND = settings(
    max_examples=300,
    stateful_step_count=60,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)


def seconds() -> float:
    """Return the time of one fuzzer."""
    if "FUZZ_SECONDS" in os.environ:
        return float(os.environ["FUZZ_SECONDS"]) / FUZZERS
    return 30.0 if os.environ.get("CI") == "true" else 3.0


def fuzz(attempt: Callable[[], None]) -> None:
    """Try a property again and again."""
    end = time.monotonic() + seconds()
    while time.monotonic() < end:
        attempt()
