"""``cellctl results``: what is kept of the results of cells, and an end to it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from appliance.cli.effective import effective
from appliance.errors import ApplianceError
from appliance.web.results import store_of

if TYPE_CHECKING:
    import argparse

    from appliance.config import Config

MIB = 1_048_576


def add_parser(commands: Any, config_option: Any) -> None:
    """Add the command to cellctl's."""
    command = commands.add_parser(
        "results",
        help="look at the results that are kept of authors' cells, or remove them",
        description="Results are kept where an author asks for it (keep-result, see docs/embedding.md).",
    )
    verbs = command.add_subparsers(dest="verb", metavar="VERB", required=True)
    stats = verbs.add_parser(
        "stats", help="tell how many there are", description="Tell how many results are kept, their size and age."
    )
    config_option(stats)
    clear = verbs.add_parser(
        "clear",
        help="remove all",
        description="Remove all results: the next visitor of each cell evaluates it. To be done when programs come to "
        "another result that the server cannot know of: data sets or programs of the distribution have changed.",
    )
    config_option(clear)


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Do what was asked for; return the exit status. Raises `ApplianceError`."""
    config = effective(config, uid=os.geteuid(), environ=os.environ, listen=None)
    store = store_of(config, time.time)
    try:
        if arguments.verb == "clear":
            print(f"{store.clear()} results removed")
            return 0
        kept = store.all()
    except OSError as exc:
        raise ApplianceError(f"{config.results_path} cannot be read: {exc.strerror}") from exc
    size = sum(one.counted for one in kept)
    print(f"{len(kept)} results, {size / MIB:.1f} MiB of {config.results.max_bytes / MIB:.1f}")
    if kept:
        ages = sorted((time.time() - one.made) / 3600 for one in kept)
        print(f"made {ages[0]:.1f} to {ages[-1]:.1f} hours ago; kept for {config.results.keep_seconds / 3600:.1f}")
    if not config.results.enabled:
        print("none is shown or made: results.enabled is false")
    return 0
