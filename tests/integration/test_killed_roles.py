"""Each role is killed while a cell runs: kernels live on, the role comes back, nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time

import psutil
import pytest

from appliance.web.kernel_connection import FIRST_REPLY_SECONDS
from appliance.zygote.keeper import LISTEN_SECONDS, SILENCE_SECONDS
from tests.integration.running import wait_for
from tests.integration.sage_client import SageClient

SLOW_CELL = "import time\nfor step in range(30):\n    print(step, flush=True); time.sleep(0.1)"


def zygote_pids(appliance):
    """Return the processes below the keeper whose command is the zygote's module: each before its spare."""
    base = appliance.config.ids.base
    found = []
    for process in appliance.family():
        try:
            if process.uids().real == base and "appliance.zygote" in process.cmdline():
                found.append(process.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def zygote_pid(appliance):
    """Return the process that forks kernels."""
    return next(iter(zygote_pids(appliance)), None)


def kill(appliance, role):
    pid = zygote_pid(appliance) if role == "zygote" else appliance.pid_of(role)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.attack(39, "supervision; kernels outlive roles", "kill -9 of a role")
@pytest.mark.parametrize("role", ["web", "pool", "permalink", "zygote"])
def test_a_killed_role_is_back_and_kernels_lived_on(appliance, role):
    wait_for("kernels can be leased", appliance.evaluates, 10)
    _, _, body = appliance.request("POST", "/permalink", {"code": f"print({role!r})", "language": "python"})
    permalink = json.loads(body)["query"]

    client = SageClient(appliance.url)
    client.run("kept = 6 * 7")
    running = client.start(SLOW_CELL)
    kill(appliance, role)

    if role == "web":
        # its connection went with it: the client finds the same kernel again
        wait_for("the web role answers", appliance.evaluates, 2)
        client.close()
        client.connect()
    else:
        # the cell that was running never noticed
        assert client.finish(running).stdout == "".join(f"{step}\n" for step in range(30))
        wait_for("the role answers", appliance.evaluates, 2)
    assert client.run("print(kept)").stdout == "42\n"
    client.close()

    def fetched():
        status, _, body = appliance.request("GET", f"/permalink?q={permalink}")
        return status == 200 and json.loads(body)[0] == f"print({role!r})"

    wait_for("the permalink is there", fetched, 2)


@pytest.mark.attack(39, "the next zygote takes over", "kill -9 of the zygote while a cell runs")
def test_a_kernel_can_still_be_interrupted_and_ended_after_its_zygote_is_gone(appliance):
    wait_for("kernels can be leased", appliance.evaluates, 10)
    with SageClient(appliance.url) as client:
        client.run("1")
        kill(appliance, "zygote")
        wait_for("a zygote is there", appliance.evaluates, 5)
        running = client.start("import time\nprint('started', flush=True)\ntime.sleep(60)")
        while client.receive()["msg_type"] != "stream":
            continue
        client.send("interrupt_request", {}, channel="control")
        assert client.finish(running).reply["ename"] == "KeyboardInterrupt"
        assert appliance.request("DELETE", f"/kernel/{client.kernel_id}")[0] == 200
        while True:
            message = client.receive()
            if message["content"].get("execution_state") == "dead":
                break
        assert message["content"]["reason"] == "stopped"


@pytest.mark.timeout(120)
def test_an_evaluation_that_computes_for_long_goes_on_under_another_web_role(appliance):
    """Longer than any patience with a new kernel, and heard of while it computes."""
    wait_for("kernels can be leased", appliance.evaluates, 10)
    client = SageClient(appliance.url)
    seconds = FIRST_REPLY_SECONDS + 5
    running = client.start(f"import time\nfor i in range({seconds:.0f}):\n    print(i, flush=True); time.sleep(1)")
    while client.receive()["msg_type"] != "stream":
        pass
    kill(appliance, "web")
    wait_for("the web role answers", appliance.evaluates, 5)
    client.close()
    client.connect()
    began, first, kinds = time.monotonic(), 0.0, []
    while "idle" not in kinds or "execute_reply" not in kinds:
        message = client.receive()
        if message["parent_header"].get("msg_id") != running:
            continue
        first = first or time.monotonic() - began
        kinds.append(message["content"].get("execution_state", message["msg_type"]))
    assert first < 5
    assert kinds.count("stream") > 5
    assert client.run("print(i)").stdout == f"{seconds - 1:.0f}\n"
    client.close()


@pytest.mark.attack(39, "supervision; a zygote that hangs is replaced", "SIGSTOP of the zygote")
@pytest.mark.timeout(120)
def test_a_zygote_that_hangs_is_replaced_and_kernels_lived_on(appliance):
    wait_for("kernels can be leased", appliance.evaluates, 10)
    with SageClient(appliance.url) as client:
        client.run("kept = 6 * 7")
        pid = zygote_pid(appliance)
        os.kill(pid, signal.SIGSTOP)
        # kernels that were ready already are used up first
        wait_for("another zygote", lambda: zygote_pid(appliance) not in (None, pid), SILENCE_SECONDS + 15)
        for _ in range(appliance.config.pool.ready + 2):
            wait_for("an evaluation", appliance.evaluates, 10)
            client.attend()
        assert client.run("print(kept)").stdout == "42\n"


@pytest.mark.attack(39, "supervision; one zygote serves", "SIGSTOP of the spare, kill -9 of the zygote, SIGCONT")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("meanwhile", ["another starts", "another serves"])
def test_a_spare_that_comes_late_leaves_one_zygote(appliance, meanwhile):
    wait_for("kernels can be leased", appliance.evaluates, 10)
    zygote, spare = wait_for("one zygote and its spare", lambda: only_zygote_and_spare(appliance), 10)
    os.kill(spare, signal.SIGSTOP)
    os.kill(zygote, signal.SIGKILL)
    count = 2 if meanwhile == "another starts" else 3
    wait_for(meanwhile, lambda: len(set(zygote_pids(appliance)) - {zygote}) == count, 20)
    if meanwhile == "another serves":
        wait_for("an evaluation", appliance.evaluates, 10)
    os.kill(spare, signal.SIGCONT)
    left = wait_for("one zygote and its spare", lambda: only_zygote_and_spare(appliance), 10)
    assert (left[0] == spare) is (meanwhile == "another starts")
    time.sleep(3 * LISTEN_SECONDS)
    assert wait_for("one zygote and its spare", lambda: only_zygote_and_spare(appliance), 10) == left
    for _ in range(appliance.config.pool.ready + 2):
        wait_for("an evaluation", appliance.evaluates, 10)


def only_zygote_and_spare(appliance):
    """Return the two, or None while there are more: kernels that are just being made look like them."""
    pids = zygote_pids(appliance)
    with contextlib.suppress(ProcessLookupError):
        if len(pids) == 2 and len({os.getpgid(pid) for pid in pids}) == 1:
            return pids
    return None
