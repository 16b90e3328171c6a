"""Which kernels to start next."""

from __future__ import annotations

import pytest

from appliance.protocol.demand import Demand
from appliance.protocol.kernel_life import Kernel, LeaseRequest, State


def kernel(state: State, environment: str = "python", profile: str = "default") -> Kernel:
    return Kernel(1000, "id", environment, profile, state, 0.0)


def wish(environment: str = "python", profile: str = "default") -> LeaseRequest:
    return LeaseRequest(object(), "visitor", environment, profile, 0.0)


@pytest.mark.parametrize(
    ("kernels", "waiting", "missing", "unserved"),
    [
        ([], [], 2, 0),
        ([kernel(State.READY)], [], 1, 0),
        ([kernel(State.LEASED), kernel(State.ENDING)], [], 2, 0),
        ([kernel(State.STARTING)] * 3, [wish()], 0, 0),
        # a ready set of one profile serves nobody who waits for another
        ([kernel(State.READY)] * 4, [wish(profile="exam")], 1, 1),
        # what cannot be started is not missing
        ([], [wish("sage")], 2, 0),
    ],
)
def test_what_is_missing(kernels: list[Kernel], waiting: list[LeaseRequest], missing: int, unserved: int) -> None:
    demand = Demand({"python": 2}, kernels, waiting)
    assert (demand.missing, demand.unserved) == (missing, unserved)
    assert demand.is_waited_for == any(one.environment == "python" for one in waiting)


def test_whoever_waits_comes_before_the_ready_sets() -> None:
    targets = {"python": 1, "r": 4}
    assert Demand(targets, [], []).most_wanted == ("r", "default")
    assert Demand(targets, [kernel(State.READY, "r")] * 4, []).most_wanted == ("python", "default")
    served, unserved = wish(), wish(profile="exam")
    assert Demand(targets, [kernel(State.STARTING)], [served, unserved]).most_wanted == ("python", "exam")
    assert Demand(targets, [kernel(State.STARTING)], [served]).most_wanted == ("r", "default")


def test_what_comes_for_who_waits_fills_no_ready_set() -> None:
    kernels = [kernel(State.STARTING)] * 5 + [kernel(State.READY, "sage")]
    demand = Demand({"python": 2, "sage": 1}, kernels, [wish()] * 5)
    assert (demand.missing, demand.unserved) == (2, 0)
    assert demand.most_wanted == ("python", "default")
