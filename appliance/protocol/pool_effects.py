"""What the pool's decisions ask for: kernels started and ended, requests answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from appliance import errors
    from appliance.protocol.death import DeathReason


@attrs.frozen
class Start:
    """Start a kernel in ``slot``."""

    slot: int
    kernel_id: str
    environment: str
    profile: str


@attrs.frozen
class Grant:
    """Answer the request ``token`` with this kernel."""

    token: object
    kernel_id: str


@attrs.frozen
class Refuse:
    """Answer the request ``token`` with this error."""

    token: object
    error: errors.ApplianceError


@attrs.frozen
class Queued:
    """Answer the request ``token`` with a place in the line: ``before`` are before it."""

    token: object
    ticket: str
    before: int
    poll_seconds: float


@attrs.frozen
class End:
    """End the kernel in ``slot``."""

    slot: int
    kernel_id: str


@attrs.frozen
class Died:
    """Tell who leased the kernel that it has ended, and forget it."""

    slot: int
    kernel_id: str
    reason: DeathReason
    detail: str
    leased: bool


Effect = Start | Grant | Refuse | Queued | End | Died
