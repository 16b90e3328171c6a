"""Entry point of the roles: ``python -m appliance.main ROLE --config FILE``.

This is the only module that imports the global reactor, and it does so after choosing epoll; everything else gets the
reactor as an argument. `run` is also how ``cellctl serve`` runs its process monitor.
"""

from __future__ import annotations

import argparse
import faulthandler
import importlib
import math
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from appliance import config as configuration
from appliance import log as logging
from appliance.errors import ApplianceError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from appliance.notify import Role

ROLES = ("web", "pool", "permalink", "egress", "requestlog")

#: sysexits(3): the service manager must not restart a role whose configuration is wrong.
EX_CONFIG = 78
EX_OK = 0
EX_FAILURE = 1

#: Seconds a service has to stop by itself.
STOP_SECONDS = 3.0
#: Seconds after that when SIGALRM ends a process that still has not stopped; nothing in Python can delay it.
LAST_STOP_SECONDS = 1

#: Holds the process id of ``cellctl serve`` in a role it started: a role whose supervisor is gone must not stay.
SUPERVISOR_VARIABLE = "CELL_SUPERVISOR_PID"

log = Logger(namespace="appliance.main")


class Exit:
    """The exit status of a run, settable by what runs; the first failure wins."""

    def __init__(self, reactor: Any) -> None:
        self.status = EX_OK
        self._reactor = reactor

    def fail(self, status: int = EX_FAILURE) -> None:
        """Stop the reactor and exit with ``status``."""
        self.status = self.status or status
        if self._reactor.running:
            self._reactor.stop()


def install_reactor() -> Any:
    """Choose the epoll reactor and return it.

    Modules that import the global reactor themselves (txZMQ, `twisted.runner.procmon`) may be imported only afterwards.
    """
    if "twisted.internet.reactor" not in sys.modules:
        from twisted.internet import epollreactor

        epollreactor.install()  # type: ignore[no-untyped-call]
    from twisted.internet import reactor

    # Twisted's own clock is that of the wall: when it is set, every limit of time would be reached at once, or never.
    reactor.seconds = time.monotonic  # type: ignore[method-assign]
    return reactor


def _stop(service: Any, reactor: Any, seconds: float) -> Any:
    """Stop ``service``; the Deferred returned fires within ``seconds``."""
    signal.alarm(math.ceil(seconds) + LAST_STOP_SECONDS)
    stopping = maybeDeferred(service.stopService)
    stopping.addTimeout(seconds, reactor)
    return stopping.addErrback(lambda failure: log.failure("not everything stopped in time", failure=failure))


def run(build: Callable[[Any, Exit], Any], reactor: Any = None, stop_seconds: float = STOP_SECONDS) -> int:
    """Start the service that ``build(reactor, exit)`` returns, run until SIGTERM, SIGINT or SIGHUP; return the status.

    A service that cannot start ends the run: 78 for a wrong configuration, 1 for anything else.
    """
    reactor = reactor if reactor is not None else install_reactor()
    leave = Exit(reactor)

    def start() -> None:
        try:
            service = build(reactor, leave)
            reactor.addSystemEventTrigger("before", "shutdown", _stop, service, reactor, stop_seconds)
            service.privilegedStartService()
            service.startService()
        except ConfigError as exc:
            log.error("{message}", message=exc.message)
            leave.fail(EX_CONFIG)
        except ApplianceError as exc:
            log.error("{message}", message=exc.message)
            leave.fail()
        except CannotListenError as exc:
            log.error("{message}", message=str(exc))
            leave.fail()
        except Exception:  # noqa: BLE001 - whatever it is, the process must end with a status and a trace
            log.failure("cannot start")
            leave.fail()

    def hang_up(*_: object) -> None:
        reactor.callFromThread(lambda: reactor.stop() if reactor.running else None)

    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, hang_up)
    reactor.callWhenRunning(start)
    reactor.run()
    return leave.status


def make_role(name: str, config: configuration.Config, reactor: Any) -> Role:
    """Import the role ``name`` and return its service."""
    module = importlib.import_module(f"appliance.{name}.service")
    role: Role = module.make_service(config, reactor)
    return role


def main(argv: Sequence[str] | None = None) -> int:
    """Run one role until it is told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="appliance.main", description="Run one role of Cell Appliance.")
    parser.add_argument("role", choices=ROLES, help="which role")
    parser.add_argument("--config", metavar="FILE", help=f"configuration file (default: {configuration.SYSTEM_FILE})")
    arguments = parser.parse_args(argv)
    supervisor = os.environ.get(SUPERVISOR_VARIABLE, "")
    if supervisor and supervisor != str(os.getppid()):
        return EX_FAILURE
    try:
        config = configuration.load(arguments.config)
    except ConfigError as exc:
        print(f"{arguments.role}: {exc.message}", file=sys.stderr)
        return EX_CONFIG
    # a role that the watchdog ends says where it stood
    faulthandler.enable()
    os.umask(0o027)
    logging.start(arguments.role, config.log_level)

    def build(reactor: Any, _leave: Exit) -> Any:
        from appliance.notify import keep_inherited_sockets, notifying

        keep_inherited_sockets()
        return notifying(make_role(arguments.role, config, reactor), reactor, stop_seconds)

    stop_seconds = STOP_SECONDS + (config.web.stop_seconds if arguments.role == "web" else 0.0)
    return run(build, stop_seconds=stop_seconds)


if __name__ == "__main__":
    sys.exit(main())
