"""The whole way: HAProxy and nginx before the real roles and real kernels."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import pytest
import websocket

from tests.integration.running import Appliance

from .conftest import Edge, edges_of_a_test

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG = """
[web]
proxy_protocol = true

[pool]
max_kernels = 6
ready = 2
"""
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def edge() -> Iterator[Edge]:
    """Return an edge before a real appliance."""
    running = Appliance(CONFIG)
    try:
        with edges_of_a_test() as start:
            yield start({"CELL_COMPUTATIONS_PER_ADDRESS": "8"}, web_address=f"127.0.0.1:{running.port}")
    finally:
        running.stop()


def test_the_page(edge: Edge) -> None:
    answer = edge.ask("GET", "/", headers={"Accept": "text/html"})
    assert answer.status == 200
    assert b"<code-cell" in answer.body


def test_an_evaluation(edge: Edge) -> None:
    answer = edge.ask("POST", "/service", body=f"code={quote_plus('print(2+2)')}".encode(), headers=FORM)
    assert answer.json["stdout"] == "4\n"


def test_a_permalink(edge: Edge) -> None:
    link = edge.ask("POST", "/permalink", body=b"code=print(1)", headers=FORM).json["query"]
    assert edge.ask("GET", f"/permalink?q={link}").json[0] == "print(1)"


def test_a_kernel_over_a_websocket(edge: Edge) -> None:
    answer = edge.ask("POST", "/kernel").json
    # the address that the visitor's browser sees, not one behind the edge
    assert answer["ws_url"] == f"ws://127.0.0.1:{edge.port}/"
    session = websocket.create_connection(f"{answer['ws_url']}kernel/{answer['id']}/channels", timeout=20)
    try:
        header = {
            "msg_id": uuid.uuid4().hex,
            "msg_type": "execute_request",
            "username": "",
            "session": uuid.uuid4().hex,
        }
        content = {"code": "print(6*7)", "silent": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        session.send(json.dumps(message))
        printed, replied = "", False
        while not (printed and replied):
            received = json.loads(session.recv())
            if received["header"]["msg_type"] == "stream":
                printed += received["content"]["text"]
            replied = replied or received["header"]["msg_type"] == "execute_reply"
    finally:
        session.close()
    assert printed == "42\n"


def test_the_limit_stands_before_the_kernels(edge: Edge) -> None:
    edge.forget()
    code = f"code={quote_plus('print(1)')}".encode()
    statuses = [edge.ask("POST", "/service", body=code, headers=FORM).status for _ in range(10)]
    assert statuses == [200] * 8 + [429] * 2
    assert edge.ask("POST", "/service", body=code, headers=FORM, source="127.0.0.5").status == 200
    edge.forget()
