"""Which kernels to start next: for those who wait, then for the ready sets."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from appliance.protocol.kernel_life import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from appliance.protocol.kernel_life import Kernel, LeaseRequest

#: Of whoever waits for no profile of its own, and of every ready set.
DEFAULT_PROFILE = "default"

_COMING = (State.STARTING, State.READY)


class Demand:
    """What is wanted of some environments at a moment.

    ``targets`` tells for each environment in which a kernel can be started how many to keep ready.
    """

    def __init__(self, targets: Mapping[str, int], kernels: Iterable[Kernel], waiting: Sequence[LeaseRequest]) -> None:
        self._targets = targets
        self._waiting = [(one.environment, one.profile) for one in waiting if one.environment in targets]
        self._coming = Counter((one.environment, one.profile) for one in kernels if one.state in _COMING)

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for one of the environments."""
        return bool(self._waiting)

    @property
    def missing(self) -> int:
        """How many more kernels should be started for the ready sets and for those who wait."""
        wanted = Counter(self._targets)
        wanted.update(environment for environment, _ in self._waiting)
        for (environment, _), number in self._coming.items():
            if environment in self._targets:
                wanted[environment] -= number
        # What one environment has too many helps no other.
        # A ready kernel of another profile serves nobody who waits.
        return max(sum(max(0, number) for number in wanted.values()), self.unserved)

    @property
    def unserved(self) -> int:
        """How many requests wait for kernels that do not even start yet."""
        return sum(max(0, number - self._coming[key]) for key, number in Counter(self._waiting).items())

    @property
    def most_wanted(self) -> tuple[str, str]:
        """Environment and profile to start next: of who waits unserved, else the emptiest ready set."""
        seen: Counter[tuple[str, str]] = Counter()
        for key in self._waiting:
            seen[key] += 1
            if seen[key] > self._coming[key]:
                return key
        have: Counter[str] = Counter()
        for (environment, _), number in self._coming.items():
            have[environment] += number
        # for who waits are some of those that come
        have.subtract(environment for environment, _ in self._waiting)
        return min(sorted(self._targets), key=lambda name: have[name] - self._targets[name]), DEFAULT_PROFILE
