"""The visits of ``cellctl bench``, made to a real appliance."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from appliance.cli.bench.visitor import LeaseConnection, Refused, Visitors
from appliance.cli.target import Target
from tests.integration.running import wait_for

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from tests.integration.running import Server


@pytest.fixture
def target(appliance: Server) -> Target:
    wait_for("kernels can be leased", appliance.evaluates, 10)
    return Target("127.0.0.1", appliance.port)


def run(visits: Coroutine[Any, Any, Any]) -> Any:
    """Run in a thread of its own: the driver of the browser leaves a loop in that of the tests."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, visits).result()


def test_every_kind_of_visit_goes_well(target: Target) -> None:
    async def visits() -> list[str]:
        visitors = Visitors(target, share=True)
        return [f"{kind}: {(await visitors.visit(kind)).failure}" for kind in visitors.kinds]

    assert run(visits()) == ["computation: ", "page: ", "permalink made: ", "permalink opened: "]


def test_more_visitors_than_kernels_stand_in_line_and_are_served(target: Target, appliance: Server) -> None:
    async def crowd(size: int) -> list[str]:
        visitors = Visitors(target, share=False)
        return [visit.failure for visit in await asyncio.gather(*(visitors.visit("computation") for _ in range(size)))]

    size = appliance.config.pool.max_kernels + 5
    assert run(crowd(size)) == [""] * size


def test_the_time_of_a_visit_begins_with_the_click(target: Target) -> None:
    async def late() -> float:
        connection = await LeaseConnection.open(target, 1)
        await asyncio.sleep(1.5)
        began = asyncio.get_running_loop().time()
        assert await connection.compute("print(42)") == "42\n"
        connection.close()
        return asyncio.get_running_loop().time() - began

    assert run(late()) < 1.5


def test_what_a_server_refuses_is_said(target: Target) -> None:
    async def ask(wish: dict[str, str]) -> None:
        connection = await LeaseConnection.open(target, 1)
        try:
            await connection.compute("1", **wish)
        finally:
            connection.close()

    with pytest.raises(Refused, match="400 unknown_environment"):
        run(ask({"environment": "fortran"}))
