"""Private memory of an idle kernel after its first evaluation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks import processes
from benchmarks.contest import evaluate
from benchmarks.series import Bar, Series, Table
from benchmarks.server import LOADED, PLAIN

if TYPE_CHECKING:
    from benchmarks.contest import Contestants, Sizes
    from benchmarks.server import Server

#: Pause before memory is read: kernels do something after their last message.
SETTLE_SECONDS = 0.5

MIB = 1 << 20


async def _idle(server: Server, kernelspec: str, count: int) -> tuple[float, ...]:
    """Return the private memory of ``count`` kernels alive at once, in MiB."""
    kernel_ids, channels, pids = [], [], []
    for _ in range(count):
        kernel_ids.append(await server.create(kernelspec))
        channels.append(await server.connect(kernel_ids[-1]))
        await evaluate(channels[-1])
        pids.append(await server.kernel_pid(channels[-1]))
    await asyncio.sleep(SETTLE_SECONDS)
    found = tuple(processes.private_bytes(pid) / MIB for pid in pids)
    for one, kernel_id in zip(channels, kernel_ids, strict=True):
        await one.close()
        await server.delete(kernel_id)
    return found


async def measure(contestants: Contestants, sizes: Sizes) -> tuple[list[Table], list[Bar]]:
    """Measure kernels that have the same libraries loaded, and the peers' without them."""
    if not processes.may_look_into_others():
        note = "Not measured: only root may read the memory of processes that have accounts of their own."
        return [Table("memory", "Private memory (USS) of an idle kernel", "MiB", (), notes=(note,))], []
    appliance = contestants.appliance
    series = [Series(f"{appliance.label}, libraries loaded", await _idle(appliance, PLAIN, sizes.fresh_kernels))]
    for kernelspec, text in ((LOADED, "libraries loaded"), (PLAIN, "nothing loaded")):
        for peer in contestants.peers:
            series.append(Series(f"{peer.label}, {text}", await _idle(peer, kernelspec, sizes.fresh_kernels)))
    once = processes.anonymous_bytes(appliance.zygote().pid) / MIB
    table = Table(
        "memory",
        "Private memory (USS) of an idle kernel after 1+1",
        "MiB",
        tuple(series),
        notes=(f"The appliance's kernels share the libraries with their zygote: {once:.0f} MiB, once.",),
    )
    loaded = tuple(f"{peer.label}, libraries loaded" for peer in contestants.peers)
    return [table], [table.bar("private memory of an idle kernel", 11.0, loaded)]
