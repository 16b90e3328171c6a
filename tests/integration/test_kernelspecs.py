"""Kernels of other languages: any kernelspec, confined and kept ready like Python's."""

from __future__ import annotations

import base64
import contextlib
import glob
import importlib.util
import json
import os
import pathlib
import sys
import time
import urllib.error
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from appliance.zygote.zygote import FIRST_SLOT
from tests.escape.test_confinement import LOOK
from tests.integration.kernelspecs import BASH, kernelspec, make_prefix
from tests.integration.result_client import shown
from tests.integration.running import Appliance, Directories, wait_for
from tests.integration.sage_client import Answer, SageClient

if TYPE_CHECKING:
    from collections.abc import Iterator

R_KERNEL = pathlib.Path("/usr/share/jupyter/kernels/ir/kernel.json")

CONFIG = """
[pool]
max_kernels = 20
ready = 1
[clocks]
cpu_seconds = 2.0
background_seconds = 0.0
[environment.python]
preload = []
"""

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("bash_kernel") is None, reason="bash_kernel is not installed beside the tests"
)
with_r = pytest.mark.skipif(not R_KERNEL.exists(), reason="r-cran-irkernel is not installed")


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    prefixes = Directories()
    prefix = prefixes.base / "prefix"
    python = make_prefix(prefix)
    kernelspec(
        prefix,
        "bash",
        argv=BASH,
        env={"GREETING": "hello from ${HOME}"},
    )
    kernelspec(
        prefix,
        "by-message",
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        interrupt_mode="message",
    )
    kernelspec(prefix, "broken", argv=["sh", "-c", "echo no such luck; exit 3"])
    toml = CONFIG
    for name in ("bash", "by-message", "broken"):
        toml += f'[environment.{name}]\nkernelspec = "{name}"\npython = "{python}"\n'
    if R_KERNEL.exists():
        toml += '[environment.r]\nkernelspec = "ir"\n'
    running = Appliance(toml)
    yield running
    running.stop()
    prefixes.remove()


@pytest.fixture(scope="module")
def bash(appliance: Appliance) -> Iterator[SageClient]:
    with SageClient(appliance.url, environment="bash") as client:
        yield client


def look(client: SageClient, *, shell: bool) -> dict[str, Any]:
    code = LOOK
    if shell:
        code = f"echo {base64.b64encode(LOOK.encode()).decode()} | base64 -d | /usr/bin/python3 -"
    answer = client.run(code)
    report: dict[str, Any] = json.loads(answer.stdout)
    return report


def interrupt(client: SageClient, code: str) -> tuple[Answer, float]:
    """Start ``code``, interrupt it, and return what came of it and after how many seconds."""
    msg_id = client.start(code)
    while (message := client.receive())["msg_type"] != "execute_input":
        assert message["msg_type"] == "status"
    time.sleep(0.3)
    began = time.monotonic()
    client.send("interrupt_request", {}, "control")
    return client.finish(msg_id), time.monotonic() - began


def death(client: SageClient, code: str) -> dict[str, Any]:
    """Run ``code``, which ends the kernel, and return what is said of that."""
    client.start(code)
    while True:
        message = client.receive()
        if message["content"].get("execution_state") == "dead":
            content: dict[str, Any] = message["content"]
            return content


def test_a_bash_cell_echoes(bash: SageClient) -> None:
    answer = bash.run("echo hello; echo $((6*7))")
    assert answer.stdout == "hello\n42\n"
    assert answer.reply["status"] == "ok"


def test_a_kernel_keeps_its_state_from_cell_to_cell(bash: SageClient) -> None:
    bash.run("x=5; cd /tmp")
    assert bash.run("echo $x $PWD").stdout == "5 /tmp\n"
    bash.run("cd")


def test_its_variables_are_those_of_the_kernelspec_and_nothing_of_the_host(bash: SageClient) -> None:
    names = {name.split("=")[0] for name in bash.run("tr '\\0' '\\n' </proc/$PPID/environ").stdout.splitlines()}
    assert names == {"PATH", "HOME", "LANG", "TERM", "GREETING"}
    assert bash.run("echo $GREETING; pwd").stdout == "hello from /home/visitor\n/home/visitor\n"


def test_it_is_confined_as_a_python_kernel_is(appliance: Appliance, bash: SageClient) -> None:
    with SageClient(appliance.url) as python:
        expected = look(python, shell=False)
    found = look(bash, shell=True)
    for name in ("groups", "interfaces", "capabilities", "seccomp", "no_new_privs", "host", "home", "core"):
        assert found[name] == expected[name], name
    assert len(set(found["uid"])) == 1
    assert found["uid"][0] >= 1000
    assert found["uid"] != expected["uid"]
    assert found["gid"] == found["uid"]
    writable = [
        [(target, kind) for target, kind, options in report["mounts"] if "rw" in options.split(",")]
        for report in (found, expected)
    ]
    assert writable[0] == writable[1]
    careless = [target for target, _, options in found["mounts"] if "nosuid" not in options.split(",")]
    assert {target for target in careless if not target.startswith("/proc/")} <= {
        f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom")
    }


def test_it_sees_its_own_processes_and_not_its_init(bash: SageClient) -> None:
    report = look(bash, shell=True)
    assert 1 not in report["pids"]
    assert min(report["pids"]) == 2
    answer = bash.run("cat /proc/1/environ; ls /proc/1/fd; echo x >/proc/1/mem")
    assert answer.stdout.count("No such file or directory") == 3


def test_its_open_files_are_its_own(bash: SageClient) -> None:
    targets = bash.run("readlink /proc/$PPID/fd/*").stdout.split()
    assert targets
    assert targets[0] == "/dev/null"
    own = ("/dev/null", "/dev/ptmx", "/dev/pts/ptmx", "pipe:", "socket:", "anon_inode:")
    assert [target for target in targets if not target.startswith(own)] == []


def test_no_key_is_left_lying_about(bash: SageClient) -> None:
    assert bash.run("find /tmp /home/visitor -name '*.json'").stdout == ""


@pytest.mark.parametrize("attempt", ["mount -t tmpfs x /tmp", "unshare -U true", "cat /etc/shadow", "touch /usr/x"])
def test_what_a_bash_cell_tries_is_refused(bash: SageClient, attempt: str) -> None:
    assert bash.run(attempt).reply["status"] == "error"


def test_an_interrupt_ends_what_runs_and_not_the_kernel(bash: SageClient) -> None:
    bash.run("y=7")
    answer, seconds = interrupt(bash, "sleep 60; echo late")
    assert seconds < 1
    assert "late" not in answer.stdout
    assert bash.run("echo $y").stdout == "7\n"


def test_a_kernel_that_wants_interrupts_as_messages_gets_them(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="by-message") as client:
        answer, seconds = interrupt(client, "import time; time.sleep(60)")
        assert seconds < 1
        assert answer.reply["ename"] == "KeyboardInterrupt"
        assert client.run("1+1").result == "2"


def test_how_a_kernel_ended_is_told(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="bash") as client:
        assert death(client, "kill -SEGV $PPID")["reason"] == "crashed"
    with SageClient(appliance.url, environment="by-message") as client:
        assert death(client, "import os; os._exit(3)")["reason"] == "exited"
    wait_for("the exit status is logged", lambda: "exited exit status 3" in appliance.text(), 5)
    assert "crashed SIGSEGV" in appliance.text()


def test_processor_time_of_an_evaluation_is_counted_in_all_its_processes(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="bash") as client:
        assert client.run("sleep 0.1").reply["status"] == "ok"
        assert death(client, "while :; do :; done")["reason"] == "cpu_limit"


def test_much_output_is_relayed_whole(bash: SageClient) -> None:
    # Far fewer messages than a thousand: from there on the kernel's own socket drops some whenever many come at once.
    answer = bash.run("seq -f %01000.0f 400; head -c 150000 /dev/zero | tr '\\0' x; echo; echo end")
    assert answer.reply["status"] == "ok"
    # bash_kernel lets a carriage return of the terminal through where a read of its own ends.
    lines = answer.stdout.replace("\r", "").splitlines()
    assert lines == [*(f"{number:01000}" for number in range(1, 401)), "x" * 150_000, "end"]
    assert bash.run("echo still here").stdout == "still here\n"


def test_two_kernels_have_their_own_account(appliance: Appliance) -> None:
    with (
        SageClient(appliance.url, environment="bash") as one,
        SageClient(appliance.url, environment="bash") as other,
    ):
        assert one.run("id -u").stdout != other.run("id -u").stdout


def test_a_kernel_is_dealt_that_was_started_before_it_was_asked_for(appliance: Appliance, bash: SageClient) -> None:
    def running() -> int:
        commands = []
        for process in appliance.family():
            with contextlib.suppress(psutil.Error):
                commands.append(process.cmdline())
        return sum(1 for command in commands if "bash_kernel" in command)

    # The one of the other tests, and one that nobody has asked for.
    assert bash.run("echo mine").stdout == "mine\n"
    wait_for("one is kept ready", lambda: running() >= 2, 30)
    asked = time.clock_gettime(time.CLOCK_BOOTTIME)
    with SageClient(appliance.url, environment="bash") as client:
        ticks = int(client.run("cut -d ' ' -f 22 /proc/$PPID/stat").stdout)
    assert ticks / os.sysconf("SC_CLK_TCK") < asked


def test_a_program_that_fails_is_told_with_what_it_said_and_others_go_on(appliance: Appliance) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        SageClient(appliance.url, environment="broken")
    assert caught.value.code == 503
    message = json.load(caught.value)["message"]
    assert "ended with status 3; it said: no such luck" in message
    assert appliance.evaluates()
    assert appliance.request("GET", "/healthz")[0] == 200


def test_an_environment_that_is_not_there_is_refused_and_the_others_named(appliance: Appliance) -> None:
    status, _, body = appliance.request("POST", "/kernel?environment=fortran")
    assert status == 400
    assert "bash" in json.loads(body)["message"]
    assert "python" in json.loads(body)["message"]


def test_a_kernel_outlives_its_pool_and_is_watched_by_the_next(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="bash") as client:
        client.run("z=9")
        earlier = appliance.pid_of("pool")
        psutil.Process(earlier).kill()
        wait_for("another pool runs", lambda: appliance.find("pool") not in (None, earlier), 10)
        assert client.run("echo $z").stdout == "9\n"
        wait_for("the next pool answers", appliance.evaluates, 20)
        assert death(client, "while :; do :; done")["reason"] == "cpu_limit"


@pytest.mark.parametrize(
    ("environment", "code"),
    [("bash", "sleep 1; while :; do :; done"), ("python", "import time\ntime.sleep(1)\nwhile True: pass")],
)
def test_an_evaluation_that_began_before_a_pool_is_counted_by_it(
    appliance: Appliance, environment: str, code: str
) -> None:
    with SageClient(appliance.url, environment=environment) as client:
        assert client.run("echo=1").reply["status"] == "ok"
        client.start(code)
        while client.receive()["msg_type"] != "execute_input":
            pass
        psutil.Process(appliance.pid_of("pool")).kill()
        while (message := client.receive())["content"].get("execution_state") != "dead":
            pass
        assert message["content"]["reason"] == "cpu_limit"


def test_a_kernel_keeps_its_account_while_the_next_pool_waits_for_its_zygote(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="bash") as client:
        client.run("z=9")
        records = appliance.config.kernels_path
        slot = json.loads((records / client.kernel_id / "record.json").read_text())["slot"]
        launcher = psutil.Process(appliance.find("zygote-bash"))
        zygote = next(one for one in launcher.children(recursive=True) if "appliance.zygote" in one.cmdline())
        zygote.suspend()
        try:
            earlier = appliance.pid_of("pool")
            psutil.Process(earlier).kill()
            wait_for("another pool runs", lambda: appliance.find("pool") not in (None, earlier), 10)
            for _ in range(min(slot - FIRST_SLOT, 20) + 2):
                wait_for("an evaluation of the other environment", appliance.evaluates, 10)
            taken = []
            for name in glob.glob(f"{records}/*/record.json"):
                with contextlib.suppress(FileNotFoundError):
                    taken.append(json.loads(pathlib.Path(name).read_text())["slot"])
            assert len(set(taken)) == len(taken)
        finally:
            zygote.resume()
        assert client.run("echo $z").stdout == "9\n"
        told = f"kernel in slot {slot} taken over, leased"
        wait_for("the zygote has told of it", lambda: told in appliance.text(), 10)
        assert death(client, "while :; do :; done")["reason"] == "cpu_limit"


@with_r
def test_an_r_cell_prints(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="r") as client:
        assert client.run("print(6*7)").stdout == "[1] 42\n"
        assert client.run("cat(Sys.info()[['user']], getwd())").stdout.endswith("/home/visitor")


@with_r
def test_an_r_cell_is_interrupted(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="r") as client:
        _, seconds = interrupt(client, "Sys.sleep(60)")
        assert seconds < 1
        assert client.run("cat(1)").stdout == "1"


@with_r
def test_the_clocks_of_a_kernel_without_topics_are_right(appliance: Appliance) -> None:
    with SageClient(appliance.url, environment="r") as client:
        assert death(client, "repeat {}")["reason"] == "cpu_limit"
    with SageClient(appliance.url, environment="r") as client:
        assert client.run("Sys.sleep(1); cat(2)").stdout == "2"
        assert death(client, "tools::pskill(Sys.getpid(), 9)")["reason"] == "crashed"


@pytest.mark.parametrize(
    ("environment", "code"),
    [
        ("bash", "echo $RANDOM$RANDOM$RANDOM"),
        ("by-message", "import os; print(os.urandom(8).hex())"),
        pytest.param("r", "cat(runif(3))", marks=with_r),
    ],
)
def test_results_are_kept(appliance: Appliance, environment: str, code: str) -> None:
    first, stored = shown(appliance.url, code, environment=environment)
    assert (first.strip() != "", stored) == (True, False)
    assert shown(appliance.url, code, environment=environment) == (first, True)
    assert shown(appliance.url, code, environment=environment, result=False)[0] != first
