"""Who is compared, and how often each thing is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.client import BenchmarkError

if TYPE_CHECKING:
    from benchmarks.appliance_server import Appliance
    from benchmarks.client import Execution, KernelChannels
    from benchmarks.peers import Peer
    from benchmarks.server import Server

#: The evaluation nearly everything is measured with, and what it must give.
CODE = "1+1"
ANSWER = "2"


@dataclass(frozen=True)
class Contestants:
    """The running servers."""

    appliance: Appliance
    peers: tuple[Peer, ...]

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them, the appliance first."""
        return (self.appliance, *self.peers)


@dataclass(frozen=True)
class Sizes:
    """How much is measured: counts of samples, and seconds."""

    start_rounds: int
    appliance_starts_per_round: int
    round_trip_rounds: int
    round_trips_per_round: int
    throughput_kernels: tuple[int, ...]
    throughput_rounds: int
    throughput_seconds: float
    print_rounds: int
    fresh_kernels: int


FULL = Sizes(
    start_rounds=15,
    appliance_starts_per_round=7,
    round_trip_rounds=5,
    round_trips_per_round=30,
    throughput_kernels=(1, 10, 50),
    throughput_rounds=4,
    throughput_seconds=1.2,
    print_rounds=7,
    fresh_kernels=4,
)

#: Shows that everything works; the numbers say little.
QUICK = Sizes(
    start_rounds=4,
    appliance_starts_per_round=3,
    round_trip_rounds=2,
    round_trips_per_round=15,
    throughput_kernels=(1, 10),
    throughput_rounds=1,
    throughput_seconds=1.0,
    print_rounds=2,
    fresh_kernels=2,
)


async def evaluate(channels: KernelChannels) -> Execution:
    """Run the evaluation. Raises `BenchmarkError` when the answer is wrong."""
    execution = await channels.execute(CODE)
    if execution.result != ANSWER:
        raise BenchmarkError(f"{CODE} gave {execution.result!r}")
    return execution
