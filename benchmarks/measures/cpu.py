"""Processor time of a new kernel until it is ready."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.client import BenchmarkError
from benchmarks.series import Bar, Series, Table
from benchmarks.server import LOADED, PLAIN

if TYPE_CHECKING:
    from benchmarks.appliance_server import Appliance
    from benchmarks.contest import Contestants, Sizes
    from benchmarks.peers import Peer

#: Longest wait for the kernel that replaces a dealt one.
REFILL_SECONDS = 10.0

#: Pause in which a new kernel finishes getting ready, or one that was ended is reaped.
SETTLE_SECONDS = 0.6


async def _forked(appliance: Appliance) -> float:
    """Take a kernel; return what its replacement cost the zygote and itself, in milliseconds."""
    zygote = appliance.zygote().pid
    known = appliance.kernel_pids()
    before = processes.cpu_seconds(zygote)
    kernel_id = await appliance.create()
    channels = await appliance.connect(kernel_id)
    deadline = time.monotonic() + REFILL_SECONDS
    while not (new := appliance.kernel_pids() - known):
        if time.monotonic() > deadline:
            raise BenchmarkError("a dealt kernel was not replaced")
        await asyncio.sleep(SETTLE_SECONDS / 10)
    await asyncio.sleep(SETTLE_SECONDS)
    cost = processes.cpu_seconds(zygote) - before + sum(map(processes.cpu_seconds, new))
    await channels.close()
    await appliance.delete(kernel_id)
    await asyncio.sleep(SETTLE_SECONDS)
    return 1000 * cost / len(new)


async def _started(peer: Peer, kernelspec: str) -> float:
    """Start a kernel; return what it cost until it answered, in milliseconds."""
    known = {process.pid for process in processes.family(peer.pid)}
    kernel_id = await peer.prestart(kernelspec)
    new = {process.pid for process in processes.family(peer.pid)} - known
    cost = sum(map(processes.cpu_seconds, new))
    await peer.delete(kernel_id)
    return 1000 * cost


async def measure(contestants: Contestants, sizes: Sizes) -> tuple[list[Table], list[Bar]]:
    """Measure fresh kernels in interleaved rounds."""
    ours: list[float] = []
    theirs: dict[tuple[str, str], list[float]] = {
        (peer.label, kernelspec): [] for kernelspec in (PLAIN, LOADED) for peer in contestants.peers
    }
    await asyncio.sleep(SETTLE_SECONDS)
    for _ in range(sizes.fresh_kernels):
        ours.append(await _forked(contestants.appliance))
        for peer in contestants.peers:
            for kernelspec in (PLAIN, LOADED):
                theirs[peer.label, kernelspec].append(await _started(peer, kernelspec))
    texts = {PLAIN: "nothing loaded", LOADED: "libraries loaded"}
    series = [Series("appliance, libraries loaded", tuple(ours))]
    series += [Series(f"{label}, {texts[kernelspec]}", tuple(values)) for (label, kernelspec), values in theirs.items()]
    table = Table(
        "cpu",
        "Processor time of a new kernel until it is ready",
        "ms",
        tuple(series),
        notes=(
            "appliance: the zygote's share, the fork, every step of the confinement and a first silent cell; "
            "peers: the kernel process until it answers, without the server's share.",
        ),
    )
    return [table], []
