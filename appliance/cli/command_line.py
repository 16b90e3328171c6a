"""The command line of ``cellctl``: what its help, its manual page and its shell completion are made from."""

from __future__ import annotations

import argparse

import appliance
from appliance import config as configuration
from appliance.cli import permalinks, private_network, results, stats, tls
from appliance.cli.env import verbs as env

DESCRIPTION = "Run Cell Appliance, explain what this host can confine, and operate an installed appliance."

#: Roles that restart and logs know; see `appliance.cli.units`.
ROLES = ("permalink", "egress", "requestlog", "pool", "web", "nginx", "haproxy", "zygote")


def _config_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config",
        metavar="FILE",
        help=f"configuration file (default: {configuration.SYSTEM_FILE} if it exists, else built-in values)",
    )


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="cellctl", description=DESCRIPTION)
    top.add_argument("--version", action="version", version=f"cellctl {appliance.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_running(commands)
    _add_looking(commands)
    _add_operating(commands)
    _add_keeping(commands)
    permalinks.add_parser(commands, _config_option)
    env.add_parser(commands, _config_option)
    stats.add_parser(commands, _config_option)
    results.add_parser(commands, _config_option)
    tls.add_parser(commands)
    private_network.add_parser(commands, _config_option)
    return top


def _add_running(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="run every role in the foreground until Ctrl-C",
        description="Run the web, pool and permalink roles and the kernels' environments in the foreground. As root, "
        "each role gets an account of its own; as an ordinary user, all roles run as that user and "
        "kernels get its subordinate ids. Nothing but the state directory is left behind.",
    )
    _config_option(serve)
    serve.add_argument("--listen", metavar="ADDRESS", help="ADDRESS:PORT or unix:/PATH instead of web.listen")
    serve.add_argument(
        "--unsafe", action="store_true", help="start although a required layer of confinement is missing on this host"
    )

    doctor = commands.add_parser(
        "doctor",
        help="tell what this host can and cannot confine, and what is wrong with the installation",
        description="Try every layer of confinement on this host and tell its state, the reason and what to do. Exit "
        "status 0: all that is required is there; 1: something is missing.",
    )
    _config_option(doctor)
    doctor.add_argument("--json", action="store_true", help="print JSON instead of a table")

    config = commands.add_parser(
        "config",
        help="show or check the configuration",
        description="Without an option, print the configuration that would be used. 'config check' also has HAProxy "
        "and nginx check theirs, where they are installed.",
    )
    _config_option(config)
    config.add_argument("action", nargs="?", choices=("check",), help="check the configuration and that of the edge")
    what = config.add_mutually_exclusive_group()
    what.add_argument("--defaults", action="store_true", help="print every key with its default, unit and reason")
    what.add_argument("--check", metavar="FILE", help="say whether FILE is a valid configuration")


def _add_looking(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = commands.add_parser(
        "status",
        help="show the units, the pool and whether an evaluation comes out right",
        description="Show the state of an installed appliance. Exit status 0: it evaluates; 1: it does not.",
    )
    _config_option(status)
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")

    top = commands.add_parser(
        "top",
        help="watch kernels, roles and recent deaths",
        description="Show the load of the roles, every kernel and how the last ones ended, again and again until "
        "Enter or Ctrl-C is pressed.",
    )
    _config_option(top)
    top.add_argument("--seconds", type=float, default=2.0, metavar="N", help="pause between two screens (default: 2)")
    top.add_argument("--once", action="store_true", help="print one screen and end")

    admin = commands.add_parser(
        "admin",
        help="show kernels, limits and recent deaths on a page in a browser, with a button that drains",
        description="Serve a page for the administrator until Ctrl-C, on this machine alone. Its address has a secret "
        "in it that is new at each start; from elsewhere it is reached by ssh -L.",
    )
    _config_option(admin)
    admin.add_argument(
        "--listen",
        metavar="ADDRESS",
        default="127.0.0.1:8890",
        help="loopback ADDRESS:PORT, or unix:/PATH for root alone (default: 127.0.0.1:8890)",
    )

    logs = commands.add_parser(
        "logs",
        help="show what the roles say",
        description="Show the journal of the appliance's units: journalctl(1) with the right names.",
    )
    logs.add_argument("roles", nargs="*", metavar="ROLE", help=f"{', '.join(ROLES)} or healthcheck (default: all)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
    logs.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="lines to begin with (default: 100)")
    logs.add_argument("--since", default="", metavar="TIME", help="only from then on, for example '1 hour ago'")

    healthcheck = commands.add_parser(
        "healthcheck",
        help="evaluate something; when that fails, tell which part is to blame",
        description="Evaluate through every role, as cell-healthcheck.timer does each minute. Exit status 0: the "
        "result is right and permalinks are kept; 1: something is wrong, and what.",
    )
    _config_option(healthcheck)
    healthcheck.add_argument("--restart", action="store_true", help="restart what the diagnosis names, nothing else")

    bench = commands.add_parser(
        "bench",
        help="measure how much this appliance does, and what ends it",
        description="Send ever more visitors through HAProxy, nginx, web roles, pool and permalinks until more of them "
        "bring no more, then an ordinary mixture at 70 % of that. Tells rates, times and what was in use. Takes a few "
        "minutes, in which real visitors wait longer and the edge's limits in total do not hold.",
    )
    _config_option(bench)
    bench.add_argument(
        "--seconds", type=float, default=5.0, metavar="N", help="length of each stage (default: 5; at least 1)"
    )
    bench.add_argument("--json", action="store_true", help="print JSON instead of tables")
    bench.add_argument("--keep-limits", action="store_true", help="leave the edge's limits in total as they are")
    bench.add_argument(
        "--no-permalinks", action="store_true", help="make no permalinks but one; those that are made stay"
    )


def _add_operating(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    drain = commands.add_parser(
        "drain",
        help="start no new cells; those that run go on",
        description="Have the pool deal no kernels to visitors. Cells that run go on, pages and permalinks are "
        "served; a balancer in front of several appliances sends new work elsewhere (GET /readyz is 404)."
        " It lasts until 'cellctl undrain' or the next boot.",
    )
    _config_option(drain)
    drain.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait until no kernel is in use; exit status 1 if some still are after SECONDS",
    )
    _config_option(commands.add_parser("undrain", help="start new cells again", description="End 'cellctl drain'."))

    restart = commands.add_parser(
        "restart",
        help="restart roles one after the other, without losing a kernel or a request",
        description="Restart roles, each after the one before is ready again. Web roles finish what they were asked; "
        "kernels outlive web roles and the pool. Zygotes are started anew by their keeper, so that new "
        "kernels come from what is installed now and those in use go on.",
    )
    _config_option(restart)
    restart.add_argument(
        "roles", nargs="*", metavar="ROLE", help=f"{', '.join(ROLES)} (default: all but nginx and haproxy)"
    )
    restart.add_argument(
        "--hard",
        action="store_true",
        help="restart the units of zygotes and proxies instead of having them reload: that ends every kernel",
    )


def _add_keeping(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    backup = commands.add_parser(
        "backup",
        help="keep permalinks and configuration in a file",
        description="Write permalinks and configuration into one compressed archive, while the appliance runs.",
    )
    _config_option(backup)
    backup.add_argument("archive", metavar="FILE", help="the archive; an older one of that name is replaced")

    restore = commands.add_parser(
        "restore",
        help="put the permalinks of a backup back",
        description="Check an archive and put its permalinks in place of those that are there, which are kept beside "
        "them as FILE.before-restore. Permalinks are not served for the seconds that this takes.",
    )
    _config_option(restore)
    restore.add_argument("archive", metavar="FILE", help="an archive of 'cellctl backup'")
    restore.add_argument("--with-configuration", action="store_true", help="also put back /etc/cell-appliance")

    bundle = commands.add_parser(
        "support-bundle",
        help="collect what is needed to find out why something fails",
        description="Collect the state of units, the journal, the configuration without secrets and facts about the "
        "host in one compressed archive. It holds no code of visitors.",
    )
    _config_option(bundle)
    bundle.add_argument("archive", metavar="FILE", help="the archive, a new file")

    completion = commands.add_parser(
        "completion", help="print shell completion", description="Print the completion of cellctl for a shell."
    )
    completion.add_argument("shell", choices=("bash", "zsh"), help="which shell")
