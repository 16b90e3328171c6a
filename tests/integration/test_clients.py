"""Real clients, as their authors publish them, each of which starts a kernel, draws, interrupts and stops."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import pytest

CLIENTS = pathlib.Path(__file__).resolve().parents[1] / "clients"
ROOT = CLIENTS.parents[1]
SECONDS = 60


def run(*command: str) -> dict[str, Any]:
    """Run a client and return what it says of itself: a JSON document in the last line."""
    done = subprocess.run(command, cwd=CLIENTS, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr[-4000:] + done.stdout[-4000:]
    seen: dict[str, Any] = json.loads(done.stdout.rstrip("\n").split("\n")[-1])
    return seen


def node(script: str, *arguments: str) -> dict[str, Any]:
    path = os.pathsep.join((str(ROOT / ".envs/node/bin"), os.environ["PATH"]))
    program = shutil.which("node", path=path)
    assert program is not None, "./dev installs Node.js"
    return run(program, script, *arguments)


@pytest.mark.parametrize("token", ["", "a secret that this client chose"])
@pytest.mark.parametrize("framing", ["v1", "json"])
def test_jupyterlab_services(appliance, framing, token):
    assert node("jupyterlab_services.cjs", appliance.url, token.replace(" ", "-"), framing) == {
        "specs": "python",
        "info": "ipython",
        "printed": "21\n",
        "figure": True,
        "error": "ZeroDivisionError",
        "answered": "answer to name? \n",
        "completions": True,
        "buffers": [3, 2, 1],
        "interrupted": "KeyboardInterrupt",
        "sameId": True,
        "restarted": "False\n",
        "listed": bool(token),
        "session": "42\n",
        "renamed": "other",
    }


def test_thebe_core(appliance):
    assert node("thebe_core.cjs", appliance.url) == {
        "printed": "42\n",
        "figure": True,
        "interrupted": "KeyboardInterrupt",
        "restarted": "False\n",
    }


def test_jupyter_kernel_client(appliance):
    assert run(sys.executable, "jupyter_client_run.py", appliance.url, "another-secret-of-a-client") == {
        "printed": "21\n",
        "figure": True,
        "error": "error",
        "interrupted": "KeyboardInterrupt",
        "restarted": "False\n",
        "alive": True,
        "listed": True,
    }


@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "xhr-polling", "eventsource"])
def test_sockjs_client(appliance, transport):
    seen = node("sockjs_client.cjs", appliance.url, transport)
    long = "".join(f"{number}\n" for number in range(20_000))
    assert seen == {
        "transport": transport,
        "outputs": ["kernel 0\n", "kernel 1\n"],
        "figure": True,
        "unicode": "ü\u2028\0\U0001f600<script>\n",
        "long": len(long),
        "interrupted": "KeyboardInterrupt",
        "modern": True,
        "legacy": True,
        "help": ["complete", "object_info_reply", True, True],
        "gone": ["00000000-0000-4000-8000-000000000000/channels", "dead"],
    }
