"""``cellctl serve`` with every role and real kernels."""

from __future__ import annotations

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.integration.running import ROOT, Appliance, Directories, cellctl, run_cellctl, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

#: nobody, on every distribution.
NOBODY = 65_534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="changes accounts")


@pytest.fixture
def directories() -> Iterator[Directories]:
    made = Directories()
    yield made
    made.remove()


def test_it_prints_what_it_does_and_where_it_is(appliance: Appliance) -> None:
    assert "starting kernels…" in appliance.output
    assert f"Cell Appliance is ready: {appliance.url}" in appliance.output
    assert any(line.startswith("permalink     | ") for line in appliance.output)
    status, _, body = appliance.request("GET", "/healthz")
    assert status == 200
    assert json.loads(body)["permalinks"]["status"] == "ok"


def test_a_cell_runs(appliance: Appliance) -> None:
    answer = appliance.run("import numpy; print(numpy.arange(4).sum())")
    assert (answer["success"], answer["stdout"]) == (True, "6\n")


@as_root
def test_each_role_has_an_account_of_its_own_and_no_privilege(appliance: Appliance) -> None:
    uids = set()
    for role in ("web", "pool", "permalink"):
        text = pathlib.Path(f"/proc/{appliance.pid_of(role)}/status").read_text(encoding="utf-8")
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert len(set(status["Uid"].split())) == 1
        uids.add(int(status["Uid"].split()[0]))
        assert status["NoNewPrivs"] == "1"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(status[name], 16) == 0, (role, name)
    assert len(uids) == 3
    assert 0 not in uids
    launcher = psutil.Process(appliance.pid_of("zygote-python"))
    assert launcher.uids().real == appliance.config.ids.base


def test_a_second_one_with_the_same_directory_is_refused(appliance: Appliance) -> None:
    config = appliance.directories.write_config("", "second.toml")
    result = run_cellctl("serve", "--config", str(config), "--listen", "127.0.0.1:1")
    assert result.returncode == 78
    assert "already running" in result.stderr
    assert str(appliance.directories.runtime) in result.stderr
    assert appliance.evaluates()


def test_a_port_that_is_taken_is_named(appliance: Appliance, directories: Directories) -> None:
    config = directories.write_config("")
    result = run_cellctl("serve", "--config", str(config), "--listen", f"127.0.0.1:{appliance.port}")
    assert result.returncode == 78
    assert f"cannot listen at 127.0.0.1:{appliance.port}: another program already listens there" in result.stderr
    assert list(directories.runtime.iterdir()) == []


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("[web]\nport = 80\n", "unknown key web.port"),
        (
            "[environment.python]\npython = '/nowhere/python'\n",
            "environment.python: there is no interpreter at /nowhere",
        ),
        ("[environment.x]\nkernelspec = 'no-such'\n", "environment.x: there is no kernelspec no-such; there are: "),
        ("log_level = 'chatty'\n", "log_level"),
    ],
)
def test_a_wrong_configuration_is_one_sentence_that_names_the_key(
    directories: Directories, toml: str, words: str
) -> None:
    config = directories.write_config(toml)
    result = run_cellctl("serve", "--config", str(config), "--listen", "127.0.0.1:1")
    assert result.returncode == 78
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(directories.runtime.iterdir()) == []


@as_root
def test_an_interpreter_that_other_accounts_cannot_reach_is_refused_with_the_directory(
    directories: Directories,
) -> None:
    private = directories.base / "private"
    private.mkdir(mode=0o700)
    (private / "python").symlink_to("/usr/bin/python3")
    config = directories.write_config(f"[environment.python]\npython = '{private}/python'\n")
    result = run_cellctl("serve", "--config", str(config), "--listen", "127.0.0.1:1")
    assert result.returncode == 78
    assert f"{private} cannot be read by other accounts" in result.stderr
    assert list(directories.runtime.iterdir()) == []


def test_doctor_says_what_confines_here() -> None:
    result = run_cellctl("doctor", "--json")
    document = json.loads(result.stdout)
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert document["ok"] is (result.returncode == 0)
    assert result.returncode == 0, result.stdout
    for name in ("user namespace and uid pool", "pid namespace", "seccomp", "no_new_privs"):
        assert layers[name]["state"] == "on", layers[name]
    for layer in layers.values():
        assert layer["detail"]
        assert layer["state"] == "on" or layer["advice"] or layer["name"] == "Landlock"


def killed(appliance: Appliance, role: str) -> int:
    pid = appliance.pid_of(role)
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.parametrize("role", ["web", "pool"])
def test_a_killed_role_serves_again_within_two_seconds(appliance: Appliance, role: str) -> None:
    wait_for("kernels are ready", appliance.evaluates, 10)
    pid = killed(appliance, role)
    wait_for(f"evaluation after the end of {role}", appliance.evaluates, 2)
    assert appliance.pid_of(role) != pid
    assert appliance.process.poll() is None


def test_a_permalink_that_was_acknowledged_survives_the_end_of_its_role(appliance: Appliance) -> None:
    def store(code: str) -> str | None:
        status, _, body = appliance.request("POST", "/permalink", {"code": code, "language": "python"})
        return str(json.loads(body)["query"]) if status == 200 else None

    query = store("print('kept')\n")
    pid = killed(appliance, "permalink")

    def fetch() -> list[str] | None:
        status, _, body = appliance.request("GET", f"/permalink?q={query}")
        return list(json.loads(body)) if status == 200 else None

    assert wait_for("the permalink is served again", fetch, 2) == ["print('kept')\n", "python", "[]"]
    assert appliance.pid_of("permalink") != pid
    assert store("print('later')\n")


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process does nothing any more, be it waited for or not."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.attack(39, "supervision", "kill -9 of the launcher")
def test_a_killed_launcher_takes_its_kernels_with_it_and_comes_back(appliance: Appliance) -> None:
    wait_for("kernels are ready", appliance.evaluates, 10)
    launcher = psutil.Process(appliance.pid_of("zygote-python"))
    below = launcher.children(recursive=True)
    assert len(below) >= 2  # keeper and zygote
    killed(appliance, "zygote-python")
    # the first process of a host may take its time to wait for what it has inherited
    wait_for("its processes ended", lambda: all(map(has_ended, below)), 2)
    wait_for("evaluation with a new zygote", appliance.evaluates, 30)


def test_a_clean_stop_leaves_nothing_and_takes_less_than_five_seconds() -> None:
    running = Appliance()
    assert running.evaluates()
    took = running.stop()
    assert took < 5


def test_ctrl_c_on_a_terminal_is_a_clean_stop() -> None:
    # as a terminal's shell starts it; who runs these tests in the background may ignore the signal
    running = Appliance(prefix=["env", "--default-signal=INT"])
    family = running.family()
    os.killpg(running.process.pid, signal.SIGINT)
    assert running.process.wait(5) == 0
    assert not any(process.is_running() for process in family)
    # The signal reached nobody but cellctl: no child ended by itself and was started again.
    assert "ended (" not in running.text()
    running.directories.remove()


@pytest.mark.attack(39, "the death signal", "kill -9 of cellctl")
def test_children_end_when_cellctl_is_killed_and_the_next_start_finds_no_obstacle() -> None:
    running = Appliance()
    family = running.family()
    assert len(family) >= 6
    running.process.kill()
    running.process.wait()
    wait_for("all children ended", lambda: not any(process.is_running() for process in family), 3)
    left = sorted(path.name for path in running.directories.runtime.iterdir())
    assert "effective.toml" in left
    config = running.directories.write_config("[users]\nweb = 'no-such-account'\n")
    result = run_cellctl("config", "--check", str(config))
    assert result.returncode == 0
    running.directories.remove()


@as_root
def test_an_ordinary_user_without_subordinate_ids_is_told_what_is_missing() -> None:
    directories = Directories(NOBODY)
    try:
        config = directories.write_config("")
        prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        result = subprocess.run(
            [*prefix, *cellctl("serve", "--config", str(config), "--listen", "127.0.0.1:1")],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert result.returncode == 78
        assert re.search(r"/etc/subuid gives nobody no range of \d+ ids; as root: usermod --add-subuids", result.stderr)
        assert list(directories.runtime.iterdir()) == []
    finally:
        directories.remove()


@as_root
def test_an_ordinary_user_with_subordinate_ids_serves(tmp_path: pathlib.Path) -> None:
    """The files are replaced in a mount namespace of the test's own: the host's stay as they are."""
    ids = tmp_path / "ids"
    ids.write_text("nobody:100000:65536\n")
    script = (
        f"mount --bind {ids} /etc/subuid && mount --bind {ids} /etc/subgid && "
        f'exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups "$@"'
    )
    running = Appliance(prefix=["unshare", "--mount", "sh", "-c", script, "sh"], owner=NOBODY)
    for role in ("web", "pool", "permalink"):
        assert psutil.Process(running.pid_of(role)).uids().real == NOBODY
    assert running.evaluates()
    uids = {running.run("import os; print(open('/proc/self/uid_map').read(), os.getuid())")["stdout"]}
    assert all("100000" in text for text in uids)
    running.stop()


def test_serving_on_a_unix_socket(directories: Directories) -> None:
    path = directories.base / "web.sock"
    os.chmod(directories.base, 0o1777)
    config = directories.write_config("")
    process = subprocess.Popen(
        cellctl("serve", "--config", str(config), "--listen", f"unix:{path}"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        deadline = time.monotonic() + 60
        for line in process.stdout:
            if line.startswith("Cell Appliance is ready"):
                break
            assert time.monotonic() < deadline
        assert f"unix:{path}" in line
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(b"OPTIONS / HTTP/1.0\r\n\r\n")
            assert b" 200 " in client.recv(4096)
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 0
