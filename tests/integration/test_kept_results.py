"""Results that are kept for the next visitor: with real kernels, and two web roles."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
import urllib.request

import attrs
import pytest

from appliance import config as configuration
from tests.integration.result_client import ResultClient, shown
from tests.integration.running import INSTALLED, ROOT, Appliance, free_port, run_cellctl, wait_for

pytestmark = pytest.mark.skipif(INSTALLED, reason="starts an appliance of its own")

#: Prints another number each time.
NUMBER = "import os\nprint(int.from_bytes(os.urandom(8)))"

FIGURE = """
import numpy, os
import matplotlib.pyplot as plt
plt.plot(numpy.frombuffer(os.urandom(100), "u1"))
plt.show()
"""


class Watched:
    """An appliance and what it counts."""

    def __init__(self):
        self.metrics_port = free_port()
        self.appliance = Appliance(
            f'[metrics]\nlisten = "127.0.0.1:{self.metrics_port}"\n[pool]\nmax_kernels = 8\nready = 2\n'
            "[results]\nmax_result_bytes = 200000\n[profile.small]\nexposed = true\n"
        )
        self.url = self.appliance.url

    def count(self, name):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    @property
    def leases(self):
        return self.count("cell_pool_leases_total")

    def cellctl(self, *arguments):
        file = str(self.appliance.directories.runtime / "effective.toml")
        done = run_cellctl(*arguments, "--config", file)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def watched():
    watched = Watched()
    yield watched
    watched.appliance.stop()


def test_the_second_visitor_gets_what_the_first_saw_without_a_kernel(watched):
    first, stored = shown(watched.url, NUMBER)
    assert first.strip().isdigit()
    assert not stored
    leases, hits = watched.leases, watched.count("cell_results_hits_total")
    assert shown(watched.url, NUMBER) == (first, True)
    assert watched.leases == leases
    assert watched.count("cell_results_hits_total") == hits + 1
    assert watched.count("cell_results_bytes") > 0
    # who does not ask for it, and who changes anything, has a kernel
    assert shown(watched.url, NUMBER, result=False) != (first, True)
    assert shown(watched.url, NUMBER + " ")[0] != first
    assert shown(watched.url, NUMBER, profile="small")[0] != first
    assert watched.leases == leases + 3


def test_output_of_the_first_visitor_comes_while_it_is_made(watched):
    client = ResultClient(watched.url, "import time\nprint('now', flush=True)\ntime.sleep(2)\nprint('later')")
    client.until("stream")
    came = time.monotonic()
    client.answer()
    assert time.monotonic() - came > 1


def test_figures_are_kept(watched):
    pictures = []
    for _ in range(2):
        client = ResultClient(watched.url, FIGURE)
        (display,) = client.answer().contents("display_data")
        pictures.append(display["data"]["image/png"])
    assert "stored" in client.leased[0]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize(
    "code",
    [
        NUMBER + "\n1/0",
        NUMBER + "\nprint('x' * 200_000)",
        NUMBER + "\nraise SystemExit",
        NUMBER + "\nfor _ in range(3): print(get_ipython().kernel.ident)",
    ],
    ids=["an error", "too large", "an end", "the id of its kernel"],
)
def test_what_cannot_be_kept_runs_each_time(watched, code):
    numbers = {shown(watched.url, code)[0].splitlines()[0] for _ in range(2)}
    assert len(numbers) == 2


def test_a_program_that_asks_is_answered_and_not_kept(watched):
    for answer in ("one", "two"):
        client = ResultClient(watched.url, "print(input('? '))")
        client.until("input_request")
        assert [leased["id"] != "" for leased in client.leased] == [False, True]
        header = {"msg_id": "b", "msg_type": "input_reply", "session": "s", "username": ""}
        client.send({"channel": "stdin", "header": header, "content": {"value": answer, "status": "ok"}})
        assert client.answer().stdout == f"{answer}\n"


def test_widgets_are_not_kept_and_have_their_kernel(watched):
    for _ in range(2):
        client = ResultClient(watched.url, "from ipywidgets import IntSlider\nIntSlider(7)")
        client.until("idle")
        kernel_id = client.leased[-1]["id"]
        status, _, _ = watched.appliance.request("GET", f"/api/kernels/{kernel_id}")
        assert status == 200
        watched.appliance.request("DELETE", f"/kernel/{kernel_id}")
        client.close()


def test_who_leaves_frees_the_kernel(watched):
    code = "import time\ntime.sleep(60)"
    client = ResultClient(watched.url, code)
    client.until("execute_input")
    client.close()
    kernels = watched.appliance.directories.runtime / "kernels"
    leased = [path for path in kernels.iterdir() if (path / "leased").exists()]
    wait_for("the kernel is gone", lambda: not any(path.exists() for path in leased), 5)


def test_cellctl_counts_results_and_removes_them(watched):
    first, _ = shown(watched.url, NUMBER)
    assert shown(watched.url, NUMBER) == (first, True)
    assert " results, 0." in watched.cellctl("results", "stats")
    assert watched.cellctl("results", "clear").endswith(" results removed\n")
    assert watched.cellctl("results", "stats").startswith("0 results, ")
    assert shown(watched.url, NUMBER)[0] != first


def test_a_web_role_that_starts_anew_still_has_them(watched):
    first, _ = shown(watched.url, NUMBER)
    watched.appliance.process.poll()
    pid = watched.appliance.pid_of("web")
    subprocess.run(["kill", "-9", str(pid)], check=True)
    wait_for("another web role", lambda: watched.appliance.find("web") not in (None, pid), 10)
    wait_for("it answers", watched.appliance.evaluates, 20)
    assert shown(watched.url, NUMBER) == (first, True)


def test_another_web_role_has_the_same(watched):
    appliance = watched.appliance
    port = free_port()
    web = attrs.evolve(appliance.config.web, listen=f"127.0.0.1:{port}")
    metrics = attrs.evolve(appliance.config.metrics, listen="")
    file = appliance.directories.base / "second.toml"
    file.write_text(configuration.render(attrs.evolve(appliance.config, web=web, metrics=metrics)))
    command = [sys.executable, "-m", "appliance.main", "web", "--config", str(file)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    second = f"http://127.0.0.1:{port}"

    def healthy():
        try:
            with urllib.request.urlopen(f"{second}/healthz", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False

    try:
        wait_for("the second web role answers", healthy, 20)
        first, _ = shown(watched.url, NUMBER)
        assert shown(second, NUMBER) == (first, True)
    finally:
        process.terminate()
        process.wait(10)
        file.unlink()


def test_a_default_environment_is_that_of_clients_that_name_none():
    appliance = Appliance(
        '[web]\ndefault_environment = "other"\n[pool]\nready = 1\nready_max = 1\n'
        f'[environment.python]\npreload = []\n[environment.other]\npython = "{ROOT}/.envs/python/bin/python"\n'
        'preload = []\ntitle = "Other"\nlanguage = "sage"\nvariables = ["WHICH=other"]\n'
    )
    try:
        which = "import os\nprint(os.environ.get('WHICH'))"
        assert appliance.run(which)["stdout"] == "other\n"
        assert shown(appliance.url, which, result=False)[0] == "other\n"
        assert shown(appliance.url, which, result=False, environment="python")[0] == "None\n"
        assert b'language="sage"' in appliance.request("GET", "/")[2]
    finally:
        appliance.stop()
