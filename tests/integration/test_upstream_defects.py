"""Defects of SageMathCell, each with a test named after it that passes here; more of B10 and B16: tests/browser.

The numbers are those of our list of them.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
import uuid

import pytest
import websocket

from tests.integration.running import Appliance, wait_for
from tests.integration.sage_client import SageClient


def gone(appliance: Appliance, kernel_id: str) -> bool:
    return appliance.request("GET", f"/api/kernels/{kernel_id}")[0] == 404


def start(appliance: Appliance, **arguments: str) -> tuple[int, dict[str, str], dict[str, str]]:
    status, headers, body = appliance.request("POST", "/kernel?" + urllib.parse.urlencode(arguments), {})
    return status, headers, json.loads(body)


def test_b1_a_kernel_whose_websocket_closed_is_freed(appliance):
    client = SageClient(appliance.url)
    client.run("1")
    client.socket.shutdown()
    wait_for("it is freed", lambda: gone(appliance, client.kernel_id), 25)


def test_b2_an_error_leaves_nothing_in_the_metadata_of_what_follows(appliance):
    with SageClient(appliance.url) as client:
        client.run(
            "from IPython.display import display\n"
            "display({'text/plain': 'x'}, metadata={'interact_id': 'a'}, raw=True)\n1/0"
        )
        answer = client.run("print('after')")
        assert [message["metadata"].get("interact_id") for message in answer.messages] == [None] * len(answer.messages)
        assert {message["parent_header"]["msg_id"] for message in answer.messages} == {
            answer.messages[0]["parent_header"]["msg_id"]
        }
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def test_b2_an_interact_that_raises_keeps_its_id_to_itself(appliance):
    with SageClient(appliance.url) as client:
        first = client.run("@interact\ndef f(n=(1, 5)):\n    print(n)\n    1 / 0")
        ids = {message["metadata"].get("interact_id") for message in first.messages} - {None}
        assert len(ids) == 1
        answer = client.run("print('after')")
        assert [message["metadata"].get("interact_id") for message in answer.messages] == [None] * len(answer.messages)
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


@pytest.mark.parametrize("mode", ["sage", "gap", "r", "python", "singular"])
def test_b3_completion_and_help_answer_in_every_mode_and_the_connection_lives(appliance, mode):
    connection = websocket.create_connection(f"ws://127.0.0.1:{appliance.port}/sockjs/websocket", timeout=20)
    for number in range(2):
        header = {"msg_id": str(number), "msg_type": "complete_request", "username": "", "session": "s"}
        content = {"text": "pri", "line": "pri", "cursor_pos": 3, "mode": mode}
        connection.send("complete," + json.dumps({"header": header, "content": content}))
        answer = json.loads(connection.recv().removeprefix("complete,"))
        assert (answer["msg_type"], "print" in answer["content"]["matches"]) == ("complete_reply", True)
    header = {"msg_id": "h", "msg_type": "object_info_request", "username": "", "session": "s"}
    connection.send("complete," + json.dumps({"header": header, "content": {"oname": "print", "detail_level": 0}}))
    answer = json.loads(connection.recv().removeprefix("complete,"))
    assert (answer["msg_type"], answer["content"]["found"]) == ("object_info_reply", True)
    connection.close()


@pytest.mark.parametrize(
    "path", ["/?c=1&autoeval={0}", "/tos.html?callback={0}", "/permalink?q=x&callback={0}", "/?c={0}", "/?lang={0}"]
)
def test_b4_nothing_of_an_address_becomes_script(appliance, path):
    payload = "alert(document.domain)//</script><script>alert(1)</script>"
    method = "POST" if "tos" in path else "GET"
    _, headers, body = appliance.request(
        method, path.format(urllib.parse.quote(payload)), {} if method == "POST" else None
    )
    assert b"<script>alert" not in body
    if headers["content-type"].startswith("text/html"):
        assert b"alert(document.domain)" not in body or b'application/json" class="cell-code">' in body
        assert "script-src 'self'" in headers["content-security-policy"]
    else:
        assert headers["content-type"] in ("application/json", "text/plain; charset=utf-8")


def test_b5_a_page_at_its_quota_may_evaluate_again_once_its_kernel_was_deleted():
    running = Appliance("[pool]\nmax_kernels = 6\nready = 2\n[quota]\nkernels_per_page = 2\n")
    try:
        page = uuid.uuid4().hex
        ids = [start(running, CellSessionID=page, timeout="inf")[2]["id"] for _ in range(2)]
        assert start(running, CellSessionID=page)[0] == 429
        for _ in range(5):
            running.request("DELETE", f"/kernel/{ids.pop()}")

            def again() -> str:
                status, _, document = start(running, CellSessionID=page, timeout="inf")
                return document["id"] if status == 200 else ""

            # what ends counts until it is gone, which takes no longer than ending does
            ids.append(wait_for("a kernel", again, 2))
    finally:
        running.stop()


def test_b6_a_question_before_the_first_evaluation_does_not_end_a_kernel(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        asked = client.send("kernel_info_request", {})
        kinds = []
        while kinds[-2:].count("kernel_info_reply") == 0:
            message = client.receive()
            if message["parent_header"].get("msg_id") == asked:
                kinds.append(message["msg_type"])
        time.sleep(0.3)
        assert client.run("print(2)").stdout == "2\n"


@pytest.mark.parametrize(
    ("code", "reason"),
    [("import os; os._exit(1)", "exited"), ("import ctypes; ctypes.string_at(0)", "crashed")],
)
def test_b7_a_kernel_that_ends_says_why(appliance, code, reason):
    with SageClient(appliance.url) as client:
        assert client.run(code).reply["ename"] == "KernelDied"
        content = client.receive()["content"]
        assert (content["execution_state"], content["reason"], bool(content["message"])) == ("dead", reason, True)


def test_b8_output_is_in_order_and_lines_are_whole(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        answer = client.run(
            "from IPython.display import display\nfor n in range(20):\n    print('line', n)\n    display(n)"
        )
    shown = []
    for message in answer.messages:
        if message["msg_type"] == "stream":
            assert message["content"]["text"].endswith("\n")
            shown += message["content"]["text"].split("\n")[:-1]
        elif message["msg_type"] == "display_data":
            shown.append(message["content"]["data"]["text/plain"])
    assert shown == [text for n in range(20) for text in (f"line {n}", str(n))]


def test_b9_who_comes_when_all_are_taken_is_told_so_and_who_gives_up_takes_nothing():
    running = Appliance("[pool]\nmax_kernels = 2\nready = 1\nqueue_length = 4\n")
    try:
        taken = [wait_for("a kernel", lambda: start(running, timeout="inf")[2].get("id"), 10) for _ in range(2)]
        status, headers, _ = start(running)
        assert (status, int(headers["retry-after"]) > 0) == (503, True)
        status, _, document = start(running, wait="1")
        assert (status, document["place"]) == (202, 0)
        running.request("DELETE", f"/kernel/ticket/{document['ticket']}")
        running.request("DELETE", f"/kernel/{taken[0]}")
        wait_for("the next one has it", lambda: start(running)[0] == 200, 10)
    finally:
        running.stop()


def test_b11_the_address_of_the_websocket_is_that_of_the_visitor(appliance):
    status, _, body = appliance.request("POST", "/kernel", {})
    document = json.loads(body)
    assert (status, document["ws_url"]) == (200, f"ws://127.0.0.1:{appliance.port}/")
    appliance.request("DELETE", f"/kernel/{document['id']}")


def test_b12_b13_leaving_the_id_of_the_page_out_does_not_get_around_the_quota():
    running = Appliance("[pool]\nmax_kernels = 8\nready = 1\n[quota]\nkernels_per_address = 3\nkernels_per_page = 2\n")
    try:
        statuses = [start(running, timeout="inf")[0] for _ in range(6)]
        assert statuses == [200] * 3 + [429] * 3
        assert running.request("POST", "/service", {"code": "1"})[0] == 429
        assert running.request("POST", "/api/kernels", {})[0] == 429
        assert start(running, CellSessionID=uuid.uuid4().hex)[0] == 429
    finally:
        running.stop()


def test_b14_a_permalink_keeps_every_character_bounds_its_size_and_cannot_be_counted_up(appliance):
    code = "\tif x:\n        pass\u2028\n\n  \n"
    _, _, body = appliance.request("POST", "/permalink", {"code": code})
    query = json.loads(body)["query"]
    assert json.loads(appliance.request("GET", f"/permalink?q={query}")[2])[0] == code
    assert appliance.request("POST", "/permalink", {"code": "x" * 100_000})[0] == 413
    assert len(query) >= 12


def test_b15_each_page_completes_in_a_kernel_of_its_own_that_is_given_back(appliance):
    """One page's endless completion is not another's: each has its own kernel, and it goes with the page."""

    def count() -> int:
        return int(json.loads(appliance.request("GET", "/api/status")[2])["kernels"])

    wait_for("it is quiet", lambda: count() == 0, 40)
    connections = []
    for _ in range(2):
        connection = websocket.create_connection(f"ws://127.0.0.1:{appliance.port}/sockjs/websocket", timeout=20)
        header = {"msg_id": "a", "msg_type": "complete_request"}
        connection.send("complete," + json.dumps({"header": header, "content": {"code": "pri", "cursor_pos": 3}}))
        assert '"print' in connection.recv()
        connections.append(connection)
    assert count() == 2
    for connection in connections:
        connection.close()
    wait_for("both are given back", lambda: count() == 0, 5)


def test_b16_nothing_that_a_kernel_made_is_served_as_a_page(appliance):
    status, headers, _ = appliance.request("GET", "/static/output_frame.html")
    assert status == 200
    assert "sandbox allow-scripts" in headers["content-security-policy"]
    assert "allow-same-origin" not in headers["content-security-policy"]


def test_requests_at_the_same_time_each_get_their_own_kernel(appliance):
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(start(appliance)[2]["id"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 4
    for kernel_id in ids:
        appliance.request("DELETE", f"/kernel/{kernel_id}")
