"""What a session's machine asks its front door to do, in the order given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from appliance.protocol.death import DeathReason
    from appliance.protocol.frames import ClientMessage, KernelFrame


@attrs.frozen
class Send:
    """Send a message to the kernel, on the socket of its channel."""

    message: ClientMessage


@attrs.frozen
class Deliver:
    """Deliver a frame to one client, or to all of them (None)."""

    frame: KernelFrame
    client: int | None = None


@attrs.frozen
class InterruptKernel:
    """Interrupt the kernel; tell the outcome with `Session.interrupt_answered`."""

    client: int
    message: ClientMessage


@attrs.frozen
class Release:
    """Give the kernel back."""

    reason: DeathReason


@attrs.frozen
class Keep:
    """Note that the kernel is not released with its evaluations any more."""


@attrs.frozen
class Close:
    """Close the connection of one client, or of all of them (None)."""

    code: int
    client: int | None = None


@attrs.frozen
class StartGrace:
    """Call `Session.grace_expired` in so many seconds, unless `CancelGrace` comes first."""

    seconds: float


@attrs.frozen
class CancelGrace:
    """Forget the grace period."""


@attrs.frozen
class Synchronize:
    """Make a round trip through shell and iopub, then call `Session.synchronized`."""


@attrs.frozen
class KeepFile:
    """Keep a file that a program left."""

    name: str
    data: bytes


Effect = Send | Deliver | KeepFile | InterruptKernel | Release | Keep | Close | StartGrace | CancelGrace | Synchronize
Effects = Sequence[Effect]
