"""``cellctl``: run the appliance, explain what this host can confine, operate an installed one."""

from __future__ import annotations

import pathlib
import sys
from typing import TYPE_CHECKING

from appliance import config as configuration
from appliance.cli.command_line import parser
from appliance.errors import ApplianceError, ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

#: sysexits(3).
EX_CONFIG = 78
EX_FAILURE = 1


def _config(arguments: argparse.Namespace) -> int:
    if arguments.action == "check":
        from appliance.cli import check

        return check.run(arguments.config, with_edge=True)
    if arguments.check is not None:
        configuration.load(arguments.check)
        print(f"{arguments.check}: valid")
    elif arguments.defaults:
        print(configuration.render(configuration.Config(), comments=True), end="")
    else:
        print(configuration.render(configuration.load(arguments.config)), end="")
    return 0


def _serve(arguments: argparse.Namespace) -> int:
    from appliance.cli import serve

    return serve.run(configuration.load(arguments.config), listen=arguments.listen, unsafe=arguments.unsafe)


def _doctor(arguments: argparse.Namespace) -> int:
    from appliance.cli import doctor

    return doctor.run(configuration.load(arguments.config), as_json=arguments.json)


def _status(arguments: argparse.Namespace) -> int:
    from appliance.cli import status

    return status.run(configuration.load(arguments.config), as_json=arguments.json)


def _top(arguments: argparse.Namespace) -> int:
    from appliance.cli import top

    return top.run(configuration.load(arguments.config), seconds=max(0.2, arguments.seconds), once=arguments.once)


def _logs(arguments: argparse.Namespace) -> int:
    from appliance.cli import operate

    return operate.logs(arguments.roles, follow=arguments.follow, lines=max(0, arguments.lines), since=arguments.since)


def _healthcheck(arguments: argparse.Namespace) -> int:
    from appliance.cli import healthcheck

    return healthcheck.run(configuration.load(arguments.config), restart=arguments.restart)


def _bench(arguments: argparse.Namespace) -> int:
    from appliance.cli.bench import run

    return run.run(
        configuration.load(arguments.config),
        seconds=max(1.0, arguments.seconds),
        as_json=arguments.json,
        keep_limits=arguments.keep_limits,
        share=not arguments.no_permalinks,
    )


def _admin(arguments: argparse.Namespace) -> int:
    from appliance.cli.admin import server

    return server.run(configuration.load(arguments.config), listen=arguments.listen)


def _tls(arguments: argparse.Namespace) -> int:
    from appliance.cli import tls

    return tls.run(arguments)


def _drain(arguments: argparse.Namespace) -> int:
    from appliance.cli import operate

    return operate.drain(configuration.load(arguments.config), on=True, wait_seconds=max(0.0, arguments.wait))


def _undrain(arguments: argparse.Namespace) -> int:
    from appliance.cli import operate

    return operate.drain(configuration.load(arguments.config), on=False, wait_seconds=0.0)


def _restart(arguments: argparse.Namespace) -> int:
    from appliance.cli import operate

    return operate.restart(configuration.load(arguments.config), arguments.roles, hard=arguments.hard)


def _backup(arguments: argparse.Namespace) -> int:
    from appliance.cli import backup

    print(backup.backup(configuration.load(arguments.config), pathlib.Path(arguments.archive).absolute()))
    return 0


def _restore(arguments: argparse.Namespace) -> int:
    from appliance.cli import backup

    config, archive = configuration.load(arguments.config), pathlib.Path(arguments.archive)
    print(backup.restore(config, archive, configuration=arguments.with_configuration))
    return 0


def _support_bundle(arguments: argparse.Namespace) -> int:
    from appliance.cli import support_bundle

    return support_bundle.run(configuration.load(arguments.config), pathlib.Path(arguments.archive))


def _completion(arguments: argparse.Namespace) -> int:
    from appliance.cli import completion

    print(completion.render(arguments.shell, parser()), end="")
    return 0


def _permalinks(arguments: argparse.Namespace) -> int:
    from appliance.cli import permalinks

    return permalinks.run(configuration.load(arguments.config), arguments)


def _results(arguments: argparse.Namespace) -> int:
    from appliance.cli import results

    return results.run(configuration.load(arguments.config), arguments)


def _stats(arguments: argparse.Namespace) -> int:
    from appliance.cli import stats

    return stats.run(configuration.load(arguments.config), arguments)


def _env(arguments: argparse.Namespace) -> int:
    from appliance.cli.env import command

    return command.run(configuration.load(arguments.config), arguments)


def _private_network(arguments: argparse.Namespace) -> int:
    from appliance.cli import private_network

    config = configuration.load(arguments.config) if arguments.verb == "status" else None
    return private_network.run(config, arguments)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "serve": _serve,
    "doctor": _doctor,
    "config": _config,
    "status": _status,
    "top": _top,
    "logs": _logs,
    "healthcheck": _healthcheck,
    "bench": _bench,
    "admin": _admin,
    "tls": _tls,
    "drain": _drain,
    "undrain": _undrain,
    "restart": _restart,
    "permalinks": _permalinks,
    "env": _env,
    "stats": _stats,
    "results": _results,
    "private-network": _private_network,
    "backup": _backup,
    "restore": _restore,
    "support-bundle": _support_bundle,
    "completion": _completion,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 78 for a wrong configuration, 2 for a wrong command line."""
    arguments = parser().parse_args(argv)
    try:
        return _COMMANDS[arguments.command](arguments)
    except ConfigError as exc:
        print(f"cellctl: {exc.message}", file=sys.stderr)
        return EX_CONFIG
    except ApplianceError as exc:
        print(f"cellctl: {exc.message}", file=sys.stderr)
        return EX_FAILURE
    except BrokenPipeError:
        # The reader of a pipe has seen enough; the interpreter must not complain when it flushes.
        sys.stdout = None
        return EX_FAILURE
