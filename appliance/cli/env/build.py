"""Make a virtual environment of exactly what a lock lists."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name, canonicalize_version

from appliance import config as configuration
from appliance.cli.env import declaration
from appliance.cli.printable import printable
from appliance.errors import ApplianceError
from appliance.zygote import linux

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable

#: The system's interpreter: kernels' accounts can read it.
PYTHON = "/usr/bin/python3"

#: Name of the declaration until the environment has been tried.
UNFINISHED = f".{configuration.DECLARATION}"

#: Lines of pip's that say why it failed, at most.
MAX_REASON_LINES = 20

#: What pip says when it takes a distribution: its name from an index, the name of a wheel from a directory.
_TAKES = re.compile(r"Collecting ([A-Za-z0-9._-]+)|Processing (?:.*/)?([A-Za-z0-9._]+)-[^/]*\.whl")

#: pip must not take what it installs from elsewhere than its configuration says, nor add to it.
_NOT_OURS = ("PYTHONPATH", "PYTHONHOME", "PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_REQUIRE_HASHES")

#: What venv(1) itself installs, in whatever version the system brings.
_OF_VENV = ("pip", "setuptools")


class EnvironmentNotBuilt(ApplianceError):
    """The environment could not be built."""

    code = "environment_not_built"


def build(declared: declaration.Declaration, directory: pathlib.Path, say: Callable[[str], None]) -> None:
    """Make the virtual environment of ``declared`` in ``directory``; tell each step by ``say``.

    Raises `EnvironmentNotBuilt`; what was made until then is left to the caller.
    """
    listed = declaration.pinned(declared.lock)
    say(f"virtual environment in {directory} ({PYTHON})")
    _run([PYTHON, "-m", "venv", str(directory)], lambda line: None)
    say(f"{len(listed)} distributions of {declared.lock}")
    seen: set[str] = set()

    def progress(line: str) -> None:
        name = taken(line)
        if name in listed and name not in seen:
            seen.add(name)
            say(f"  {len(seen)} of {len(listed)}: {name} {listed[name]}")
        elif line.startswith("Installing collected"):
            say("  installing them")

    _run(
        [
            str(directory / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input",
            "--progress-bar", "off", "--no-deps", "--only-binary", ":all:", "--require-hashes",
            "-r", str(declared.lock),
        ],
        progress,
    )  # fmt: skip
    wrong = differences(declared, directory)
    if wrong:
        raise EnvironmentNotBuilt("pip made something else:\n" + "\n".join(f"  {text}" for text in wrong))


def taken(line: str) -> str:
    """Return the distribution that a line of pip's output says it takes, else nothing."""
    match = _TAKES.match(line.strip())
    return canonicalize_name(match[1] or match[2]) if match else ""


def _run(argv: list[str], line_printed: Callable[[str], None]) -> None:
    """Run ``PYTHON -m MODULE``, which tells what it does by lines. Raises `EnvironmentNotBuilt` with what it said."""
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_OURS}
    said: list[str] = []
    try:
        process = subprocess.Popen(  # noqa: S603 - fixed programs
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
            text=True, errors="replace", preexec_fn=end_with_parent,
        )  # fmt: skip
    except OSError as exc:
        raise EnvironmentNotBuilt(f"{argv[0]} cannot be started: {exc.strerror}") from exc
    with process:
        try:
            for line in process.stdout or ():
                said.append(printable(line.rstrip("\n")))
                line_printed(line)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise EnvironmentNotBuilt(f"{argv[2]} failed (exit status {process.returncode}):\n{reason(said)}")


def end_with_parent() -> None:
    """Be told to end when the command that started this is killed."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)


def reason(lines: list[str]) -> str:
    """Return the lines of pip's output that say why it failed: from its first error on, or the last ones."""
    errors = [number for number, line in enumerate(lines) if line.lstrip().startswith("ERROR:")]
    shown = lines[errors[0] :] if errors else lines[-MAX_REASON_LINES:]
    shown = [line for line in shown if line.strip()]
    left_out = len(shown) - MAX_REASON_LINES
    return "\n".join(
        ["  " + line for line in shown[:MAX_REASON_LINES]] + ([f"  ({left_out} more lines)"] if left_out > 0 else [])
    )


def differences(declared: declaration.Declaration, directory: pathlib.Path) -> list[str]:
    """Return how what is installed in ``directory`` differs from the lock. Nothing of the environment is executed."""
    listed = declaration.pinned(declared.lock)
    installed: dict[str, list[str]] = {}
    places = [str(place) for place in directory.glob("lib/python3.*/site-packages")]
    for found in importlib.metadata.distributions(path=places):
        name = canonicalize_name(found.metadata["Name"] or "(no name)")
        installed.setdefault(name, []).append(found.version or "(no version)")
    wrong = [
        f"{name} {version} is in the lock, installed is {', '.join(installed.get(name, ())) or 'none'}"
        for name, version in listed.items()
        if [canonicalize_version(there) for there in installed.get(name, ())] != [canonicalize_version(version)]
    ]
    for other in sorted(installed.keys() - listed.keys() - set(_OF_VENV)):
        wrong.append(f"{other} {', '.join(installed[other])} is installed and not in the lock")
    return [printable(text) for text in wrong]


def unfinished(directory: pathlib.Path) -> bool:
    """Return whether this is what an interrupted `clear` or an environment that was never finished left."""
    return directory.is_dir() and ((directory / UNFINISHED).exists() or not any(directory.iterdir()))


def clear(directory: pathlib.Path) -> None:
    """Remove an environment's directory. What is left if this is interrupted is `unfinished`, and no environment."""
    declared, mark = directory / configuration.DECLARATION, directory / UNFINISHED
    if declared.exists():
        declared.replace(mark)
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path != mark:
            path.unlink()
    shutil.rmtree(directory)
