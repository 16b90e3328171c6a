"""What the permalink role needs from a store, whichever database is behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from appliance.protocol.permalink import SharedCell


@attrs.frozen(kw_only=True)
class Limits:
    """The size of the database, and when a link that nobody read goes; see ``[permalink]`` in the configuration."""

    max_bytes: int = 2**62
    expire_unread_days: int = 0


class PermalinkStore(Protocol):
    """Keeps shared cells for ever. Every method raises `PermalinksUnavailable` when the database does not work."""

    async def put(self, cell: SharedCell) -> str:
        """Return the id of ``cell`` once it is on disk.

        Raises `PermalinkRemoved` when it was taken down, `PermalinksFull` when there is no room for it.
        """

    async def get(self, permalink_id: str) -> SharedCell:
        """Return the cell with this id; raise `UnknownPermalink` or `PermalinkRemoved` when there is none."""

    async def check(self) -> None:
        """Write a canary and read it back."""

    async def close(self) -> None:
        """Finish what was accepted and let go of the database."""

    def figures(self) -> dict[str, int]:
        """Return the numbers that ``STORE_GAUGES`` of `appliance.permalink.service` names."""

    def alive(self) -> bool:
        """Return whether writes are still being taken."""
