"""From nothing to the first result: POST, WebSocket, execute_request, and everything that answers it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks.contest import evaluate
from benchmarks.series import Bar, Series, Table

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks.contest import Contestants, Sizes
    from benchmarks.peers import Peer
    from benchmarks.server import Server

#: Pause between two visitors, so that a kernel that was taken is replaced before the next one comes.
PACE_SECONDS = 0.3

#: Pause after other work, so that it does not compete with what is measured next.
SETTLE_SECONDS = 0.2

Samples = dict[str, list[tuple[float, float]]]


async def first_result(
    server: Server, obtain: Callable[[], Awaitable[str]], *, quick_ack: bool = False
) -> tuple[float, float]:
    """Return the milliseconds until the execute_result was here, and until everything was; the kernel is ended."""
    begin = time.perf_counter()
    kernel_id = await obtain()
    channels = await server.connect(kernel_id, quick_ack=quick_ack)
    execution = await evaluate(channels)
    await channels.close()
    await server.delete(kernel_id)
    return 1000 * (execution.result_at - begin), 1000 * (execution.done_at - begin)


async def _peer_round(peer: Peer, samples: Samples) -> None:
    samples[f"{peer.label}, POST"].append(await first_result(peer, peer.create))
    for suffix, quick_ack in (("picked", False), ("picked, quick-ACK", True)):
        await peer.prestart()
        await asyncio.sleep(SETTLE_SECONDS)
        samples[f"{peer.label}, {suffix}"].append(await first_result(peer, peer.pick, quick_ack=quick_ack))
    await asyncio.sleep(SETTLE_SECONDS)


async def measure(contestants: Contestants, sizes: Sizes) -> tuple[list[Table], list[Bar]]:
    """Measure starts in interleaved rounds."""
    appliance = contestants.appliance
    samples: Samples = defaultdict(list)
    for server in contestants.servers:
        # what a server does once, at its first request, is not what a visitor sees
        await first_result(server, server.create)
    for _ in range(sizes.start_rounds):
        for _ in range(sizes.appliance_starts_per_round):
            await asyncio.sleep(PACE_SECONDS)
            samples[f"appliance, every {PACE_SECONDS} s"].append(await first_result(appliance, appliance.create))
        await asyncio.sleep(PACE_SECONDS)
        for _ in range(sizes.appliance_starts_per_round):
            samples["appliance, back to back"].append(await first_result(appliance, appliance.create))
        await asyncio.sleep(2 * PACE_SECONDS)
        for peer in contestants.peers:
            await _peer_round(peer, samples)
    posts = tuple(f"{peer.label}, POST" for peer in contestants.peers)
    picks = tuple(f"{peer.label}, picked" for peer in contestants.peers)
    done = Table(
        "start",
        "Start to first result: POST, WebSocket, 1+1; until execute_result, execute_reply and idle are here",
        "ms",
        tuple(Series(label, tuple(pair[1] for pair in pairs)) for label, pairs in samples.items()),
        notes=(
            "The appliance's kernels have the libraries loaded (numpy, scipy, sympy, matplotlib, pandas, "
            "ipywidgets), the peers' have not.",
            "picked: the kernel ran, idle and connected to once, before the clock; GET of the list instead of POST.",
        ),
    )
    result = Table(
        "start-result",
        "The same starts, until execute_result is here",
        "ms",
        tuple(Series(label, tuple(pair[0] for pair in pairs)) for label, pairs in samples.items()),
    )
    return [done, result], [
        done.bar("POST to first result", 30.0, posts),
        done.bar("first result, kernel picked that ran before", 4.0, picks),
    ]
