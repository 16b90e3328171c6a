"""Questions of a page that go to a kernel of its own."""

from __future__ import annotations

import json

import pytest

from appliance.config import Config, Web
from appliance.protocol.frames import DELIMITER, sign
from appliance.protocol.session import GRACE_SECONDS
from appliance.web.completer import IDLE_SECONDS, MAX_QUESTIONS, Completer
from appliance.web.pool_client import NOBODY
from tests.unit.web.fakes import KEY, NOW, World


class Asking:
    """A page that asks."""

    def __init__(self, world):
        self.answers = []
        self.completer = Completer(
            world.kernels, NOBODY, lambda: NOW, lambda text: self.answers.append(json.loads(text))
        )

    def ask(self):
        header = {"msg_id": "q", "msg_type": "complete_request"}
        self.completer.ask(json.dumps({"header": header, "content": {"code": "a", "cursor_pos": 1}}), None)


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch, Config(web=Web(max_connections_per_kernel=1)))


@pytest.fixture
def asking(world):
    return Asking(world)


def test_the_page_s_own_kernel_stays_until_nobody_has_asked_for_a_while(world, asking):
    asking.ask()
    kernel = world.start()
    kernel.answer(matches=["ab"])
    world.clock.advance(IDLE_SECONDS - 1)
    asking.ask()
    kernel.answer(matches=["ac"])
    assert [answer["content"]["matches"] for answer in asking.answers] == [["ab"], ["ac"]]
    assert len(world.pool.leases) == 1
    world.clock.advance(IDLE_SECONDS - 1)
    assert world.pool.released == []
    world.clock.advance(1)
    assert world.pool.released == [(kernel.address.kernel_id, "released")]


def test_the_page_s_own_kernel_is_given_back_with_its_connection(world, asking):
    asking.ask()
    kernel = world.start()
    kernel.answer()
    asking.completer.close()
    assert world.pool.released == [(kernel.address.kernel_id, "released")]
    assert world.clock.getDelayedCalls() == []


def test_another_kernel_takes_the_place_of_one_that_ended(world, asking):
    asking.ask()
    world.start().answer()
    world.kernels.died(world.kernel().address.kernel_id, "memory_limit", "")
    asking.ask()
    world.start().answer()
    world.clock.advance(GRACE_SECONDS)
    assert (len(world.pool.leases), len(asking.answers), world.pool.released) == (2, 2, [])


def test_as_many_questions_as_a_page_may_ask_go_to_its_own_kernel_at_once(world, asking):
    for _ in range(MAX_QUESTIONS):
        asking.ask()
    kernel = world.start()
    for number in range(1, MAX_QUESTIONS + 1):
        kernel.answer(number)
    assert [answer["content"]["status"] for answer in asking.answers] == ["ok"] * MAX_QUESTIONS


def test_an_answer_that_json_cannot_carry_is_told_as_an_error(world, asking):
    asking.ask()
    kernel = world.start()
    header = {"msg_id": "r", "msg_type": "complete_reply"}
    parts = [*(json.dumps(part).encode() for part in (header, kernel.requests[-1][0], {})), b'{"matches": [1e999]}']
    kernel.socket("shell").on_message([DELIMITER, sign(KEY, parts), *parts])
    kernel.idle(kernel.requests[-1][0])
    assert [answer["content"]["status"] for answer in asking.answers] == ["error"]
