"""``cellctl stats``: what the request log says of the use, in the terminal or as a page."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import sys
import time
from typing import TYPE_CHECKING, Any

from appliance.cli.effective import effective
from appliance.errors import ConfigError
from appliance.protocol import usage
from appliance.protocol.request_event import MAX_LINE_BYTES, parse
from appliance.requestlog.spool import segments

if TYPE_CHECKING:
    import argparse

    from appliance.config import Config

DAY_SECONDS = 86_400
DEFAULT_DAYS = 30


def add_parser(commands: Any, config_option: Any) -> None:
    """Add the command to cellctl's."""
    command = commands.add_parser(
        "stats",
        help="tell from the request log what was used",
        description="Count the events of the request log: by hour, page, language, outcome and duration.",
    )
    config_option(command)
    command.add_argument(
        "--days", type=float, default=DEFAULT_DAYS, help=f"how far back (default: {DEFAULT_DAYS}); 0 is everything"
    )
    command.add_argument("--html", metavar="FILE", help="write a page with plots instead")
    command.add_argument("--json", action="store_true", help="print JSON instead")


def collect(directory: pathlib.Path, since: float) -> tuple[usage.Usage, int, int]:
    """Return figures of a log, how many events were dropped, and how many lines were none. Raises `OSError`."""
    found, invalid = usage.Usage(since, math.inf), 0
    for segment in segments(directory):
        with (directory / segment.name).open("rb") as file:
            while line := file.readline(MAX_LINE_BYTES + 1):
                try:
                    found.count(parse(line))
                except (ValueError, RecursionError):
                    invalid += 1
    dropped = 0
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        dropped = int(json.loads((directory / "passed-on.json").read_bytes())["dropped"])
    return found, dropped, invalid


def run(config: Config, arguments: argparse.Namespace) -> int:
    """Print or write the figures; return the exit status."""
    config = effective(config, uid=os.geteuid(), environ=os.environ, listen=None)
    if not 0 <= arguments.days < 1e6:
        raise ConfigError("--days must be 0 or more")
    directory = config.requestlog_path
    now = time.time()
    try:
        found, dropped, invalid = collect(directory, now - arguments.days * DAY_SECONDS if arguments.days else 0.0)
    except OSError as exc:
        hint = "" if config.requestlog.enabled else " (requestlog.enabled is false)"
        print(f"cellctl: the request log cannot be read: {exc}{hint}", file=sys.stderr)
        return 1
    if invalid:
        print(f"cellctl: {invalid} lines of the request log are no events", file=sys.stderr)
    if arguments.json:
        tables = {title: dict(rows) for title, rows in found.tables()}
        print(json.dumps({"events": found.events, "dropped": dropped, **tables}, ensure_ascii=False))
    elif arguments.html:
        title = f"Use of Cell Appliance, {time.strftime('%Y-%m-%d', time.gmtime(now))}"
        pathlib.Path(arguments.html).write_text(usage.report_page(found, dropped, title), encoding="utf-8")
        print(f"{found.events:,} events in {arguments.html}")
    else:
        print("\n".join(usage.report_lines(found, dropped)))
    return 0
