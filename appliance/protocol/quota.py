"""How much one page and one network address may have: kernels at once, and processor time within an hour.

A page is what a browser shows: cells on it share an id that the page chose, so it is counted together with the address
and can use up nobody else's share. An address is an IPv4 address or an IPv6 /64, which is what one subscriber gets.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections import deque

import attrs

from appliance.errors import QuotaExceeded

#: Processor time is counted within this time, in steps.
WINDOW_SECONDS = 3600.0
STEP_SECONDS = 300.0
STEPS = int(WINDOW_SECONDS / STEP_SECONDS)

#: Addresses whose processor time is remembered; the one charged least recently is forgotten for a new one.
MAX_ADDRESSES = 20_000

#: Bits of an IPv6 address that tell subscribers apart (RFC 6177).
IPV6_PREFIX = 64


@attrs.frozen
class QuotaLimits:
    """The limits, each 0 for none; see ``[quota]`` in the configuration."""

    kernels_per_page: int = 0
    kernels_per_address: int = 0
    cpu_seconds_per_hour: float = 0.0


def address_group(host: str) -> str:
    """Return what is counted together with an internet address: an IPv4 address itself, the /64 of an IPv6 address.

    Empty for what is no address, as of a client on a Unix socket.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), IPV6_PREFIX), strict=False))
    return str(address)


def page_group(address: str, cell_session_id: str, origin: str) -> str:
    """Return the name of a page; empty when nothing tells which it is.

    A client that gives no id is counted by the origin of the site that embeds the cell.
    """
    if not cell_session_id and origin in ("", "null"):
        return ""
    text = "\0".join((address, cell_session_id or origin))
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


class CpuLedger:
    """Processor time of each address within the last hour."""

    def __init__(self) -> None:
        self._steps: dict[str, deque[tuple[int, float]]] = {}

    def charge(self, address: str, seconds: float, now: float) -> None:
        """Add processor time of an address."""
        if not address or seconds <= 0.0:
            return
        # the table is kept in the order of the last charge
        steps = self._steps.pop(address, None)
        if steps is None:
            steps = deque(maxlen=STEPS)
            if len(self._steps) >= MAX_ADDRESSES:
                del self._steps[next(iter(self._steps))]
        self._steps[address] = steps
        step = int(now // STEP_SECONDS)
        if steps and steps[-1][0] == step:
            steps[-1] = (step, steps[-1][1] + seconds)
        else:
            steps.append((step, seconds))

    def used(self, address: str, now: float) -> float:
        """Return the processor time of an address within the last hour, in seconds."""
        oldest = int(now // STEP_SECONDS) - STEPS
        return sum(seconds for step, seconds in self._steps.get(address, ()) if step > oldest)

    def eases_in(self, address: str, limit: float, now: float) -> float:
        """Return the seconds until an address has used less than ``limit`` again; 0 when it has already."""
        used = self.used(address, now)
        if used < limit:
            return 0.0
        oldest = int(now // STEP_SECONDS) - STEPS
        for step, seconds in self._steps[address]:
            if step > oldest:
                used -= seconds
                if used < limit:
                    return (step + STEPS) * STEP_SECONDS - now
        return WINDOW_SECONDS


def check_kernels(limits: QuotaLimits, page_kernels: int, address_kernels: int, retry_after: float) -> None:
    """Raise `QuotaExceeded` when a page or an address has all the kernels that it may have."""
    for number, limit, who in (
        (page_kernels, limits.kernels_per_page, "This page"),
        (address_kernels, limits.kernels_per_address, "Your network address"),
    ):
        if limit and number >= limit:
            raise QuotaExceeded(
                f"{who} has {limit} kernels, as many as this server allows it at once. "
                "One can be had as soon as another of them ends.",
                retry_after_seconds=retry_after,
            )


def check_cpu(limits: QuotaLimits, ledger: CpuLedger, address: str, now: float) -> None:
    """Raise `QuotaExceeded` when an address has used all its processor time of an hour."""
    limit = limits.cpu_seconds_per_hour
    if not limit or not address:
        return
    seconds = ledger.eases_in(address, limit, now)
    if seconds > 0.0:
        raise QuotaExceeded(
            f"Your network address has used the {limit:g} seconds of processor time that this server allows it within "
            f"an hour. It may start kernels again in {math.ceil(seconds / 60)} min.",
            retry_after_seconds=seconds,
        )
