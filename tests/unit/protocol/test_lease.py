from __future__ import annotations

import json

import pytest

from appliance.errors import InvalidMessage
from appliance.protocol.lease import MAX_REQUESTS, parse_lease

NOW = "2026-01-01T00:00:00+00:00"
REQUEST = {"header": {"msg_id": "a", "msg_type": "execute_request"}, "content": {"code": "1"}}


def test_what_a_page_wants_is_read():
    text = json.dumps({"lease": {"environment": "r", "profile": "big", "timeout": "inf"}, "requests": [REQUEST]})
    wanted = parse_lease(text, NOW)
    assert (wanted.environment, wanted.profile, wanted.timeout_seconds) == ("r", "big", float("inf"))
    assert [(message.msg_id, message.header["date"]) for message in wanted.requests] == [("a", NOW)]


def test_everything_may_be_left_out():
    wanted = parse_lease('{"lease": {}}', NOW)
    assert (wanted.environment, wanted.profile, wanted.timeout_seconds, wanted.requests) == ("", "", 0.0, ())


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ([], "lease"),
        ({}, "lease"),
        ({"lease": 1}, "lease"),
        ({"lease": {"environment": 1}}, "environment"),
        ({"lease": {"profile": "x" * 65}}, "profile"),
        *(({"lease": {"timeout": value}}, "timeout") for value in ("soon", "nan", -1, None, [], True)),
        ({"lease": {"timeout": 10**400}}, "timeout"),
        ({"lease": {}, "requests": {}}, "requests"),
        ({"lease": {}, "requests": [REQUEST] * (MAX_REQUESTS + 1)}, "requests"),
        ({"lease": {}, "requests": [1]}, "header"),
        ({"lease": {}, "requests": [{"header": []}]}, "header"),
        ({"lease": {}, "requests": [{"header": {"msg_id": "a", "msg_type": "rm"}}]}, "msg_type"),
    ],
)
def test_what_is_wrong_is_named(document, named):
    with pytest.raises(InvalidMessage, match=named):
        parse_lease(json.dumps(document), NOW)


@pytest.mark.parametrize("text", ["", "lease", "[" * 100_000])
def test_what_is_not_json_is_said_to_be_none(text):
    with pytest.raises(InvalidMessage):
        parse_lease(text, NOW)
