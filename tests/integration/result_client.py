"""A client that asks for results over ``/lease``, as a page with a cell of keep-result does."""

from __future__ import annotations

import json
import urllib.parse
import uuid
from typing import Any

import websocket

from tests.integration.running import SLOWNESS
from tests.integration.sage_client import Answer

SECONDS = 30.0


def execute_request(code: str, **metadata: Any) -> dict[str, Any]:
    """Return an evaluation as our own cell asks for it."""
    header = {"msg_id": "0" * 32, "msg_type": "execute_request", "session": "s", "username": "cell"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": True, "stop_on_error": True}
    return {"channel": "shell", "header": header, "metadata": {"widgets": True, **metadata}, "content": content}


class ResultClient:
    """One connection, which asks for one result."""

    def __init__(
        self, url: str, request: str | dict[str, Any], *, result: bool = True, session: str = "", **lease: str
    ) -> None:
        query = urllib.parse.urlencode({"session_id": uuid.uuid4().hex, "CellSessionID": session or uuid.uuid4().hex})
        address = f"{url.replace('http', 'ws', 1)}/lease?{query}"
        self.socket = websocket.create_connection(address, timeout=SECONDS * SLOWNESS, suppress_origin=True)
        self.messages: list[dict[str, Any]] = []
        wanted = {"timeout": "0", **lease, **({"result": True} if result else {})}
        self.send({"lease": wanted, "requests": [execute_request(request) if isinstance(request, str) else request]})

    def send(self, message: dict[str, Any]) -> None:
        self.socket.send(json.dumps(message))

    def receive(self) -> dict[str, Any]:
        """Return the next message."""
        text = self.socket.recv()
        assert text, f"the connection ended after {[message['msg_type'] for message in self.messages]}"
        message: dict[str, Any] = json.loads(text)
        self.messages.append(message)
        return message

    def until(self, kind: str, parent: str | None = None) -> dict[str, Any]:
        """Return the next message of a kind."""
        while True:
            message = self.receive()
            state = message["content"].get("execution_state")
            if kind in (message["msg_type"], state) and parent in (None, message["parent_header"].get("msg_id")):
                return message

    def answer(self) -> Answer:
        """Return everything until the kernel is gone."""
        self.until("dead")
        self.socket.close()
        return Answer(self.messages)

    @property
    def leased(self) -> list[dict[str, Any]]:
        """What was said of the kernel so far."""
        return [message["content"] for message in self.messages if message["msg_type"] == "leased"]

    def close(self) -> None:
        self.socket.close()


def shown(url: str, code: str, **arguments: Any) -> tuple[str, bool]:
    """Ask for a result; return what was printed, and whether it was a kept one."""
    client = ResultClient(url, code, **arguments)
    answer = client.answer()
    return answer.stdout, "stored" in client.leased[0]
