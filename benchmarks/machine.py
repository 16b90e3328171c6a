"""The machine and the versions that a result belongs to."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import subprocess
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from benchmarks.server import Interpreters

#: Distributions whose versions matter, by the interpreter that has them.
_ROLES = ("twisted", "txzmq", "pyzmq", "jupyter_client")
_KERNELS = ("ipykernel", "ipython", "pyzmq", "tornado", "numpy", "scipy", "sympy", "matplotlib", "pandas", "ipywidgets")
_PEERS = ("jupyter_server", "jupyter_kernel_gateway", "tornado", "pyzmq", "jupyter_client", "websockets")

_PROGRAM = """
import importlib.metadata, json, platform, sys
print(json.dumps([platform.python_version(), *(importlib.metadata.version(name) for name in sys.argv[1:])]))
"""

#: Load per core above which a run says that something else is using the machine.
BUSY_LOAD = 0.5


def _versions(python: pathlib.Path, names: tuple[str, ...]) -> str:
    answer = subprocess.run([python, "-I", "-c", _PROGRAM, *names], capture_output=True, check=True, timeout=30).stdout
    version, *versions = json.loads(answer)
    return ", ".join([f"Python {version}", *(f"{name} {one}" for name, one in zip(names, versions, strict=True))])


def _processor() -> str:
    lines = pathlib.Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{os.cpu_count()} x {models[0] if models else platform.machine()}"


def describe(interpreters: Interpreters) -> dict[str, str]:
    """Return what a reader has to know to compare results. Raises `subprocess.CalledProcessError`."""
    load = os.getloadavg()[0]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    busy = ": something else is using this machine" if load > BUSY_LOAD * (os.cpu_count() or 1) else ""
    return {
        "processor": _processor(),
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.1f} GiB",
        "system": f"{system}, Linux {platform.release()}",
        "load": f"{load:.2f} before the first server was started{busy}",
        "roles": _versions(interpreters.appliance, _ROLES),
        "kernels": _versions(interpreters.kernels, _KERNELS),
        "peers": _versions(interpreters.peers, _PEERS),
    }
