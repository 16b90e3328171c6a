from __future__ import annotations

import json
import math

import pytest
from twisted.internet.defer import Deferred

from appliance.config import Clocks, Config, Environment, Web
from appliance.errors import InvalidMessage, PoolExhausted, PoolUnavailable, UnknownEnvironment, UnknownKernel
from appliance.protocol import session as machine
from appliance.protocol.frames import parse_client_message
from appliance.web import kernel_connection
from appliance.web.kernels import TICK_SECONDS, timeout_seconds
from appliance.web.live_kernel import TooManyConnections
from appliance.web.pool_client import WantedKernel
from appliance.web.websocket import Returning
from tests.unit.web.fakes import NOW, Client, FakeSocket, World
from tests.unit.web.running import run, start


def message(msg_id="a", msg_type="execute_request"):
    content = {"code": "1"} if msg_type == "execute_request" else {}
    return parse_client_message(
        json.dumps({"header": {"msg_id": msg_id, "msg_type": msg_type}, "content": content}), NOW
    )


def lease(world, timeout=60.0):
    kernel = run(world.kernels.lease("visitor", timeout))
    client = Client()
    number = kernel.add_client(client)
    return kernel, client, number


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("2.5", 2.5), ("inf", math.inf), ("1e3", 1000), ("nan", None), ("-1", None), ("", None), ("x", None)],
)
def test_a_timeout_is_a_number_of_seconds(text, seconds):
    assert timeout_seconds(text) == seconds


def test_a_lease_asks_for_an_idle_clock_within_the_limit(monkeypatch):
    world = World(monkeypatch, Config(clocks=Clocks(idle_seconds=100)))
    for timeout in (0.0, 30.0, math.inf):
        run(world.kernels.lease("visitor", timeout))
    assert world.pool.leases == [("visitor", "python", "default", seconds) for seconds in (100, 30, 100)]


def test_the_environment_is_python_or_else_the_first(monkeypatch):
    world = World(monkeypatch, Config(environment={"sage": Environment()}))
    run(world.kernels.lease("visitor", 0))
    assert world.pool.leases[0][1] == "sage"


def test_who_names_python_gets_what_a_server_has_for_it(monkeypatch):
    world = World(monkeypatch, Config(environment={"science": Environment(), "sage": Environment()}))
    run(world.kernels.lease("visitor", 0, WantedKernel("python")))
    assert world.pool.leases[0][1] == "science"


def test_a_default_environment_is_for_those_who_name_none(monkeypatch):
    environments = {"python": Environment(), "sage": Environment()}
    world = World(monkeypatch, Config(web=Web(default_environment="sage"), environment=environments))
    for wanted in (WantedKernel(), WantedKernel("python")):
        run(world.kernels.lease("visitor", 0, wanted))
    assert [lease[1] for lease in world.pool.leases] == ["sage", "python"]


def test_a_lease_may_name_an_environment_that_there_is(monkeypatch):
    world = World(monkeypatch, Config(environment={"python": Environment(), "bash": Environment(kernelspec="bash")}))
    run(world.kernels.lease("visitor", 0, WantedKernel("bash")))
    assert world.pool.leases[0][1] == "bash"
    with pytest.raises(UnknownEnvironment) as caught:
        run(world.kernels.lease("visitor", 0, WantedKernel("<b>fortran")))
    assert "Environments: bash, python." in caught.value.message
    assert len(world.pool.leases) == 1


def test_a_full_pool_is_told(world):
    world.pool.error = PoolExhausted()
    with pytest.raises(PoolExhausted):
        run(world.kernels.lease("visitor", 0))
    assert world.kernels.count == 0


def test_a_kernel_that_cannot_be_connected_to_is_given_back(world, monkeypatch):
    def refuse(*_arguments):
        raise OSError("no descriptor is left")

    monkeypatch.setattr(kernel_connection, "SubscriberConnection", refuse)
    with pytest.raises(OSError, match="no descriptor"):
        run(world.kernels.lease("visitor", 0))
    assert world.kernels.count == 0
    assert len(world.pool.released) == 1


def test_an_evaluation_on_a_single_kernel_ends_in_its_release(world):
    kernel, client, number = lease(world, 0)
    kernel.client_message(number, message())
    other = world.kernel()
    assert [header["msg_type"] for header, _ in other.requests] == ["kernel_info_request"]
    other.answer(0)
    assert other.requests[-1][0]["msg_id"] == "a"
    other.print("hello")
    other.answer()
    assert client.kinds == ["stream", "execute_reply", "idle", "dead"]
    assert client.closed == 1000
    assert world.pool.released == [(kernel.kernel_id, "released")]
    assert world.kernels.count == 0
    assert all(socket.closed for socket in FakeSocket.made)
    assert world.clock.getDelayedCalls() == []


def test_every_client_hears_the_kernel_and_one_may_leave(world):
    kernel, first, number = lease(world)
    second = Client()
    kernel.add_client(second)
    other = world.start()
    kernel.client_message(number, message())
    kernel.remove_client(number)
    other.answer()
    assert second.kinds == ["execute_reply", "idle"]
    assert first.kinds == []
    assert world.kernels.clients == 1


def test_the_number_of_clients_is_limited(monkeypatch):
    world = World(monkeypatch, Config(web=Web(max_connections_per_kernel=2)))
    kernel, _, _ = lease(world)
    kernel.check_room()
    kernel.add_client(Client())
    with pytest.raises(TooManyConnections):
        kernel.check_room()


def test_a_kernel_without_clients_is_released_after_a_grace(world):
    kernel, _, number = lease(world)
    world.start()
    kernel.remove_client(number)
    world.clock.advance(machine.GRACE_SECONDS - 1)
    again = Client()
    number = kernel.add_client(again)
    world.clock.advance(machine.GRACE_SECONDS)
    assert world.pool.released == []
    kernel.remove_client(number)
    world.clock.advance(machine.GRACE_SECONDS)
    assert world.pool.released == [(kernel.kernel_id, "client_gone")]


def test_a_kernel_that_nobody_comes_for_is_released(world):
    kernel = run(world.kernels.lease("visitor", math.inf))
    world.start()
    world.clock.advance(machine.ATTACH_SECONDS)
    assert world.pool.released == [(kernel.kernel_id, "client_gone")]


def test_the_kernel_is_paused_when_no_client_takes_more(world):
    kernel, _, first = lease(world)
    second = kernel.add_client(Client())
    socket = world.kernel().socket("iopub")
    kernel.client_full(first, full=True)
    assert not socket.paused
    kernel.client_full(second, full=True)
    assert socket.paused
    third = kernel.add_client(Client())
    assert not socket.paused
    kernel.remove_client(third)
    assert socket.paused
    kernel.client_full(second, full=False)
    assert not socket.paused
    kernel.client_full(second, full=True)
    kernel.remove_client(second)
    kernel.remove_client(first)
    assert not socket.paused


def test_a_client_that_is_gone_cannot_pause_the_kernel(world):
    kernel, _, number = lease(world)
    kernel.remove_client(number)
    kernel.client_full(number, full=True)
    assert not world.kernel().socket("iopub").paused


def test_an_interrupt_goes_to_the_pool(world):
    kernel, client, number = lease(world)
    kernel.client_message(number, message("i", "interrupt_request"))
    assert world.pool.interrupted == [kernel.kernel_id]
    assert client.frames[-1].msg_type == "interrupt_reply"
    world.pool.error = PoolUnavailable()
    kernel.client_message(number, message("j", "interrupt_request"))
    assert client.frames[-1].content["status"] == "error"


def test_what_is_no_message_is_explained(world):
    kernel, client, number = lease(world)
    for _ in range(machine.MAX_INVALID_MESSAGES):
        kernel.client_invalid(number, InvalidMessage("No."))
    assert client.frames[0].content == {"error": "invalid_message", "message": "No."}
    assert client.closed == 1008


def test_a_kernel_whose_only_client_was_disconnected_is_read_again_and_released_after_a_grace(world):
    kernel, _, number = lease(world)
    other = world.start()
    kernel.client_full(number, full=True)
    for _ in range(machine.MAX_INVALID_MESSAGES):
        kernel.client_invalid(number, InvalidMessage("No."))
    assert not other.socket("iopub").paused
    kernel.remove_client(number)
    world.clock.advance(machine.GRACE_SECONDS)
    assert world.pool.released == [(kernel.kernel_id, "client_gone")]


def test_a_connection_that_another_takes_the_place_of_leaves_no_grace(world):
    kernel = run(world.kernels.lease("visitor", 60.0))
    world.start()
    first, second = Client(), Client()
    for client in (first, second):
        kernel.add_returning_client(client, Returning("page", "", ""))
    assert (first.closed, second.closed) == (1001, None)
    world.clock.advance(machine.RETURN_SECONDS)
    assert world.pool.released == []


def test_a_death_told_by_the_pool_reaches_the_clients(world):
    kernel, client, number = lease(world)
    world.start()
    kernel.client_message(number, message())
    world.kernels.died(kernel.kernel_id, "memory_limit", "")
    assert client.kinds == ["execute_reply", "idle", "dead"]
    assert client.frames[-1].content["reason"] == "memory_limit"
    assert world.pool.released == []
    world.kernels.died(kernel.kernel_id, "memory_limit", "")


def test_a_reason_that_is_not_known_is_a_crash(world):
    kernel, client, _ = lease(world)
    world.kernels.died(kernel.kernel_id, "new reason", "")
    assert client.frames[-1].content["reason"] == "crashed"


def test_a_kernel_that_does_not_talk_is_given_up(world):
    kernel, client, _ = lease(world)
    world.clock.advance(10)
    assert client.frames[-1].content["reason"] == "unresponsive"
    assert world.pool.released == [(kernel.kernel_id, "stopped")]


def test_a_message_that_the_kernel_does_not_take_is_answered(world):
    kernel, client, number = lease(world)
    other = world.start()
    other.socket("shell").closed = True
    kernel.client_message(number, message())
    assert client.frames[0].content["ename"] == "RequestRefused"
    assert client.kinds == ["execute_reply", "idle"]


def test_output_that_was_lost_is_noticed_by_ticks(world):
    kernel, client, number = lease(world)
    other = world.start()
    kernel.client_message(number, message())
    other.reply(other.requests[-1][0])
    world.kernels.startService()
    world.clock.pump([TICK_SECONDS, TICK_SECONDS])
    assert other.requests[-1][0]["msg_type"] == "kernel_info_request"
    other.answer()
    assert client.kinds == ["execute_reply", "stream", "idle"]
    assert client.ticks == 2
    world.kernels.stopService()


def test_no_output_counts_as_lost_while_nobody_reads_it(world):
    kernel, _, number = lease(world)
    other = world.start()
    kernel.client_message(number, message())
    other.reply(other.requests[-1][0])
    kernel.client_full(number, full=True)
    world.kernels.startService()
    world.clock.pump([TICK_SECONDS] * 4)
    assert other.requests[-1][0]["msg_type"] == "execute_request"
    world.kernels.stopService()


def two_roles(world, timeout):
    """A kernel that one process has leased and its client reaches in another."""
    kernel = run(world.kernels.lease("visitor", timeout))
    second = world.kernels.__class__(world.config, world.clock, world.pool, lambda: NOW, world.files)
    found = run(second.find(kernel.kernel_id))
    client = Client()
    return found, client, found.add_client(client), second


def test_a_kernel_for_one_evaluation_is_released_by_whichever_process_runs_it(world):
    kernel, client, number, _ = two_roles(world, 0)
    other = world.start()
    kernel.client_message(number, message())
    other.answer()
    assert client.kinds == ["execute_reply", "idle", "dead"]
    assert world.pool.released == [(kernel.kernel_id, "released")]


def test_a_kernel_that_is_kept_is_so_in_every_process(world):
    kernel, client, number, second = two_roles(world, 0)
    other = world.start()
    kernel.client_message(number, message())
    other.say("iopub", "comm_open", other.requests[-1][0], {"comm_id": "c", "target_name": "t", "data": {}})
    other.answer()
    assert client.kinds == ["comm_open", "execute_reply", "idle"]
    second.stopService()
    assert not world.pool.known[kernel.kernel_id].single
    third = world.kernels.__class__(world.config, world.clock, world.pool, lambda: NOW, world.files)
    assert not run(third.find(kernel.kernel_id))._session._single
    assert world.pool.released == []


def test_a_kernel_is_left_to_the_process_whose_client_uses_it(world):
    kernel, _, _, second = two_roles(world, 0)
    world.start()
    assert not second.let_go(kernel.kernel_id)
    assert world.kernels.let_go(kernel.kernel_id)
    assert (world.kernels.count, second.count) == (0, 1)
    world.clock.advance(machine.ATTACH_SECONDS)
    assert world.pool.released == []
    assert world.kernels.let_go("unknown")


def test_who_comes_after_all_to_the_process_that_let_go_is_served(world):
    first = run(world.kernels.lease("visitor", 0))
    client = Client()
    first.add_returning_client(client, Returning("page", "", ""))
    first.remove_client(1, lost=True)
    assert world.kernels.let_go(first.kernel_id)
    assert world.kernels.ended(first.kernel_id) is None
    again = run(world.kernels.find(first.kernel_id))
    assert again is not first
    assert again.add_client(client) == 1


def test_what_is_kept_for_who_comes_back_is_text_without_its_parsed_content(world):
    kernel, client, number = lease(world)
    other = world.start()
    kernel.client_message(number, message())
    request = other.requests[-1][0]
    other.say("iopub", "status", request, {"execution_state": "busy", "more": [[]] * 9})
    other.say("iopub", "display_data", request, {"data": {"application/json": [[]] * 9}, "metadata": {}})
    other.say("iopub", "status", request, {"execution_state": [[]] * 9})
    again = Client()
    kernel.add_returning_client(again, Returning("page", "", ""))
    assert [frame.text for frame in again.frames[:-1]] == [frame.text for frame in client.frames]
    assert [frame.content for frame in again.frames[:-1]] == [{"execution_state": "busy"}, {}, {}]
    assert [frame.parts for frame in again.frames[:-1]] == [frame.parts for frame in client.frames]


def test_clients_stay_when_what_a_kernel_said_before_cannot_be_taken(world, monkeypatch):
    kernel, client, _ = lease(world)

    def fail(frames):
        raise RuntimeError

    monkeypatch.setattr(kernel._session, "recover", fail)
    with pytest.raises(RuntimeError):
        kernel.kernel_recovered([], forgot=False)
    run(world.kernels.delete(kernel.kernel_id))
    assert client.closed == 1000


def test_a_kernel_of_another_process_is_attached(world):
    kernel_id = lease(world)[0].kernel_id
    world.kernels.stopService()
    later = world.kernels.__class__(world.config, world.clock, world.pool, lambda: NOW, world.files)
    first, second = start(later.find(kernel_id)), start(later.find(kernel_id))
    assert first[0] is second[0]
    client = Client()
    number = first[0].add_client(client)
    other = world.start()
    first[0].client_message(number, message())
    other.answer()
    assert client.kinds == ["execute_reply", "idle"]
    assert later.count == 1


def test_clients_that_come_at_once_share_one_attachment(world):
    kernel_id = lease(world)[0].kernel_id
    world.kernels.stopService()
    world.pool.waiting = Deferred()
    world.pool.attached.clear()
    found = [start(world.kernels.find(kernel_id)) for _ in range(3)]
    assert found == [[], [], []]
    world.pool.waiting.callback(None)
    assert world.pool.attached == [kernel_id]
    assert len({id(results[0]) for results in found}) == 1


def test_clients_that_come_at_once_share_the_failure(world):
    world.pool.waiting = Deferred()
    kernel_id = "00000000-0000-0000-0000-000000000000"
    found = [start(world.kernels.find(kernel_id)) for _ in range(2)]
    world.pool.waiting.callback(None)
    assert [type(results[0]) for results in found] == [UnknownKernel, UnknownKernel]
    with pytest.raises(UnknownKernel):
        run(world.kernels.find(kernel_id))


@pytest.mark.parametrize("kernel_id", ["", "x", "../../etc", "A0000000-0000-0000-0000-000000000000"])
def test_what_is_no_id_is_not_asked_for(world, kernel_id):
    with pytest.raises(UnknownKernel):
        run(world.kernels.find(kernel_id))
    assert run(world.kernels.delete(kernel_id)) is None
    assert world.pool.attached == []


def test_deleting_a_kernel_tells_its_clients(world):
    kernel, client, _ = lease(world)
    run(world.kernels.delete(kernel.kernel_id))
    assert client.frames[-1].content["reason"] == "stopped"
    assert world.pool.released == [(kernel.kernel_id, "stopped")]
    assert run(world.kernels.delete(kernel.kernel_id)) is None


def test_a_kernel_of_another_process_can_be_deleted(world):
    kernel_id = lease(world)[0].kernel_id
    world.kernels.stopService()
    run(world.kernels.delete(kernel_id))
    assert world.pool.released == [(kernel_id, "stopped")]


def test_stopping_closes_connections_and_ends_no_kernel(world):
    _, client, _ = lease(world)
    world.kernels.startService()
    world.kernels.stopService()
    assert client.closed == 1001
    assert world.pool.released == []
    assert all(socket.closed for socket in FakeSocket.made)
    assert world.kernels.sockets.closed
    assert world.clock.getDelayedCalls() == []


def test_a_release_that_the_pool_did_not_take_is_told_again_and_the_kernel_is_gone_meanwhile(world):
    kernel, _, _ = lease(world)
    world.pool.error = PoolUnavailable()
    run(world.kernels.delete(kernel.kernel_id))
    assert world.pool.released == []
    world.pool.error = None
    with pytest.raises(UnknownKernel):
        run(world.kernels.find(kernel.kernel_id))
    world.kernels.pool_connected()
    assert world.pool.released == [(kernel.kernel_id, "stopped")]


def test_a_restarted_pool_is_asked_for_the_kernels_in_use(world):
    kept, client, _ = lease(world)
    lost, other_client, _ = lease(world)
    del world.pool.known[lost.kernel_id]
    world.kernels.pool_connected()
    assert world.pool.attached == [kept.kernel_id, lost.kernel_id]
    assert client.closed is None
    assert other_client.frames[-1].content["reason"] == "crashed"
    world.pool.error = PoolUnavailable()
    world.kernels.pool_connected()
    assert client.closed is None
