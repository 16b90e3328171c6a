"""What the pool counts of itself; the web role asks for it (`PoolMetrics` of T3) and shows it with its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.protocol.metrics import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

#: Starts under way that are timed; the pool itself allows fewer.
MAX_TIMED = 1000


class PoolMetrics:
    """Counts of kernels by state, times of forks, ends and refusals."""

    def __init__(self, kernels: Callable[[], dict[str, int]], limit: int, in_line: Callable[[], int]) -> None:
        self.registry = Registry()
        registry = self.registry
        registry.gauge(
            "cell_pool_kernels",
            "Kernels by state.",
            lambda: {(state,): float(number) for state, number in kernels().items()},
            ("state",),
        )
        registry.gauge("cell_pool_kernels_limit", "Kernels that may be alive at once.", lambda: {(): float(limit)})
        registry.gauge("cell_pool_line_visitors", "Visitors in line for a kernel.", lambda: {(): float(in_line())})
        self._forks = registry.histogram(
            "cell_pool_start_seconds", "Time from the wish for a kernel to its first heartbeat.", ("environment",)
        )
        self._failures = registry.counter(
            "cell_pool_start_failures_total", "Kernels that could not be started.", ("environment",)
        )
        self._ends = registry.counter("cell_pool_ends_total", "Leased kernels that ended, by reason.", ("reason",))
        self._leases = registry.counter("cell_pool_leases_total", "Kernels dealt.", ())
        self._refusals = registry.counter("cell_pool_refusals_total", "Leases refused, by code.", ("code",))
        self._started: dict[int, tuple[str, float]] = {}

    def started(self, slot: int, environment: str, now: float) -> None:
        """Take note that a kernel was asked for."""
        if len(self._started) < MAX_TIMED:
            self._started[slot] = environment, now

    def verified(self, slot: int, now: float) -> None:
        """Take note that it can be dealt."""
        environment, since = self._started.pop(slot, ("", now))
        if environment:
            self._forks.observe(now - since, environment)

    def failed(self, slot: int) -> None:
        """Take note that it could not be started."""
        environment, _ = self._started.pop(slot, ("", 0.0))
        if environment:
            self._failures.add(environment)

    def ended(self, slot: int, reason: str, *, leased: bool) -> None:
        """Take note that a kernel ended."""
        self._started.pop(slot, None)
        if leased:
            self._ends.add(reason)

    def dealt(self) -> None:
        """Take note of a lease."""
        self._leases.add()

    def refused(self, code: str) -> None:
        """Take note of a refusal."""
        self._refusals.add(code)
