"""How many kernels to keep ready: an estimate from how often they are asked for.

The rate is an exponentially weighted average of arrivals with a half-life, so that a class that begins is seen within
seconds and a night within minutes. The target covers the arrivals expected while one kernel is being made, and three
standard deviations more (arrivals taken as Poisson: the deviation is the root of the mean).
"""

from __future__ import annotations

import math

import attrs

#: Seconds after which an arrival counts half.
HALF_LIFE = 30.0

#: What is left of arrivals is nothing below this weight: one is forgotten after ten half-lives.
FORGOTTEN = 2.0**-10

#: Standard deviations of arrivals that the ready set covers.
DEVIATIONS = 3.0

_DECAY = math.log(2.0) / HALF_LIFE


@attrs.define
class Arrivals:
    """Arrivals of requests for kernels."""

    _weight: float = 0.0
    _updated: float = 0.0

    def note(self, now: float) -> None:
        """Count an arrival."""
        self._weight = self._decayed(now) + 1.0
        self._updated = now

    def rate(self, now: float) -> float:
        """Return arrivals per second."""
        return self._decayed(now) * _DECAY

    def expected(self, now: float, seconds: float) -> int:
        """Return how many arrivals to be ready for in the next ``seconds``."""
        mean = self.rate(now) * seconds
        return math.ceil(mean + DEVIATIONS * math.sqrt(mean))

    def _decayed(self, now: float) -> float:
        weight = self._weight * math.exp(-_DECAY * max(0.0, now - self._updated))
        return weight if weight > FORGOTTEN else 0.0
