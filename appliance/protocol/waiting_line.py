"""The line of visitors who wait for a kernel while all are taken.

Nobody's connection is held: a visitor gets a ticket and comes back with it every few seconds. Who does not come back,
or has waited as long as anybody may, loses the place.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import attrs

Wish = TypeVar("Wish")

#: Who has not asked for this long is gone: three times the longest pause, since browsers slow down pages in the
#: background.
LOST_SECONDS = 15.0

#: Pause between two questions of one visitor: short near the head of the line, where a kernel waits for it.
MIN_POLL_SECONDS = 1.0
MAX_POLL_SECONDS = 5.0


@attrs.define
class _Entry(Generic[Wish]):
    wish: Wish
    joined: float
    seen: float


def poll_seconds(before: int) -> float:
    """Return how long a visitor with so many before it should wait until it asks again."""
    return min(MAX_POLL_SECONDS, MIN_POLL_SECONDS + before / 10)


class WaitingLine(Generic[Wish]):
    """Tickets in the order in which they were given, each with what its visitor wishes for."""

    def __init__(self, length: int, longest: float) -> None:
        """``length`` is the number of tickets, ``longest`` how many seconds one may wait."""
        self._length = length
        self._longest = longest
        self._entries: dict[str, _Entry[Wish]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def wishes(self) -> list[Wish]:
        """What those in the line wish for, first come first."""
        return [entry.wish for entry in self._entries.values()]

    def expire(self, now: float) -> None:
        """Forget who is gone and who has waited as long as anybody may."""
        for ticket, entry in list(self._entries.items()):
            if now - entry.seen > LOST_SECONDS or now - entry.joined > self._longest:
                del self._entries[ticket]

    def join(self, ticket: str, wish: Wish, now: float) -> int | None:
        """Take a visitor in and return how many are before it; None when the line is full."""
        if len(self._entries) >= self._length:
            return None
        self._entries[ticket] = _Entry(wish, now, now)
        return len(self._entries) - 1

    def ask(self, ticket: str, now: float) -> int | None:
        """Note that a visitor has come back and return how many are before it; None when it is not in the line."""
        entry = self._entries.get(ticket)
        if entry is None:
            return None
        entry.seen = now
        return list(self._entries).index(ticket)

    def leave(self, ticket: str) -> Wish | None:
        """Take a visitor out and return what it wished for; None when it was not in the line."""
        entry = self._entries.pop(ticket, None)
        return entry.wish if entry is not None else None
