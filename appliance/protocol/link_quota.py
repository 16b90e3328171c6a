"""How much one network address may share within an hour: links, and bytes of them.

An allowance is a bucket that holds an hour's worth and fills evenly, so what was used comes back little by little.
"""

from __future__ import annotations

import math

import attrs

from appliance.errors import QuotaExceeded

HOUR_SECONDS = 3600.0

#: Addresses that are remembered; the one that shared least recently is forgotten for a new one.
MAX_ADDRESSES = 20_000


@attrs.define(slots=True)
class _Used:
    """What an address has used and not got back at ``when``."""

    links: float
    size: float
    when: float


class LinkQuota:
    """What addresses have shared. A limit of 0 is none."""

    def __init__(self, links_per_hour: int, bytes_per_hour: int) -> None:
        self._links = links_per_hour
        self._bytes = bytes_per_hour
        self._used: dict[str, _Used] = {}

    def charge(self, address: str, size: int, now: float) -> None:
        """Count a cell of ``size`` bytes for an address.

        Raises `QuotaExceeded`, and counts nothing then, when it is more than the address may share.
        """
        if not address or not (self._links or self._bytes):
            return
        used = self._used.pop(address, None) or _Used(0.0, 0.0, now)
        passed = max(0.0, now - used.when)
        used.links = max(0.0, used.links - passed * self._links / HOUR_SECONDS)
        used.size = max(0.0, used.size - passed * self._bytes / HOUR_SECONDS)
        used.when = now
        if len(self._used) >= MAX_ADDRESSES:
            del self._used[next(iter(self._used))]
        self._used[address] = used
        for had, more, limit, what in (
            (used.links, 1, self._links, f"{self._links} cells"),
            (used.size, size, self._bytes, f"{self._bytes} bytes of cells"),
        ):
            if limit and had + more > limit:
                seconds = min(HOUR_SECONDS, (had + more - limit) * HOUR_SECONDS / limit)
                raise QuotaExceeded(
                    f"Your network address has shared {what}, as much as this server allows it within an hour. "
                    f"It may share again in {math.ceil(seconds / 60)} min.",
                    retry_after_seconds=seconds,
                )
        used.links += 1
        used.size += size
