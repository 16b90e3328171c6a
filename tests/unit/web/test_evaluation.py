from __future__ import annotations

import pytest

from appliance.errors import PoolExhausted
from appliance.web import evaluation
from appliance.web.evaluation import evaluate
from tests.unit.web.fakes import NOW
from tests.unit.web.running import run, start


def begin(world, code="1", seconds=30.0):
    results = start(evaluate(world.kernels, "service", code, {"x": "y"}, seconds, lambda: NOW))
    return results, world.start()


def test_output_is_collected_until_reply_and_idle(world):
    results, kernel = begin(world, "print(1)")
    header, content = kernel.requests[-1]
    assert (header["msg_type"], content["code"], content["user_expressions"]) == (
        "execute_request",
        "print(1)",
        {"x": "y"},
    )
    assert (content["allow_stdin"], content["silent"]) == (False, False)
    kernel.print("a")
    kernel.print("b")
    kernel.print("e", name="stderr")
    kernel.idle(header)
    assert results == []
    kernel.reply(header, execution_count=1)
    (outcome,) = results
    assert outcome.streams == {"stdout": "ab", "stderr": "e"}
    assert outcome.reply == {"status": "ok", "execution_count": 1}
    assert [reason for _, reason in world.pool.released] == ["released"]
    assert world.clock.getDelayedCalls() == []


def test_what_belongs_to_another_request_is_not_collected(world):
    results, kernel = begin(world)
    kernel.say("iopub", "stream", {"msg_id": "other"}, {"name": "stdout", "text": "x"})
    kernel.answer()
    assert results[0].streams == {}


def test_streams_that_are_none_are_not_collected(world):
    results, kernel = begin(world)
    header = kernel.requests[-1][0]
    for content in ({"name": "success", "text": "x"}, {"name": "stdout", "text": 1}, {"name": ["stdout"]}, {}):
        kernel.say("iopub", "stream", header, content)
    kernel.answer()
    assert results[0].streams == {}


def test_time_is_limited_and_what_was_printed_is_kept(world):
    results, kernel = begin(world, seconds=3.0)
    kernel.print("a")
    world.clock.advance(3)
    assert (results[0].streams, results[0].reply) == ({"stdout": "a"}, None)
    assert len(world.pool.released) == 1


def test_time_includes_the_start_of_the_kernel(world):
    results = start(evaluate(world.kernels, "service", "1", {}, 3.0, lambda: NOW))
    world.clock.advance(3)
    assert results[0].reply is None


def test_a_kernel_that_dies_is_an_error_reply(world):
    results, _ = begin(world)
    world.kernels.died(next(iter(world.pool.known)), "memory_limit", "")
    assert results[0].reply["ename"] == "KernelDied"


def test_output_is_limited(world, monkeypatch):
    monkeypatch.setattr(evaluation, "MAX_OUTPUT_CHARS", 5)
    results, kernel = begin(world)
    for _ in range(3):
        kernel.print("abc")
    kernel.answer()
    assert results[0].streams == {"stdout": "abcab" + evaluation.TRUNCATED}


def test_a_full_pool_is_told(world):
    world.pool.error = PoolExhausted()
    with pytest.raises(PoolExhausted):
        run(evaluate(world.kernels, "probe", "1", {}, 1.0, lambda: NOW))
