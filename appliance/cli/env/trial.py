"""Start an environment's kernel as a visitor would get it, in an appliance of its own that lasts for one cell."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING

import attrs

from appliance import config as configuration
from appliance.cli.env.build import end_with_parent
from appliance.cli.printable import printable
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from appliance.cli.env.declaration import Declaration

#: Seconds for everything to start: the largest environments read gigabytes from a cold disk.
START_SECONDS = 180.0

#: Seconds for the cell.
CELL_SECONDS = 60.0

#: What a zygote says when it cannot import what it should; it would be started again and again.
_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\).*?^[^|\n]*\| [A-Za-z_][\w.]*(?:Error|Exception)\b[^\n]*\n",
    re.DOTALL | re.MULTILINE,
)

#: What the pool says instead of keeping a request until a kernel is there.
_START_FAILED = "Starting a kernel failed"

#: Lines shown of what the appliance said when it did not start.
MAX_LINES = 15


class EnvironmentDoesNotWork(ApplianceError):
    """The environment does not work."""

    code = "environment_does_not_work"


def evaluate(config: configuration.Config, declared: Declaration, environment: configuration.Environment) -> float:
    """Have a kernel of ``environment`` run the declaration's cell; return the seconds until its answer.

    Raises `EnvironmentDoesNotWork` saying what came instead.
    """
    with _appliance(config, declared.name, environment) as (url, log):
        began = time.monotonic()
        answer = _ask(url, declared.name, declared.check, log)
        seconds = time.monotonic() - began
    if answer.get("stdout") != declared.prints:
        said = answer.get("stdout", ""), answer.get("stderr", ""), _error(answer)
        told = ", ".join(
            f"{name} {text!r}" for name, text in zip(("stdout", "stderr", "error"), said, strict=True) if text
        )
        raise EnvironmentDoesNotWork(
            f"its check should print {declared.prints!r}; it brought {printable(told) or 'nothing'}"
        )
    return seconds


def _error(answer: dict[str, object]) -> str:
    reply = answer.get("execute_reply")
    if isinstance(reply, dict) and reply.get("status") == "error":
        return f"{reply.get('ename')}: {reply.get('evalue')}"
    return ""


def _trial_config(
    config: configuration.Config, name: str, environment: configuration.Environment, base: pathlib.Path, port: int
) -> str:
    """Return a configuration with nothing but this environment, and a small one that every appliance has."""
    profile = attrs.evolve(config.profile[configuration.DEFAULT_PROFILE], egress=())
    tried = attrs.evolve(
        configuration.Config(),
        runtime_dir=str(base / "run"),
        state_dir=str(base / "state"),
        environments_dir=str(base / "none"),
        web=attrs.evolve(configuration.Web(), listen=f"127.0.0.1:{port}", service_seconds=CELL_SECONDS),
        pool=attrs.evolve(
            configuration.Pool(),
            max_kernels=2,
            ready=0,
            ready_max=0,
            start_seconds=CELL_SECONDS,
            lease_wait_seconds=CELL_SECONDS,
        ),
        profile={configuration.DEFAULT_PROFILE: profile},
        sandbox=config.sandbox,
        ids=config.ids,
        users=config.users,
        environment={
            "python": attrs.evolve(config.environment["python"], preload=(), warm_up=()),
            name: attrs.evolve(environment, ready=1),
        },
    )
    return configuration.render(tried)


@contextlib.contextmanager
def _appliance(
    config: configuration.Config, name: str, environment: configuration.Environment
) -> Iterator[tuple[str, pathlib.Path]]:
    """Serve this environment alone on a port of this machine while the context lasts; give address and log."""
    base = pathlib.Path(tempfile.mkdtemp(prefix="cell-env-", dir="/tmp"))
    for directory in (base, base / "run", base / "state"):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    port = _free_port()
    try:
        file = base / "appliance.toml"
        file.write_text(_trial_config(config, name, environment, base, port), encoding="utf-8")
        log = base / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-m", "appliance.cli", "serve", "--config", str(file)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=configuration.PACKAGE_DIR.parent,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        try:
            _wait(process, port, log)
            yield f"http://127.0.0.1:{port}", log
        except (OSError, ValueError) as exc:
            raise EnvironmentDoesNotWork(f"{exc}; the appliance said:\n{_tail(log)}") from exc
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(process: subprocess.Popen[bytes], port: int, log: pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise EnvironmentDoesNotWork(f"it does not start:\n{_tail(log)}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise EnvironmentDoesNotWork(f"it did not start within {START_SECONDS:g} s:\n{_tail(log)}")


def _ask(url: str, name: str, code: str, log: pathlib.Path) -> dict[str, object]:
    """Run a cell through ``POST /service``, as soon as the zygote has imported what it should; raises `OSError`."""
    form = urllib.parse.urlencode({"code": code, "environment": name, "accepted_tos": "true"}).encode()
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/service", form, timeout=CELL_SECONDS) as response:  # noqa: S310 - ours
                answer: dict[str, object] = json.load(response)
                return answer
        except urllib.error.HTTPError as exc:
            refusal = _refusal(exc)
            said = log.read_text(encoding="utf-8", errors="replace")
            if (failure := _TRACEBACK.search(said)) is not None:
                raise EnvironmentDoesNotWork(f"its libraries cannot be loaded:\n{_last(failure[0])}") from exc
            if exc.code != HTTPStatus.SERVICE_UNAVAILABLE or _START_FAILED in refusal or time.monotonic() > deadline:
                raise EnvironmentDoesNotWork(refusal) from exc
            time.sleep(0.3)


def _refusal(exc: urllib.error.HTTPError) -> str:
    try:
        message: str = json.load(exc)["message"]
    except (OSError, ValueError, KeyError):
        message = str(exc)
    return printable(message)


def _tail(log: pathlib.Path) -> str:
    return _last(log.read_text(encoding="utf-8", errors="replace"))


def _last(text: str) -> str:
    lines = text.splitlines()[-MAX_LINES:]
    return "\n".join(f"  {printable(line)}" for line in lines)
