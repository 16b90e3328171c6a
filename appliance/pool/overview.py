"""What the administrator sees of the pool: every kernel, what it does, and how the last ones ended."""

from __future__ import annotations

import collections
import json
from typing import TYPE_CHECKING

import attrs

from appliance.log import kernel_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from appliance.protocol.kernel_life import Kernel

#: Deaths that are remembered, kernels that are listed and characters of a death's detail: an answer of AMP has 64 KiB.
MAX_DEATHS = 50
MAX_KERNELS = 250
MAX_DETAIL_CHARACTERS = 100


@attrs.frozen
class Death:
    """How a kernel ended. ``at`` is on the pool's clock."""

    at: float
    slot: int
    environment: str
    reason: str
    detail: str


class Deaths:
    """The last deaths of kernels that somebody used."""

    def __init__(self) -> None:
        self._last: collections.deque[Death] = collections.deque(maxlen=MAX_DEATHS)
        self.counts: collections.Counter[str] = collections.Counter()

    def note(self, death: Death) -> None:
        """Remember a death."""
        self._last.append(death)
        self.counts[death.reason] += 1

    def newest_first(self) -> Iterable[Death]:
        """Return the last deaths."""
        return reversed(self._last)


def render(kernels: list[Kernel], deaths: Deaths, now: float, cpu_seconds: Callable[[int], float]) -> str:
    """Return the overview as JSON text.

    ``kernels``: those listed, of ``kernel_count`` in all, each with ``kernel`` (a name that opens nothing), ``slot``,
    ``environment``, ``profile``, ``state``, ``seconds`` in that state, ``busy_seconds`` (null: idle),
    ``cpu_seconds``.
    ``deaths``: newest first, with ``seconds`` ago. ``death_counts``: by reason, since the pool started.
    """
    listed = sorted(kernels, key=lambda kernel: (kernel.state.name, kernel.since))[:MAX_KERNELS]
    return json.dumps(
        {
            "kernel_count": len(kernels),
            "kernels": [
                {
                    "kernel": kernel_name(kernel.kernel_id),
                    "slot": kernel.slot,
                    "environment": kernel.environment,
                    "profile": kernel.profile,
                    "state": kernel.state.name.lower(),
                    "seconds": round(now - kernel.since, 1),
                    "busy_seconds": None if kernel.busy_since is None else round(now - kernel.busy_since, 1),
                    "cpu_seconds": round(cpu_seconds(kernel.slot), 2),
                }
                for kernel in listed
            ],
            "deaths": [
                {
                    "seconds": round(now - death.at, 1),
                    "slot": death.slot,
                    "environment": death.environment,
                    "reason": death.reason,
                    "detail": death.detail[:MAX_DETAIL_CHARACTERS],
                }
                for death in deaths.newest_first()
            ],
            "death_counts": dict(deaths.counts),
        },
        separators=(",", ":"),
    )
