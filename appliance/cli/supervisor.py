"""Children of ``cellctl serve``: started, watched, restarted, and ended in order.

Builds on Twisted's process monitor, which imports the global reactor: import this module after one was installed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.runner.procmon import ProcessMonitor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from twisted.python.failure import Failure

#: Longest line of a child's output that is passed on; a longer one is broken.
MAX_LINE_BYTES = 65_536

#: Ends of one child before the appliance is ready, after which starting is given up.
MAX_EARLY_ENDS = 5

#: sysexits(3): a child that ends so will not do better when started again.
EX_CONFIG = 78

#: Seconds the roles, and after them the launchers, have to end before they are killed. Together below five.
ROLE_STOP_SECONDS = 2.5
LAUNCHER_STOP_SECONDS = 2.0


@attrs.frozen
class Child:
    """A process to keep running. ``last`` marks those that end after the others: their kernels belong to the pool."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    last: bool = False


class _Output(ProcessProtocol):
    """Passes a child's lines on and reports its end."""

    def __init__(self, supervisor: Supervisor, name: str) -> None:
        self._supervisor = supervisor
        self._name = name
        self._rest = {1: b"", 2: b""}

    def childDataReceived(self, childFD: int, data: bytes) -> None:  # noqa: N802, N803 - Twisted
        """Pass on whole lines; keep the rest."""
        *lines, rest = (self._rest[childFD] + data).split(b"\n")
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        self._rest[childFD] = rest
        for line in lines:
            self._supervisor.write_line(self._name, line.decode(errors="backslashreplace"))

    def processEnded(self, reason: Failure) -> None:  # noqa: N802 - Twisted
        """Pass on what was left and report the end."""
        for rest in self._rest.values():
            if rest:
                self._supervisor.write_line(self._name, rest.decode(errors="backslashreplace"))
        self._supervisor.child_ended(self._name, reason)


class Supervisor(ProcessMonitor):
    """Keeps children running; the first restart comes at once, later ones ever more slowly."""

    threshold = 1
    minRestartDelay = 0.1  # type: ignore[assignment]  # noqa: N815 - Twisted
    maxRestartDelay = 5  # noqa: N815 - Twisted

    def __init__(
        self,
        reactor: Any,
        children: Sequence[Child],
        write_line: Callable[[str, str], None],
        give_up: Callable[[str, int], None],
    ) -> None:
        super().__init__(reactor)
        self.write_line = write_line
        self._give_up = give_up
        self._children = {child.name: child for child in children}
        self._early_ends = dict.fromkeys(self._children, 0)
        self._starting = True
        self._waiting: tuple[frozenset[str], Deferred[None]] | None = None
        for child in children:
            self.addProcess(child.name, list(child.command), env=dict(child.environment), cwd="/")

    def ready(self) -> None:
        """Take note that the appliance serves: from now on, every child is restarted however often it ends."""
        self._starting = False

    def startProcess(self, name: str) -> None:  # noqa: N802 - Twisted
        """Start a child unless it runs."""
        if name in self.protocols:
            return
        child = self._children[name]
        output: Any = _Output(self, name)
        self.protocols[name] = output
        self.timeStarted[name] = self._clock.seconds()
        self._reactor.spawnProcess(output, child.command[0], list(child.command), env=dict(child.environment), path="/")

    def child_ended(self, name: str, reason: Failure) -> None:
        """Restart a child, or give up when it cannot do better."""
        self._monitoredProcessExited(name, reason)
        if self.running:
            error: Any = reason.value
            status = error.exitCode if isinstance(error, ProcessTerminated) else 0
            self.write_line(name, f"ended ({describe(error)})")
            if self._starting:
                self._early_ends[name] += 1
                if status == EX_CONFIG:
                    self._give_up(f"{name} cannot start with this configuration; its reason is above", EX_CONFIG)
                elif self._early_ends[name] >= MAX_EARLY_ENDS:
                    self._give_up(f"{name} ended {MAX_EARLY_ENDS} times while starting; its last words are above", 1)
        if self._waiting is not None and not self._waiting[0] & self.protocols.keys():
            _, done = self._waiting
            self._waiting = None
            done.callback(None)

    def stopService(self) -> Any:  # noqa: N802 - Twisted
        """End every child; the Deferred fires when all have ended."""
        self.running = 0
        for restart in self.restart.values():
            if restart.active():
                restart.cancel()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        for last, seconds in ((False, ROLE_STOP_SECONDS), (True, LAUNCHER_STOP_SECONDS)):
            self.killTime = seconds  # type: ignore[assignment]
            names = frozenset(name for name, child in self._children.items() if child.last is last)
            for name in names:
                self.stopProcess(name)
            if names & self.protocols.keys():
                done: Deferred[None] = Deferred()
                self._waiting = (names, done)
                await done


def describe(error: Any) -> str:
    """Return how a process ended, from the error that Twisted reports."""
    number = getattr(error, "signal", None)
    return f"signal {number}" if number is not None else f"exit status {getattr(error, 'exitCode', 0)}"
