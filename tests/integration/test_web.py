"""The web role with real kernels: limits, connections that come and go, and restarts."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import time

import psutil
import pytest
import websocket

from tests.integration.running import Appliance, wait_for
from tests.integration.sage_client import SageClient


@pytest.fixture
def client(appliance: Appliance):
    client = SageClient(appliance.url)
    yield client
    client.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def reconnect(client: SageClient) -> None:
    # close() would do nothing where the server has closed already
    client.socket.shutdown()
    client.connect()


def handshake(appliance: Appliance, kernel_id: str) -> tuple[int, str]:
    """Ask for a WebSocket that is going to be refused; return status and error code."""
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=30)
    try:
        connection.request("GET", f"/kernel/{kernel_id}/channels", headers=headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())["error"]
    finally:
        connection.close()


def second_connection(client: SageClient) -> websocket.WebSocket:
    return websocket.create_connection(f"{client.ws_url}kernel/{client.kernel_id}/channels", timeout=30)


def test_health_is_an_evaluation(appliance):
    status, headers, body = appliance.request("GET", "/healthz")
    document = json.loads(body)
    assert status == 200, body
    assert document["evaluation"]["status"] == "ok"
    assert document["evaluation"]["seconds"] < 5
    assert document["pool"]["status"] == document["permalinks"]["status"] == "ok"
    assert document["pool"]["layers"]
    assert headers["cache-control"] == "no-store"


def test_service_runs_code_and_tells_of_errors(appliance):
    assert appliance.run("import sys; print(6*7); print('e', file=sys.stderr)") | {"execute_reply": 0} == {
        "success": True,
        "stdout": "42\n",
        "stderr": "e\n",
        "execute_reply": 0,
    }
    answer = appliance.run("1/0")
    assert answer["success"] is False
    assert answer["execute_reply"]["ename"] == "ZeroDivisionError"


def test_a_permalink_leads_to_the_page_with_its_code(appliance):
    code = 'print("</script>")\n\n'
    status, _, body = appliance.request("POST", "/permalink", {"code": code, "language": "python"})
    assert status == 200, body
    link = json.loads(body)
    assert json.loads(appliance.request("GET", f"/permalink?q={link['query']}")[2]) == [code, "python", "[]"]
    for query in (f"q={link['query']}", f"z={link['zip']}"):
        page = appliance.request("GET", f"/?{query}")[2].decode()
        assert json.dumps(code).replace("<", "\\u003c").replace(">", "\\u003e") in page


def test_two_megabytes_of_code_are_refused(appliance):
    code = "#" * 2_000_000
    for path in ("/service", "/permalink", "/kernel"):
        status, _, body = appliance.request("POST", path, {"code": code})
        assert (status, json.loads(body)["error"]) == (413, "too_large")


@pytest.mark.attack(18, "web.max_message_bytes", "a message of two megabytes from a browser")
def test_a_message_of_two_megabytes_ends_its_connection_and_not_the_kernel(client):
    client.run("x = 1")
    client.socket.send("x" * 2_000_000)
    opcode, data = client.socket.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (websocket.ABNF.OPCODE_CLOSE, 1009)
    reconnect(client)
    assert client.run("x").result == "1"


@pytest.mark.attack(18, "parsed once", "messages of a browser that are none")
def test_messages_that_are_none_are_explained(client):
    for text in ("{", "[]", '{"header": {"msg_id": "1", "msg_type": "status"}}'):
        client.socket.send(text)
        message = json.loads(client.socket.recv())
        assert (message["channel"], message["content"]["error"]) == ("error", "invalid_message")
    assert client.run("1").result == "1"


def test_an_unknown_kernel_is_told_in_the_handshake(appliance):
    assert handshake(appliance, "00000000-0000-0000-0000-000000000000") == (404, "unknown_kernel")


def test_two_connections_hear_the_same_kernel(client):
    other = second_connection(client)
    client.run("print('both')")
    kinds = []
    while kinds.count("execute_reply") == 0 or "idle" not in kinds:
        message = json.loads(other.recv())
        kinds.append(message["content"].get("execution_state", message["msg_type"]))
    assert "stream" in kinds
    other.close()


def test_an_object_that_is_too_large_is_told_in_its_place(client):
    answer = client.run("from IPython.display import HTML, display\ndisplay(HTML('a' * 12_000_000))")
    (content,) = answer.contents("display_data")
    assert "[text/html of 12,000,000 characters is too large to be shown.]" in content["data"]["text/plain"]


def test_a_message_that_is_too_large_is_told_and_the_evaluation_ends(client):
    answer = client.run(
        "kernel = get_ipython().kernel\n"
        "parent = kernel.shell.parent_header\n"
        "kernel.session.send(kernel.publisher, 'comm_msg', {'data': 'a' * 12_000_000}, parent=parent)"
    )
    assert answer.reply["status"] == "ok"
    assert "Output of this cell was lost" in answer.stderr
    assert client.run("print(6 * 7)").stdout == "42\n"


def test_a_large_picture_arrives_whole(client):
    answer = client.run("from IPython.display import HTML, display\ndisplay(HTML('a' * 3_000_000))")
    (content,) = answer.contents("display_data")
    assert content["data"]["text/html"] == "a" * 3_000_000


def test_a_kernel_whose_page_went_away_is_ended(appliance):
    client = SageClient(appliance.url)
    client.run("1")
    client.close()
    directory = appliance.config.kernels_path / client.kernel_id
    assert directory.exists()
    started = time.monotonic()
    wait_for("the kernel is released", lambda: not directory.exists(), 30)
    assert time.monotonic() - started > 5
    assert handshake(appliance, client.kernel_id) == (404, "unknown_kernel")


def test_a_restarted_web_role_takes_up_kernels_that_it_never_saw(appliance, client):
    client.run("x = 'kept'")
    before = appliance.pid_of("web")
    os.kill(before, signal.SIGKILL)
    wait_for("the web role is back", lambda: appliance.find("web") not in (None, before) and appliance.evaluates(), 10)
    reconnect(client)
    assert client.run("print(x)").stdout == "kept\n"


@pytest.mark.attack(22, "back-pressure to the kernel", "a reader that does not read")
def test_a_client_that_does_not_read_costs_no_memory_and_holds_up_nobody(appliance, client):
    web = psutil.Process(appliance.pid_of("web"))
    neighbour = SageClient(appliance.url)
    neighbour.run("1")
    before = web.memory_info().rss
    client.send("execute_request", {"code": "while True: print('x' * 1000)"})
    times = []
    end = time.monotonic() + 5
    while time.monotonic() < end:
        started = time.monotonic()
        assert neighbour.run("1+1").result == "2"
        times.append(time.monotonic() - started)
        time.sleep(0.02)
    assert web.memory_info().rss - before < 100_000_000
    assert sorted(times)[len(times) // 2] < 0.5
    neighbour.close()
    appliance.request("DELETE", f"/kernel/{neighbour.kernel_id}")


def test_a_flood_that_is_read_leaves_the_web_role_to_others(appliance, client):
    client.send("execute_request", {"code": "for i in range(10**6): print('x' * 50)"})
    times = []
    end = time.monotonic() + 3
    client.socket.settimeout(0.02)
    while time.monotonic() < end:
        # once the output is at its limits, nothing comes any more
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            client.socket.recv()
        started = time.monotonic()
        assert appliance.request("GET", "/static/none")[0] == 404
        times.append(time.monotonic() - started)
    assert max(times) < 2
    client.send("interrupt_request", {}, channel="control")
