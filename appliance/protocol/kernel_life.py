"""A kernel as the pool sees it, from its start to its end, and the wish for one."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from appliance.protocol.death import DeathReason


class State(enum.Enum):
    """Where a kernel is in its life."""

    STARTING = enum.auto()
    READY = enum.auto()
    LEASED = enum.auto()
    ENDING = enum.auto()


@attrs.frozen
class LeaseRequest:
    """A wish for a kernel, ``single``: for its first evaluations; ``token`` is the caller's name for it."""

    token: object
    kind: str
    environment: str
    profile: str
    idle: float
    page: str = ""
    address: str = ""
    queue: bool = False
    single: bool = False


@attrs.define
class Kernel:
    """One kernel and its clocks (times are those of the caller's clock)."""

    slot: int
    kernel_id: str
    environment: str
    profile: str
    state: State
    since: float
    kind: str = "visitor"
    idle_limit: float = 0.0
    idle_since: float = 0.0
    busy_since: float | None = None
    leased_at: float | None = None
    interrupted_at: float | None = None
    reason: DeathReason | None = None
    detail: str = ""
    page: str = ""
    address: str = ""
    single: bool = False
