from __future__ import annotations

import pytest

from appliance.cli.bench.visitor import error_code, execute_request


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (503, b'{"error": "busy", "message": "x"}', "503 busy"),
        (404, b"not JSON", "404"),
        (500, b"[1]", "500"),
        (500, b"{}", "500"),
    ],
)
def test_errors_are_called_what_the_answer_calls_them(status: int, answer: bytes, code: str) -> None:
    assert error_code(status, answer) == code


def test_a_message_of_jupyter() -> None:
    message = execute_request("abc", "print(1)")
    assert message["channel"] == "shell"
    assert message["header"]["msg_type"] == "execute_request"
    assert message["header"]["msg_id"] == "abc"
    assert message["content"]["code"] == "print(1)"
