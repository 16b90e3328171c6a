"""``cellctl serve``: every role and environment as a child process, in the foreground, until it is told to stop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

import psutil
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.task import deferLater

from appliance import confinement, data_sets
from appliance import log as logging
from appliance import main as entry
from appliance.cli import preflight
from appliance.cli.effective import effective
from appliance.cli.layout import Layout
from appliance.cli.ready import ask
from appliance.config import PACKAGE_DIR, TcpAddress, UnixAddress, gid_of, uid_of
from appliance.errors import ConfigError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Sequence

    from appliance.cli.supervisor import Child
    from appliance.config import Config

SETPRIV = "/usr/bin/setpriv"
SETSID = "/usr/bin/setsid"

#: Seconds between two questions whether the appliance is ready, and between two lines about what it waits for.
ASK_SECONDS = 0.1
TELL_SECONDS = 10.0

#: Seconds everything has to stop; the supervisor's own limits add up to less.
STOP_SECONDS = 4.8

#: Environment variables of the administrator that children get.
_PASSED_VARIABLES = ("PATH", "TZ")


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line at once, by default of progress on standard output; nobody has to be listening."""
    try:
        print(text, file=stream, flush=True)
    except (BrokenPipeError, ValueError):
        return


def child_environment() -> dict[str, str]:
    """Return the environment of the children: nothing of the administrator's shell but what they need."""
    variables = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    variables.setdefault("PATH", os.defpath)
    return {
        **variables,
        "LANG": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/") if os.geteuid() != 0 else "/",
        "PYTHONPATH": str(PACKAGE_DIR.parent),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        entry.SUPERVISOR_VARIABLE: str(os.getpid()),
    }


def drop(user: str, groups: Sequence[int]) -> list[str]:
    """Return the command prefix that runs a role as ``user`` without any privilege, and ends it when we die.

    ``setsid`` keeps Ctrl-C on the terminal from reaching the children: they end in the order given by the supervisor.
    Source: setpriv(1).
    """
    common = [SETSID, SETPRIV, "--no-new-privs", "--pdeathsig=KILL"]
    if os.geteuid() != 0:
        return common
    identity = [f"--reuid={uid_of(user)}", f"--regid={gid_of(user)}"]
    identity.append(f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups")
    return [*common, *identity, "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]


def children(config: Config, file: pathlib.Path) -> list[Child]:
    """Return every process of the appliance."""
    from appliance.cli.supervisor import Child

    variables = child_environment()
    groups = {"pool": [gid_of(config.users.web)]}
    found = []
    for name in config.environment:
        command = [SETSID, sys.executable, "-m", "appliance.zygote.launcher", "--config", str(file)]
        found.append(Child(f"zygote-{name}", [*command, "--environment", name], variables, last=True))
    optional = [
        *(["egress"] if config.egress_profiles else []),
        *(["requestlog"] if config.requestlog.enabled else []),
    ]
    for role in ("pool", "permalink", *optional, "web"):
        command = [*drop(getattr(config.users, role), groups.get(role, [])), sys.executable, "-m", "appliance.main"]
        found.append(Child(role, [*command, role, "--config", str(file)], variables))
    return found


class Serving(Service):
    """The children, and the questions whether they are ready."""

    def __init__(self, config: Config, file: pathlib.Path, reactor: Any, give_up: Callable[[int], None]) -> None:
        from appliance.cli.printable import printable
        from appliance.cli.supervisor import Supervisor

        self._config = config
        self._reactor = reactor
        self._give_up = give_up
        self._asking: Any = None
        found = children(config, file)
        width = max(len(child.name) for child in found)

        def write_line(name: str, line: str) -> None:
            say(f"{name:<{width}} | {printable(line)}", sys.stderr)

        self._supervisor = Supervisor(reactor, found, write_line, self._give_up_starting)

    def _give_up_starting(self, reason: str, status: int) -> None:
        say(f"cellctl: {reason}", sys.stderr)
        self._give_up(status)

    def startService(self) -> None:  # noqa: N802 - IService
        """Start the children and ask until they are ready."""
        super().startService()  # type: ignore[no-untyped-call]
        say("starting kernels…")
        self._supervisor.startService()
        self._asking = ensureDeferred(self._ask())
        self._asking.addErrback(lambda failure: failure.trap(CancelledError) and None)

    def stopService(self) -> Any:  # noqa: N802 - IService
        """End the children."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._asking is not None:
            self._asking.cancel()
        say("stopping…")
        return self._supervisor.stopService()

    async def _ask(self) -> None:
        config, clock = self._config, self._reactor
        address: TcpAddress | UnixAddress = config.listen_address
        next_word = clock.seconds() + TELL_SECONDS
        while True:
            status, reason = await ask(
                clock, address, proxy_protocol=config.web.proxy_protocol, seconds=config.web.health_seconds + 2
            )
            if status == 200:
                self._supervisor.ready()
                say(f"Cell Appliance is ready: {address.url}")
                return
            if clock.seconds() >= next_word:
                next_word = clock.seconds() + TELL_SECONDS
                say(f"still starting: {reason}")
            await deferLater(clock, ASK_SECONDS)


def check_confinement(config: Config, *, unsafe: bool) -> None:
    """Raise `ConfigError` when a required layer is missing, unless ``unsafe``; tell which optional ones are."""
    layers = confinement.probe(config)
    missing = [layer for layer in layers if layer.missing]
    for layer in missing:
        advice = f" ({layer.advice})" if layer.advice else ""
        say(f"cellctl: {layer.name} is {layer.state.value}: {layer.detail}{advice}", sys.stderr)
    if missing and not unsafe:
        raise ConfigError("this host cannot confine kernels; `cellctl doctor` tells more, --unsafe starts nevertheless")
    weaker = [layer.name for layer in layers if layer.name in ("cgroup v2", "SELinux") and not layer.in_force]
    if weaker:
        say(f"not in force on this host: {', '.join(weaker)} (cellctl doctor)")


def end_survivors(family: Sequence[psutil.Process]) -> None:
    """Kill what is left of processes that were below us; there is nothing left unless a launcher failed."""
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def run(config: Config, *, listen: str | None, unsafe: bool) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; return the exit status.

    Raises `ConfigError` before anything is started.
    """
    config = effective(config, uid=os.geteuid(), environ=os.environ, listen=listen)
    for program in (SETSID, SETPRIV):
        if not os.access(program, os.X_OK):
            raise ConfigError(f"{program} is not installed (package util-linux)")
    os.umask(0o022)  # what the launcher stages must be readable by kernels; roles narrow theirs
    preflight.check_readable(config)
    data_sets.check(config)
    check_confinement(config, unsafe=unsafe)
    layout = Layout(config)
    layout.prepare()
    family: list[psutil.Process] = []
    try:
        preflight.check_listen(config.listen_address)
        logging.start("serve", "warn")

        def build(reactor: Any, leave: entry.Exit) -> Serving:
            reactor.addSystemEventTrigger(
                "before", "shutdown", lambda: family.extend(psutil.Process().children(recursive=True))
            )
            return Serving(config, layout.effective_file, reactor, leave.fail)

        return entry.run(build, stop_seconds=STOP_SECONDS)
    finally:
        end_survivors(family)
        layout.clear()
