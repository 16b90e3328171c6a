"""What a page asks for over a connection that has no kernel yet: a kernel, and what it is to run first.

One text message, JSON: ``{"lease": {"environment", "profile", "timeout"}, "requests": [Jupyter messages]}``. Every name
inside ``lease`` may be left out; ``timeout`` is a number of seconds as text, or ``inf``. ``"result": true`` asks for
what the one request comes to, kept of an earlier visitor or made now (`protocol.results`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import InvalidMessage
from appliance.protocol.frames import ClientMessage, checked_client_message, decode_client_json
from appliance.protocol.results import result_request

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Requests that come along; a cell sends one.
MAX_REQUESTS = 8

#: Longest name of an environment or a profile that is looked at.
MAX_NAME_CHARS = 64

_OTHER_PARTS = ("parent_header", "metadata", "content")


@attrs.frozen
class LeaseRequest:
    """A kernel that is wanted; empty names are the server's defaults, ``timeout_seconds`` 0 ends it when it is done.

    ``result``: a kept result of the request will do.
    """

    environment: str
    profile: str
    timeout_seconds: float
    requests: tuple[ClientMessage, ...]
    result: bool = False


def parse_lease(text: str, date: str) -> LeaseRequest:
    """Return what a page asks for; ``date`` (ISO 8601) goes into headers without one. Raises `InvalidMessage`."""
    document = decode_client_json(text)
    wanted = document.get("lease") if type(document) is dict else None
    if type(wanted) is not dict:
        raise InvalidMessage("The first message has no lease: an object with environment, profile and timeout.")
    requests = document.get("requests", [])
    if type(requests) is not list or len(requests) > MAX_REQUESTS:
        raise InvalidMessage(f"requests must be a list of at most {MAX_REQUESTS} messages.")
    lease = LeaseRequest(
        _name(wanted, "environment"),
        _name(wanted, "profile"),
        _seconds(wanted.get("timeout", "0")),
        tuple(_message(request, date) for request in requests),
        wanted.get("result", False) is True,
    )
    if not lease.result:
        return lease
    if lease.timeout_seconds > 0 or len(lease.requests) != 1:
        raise InvalidMessage("lease.result is for one request to a kernel that ends with it: timeout must be 0.")
    return attrs.evolve(lease, requests=(result_request(lease.requests[0], date),))


def _name(wanted: Mapping[str, Any], key: str) -> str:
    name = wanted.get(key, "")
    if type(name) is not str or len(name) > MAX_NAME_CHARS:
        raise InvalidMessage(f"lease.{key} must be a name of at most {MAX_NAME_CHARS} characters.")
    return name


def _seconds(value: Any) -> float:
    try:
        seconds = float(value) if type(value) in (str, int, float) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    if math.isnan(seconds) or seconds < 0:
        raise InvalidMessage("lease.timeout must be a number of seconds, not negative, or inf.")
    return seconds


def _message(request: Any, date: str) -> ClientMessage:
    header = request.get("header") if type(request) is dict else None
    if type(header) is not dict:
        raise InvalidMessage("A request has no header: an object with msg_id and msg_type.")
    return checked_client_message(header, [request.get(name) for name in _OTHER_PARTS], date, ())
