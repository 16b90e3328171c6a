"""Two web roles before one pool, as on a machine with two cores: any of them does for any kernel."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

import attrs
import pytest
import websocket

from appliance import config as configuration
from appliance.protocol.session import ATTACH_SECONDS, GRACE_SECONDS
from tests.integration.running import INSTALLED, ROOT, Appliance, free_port, wait_for
from tests.integration.sage_client import SageClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(INSTALLED, reason="starts a web role of its own")

#: Seconds in which a kernel that is not needed any more is gone.
FREED_SECONDS = 1.0

KEPT = "from ipywidgets import IntSlider\nslider = IntSlider(7)\nslider"


@dataclass
class Roles:
    """The web role of an appliance, ``first``, and another one."""

    appliance: Appliance
    first: str
    second: str

    @property
    def sockets(self) -> str:
        """Where WebSockets of the second are."""
        return self.second.replace("http:", "ws:") + "/"

    def directory(self, kernel_id: str) -> Path:
        """Return what a kernel has as long as it lives."""
        return self.appliance.directories.runtime / "kernels" / kernel_id

    def seconds_until_freed(self, kernel_id: str, most: float) -> float:
        """Wait for the end of a kernel; return how long that took."""
        began = time.monotonic()
        wait_for("the end of the kernel", lambda: not self.directory(kernel_id).exists(), most)
        return time.monotonic() - began


@pytest.fixture(scope="module")
def roles(appliance: Appliance) -> Iterator[Roles]:
    port = free_port()
    web = attrs.evolve(appliance.config.web, listen=f"127.0.0.1:{port}")
    file = appliance.directories.base / "second.toml"
    file.write_text(configuration.render(attrs.evolve(appliance.config, web=web)))
    command = [sys.executable, "-m", "appliance.main", "web", "--config", str(file)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = f"http://127.0.0.1:{port}"

    def healthy() -> bool:
        try:
            with urllib.request.urlopen(f"{second}/healthz", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for("the second web role answers", healthy, 20)
        yield Roles(appliance, appliance.url, second)
    finally:
        process.terminate()
        process.wait(10)
        file.unlink()


def test_a_kernel_for_one_evaluation_is_freed_by_the_other_role(roles: Roles) -> None:
    with SageClient(roles.first, timeout="0", elsewhere=roles.sockets) as client:
        assert client.run("print(6 * 7)").stdout == "42\n"
        assert roles.seconds_until_freed(client.kernel_id, FREED_SECONDS) < FREED_SECONDS


def test_the_same_over_sockjs(roles: Roles) -> None:
    with SageClient(roles.first, timeout="0") as leased:
        kernel_id = leased.kernel_id
        header = {"msg_id": uuid.uuid4().hex, "username": "", "session": "s", "msg_type": "execute_request"}
        content = {"code": "print(6 * 7)", "silent": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        socket = websocket.create_connection(f"{roles.sockets}sockjs/websocket", timeout=30)
        socket.send(f"{kernel_id}/channels,{json.dumps(message)}")
        told = ""
        while '"dead"' not in told:
            told += str(socket.recv())
        assert "42\\n" in told
        assert roles.seconds_until_freed(kernel_id, FREED_SECONDS) < FREED_SECONDS
        socket.close()


def test_a_kernel_for_more_than_one_evaluation_is_not(roles: Roles) -> None:
    with SageClient(roles.first, timeout="inf", elsewhere=roles.sockets) as client:
        client.run("x = 6")
        time.sleep(FREED_SECONDS)
        assert client.run("print(x * 7)").stdout == "42\n"


def test_a_kernel_whose_client_left_waits_for_another_no_longer_than_with_one_role(roles: Roles) -> None:
    client = SageClient(roles.first, timeout="0", elsewhere=roles.sockets)
    client.close()
    most = GRACE_SECONDS + FREED_SECONDS
    assert most < ATTACH_SECONDS / 2
    took = roles.seconds_until_freed(client.kernel_id, most)
    assert took > GRACE_SECONDS / 2


def test_a_client_that_goes_over_during_its_evaluation_hears_the_end_and_frees_the_kernel(roles: Roles) -> None:
    client = SageClient(roles.first, timeout="0")
    running = client.start("import time\nfor i in range(20):\n    print(i, flush=True); time.sleep(0.1)")
    while client.receive()["msg_type"] != "stream":
        pass
    client.close()
    client.ws_url = roles.sockets
    client.connect()
    # what was said before is told to clients that ask for it alone; the end is told to all
    while True:
        message = client.receive()
        if message["parent_header"].get("msg_id") == running and message["msg_type"] == "status":
            break
    assert message["content"]["execution_state"] == "idle"
    assert roles.seconds_until_freed(client.kernel_id, FREED_SECONDS) < FREED_SECONDS
    client.close()


def test_a_kernel_with_something_on_the_page_is_kept_whichever_role_has_it(roles: Roles) -> None:
    client = SageClient(roles.first, timeout="0", elsewhere=roles.sockets)
    assert client.run(KEPT).contents("comm_open")
    for base in (roles.first.replace("http:", "ws:") + "/", roles.sockets):
        client.close()
        client.ws_url = base
        client.connect()
        assert client.run("print(slider.value)").stdout == "7\n"
        time.sleep(FREED_SECONDS)
        assert roles.directory(client.kernel_id).exists()
    client.close()


def test_a_pool_that_was_restarted_knows_what_the_kernel_is_for(roles: Roles) -> None:
    client = SageClient(roles.first, timeout="0")
    os.kill(roles.appliance.pid_of("pool"), signal.SIGKILL)
    wait_for("the pool is back", roles.appliance.evaluates, 10)
    client.close()
    client.ws_url = roles.sockets
    client.connect()
    assert client.run("print(6 * 7)").stdout == "42\n"
    assert roles.seconds_until_freed(client.kernel_id, FREED_SECONDS) < FREED_SECONDS
    client.close()


def test_a_file_comes_by_the_role_that_does_not_have_the_kernel(roles: Roles) -> None:
    with SageClient(roles.first) as client:
        client.run("x = 6")
        address = f"{roles.second}/kernel/{client.kernel_id}/files/a.txt"
        with urllib.request.urlopen(urllib.request.Request(address, data=b"hello", method="PUT"), timeout=30) as answer:
            assert (answer.status, json.load(answer)) == (201, {"name": "a.txt", "size": 5})
        # the kernel is still the first role's, and its page still connected
        assert client.run("print(open('a.txt').read(), x)").stdout == "hello 6\n"
        client.send("shutdown_request", {"restart": False}, channel="control")
