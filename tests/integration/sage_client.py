"""A client that talks to a server of browser cells as SageMathCell's own sample client does.

Facts: POST /kernel, then one WebSocket at ``<ws_url>kernel/<id>/channels`` with shell and iopub merged; an execution is
over when both its ``execute_reply`` and its ``status: idle`` have come, in either order.
"""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any

import websocket

from tests.integration.running import SLOWNESS

#: Longest wait for a message.
SECONDS = 30.0


@dataclass
class Answer:
    """What one execution brought."""

    messages: list[dict[str, Any]] = field(default_factory=list)

    def contents(self, kind: str) -> list[dict[str, Any]]:
        return [message["content"] for message in self.messages if message.get("msg_type") == kind]

    @property
    def stdout(self) -> str:
        return "".join(content["text"] for content in self.contents("stream") if content["name"] == "stdout")

    @property
    def stderr(self) -> str:
        return "".join(content["text"] for content in self.contents("stream") if content["name"] == "stderr")

    @property
    def result(self) -> str:
        (content,) = self.contents("execute_result")
        text: str = content["data"]["text/plain"]
        return text

    @property
    def reply(self) -> dict[str, Any]:
        (content,) = self.contents("execute_reply")
        return content


class SageClient:
    """One kernel and its connection."""

    def __init__(
        self,
        url: str,
        timeout: str = "inf",
        seconds: float = SECONDS,
        environment: str = "",
        profile: str = "",
        elsewhere: str = "",
    ) -> None:
        """Lease a kernel and connect to it, where the server says or at another base, ``elsewhere``."""
        self._seconds = seconds * SLOWNESS
        self._session = uuid.uuid4().hex
        wanted = {"timeout": timeout, "accepted_tos": "true", "CellSessionID": self._session}
        if environment:
            wanted["environment"] = environment
        if profile:
            wanted["profile"] = profile
        arguments = urllib.parse.urlencode(wanted)
        request = urllib.request.Request(f"{url}/kernel?{arguments}", data=b"{}", method="POST")
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=self._seconds) as response:
            self.headers = response.headers
            document = json.load(response)
        self.kernel_id: str = document["id"]
        self.ws_url: str = elsewhere or document["ws_url"]
        self.connect()

    def connect(self) -> None:
        """Open the WebSocket; the sample client sends no Origin and no subprotocol."""
        self.socket = websocket.create_connection(
            f"{self.ws_url}kernel/{self.kernel_id}/channels", timeout=self._seconds, suppress_origin=True
        )

    def send(self, kind: str, content: dict[str, Any], channel: str = "shell") -> str:
        """Send a message with the minimal header that old clients send; return its id."""
        msg_id = uuid.uuid4().hex
        header = {"msg_id": msg_id, "username": "", "session": self._session, "msg_type": kind}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": channel}
        self.socket.send(json.dumps(message))
        return msg_id

    def receive(self) -> dict[str, Any]:
        """Return the next message. Raises `EOFError` when the server closed the connection."""
        text = self.socket.recv()
        if not text:
            raise EOFError
        message: dict[str, Any] = json.loads(text)
        return message

    def start(self, code: str) -> str:
        """Send an execute_request; return its id."""
        content = {
            "code": code,
            "silent": False,
            "user_variables": [],
            "user_expressions": {"_sagecell_files": "sys._sage_.new_files()"},
            "allow_stdin": False,
        }
        return self.send("execute_request", content)

    def finish(self, msg_id: str) -> Answer:
        """Collect messages of an execution until its reply and its idle have come."""
        answer = Answer()
        waiting = {"execute_reply", "idle"}
        deadline = time.monotonic() + self._seconds
        while waiting:
            assert time.monotonic() < deadline, f"no {waiting} within {self._seconds:g} s"
            message = self.receive()
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            answer.messages.append(message)
            if message["msg_type"] == "execute_reply":
                waiting.discard("execute_reply")
            elif message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                waiting.discard("idle")
        return answer

    def run(self, code: str) -> Answer:
        """Execute ``code`` and return everything it brought."""
        return self.finish(self.start(code))

    def attend(self) -> None:
        """Read what has come while nothing runs, so that the server's pings are answered; what is read is dropped."""
        self.socket.settimeout(0.01)
        try:
            while True:
                self.socket.recv()
        except websocket.WebSocketTimeoutException:
            self.socket.settimeout(self._seconds)

    def close(self) -> None:
        """Drop the connection."""
        self.socket.close()

    def __enter__(self) -> SageClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
