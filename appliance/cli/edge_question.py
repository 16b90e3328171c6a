"""A question to HAProxy from this machine: whether it answers at all, and whether nginx answers behind it.

A file of the front end is asked for. HAProxy gives nginx three seconds for it, then a web role as many, then it answers
itself: who hears nothing for longer has met a HAProxy that hangs. Only silence after a connection was made says so; a
connection that is refused, or that this unit may not make, says nothing.
"""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import attrs

from appliance.cli import check, target
from appliance.errors import ApplianceError

if TYPE_CHECKING:
    from appliance.cli.target import Target

PATH = "/static/embedded_cell.js"

#: Longer than HAProxy takes for an answer of its own (haproxy.cfg, backend files).
SECONDS = 10.0


@attrs.frozen
class Edge:
    """What was seen of the edge. ``nginx`` False: a web role answered in its place."""

    haproxy: bool = True
    nginx: bool = True


def look() -> Edge:
    """Look at the edge as it is configured; what cannot be asked is taken to be well."""
    try:
        return ask(target.edge_target(check.edge_environment()))
    except ApplianceError:
        return Edge()


def ask(where: Target, seconds: float = SECONDS) -> Edge:
    """Ask HAProxy at ``where`` for a file."""
    context = where.context()
    connection = (
        http.client.HTTPConnection(where.host, where.port, timeout=seconds)
        if context is None
        else http.client.HTTPSConnection(where.host, where.port, timeout=seconds, context=context)
    )
    try:
        connection.request("HEAD", PATH, headers={"Host": "localhost", "Connection": "close"})
        response = connection.getresponse()
        return Edge(nginx=response.status != 200 or response.getheader("Server", "") == "nginx")
    except TimeoutError:
        return Edge(haproxy=False)
    except (OSError, http.client.HTTPException):
        return Edge()
    finally:
        connection.close()
