"""``cellctl``: run the appliance, explain what this host can confine, show and check the configuration."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import appliance
from appliance import config as configuration
from appliance.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: sysexits(3).
EX_CONFIG = 78


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="cellctl", description=__doc__)
    top.add_argument("--version", action="version", version=f"cellctl {appliance.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def config_option(command: argparse.ArgumentParser) -> None:
        command.add_argument(
            "--config",
            metavar="FILE",
            help=f"configuration file (default: {configuration.SYSTEM_FILE} if it exists, else built-in values)",
        )

    serve = commands.add_parser(
        "serve",
        help="run every role in the foreground until Ctrl-C",
        description="Run the web, pool and permalink roles and the kernels' environments in the foreground. As root, "
        "each role gets an account of its own; as an ordinary user, all roles run as that user and kernels get its "
        "subordinate ids. Nothing but the state directory is left behind.",
    )
    config_option(serve)
    serve.add_argument("--listen", metavar="ADDRESS", help="ADDRESS:PORT or unix:/PATH instead of web.listen")
    serve.add_argument(
        "--unsafe", action="store_true", help="start although a required layer of confinement is missing on this host"
    )

    doctor = commands.add_parser(
        "doctor",
        help="tell what this host can and cannot confine",
        description="Try every layer of confinement on this host and tell its state, the reason and what to do. "
        "Exit status 0: all that is required is there; 1: something is missing.",
    )
    config_option(doctor)
    doctor.add_argument("--json", action="store_true", help="print JSON instead of a table")

    config = commands.add_parser(
        "config",
        help="show or check the configuration",
        description="Without an option, print the configuration that would be used.",
    )
    config_option(config)
    what = config.add_mutually_exclusive_group()
    what.add_argument("--defaults", action="store_true", help="print every key with its default, unit and reason")
    what.add_argument("--check", metavar="FILE", help="say whether FILE is a valid configuration")
    return top


def _config(arguments: argparse.Namespace) -> int:
    if arguments.check is not None:
        configuration.load(arguments.check)
        print(f"{arguments.check}: valid")
    elif arguments.defaults:
        print(configuration.render(configuration.Config(), comments=True), end="")
    else:
        print(configuration.render(configuration.load(arguments.config)), end="")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 78 for a wrong configuration, 2 for a wrong command line."""
    arguments = parser().parse_args(argv)
    try:
        if arguments.command == "serve":
            from appliance.cli import serve

            return serve.run(configuration.load(arguments.config), listen=arguments.listen, unsafe=arguments.unsafe)
        if arguments.command == "doctor":
            from appliance.cli import doctor

            return doctor.run(configuration.load(arguments.config), as_json=arguments.json)
        return _config(arguments)
    except ConfigError as exc:
        print(f"cellctl: {exc.message}", file=sys.stderr)
        return EX_CONFIG
    except BrokenPipeError:
        # The reader of a pipe has seen enough; the interpreter must not complain when it flushes.
        sys.stdout = None
        return 1
