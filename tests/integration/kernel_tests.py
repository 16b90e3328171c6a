"""jupyter_kernel_test, Jupyter's own test of kernels, against kernels of an appliance.

It wants a client with a channel for each socket; `ChannelsClient` makes them of the one connection to the appliance.
"""

from __future__ import annotations

import queue
import re
import unittest
from typing import TYPE_CHECKING, Any

import jupyter_kernel_test
from websocket import WebSocketTimeoutException

if TYPE_CHECKING:
    from tests.integration.sage_client import SageClient

#: Keys of a message that are Jupyter's; the others are the connection's.
MESSAGE_KEYS = ("header", "msg_id", "msg_type", "parent_header", "metadata", "content", "buffers")


class Channel:
    """Messages of one channel that came and were not asked for yet."""

    def __init__(self, client: ChannelsClient) -> None:
        self._client = client
        self.messages: queue.Queue[dict[str, Any]] = queue.Queue()

    def get_msg(self, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message, for which there is always time: the seconds asked for suit no loaded machine."""
        while self.messages.empty():
            self._client.receive()
        return self.messages.get()


class ChannelsClient:
    """What jupyter_kernel_test needs of jupyter_client's client."""

    def __init__(self, client: SageClient) -> None:
        self._client = client
        self._going_on: dict[str, set[str]] = {}
        self.shell_channel, self.iopub_channel = Channel(self), Channel(self)
        self.get_shell_msg = self.shell_channel.get_msg

    def receive(self) -> None:
        """Take the next message. Raises `AssertionError` when none comes."""
        try:
            message = self._client.receive()
        except WebSocketTimeoutException:
            raise AssertionError(f"no message came: waiting for {self._going_on}") from None
        parent, kind, channel = message["parent_header"].get("msg_id"), message["msg_type"], message["channel"]
        if parent not in self._going_on:
            return
        ended = "idle" if message["content"].get("execution_state") == "idle" else "reply" if channel == "shell" else ""
        self._going_on[parent].discard(ended)
        assert kind == message["header"]["msg_type"]
        kept = {key: value for key, value in message.items() if key in MESSAGE_KEYS}
        (self.shell_channel if channel == "shell" else self.iopub_channel).messages.put(kept)

    def settle(self) -> None:
        """Wait until all that was asked is over; forget what came of it."""
        while any(self._going_on.values()):
            self.receive()
        for channel in (self.shell_channel, self.iopub_channel):
            while not channel.messages.empty():
                jupyter_kernel_test.validate_message(channel.messages.get())

    def _ask(self, kind: str, **content: Any) -> str:
        msg_id = self._client.send(kind, content)
        self._going_on[msg_id] = {"reply", "idle"}
        return msg_id

    def kernel_info(self) -> str:
        return self._ask("kernel_info_request")

    def execute(self, **content: Any) -> str:
        return self._ask("execute_request", user_expressions={}, allow_stdin=False, **content)

    def complete(self, code: str) -> str:
        return self._ask("complete_request", code=code, cursor_pos=len(code))

    def is_complete(self, code: str) -> str:
        return self._ask("is_complete_request", code=code)

    def inspect(self, code: str) -> str:
        return self._ask("inspect_request", code=code, cursor_pos=len(code), detail_level=0)

    def history(self, **content: Any) -> str:
        return self._ask("history_request", **content)


def run(client: SageClient, **samples: Any) -> tuple[list[str], list[str]]:
    """Run jupyter_kernel_test on the kernel of ``client``.

    ``samples``: attributes of `KernelTests`, without which their tests are skipped. Return the names of the tests that
    ran, and what failed.
    """
    channels = ChannelsClient(client)

    class Tests(jupyter_kernel_test.KernelTests):
        @classmethod
        def setUpClass(cls) -> None:
            cls.kc = channels

        @classmethod
        def tearDownClass(cls) -> None:
            pass

        def flush_channels(self) -> None:
            channels.settle()

        def setUp(self) -> None:
            channels.settle()

    tests = type("Tests", (Tests,), samples)
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(tests)
    names = {name_of(test) for test in suite}
    result = unittest.TestResult()
    suite.run(result)
    skipped = {name_of(test) for test, _ in result.skipped}
    return sorted(names - skipped), [f"{test.id()}: {text}" for test, text in result.errors + result.failures]


def name_of(test: Any) -> Any:
    """Return the name of a test; parts of one have more in their id."""
    return re.findall(r"\.(test_\w+)", test.id().partition(" ")[0])[-1]
