from __future__ import annotations

import json

import pytest

from appliance.kernel import jupyter_message
from appliance.protocol.frames import DELIMITER, sign

STATUS = [
    b"kernel.x.status",
    b"<IDS|MSG>",
    b"signature",
    b'{"msg_type": "status"}',
    b'{"msg_id": "a"}',
    b"{}",
    b'{"execution_state": "idle"}',
]


def test_a_request_is_signed_as_the_web_role_signs():
    msg_id, parts = jupyter_message.Requests(b"key").message("kernel_info_request", {"x": 1})
    assert parts[:2] == [DELIMITER, sign(b"key", parts[2:])]
    header = json.loads(parts[2])
    assert (header["msg_id"], header["msg_type"]) == (msg_id, "kernel_info_request")
    assert json.loads(parts[5]) == {"x": 1}


@pytest.mark.parametrize("topic", [[], [b"status"], [b"\x00\x01", b"x"]])
def test_a_status_is_understood_under_any_topic(topic):
    parts = [*topic, *STATUS[1:]]
    assert jupyter_message.state_of(parts) == "idle"
    assert jupyter_message.is_idle(parts)
    assert jupyter_message.parent_of(parts) == "a"
    assert jupyter_message.body(parts) == STATUS[1:]


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"x"],
        STATUS[:5],
        [b"t"] * 9 + STATUS[1:],
        [*STATUS[:3], b"no json", *STATUS[4:]],
        [*STATUS[:3], b"[]", *STATUS[4:]],
        [*STATUS[:3], b'{"msg_type": "stream"}', *STATUS[4:]],
        [*STATUS[:6], b"[" * 100_000],
        [*STATUS[:6], b"{}"],
    ],
)
def test_what_is_no_status_tells_no_state(parts):
    assert jupyter_message.state_of(parts) is None
    assert not jupyter_message.is_idle(parts)
