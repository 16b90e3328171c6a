from __future__ import annotations

import json

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone

from appliance import errors
from appliance.config import Config, Permalink, Users
from appliance.protocol.permalink import MAX_LOOKUP_LENGTH, SharedCell
from appliance.web.permalink_client import ANSWER_SECONDS, PermalinkClient
from tests.unit.web.running import run, start

CELL = SharedCell(code="é", language="python", interacts="[]")


class Transport(StringTransport):
    aborted = False

    def abortConnection(self):  # noqa: N802 - Twisted
        self.aborted = True


class Response:
    def __init__(self, code, body, *, complete=True):
        self.code = code
        self.body = body
        self.complete = complete
        self.transport = Transport()

    def deliverBody(self, protocol):  # noqa: N802 - Twisted
        protocol.makeConnection(self.transport)
        for start_ in range(0, len(self.body), 1000):
            protocol.dataReceived(self.body[start_ : start_ + 1000])
        if self.complete:
            protocol.connectionLost(Failure(ResponseDone()))


class Agent:
    def __init__(self):
        self.requests = []
        self.answer = None

    def request(self, method, uri, headers, body):
        data = StringTransport()
        if body is not None:
            body.startProducing(data)
            assert body.length == len(data.value())
        self.requests.append((method, uri, data.value()))
        return self.answer


@pytest.fixture
def world():
    class World:
        clock = Clock()
        client = PermalinkClient(Config(users=Users(permalink="123"), permalink=Permalink(max_code_bytes=1000)), clock)
        agent = Agent()

        def answer(self, status, document):
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.agent.answer = succeed(Response(status, body))

    world = World()
    world.client._agent = world.agent
    return world


def test_a_cell_is_stored(world):
    world.answer(200, {"id": "abc"})
    assert run(world.client.store(CELL)) == "abc"
    ((method, uri, body),) = world.agent.requests
    assert (method, uri) == (b"POST", b"http://permalink/permalinks")
    assert json.loads(body) == {"code": "é", "language": "python", "interacts": "[]"}


def test_a_cell_is_fetched_by_any_text(world):
    world.answer(200, {"code": "é", "language": "python", "interacts": "[]"})
    assert run(world.client.fetch("a/b?c ü")) == CELL
    assert world.agent.requests[0][1] == b"http://permalink/permalinks/a%2Fb%3Fc%20%C3%BC"


@pytest.mark.parametrize("permalink_id", ["", "x" * (MAX_LOOKUP_LENGTH + 1)])
def test_what_is_no_id_is_not_asked_for(world, permalink_id):
    with pytest.raises(errors.UnknownPermalink):
        run(world.client.fetch(permalink_id))
    assert world.agent.requests == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, errors.UnknownPermalink),
        (413, errors.TooLarge),
        (400, errors.BadRequest),
        (500, errors.PermalinksUnavailable),
        (503, errors.PermalinksUnavailable),
    ],
)
def test_errors_of_the_store_keep_their_meaning(world, status, error):
    world.answer(status, {"error": "x", "message": "Why."})
    with pytest.raises(error) as caught:
        run(world.client.fetch("abc"))
    assert type(caught.value) is error
    if error is not errors.PermalinksUnavailable:
        assert caught.value.message == "Why."


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"x" * 20_000, b"[" * 9_000])
def test_an_answer_that_is_none_is_the_store_being_away(world, body):
    world.answer(200, body)
    with pytest.raises(errors.PermalinksUnavailable):
        run(world.client.fetch("abc"))


def test_an_endless_answer_is_cut_off(world):
    response = Response(200, b"x" * 20_000, complete=False)
    world.agent.answer = succeed(response)
    start(world.client.fetch("abc"))
    assert response.transport.aborted


def test_a_store_that_cannot_be_reached_is_away(world):
    world.agent.answer = fail(ConnectionRefusedError())
    with pytest.raises(errors.PermalinksUnavailable):
        run(world.client.check())


def test_an_answer_does_not_take_for_ever(world):
    world.agent.answer = Deferred()
    results = start(world.client.check())
    world.clock.advance(ANSWER_SECONDS)
    assert type(results[0]) is errors.PermalinksUnavailable


def test_the_store_is_checked(world):
    world.answer(200, {"status": "ok"})
    assert run(world.client.check()) is None
    assert world.agent.requests[0][:2] == (b"GET", b"http://permalink/healthz")
