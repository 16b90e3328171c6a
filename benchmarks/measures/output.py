"""A cell that prints a hundred thousand lines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks.client import BenchmarkError
from benchmarks.series import Bar, Series, Table

if TYPE_CHECKING:
    from benchmarks.contest import Contestants, Sizes

LINES = 100_000
CODE = f"for i in range({LINES}): print(i)"
CHARACTERS = sum(len(str(number)) + 1 for number in range(LINES))


async def measure(contestants: Contestants, sizes: Sizes) -> tuple[list[Table], list[Bar]]:
    """Measure in interleaved rounds, on kernels that have printed before."""
    labels = [server.label for server in contestants.servers]
    samples: dict[str, list[float]] = {label: [] for label in labels}
    kernel_ids = [await server.create() for server in contestants.servers]
    channels = [
        await server.connect(kernel_id) for server, kernel_id in zip(contestants.servers, kernel_ids, strict=True)
    ]
    for one in channels:
        await one.execute("print(1)")
    for _ in range(sizes.print_rounds):
        for label, one in zip(labels, channels, strict=True):
            begin = time.perf_counter()
            execution = await one.execute(CODE)
            samples[label].append(1000 * (execution.done_at - begin))
            if execution.stream_characters != CHARACTERS:
                raise BenchmarkError(f"{label}: {execution.stream_characters} of {CHARACTERS} characters arrived")
    for server, kernel_id, one in zip(contestants.servers, kernel_ids, channels, strict=True):
        await one.close()
        await server.delete(kernel_id)

    table = Table(
        "print",
        f"print of {LINES} lines, until all of them and the reply are here",
        "ms",
        tuple(Series(label, tuple(values)) for label, values in samples.items()),
        notes=("The peers' limit on the rate of output is switched off: it would drop most of it.",),
    )
    return [table], [table.bar(f"print of {LINES} lines", 3.0, tuple(labels[1:]))]
