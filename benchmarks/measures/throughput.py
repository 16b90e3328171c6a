"""Evaluations per second, one after the other on each of several kernels at once."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from benchmarks.contest import evaluate
from benchmarks.series import Bar, Series, Table

if TYPE_CHECKING:
    from benchmarks.client import KernelChannels
    from benchmarks.contest import Contestants, Sizes
    from benchmarks.server import Server

#: Kernels started, or ended, at once: each start of a peer's takes most of a core.
AT_ONCE = 4

#: The number of kernels that the bar is about.
BAR_KERNELS = 10


async def _start(server: Server, count: int) -> list[tuple[str, KernelChannels]]:
    async def one() -> tuple[str, KernelChannels]:
        async with limit:
            kernel_id = await server.create()
            channels = await server.connect(kernel_id)
            await evaluate(channels)
            return kernel_id, channels

    limit = asyncio.Semaphore(AT_ONCE)
    return await asyncio.gather(*(one() for _ in range(count)))


async def _end(server: Server, kernels: list[tuple[str, KernelChannels]]) -> None:
    async def one(kernel_id: str, channels: KernelChannels) -> None:
        async with limit:
            await channels.close()
            await server.delete(kernel_id)

    limit = asyncio.Semaphore(AT_ONCE)
    await asyncio.gather(*(one(*kernel) for kernel in kernels))


async def _rate(channels: list[KernelChannels], seconds: float) -> tuple[float, int]:
    """Return evaluations per second, and their number."""

    async def loop(one: KernelChannels) -> int:
        count = 0
        while time.perf_counter() < end:
            await evaluate(one)
            count += 1
        return count

    begin = time.perf_counter()
    end = begin + seconds
    count = sum(await asyncio.gather(*map(loop, channels)))
    return count / (time.perf_counter() - begin), count


async def measure(contestants: Contestants, sizes: Sizes) -> tuple[list[Table], list[Bar]]:
    """Measure rates in interleaved rounds."""
    most = max(sizes.throughput_kernels)
    labels = [server.label for server in contestants.servers]
    kernels = {server.label: await _start(server, most) for server in contestants.servers}
    rates: dict[tuple[str, int], list[float]] = {(label, k): [] for label in labels for k in sizes.throughput_kernels}
    costs: dict[tuple[str, int], list[float]] = {key: [] for key in rates}
    for _ in range(sizes.throughput_rounds):
        for count in sizes.throughput_kernels:
            for server in contestants.servers:
                before = server.daemon_seconds()
                channels = [one for _, one in kernels[server.label][:count]]
                rate, evaluations = await _rate(channels, sizes.throughput_seconds)
                rates[server.label, count].append(rate)
                costs[server.label, count].append(1000 * (server.daemon_seconds() - before) / evaluations)
    for server in contestants.servers:
        await _end(server, kernels[server.label])

    tables = [
        Table(
            f"throughput-{count}",
            f"Evaluations of 1+1 per second, {count} kernel{'s' if count > 1 else ''}, stock client",
            "1/s",
            tuple(Series(label, tuple(rates[label, count])) for label in labels),
            more_is_better=True,
        )
        for count in sizes.throughput_kernels
    ]
    bars = [
        table.bar(f"evaluations per second, {BAR_KERNELS} kernels", 3.5, tuple(labels[1:]))
        for table, count in zip(tables, sizes.throughput_kernels, strict=True)
        if count == BAR_KERNELS
    ]
    tables.append(
        Table(
            "throughput-cpu",
            f"Processor time of the server's own processes per evaluation, {BAR_KERNELS} kernels",
            "ms",
            tuple(Series(label, tuple(costs[label, BAR_KERNELS])) for label in labels),
        )
    )
    return tables, bars
