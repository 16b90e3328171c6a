"""Cells that say more than a page can take, and kernels that try to get around the limits."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.sage_client import SageClient

if TYPE_CHECKING:
    from tests.integration.running import Appliance

#: What one evaluation may bring at the most, beyond the limit itself: notices, ends of streams, one error.
SLACK_BYTES = 3_000_000


@pytest.fixture
def client(appliance: Appliance):
    client = SageClient(appliance.url, seconds=90)
    yield client
    client.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def size(answer):
    return sum(len(json.dumps(message)) for message in answer.messages)


def test_much_printed_text_keeps_its_beginning_and_its_end(client):
    answer = client.run("for number in range(400_000): print(number)\nprint('the end')")
    assert answer.stdout.startswith("0\n1\n2\n")
    assert answer.stdout.endswith("\n399999\nthe end\n")
    assert len(answer.stdout) < 900_000
    assert answer.stderr.count("limited to 800 000 characters of text") == 1
    assert answer.stderr.count("Left out of this output: ") == 1
    assert client.run("print(6 * 7)").stdout == "42\n"


def test_one_huge_text_keeps_its_beginning_and_its_end(client):
    answer = client.run("print('a' * 50_000_000 + 'b' * 50_000_000)")
    assert answer.stdout.startswith("a" * 1000)
    assert "b" * 1000 + "\n[This text had 100,000,000 characters" in answer.stdout
    assert len(answer.stdout) < 900_000
    assert answer.reply["status"] == "ok"


def test_a_huge_repr_keeps_its_two_ends(client):
    answer = client.run("class Long:\n    def __repr__(self): return 'x' * 100_000_000 + 'y'\nLong()")
    assert answer.result.startswith("x" * 1000)
    assert "y\n[This text had 100,000,001 characters" in answer.result
    assert "characters left out: the limit of one text is 200 000" in answer.result
    assert len(answer.result) < 210_000


def test_a_giant_traceback_keeps_its_two_ends(client):
    answer = client.run("raise ValueError('v' * 3_000_000)")
    (error,) = answer.contents("error")
    text = "\n".join(error["traceback"])
    assert "Traceback" in text[:1000]
    assert "characters left out" in text
    assert error["ename"] == answer.reply["ename"] == "ValueError"
    assert size(answer) < 3_000_000


def test_an_error_after_too_much_output_is_shown(client):
    answer = client.run("for number in range(400_000): print(number)\n1/0")
    assert answer.contents("error")[0]["ename"] == answer.reply["ename"] == "ZeroDivisionError"


def test_a_hundred_thousand_updates_end_with_the_last(client):
    answer = client.run(
        "from IPython.display import display\n"
        "handle = display(0, display_id=True)\n"
        "for number in range(100_000): handle.update(number)"
    )
    updates = answer.contents("update_display_data")
    assert len(updates) <= 3000
    assert updates[-1]["data"]["text/plain"] == "99999"
    assert "messages a second" in answer.stderr
    assert "Left out of this output: " in answer.stderr
    assert client.run("6 * 7").result == "42"


def test_a_flush_after_each_word_is_no_loss(client):
    answer = client.run("for number in range(3000): print(number, flush=True)")
    assert [line for line in answer.stdout.split("\n") if line] == [str(number) for number in range(3000)]


def test_many_large_pictures_are_limited_in_bytes(client):
    answer = client.run("from IPython.display import HTML, display\nfor _ in range(20): display(HTML('a' * 3_000_000))")
    assert len(answer.contents("display_data")) == 5
    assert "limited to 16 777 216 bytes" in answer.stderr
    assert "Left out of this output: 15 messages." in answer.stderr


@pytest.mark.parametrize(
    "flood",
    [
        "say('status', {'execution_state': 'busy'}, parent)",
        "say('status', {'execution_state': 'starting', 'more': 'x' * 10_000}, parent)",
        "say('status', {'execution_state': 'idle'}, {})",
        "say('error', {'ename': 'E', 'evalue': 'x' * 10_000, 'traceback': []}, parent)",
        "say('comm_msg', {'comm_id': 'c', 'data': 'x' * 10_000}, parent)",
        "say('stream', {'name': 'other', 'text': 'x' * 10_000}, parent)",
        "say('display_data', {'data': {'text/html': 'x' * 10_000}}, {'header': {'msg_id': str(number)}})",
    ],
)
def test_a_kernel_that_speaks_for_itself_cannot_get_around_the_limits(client, flood):
    answer = client.run(
        "kernel = get_ipython().kernel\n"
        "parent = kernel.shell.parent_header\n"
        "def say(kind, content, parent): kernel.session.send(kernel.publisher, kind, content, parent=parent)\n"
        f"for number in range(20_000): {flood}"
    )
    assert answer.reply["status"] == "ok"
    assert len(answer.messages) < 3000
    assert size(answer) < 16_777_216 + SLACK_BYTES
    assert client.run("6 * 7").result == "42"
