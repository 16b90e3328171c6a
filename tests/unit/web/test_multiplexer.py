"""One SockJS connection as a client of several kernels."""

from __future__ import annotations

import pytest

from appliance.web.multiplexer import Multiplexer
from appliance.web.pool_client import NOBODY
from tests.unit.web.fakes import NOW
from tests.unit.web.running import run

REQUEST = '{"header":{"msg_id":"a","msg_type":"execute_request"},"content":{"code":"1"}}'


@pytest.fixture
def multiplexer(world):
    return Multiplexer(world.kernels, NOBODY, lambda: NOW, [].append, accepted=True, max_message_bytes=1000)


def test_a_kernel_that_a_full_connection_comes_to_waits(world, multiplexer):
    first, second = (run(world.kernels.lease("visitor", 60.0)) for _ in range(2))
    sockets = [world.kernel(kernel.kernel_id).socket("iopub") for kernel in (first, second)]
    multiplexer.full(full=True)
    multiplexer.receive(f"{first.kernel_id}/channels,{REQUEST}")
    assert [socket.paused for socket in sockets] == [True, False]
    first.restarted(second)
    assert sockets[1].paused
    multiplexer.full(full=False)
    assert not sockets[1].paused
