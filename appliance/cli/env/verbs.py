"""The command line of ``cellctl env``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable


def add_parser(commands: Any, config_option: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command and its verbs to cellctl's."""
    top = commands.add_parser(
        "env",
        help="list, add, remove and verify environments: what kernels run",
        description="Environments are what kernels run. Each is declared by a directory with environment.toml and a "
        "lock of what it holds; see docs/environments.md.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str, more: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}. {more}"
        )
        config_option(added)
        return added

    shown = verb("list", "show the environments", "Those of the configuration and those that were added.")
    shown.add_argument("--json", action="store_true", help="print JSON instead of a table")
    add = verb(
        "add",
        "install a declared environment",
        "Makes a virtual environment of what the lock lists, each file checked by its hash, has a kernel run the "
        "declaration's check in the sandbox, and only then puts it in place. When anything fails, nothing is left.",
    )
    add.add_argument(
        "declaration",
        metavar="DIRECTORY|NAME",
        help="a directory with environment.toml and the lock that it names; or the name of what the package declares "
        "itself: gap, gp, julia, macaulay2, maxima, octave, r, sage, singular",
    )
    remove = verb("remove", "remove an environment that was added", "Asks first.")
    remove.add_argument("name", metavar="NAME", help="its name")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    verify = verb(
        "verify",
        "compare environments with their locks and start a kernel of each",
        "Exit status 0: all are as declared and their checks print what they should; 1: something is not, and what.",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="which (default: all that were added)")
