"""One evaluation at a time on an open connection, with a stock client and with one that acknowledges at once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.contest import evaluate
from benchmarks.series import Bar, Series, Table

if TYPE_CHECKING:
    from benchmarks.client import KernelChannels
    from benchmarks.contest import Contestants, Sizes

#: Evaluations before the first that counts: the first cell of a kernel does more, and a new connection acknowledges
#: its first segments at once.
WARM_UP = 5


async def measure(contestants: Contestants, sizes: Sizes) -> tuple[list[Table], list[Bar]]:
    """Measure round trips in interleaved rounds."""
    channels: dict[tuple[str, bool], KernelChannels] = {}
    samples: dict[tuple[str, bool], list[float]] = {}
    seconds: dict[str, float] = {}
    created = []
    for server in contestants.servers:
        for quick_ack in (False, True):
            kernel_id = await server.create()
            created.append((server, kernel_id))
            key = server.label, quick_ack
            channels[key] = await server.connect(kernel_id, quick_ack=quick_ack)
            samples[key] = []
            for _ in range(WARM_UP):
                await evaluate(channels[key])
    for _ in range(sizes.round_trip_rounds):
        for quick_ack in (False, True):
            for server in contestants.servers:
                key = server.label, quick_ack
                before = server.daemon_seconds()
                for _ in range(sizes.round_trips_per_round):
                    begin = time.perf_counter()
                    execution = await evaluate(channels[key])
                    samples[key].append(1000 * (execution.done_at - begin))
                seconds[server.label] = seconds.get(server.label, 0.0) + server.daemon_seconds() - before
    for one in channels.values():
        await one.close()
    for server, kernel_id in created:
        await server.delete(kernel_id)

    labels = [server.label for server in contestants.servers]
    peers = tuple(labels[1:])
    count = 2 * sizes.round_trip_rounds * sizes.round_trips_per_round
    stock = Table(
        "roundtrip",
        "Round trip of 1+1 on an open connection, stock client",
        "ms",
        tuple(Series(label, tuple(samples[label, False])) for label in labels),
        notes=(
            "The peers' 40 ms and more is Nagle's algorithm at the server against delayed ACK at the client, on Linux' "
            "loopback: a socket option, not computation. No bar rests on it; the next table shows what is left.",
        ),
    )
    quick = Table(
        "roundtrip-quickack",
        "Round trip of 1+1 on an open connection, client that sets TCP_QUICKACK after each message",
        "ms",
        tuple(Series(label, tuple(samples[label, True])) for label in labels),
    )
    daemon = Table(
        "daemon-cpu",
        "Processor time of the server's own processes per evaluation",
        "ms",
        tuple(Series(label, (1000 * seconds[label] / count,)) for label in labels),
    )
    return [stock, quick, daemon], [quick.bar("round trip of 1+1, quick-ACK client", 2.5, peers)]
