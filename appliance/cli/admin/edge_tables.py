"""What HAProxy counts against its limits: its stick tables, over its admin socket (HAProxy management guide)."""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ADMIN_SOCKET = "/run/cell-appliance/edge/admin.sock"

#: Seconds for HAProxy to answer, and the most of a table that is read: some 20 000 rows.
ANSWER_SECONDS = 5.0
MAX_ANSWER_BYTES = 2 << 20

_RATE = "gpc0_rate(60000)"

#: For each table: the counter, what it counts, and the variable of edge.env that limits it.
TABLES = {
    "computations_by_address": (_RATE, "computations of an address in a minute", "CELL_COMPUTATIONS_PER_ADDRESS"),
    "computations_in_total": (_RATE, "computations in total in a minute", "CELL_COMPUTATIONS_IN_TOTAL"),
    "permalinks_by_address": (_RATE, "permalinks of an address in a minute", "CELL_PERMALINKS_PER_ADDRESS"),
    "permalinks_in_total": (_RATE, "permalinks in total in a minute", "CELL_PERMALINKS_IN_TOTAL"),
    "connections": ("conn_cur", "connections of an address", "CELL_CONNECTIONS_PER_ADDRESS"),
}

#: Tables of what is admitted in total, each with one row, of this key.
TOTALS = ("computations_in_total", "permalinks_in_total")
TOTAL_KEY = 1

#: Who is shown of a table: those that are nearest to the limit.
MAX_ROWS = 5

_ROW = re.compile(r"^0x[0-9a-f]+: key=(\S+) (.*)$", re.MULTILINE)


@attrs.frozen
class Limit:
    """How near a limit is. ``nearest``: keys of the table with their values, the highest first."""

    name: str
    variable: str
    limit: int
    nearest: Sequence[tuple[str, int]]
    at_limit: int


def parse(text: str, counter: str) -> list[tuple[str, int]]:
    """Return the keys and values of what ``show table NAME`` printed, the highest value first."""
    rows = []
    for key, fields in _ROW.findall(text):
        values = dict(field.split("=", 1) for field in fields.split() if "=" in field)
        if values.get(counter, "").isdigit():
            rows.append((key.removeprefix("::ffff:"), int(values[counter])))
    return sorted(rows, key=lambda row: -row[1])


def ask(command: str) -> str:
    """Return HAProxy's answer to a command. Raises `OSError`."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(ANSWER_SECONDS)
        control.connect(ADMIN_SOCKET)
        control.sendall(command.encode("ascii") + b"\n")
        answer = b""
        while len(answer) < MAX_ANSWER_BYTES and (part := control.recv(65_536)):
            answer += part
    return answer.decode("utf-8", "replace")


def forget_totals() -> None:
    """Set what was admitted in total to nothing. Raises `OSError` when HAProxy does not answer.

    ``clear table`` would pass over a row that a request is just using, and under load one always is.
    """
    for table in TOTALS:
        ask(f"set table {table} key {TOTAL_KEY} data.gpc0_rate 0")


def limits(environment: Mapping[str, str]) -> list[Limit]:
    """Return every limit of the edge with who is nearest to it. Raises `OSError` when HAProxy does not answer."""
    found = []
    for table, (counter, name, variable) in TABLES.items():
        rows = parse(ask(f"show table {table}"), counter)
        limit = int(environment.get(variable, "0"))
        found.append(Limit(name, variable, limit, rows[:MAX_ROWS], sum(value >= limit for _, value in rows)))
    return found
