"""The exchange that SageMathCell's clients rely on: start, WebSocket, execute, reply and idle."""

from __future__ import annotations

import time
import uuid

import pytest

from tests.integration.running import Appliance
from tests.integration.sage_client import SageClient


@pytest.fixture
def client(appliance):
    with SageClient(appliance.url) as client:
        yield client


def test_a_kernel_is_started_and_named_twice(client):
    assert len(client.kernel_id) == 36
    assert uuid.UUID(client.kernel_id).version == 4
    assert client.headers["Jupyter-Kernel-ID"] == client.kernel_id
    assert client.ws_url.startswith("ws://")
    assert client.ws_url.endswith("/")


def test_an_execution_brings_reply_idle_and_result(client):
    answer = client.run("print('some text'); 2 + 2")
    assert answer.stdout == "some text\n"
    assert answer.result == "4"
    assert answer.reply["status"] == "ok"
    assert answer.reply["user_expressions"]["_sagecell_files"]["data"]["text/plain"] == "''"
    for message in answer.messages:
        assert message["channel"] in ("iopub", "shell")
        assert message["msg_type"] == message["header"]["msg_type"]
        assert message["msg_id"] == message["header"]["msg_id"]
        assert "buffers" not in message or message["buffers"] == []


def test_state_is_kept_between_executions_of_a_lasting_kernel(client):
    client.run("x = 41")
    assert client.run("x + 1").result == "42"


def test_an_error_is_told_on_both_channels(client):
    answer = client.run("1/0")
    assert answer.reply["status"] == "error"
    assert answer.reply["ename"] == "ZeroDivisionError"
    (error,) = answer.contents("error")
    assert error["ename"] == "ZeroDivisionError"
    assert any("1/0" in line or "1" in line for line in error["traceback"])


def test_a_kernel_without_timeout_ends_after_its_evaluation_and_says_so(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        assert client.run("print(1)").stdout == "1\n"
        dead = client.receive()
        assert dead["content"]["execution_state"] == "dead"
        assert dead["content"]["reason"] == "released"
        assert dead["content"]["message"]


def test_a_lone_question_does_not_end_a_kernel_without_timeout(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        asked = client.send("kernel_info_request", {})
        kinds = []
        while "kernel_info_reply" not in kinds:
            message = client.receive()
            if message["parent_header"].get("msg_id") == asked:
                kinds.append(message["msg_type"])
        assert client.run("print(2)").stdout == "2\n"


def test_an_interrupt_stops_a_loop_and_the_kernel_lives(client):
    running = client.start("import time\nprint('on', flush=True)\nwhile True: time.sleep(0.01)")
    while client.receive()["msg_type"] != "stream":
        continue
    started = time.monotonic()
    client.send("interrupt_request", {}, channel="control")
    answer = client.finish(running)
    assert answer.reply["ename"] == "KeyboardInterrupt"
    assert time.monotonic() - started < 2
    # the traceback is the visitor's: nothing of how the interrupt came
    assert "on_interrupt" not in "".join(answer.reply["traceback"])
    assert client.run("1 + 1").result == "2"


def test_an_interrupt_stops_an_awaiting_cell(client):
    running = client.start("import asyncio\nprint('on', flush=True)\nawait asyncio.sleep(60)")
    while client.receive()["msg_type"] != "stream":
        continue
    client.send("interrupt_request", {}, channel="control")
    assert client.finish(running).reply["status"] == "error"
    assert client.run("1 + 1").result == "2"


@pytest.mark.parametrize(
    "wait", ["await asyncio.gather(busy(), busy())", "task = asyncio.create_task(busy())\nawait asyncio.sleep(60)"]
)
def test_an_interrupt_stops_the_other_tasks_of_an_awaiting_cell(client, wait):
    running = client.start(
        "import asyncio\nkept = 42\nasync def busy():\n    while True:\n"
        f"        sum(range(10**6)); print('on', flush=True); await asyncio.sleep(0)\n{wait}"
    )
    while client.receive()["msg_type"] != "stream":
        continue
    client.send("interrupt_request", {}, channel="control")
    answer = client.finish(running)
    assert answer.reply["status"] == "error"
    assert answer.reply["ename"] in ("KeyboardInterrupt", "CancelledError")
    assert client.run("kept").result == "42"


@pytest.mark.parametrize("prefix", ["", "import asyncio; await asyncio.sleep(0)\n"])
def test_an_interrupt_before_a_cell_runs_is_an_error_of_the_cell(client, prefix):
    # a second of work for the compiler
    running = client.start(f"{prefix}x = [{','.join(['1+1'] * 200_000)}]")
    while client.receive()["msg_type"] != "execute_input":
        continue
    time.sleep(0.2)
    client.send("interrupt_request", {}, channel="control")
    answer = client.finish(running)
    assert answer.reply["ename"] == "KeyboardInterrupt"
    assert [error["ename"] for error in answer.contents("error")] == ["KeyboardInterrupt"]
    assert "appliance" not in "".join(answer.reply["traceback"])


@pytest.mark.parametrize(
    ("code", "reason"), [("import os; os._exit(3)", "exited"), ("import ctypes; ctypes.string_at(0)", "crashed")]
)
def test_a_kernel_that_dies_still_answers_and_says_why(appliance, code, reason):
    with SageClient(appliance.url) as client:
        answer = client.run(code)
        assert answer.reply["status"] == "error"
        assert answer.reply["ename"] == "KernelDied"
        assert answer.reply["evalue"]
        dead = client.receive()
        assert dead["content"]["execution_state"] == "dead"
        assert dead["content"]["reason"] == reason


def test_output_of_a_long_cell_comes_while_it_runs(client):
    running = client.start("import time\nprint('early')\ntime.sleep(1.5)\nprint('late')")
    started = time.monotonic()
    while client.receive()["msg_type"] != "stream":
        continue
    assert time.monotonic() - started < 1.0
    assert client.finish(running).stdout == "late\n"


def test_output_of_child_processes_and_threads_is_seen_in_order(client):
    answer = client.run(
        "import os, subprocess, threading\n"
        "print('one')\n"
        "os.system('echo two')\n"
        "subprocess.run(['sh', '-c', 'echo three; echo oops >&2'])\n"
        "thread = threading.Thread(target=print, args=('four',)); thread.start(); thread.join()\n"
        "pid = os.fork()\n"
        "if not pid: print('five', flush=True); os._exit(0)\n"
        "os.waitpid(pid, 0)\n"
        "print('six')"
    )
    assert sorted(answer.stdout.split()) == sorted(["one", "two", "three", "four", "five", "six"])
    assert answer.stderr == "oops\n"


def test_pictures_formulas_and_tables_are_shown(client):
    picture = client.run("import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()")
    assert picture.contents("display_data")[0]["data"]["image/png"].startswith("iVBOR")
    formula = client.run("import sympy; sympy.Symbol('x')**2")
    assert "x^{2}" in formula.contents("execute_result")[0]["data"]["text/latex"]
    table = client.run("import pandas; pandas.DataFrame({'a': [1]})")
    assert "<table" in table.contents("execute_result")[0]["data"]["text/html"]


def test_widgets_can_be_made(client):
    answer = client.run("import ipywidgets; ipywidgets.IntSlider()")
    assert answer.contents("comm_open")
    assert "application/vnd.jupyter.widget-view+json" in answer.contents("execute_result")[0]["data"]


def test_completion_and_inspection_answer(client):
    for kind, content, key in (
        ("complete_request", {"code": "import mat", "cursor_pos": 10}, "matches"),
        ("inspect_request", {"code": "print", "cursor_pos": 5, "detail_level": 0}, "found"),
        ("is_complete_request", {"code": "for x in y:"}, "status"),
        ("comm_info_request", {}, "comms"),
    ):
        asked = client.send(kind, content)
        while True:
            message = client.receive()
            if message["channel"] == "shell" and message["parent_header"].get("msg_id") == asked:
                break
        assert key in message["content"]
        assert message["content"].get("status", "ok") in ("ok", "incomplete")


@pytest.mark.attack(23, "ended 1 s after an ignored interrupt", "SIGINT ignored")
def test_a_kernel_that_ignores_an_interrupt_is_ended(client):
    running = client.start(
        "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nprint('on', flush=True)\ntime.sleep(60)"
    )
    while client.receive()["msg_type"] != "stream":
        continue
    started = time.monotonic()
    client.send("interrupt_request", {}, channel="control")
    answer = client.finish(running)
    assert answer.reply["ename"] == "KernelDied"
    assert time.monotonic() - started < 4
    assert client.receive()["content"]["reason"] == "stopped"


@pytest.mark.attack(24, "clocks.cpu_seconds", "an evaluation that computes for ever")
def test_an_evaluation_that_uses_too_much_processor_time_is_ended():
    running = Appliance("[clocks]\ncpu_seconds = 2.0\n")
    try:
        with SageClient(running.url) as client:
            assert client.run("import time\nwhile time.process_time() < 1: pass\nprint(1)").stdout == "1\n"
            assert client.run("while True: pass").reply["ename"] == "KernelDied"
            assert client.receive()["content"]["reason"] == "cpu_limit"
    finally:
        running.stop()
