"""Failed starts of kernels: an environment whose starts fail one after another is tried ever more seldom."""

from __future__ import annotations

import attrs

#: Consecutive failed starts after which waiting requests are refused instead of kept.
MAX_FAILED_STARTS = 3

#: Seconds to wait after a failed start before the next, times the number of consecutive failures.
FAILED_START_PAUSE = 1.0


@attrs.define
class _Failures:
    count: int = 0
    pause_until: float = 0.0
    why: str = ""


class FailedStarts:
    """Consecutive failed starts of each environment; another environment's starts go on."""

    def __init__(self) -> None:
        self._of: dict[str, _Failures] = {}

    def count(self, environment: str, why: str, now: float) -> None:
        """Note a failed start."""
        failures = self._of.setdefault(environment, _Failures())
        failures.count += 1
        failures.why = why
        failures.pause_until = now + FAILED_START_PAUSE * failures.count

    def forget(self, environment: str) -> None:
        """Note that a start succeeded, or may succeed again."""
        self._of.pop(environment, None)

    def is_failing(self, environment: str) -> bool:
        """Return whether so many starts failed that nobody should wait for the next."""
        return environment in self._of and self._of[environment].count >= MAX_FAILED_STARTS

    def paused(self, now: float) -> set[str]:
        """Return the environments in which no start is tried now."""
        return {name for name, failures in self._of.items() if failures.pause_until > now}

    def pauses_until(self, now: float) -> list[float]:
        """Return the times at which pauses end."""
        return [failures.pause_until for failures in self._of.values() if failures.pause_until > now]

    def why(self, environment: str) -> str:
        """Return why the last start in an environment failed. Raises `KeyError` when none did."""
        return self._of[environment].why

    @property
    def last(self) -> str:
        """Why starts fail in some environment, or empty when they succeed in all."""
        return next((failures.why for failures in self._of.values()), "")
