"""AMP commands between the web role and the pool role (trust line T3).

The pool listens on ``<runtime_dir>/pool/pool.sock``; both sides check ``SO_PEERCRED``. AMP limits each value to 64 KiB.
No command carries a path, an argument vector or an environment towards the pool.
"""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.protocols import amp

from appliance import errors

# amp's argument classes have no annotations
_Boolean: Any = amp.Boolean
_Float: Any = amp.Float
_Integer: Any = amp.Integer
_String: Any = amp.String
_Unicode: Any = amp.Unicode

ERRORS: dict[type[Exception], bytes] = {
    errors.PoolExhausted: b"pool_exhausted",
    errors.KernelLate: b"kernel_late",
    errors.EnvironmentUnavailable: b"environment_unavailable",
    errors.Draining: b"draining",
    errors.UnknownKernel: b"unknown_kernel",
    errors.UnknownTicket: b"unknown_ticket",
    errors.BadRequest: b"bad_request",
}


class Lease(amp.Command):
    """Take a ready kernel.

    ``page`` and ``address``: what is counted for quotas (`appliance.protocol.quota`); empty: not counted.
    ``kind``: ``visitor``, ``service``, ``result`` (for one that is kept; in no list) or ``probe`` (the health check,
    which has one slot of its own).
    ``idle_seconds``: idle clock wanted for this kernel; the pool clamps it to ``clocks.idle_seconds``.
    Answer: ``kernel_id`` (uuid4 text), ``key`` (HMAC-SHA256 key of the kernel's messages), ``directory`` (holds the
    sockets ``shell``, ``iopub``, ``stdin``, ``control``, ``hb``, ``files``), ``environment``. When a quota is used up:
    ``refusal`` (a sentence) and ``retry_after`` (seconds) instead, since errors of AMP carry nothing but a text. When
    all kernels are taken and ``queue`` was true: ``ticket``, ``place`` (how many are before it) and ``poll_seconds``,
    for `Claim`.
    ``single``: it is to end with its evaluations, whichever web role has it then. (Optional, as in the answers:
    while an upgrade goes on, an earlier version may be on the other side.)
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [
        (b"kind", _Unicode()),
        (b"environment", _Unicode()),
        (b"profile", _Unicode()),
        (b"idle_seconds", _Float()),
        (b"page", _Unicode()),
        (b"address", _Unicode()),
        (b"queue", _Boolean()),
        (b"single", _Boolean(optional=True)),
    ]
    response: ClassVar[list[tuple[bytes, Any]]] = [
        (b"kernel_id", _Unicode(optional=True)),
        (b"key", _String(optional=True)),
        (b"directory", _Unicode(optional=True)),
        (b"environment", _Unicode(optional=True)),
        (b"single", _Boolean(optional=True)),
        (b"refusal", _Unicode(optional=True)),
        (b"retry_after", _Float(optional=True)),
        (b"ticket", _Unicode(optional=True)),
        (b"place", _Integer(optional=True)),
        (b"poll_seconds", _Float(optional=True)),
    ]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Claim(amp.Command):
    """Ask with a ticket for the kernel that was wished for, or for the place in the line; answered as `Lease` is."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"ticket", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = Lease.response
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class LeaveQueue(amp.Command):
    """Give a ticket back; one that is not known is no error."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"ticket", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = []
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Restart(amp.Command):
    """Put a fresh kernel in the place of a leased one, which ends; the new one is known by the same id from then on.

    Answered as `Lease` is: ``kernel_id`` is the new kernel's own. When none is to be had, the old one stays.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = Lease.response
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class ListKernels(amp.Command):
    """Ask which kernels are leased to a page, as JSON text: a list of ``{"id", "environment", "profile"}``.

    ``page``: `appliance.protocol.quota.page_group` of a secret that the client chose.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"page", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = [(b"kernels", _Unicode())]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Attach(amp.Command):
    """Ask for the connection of a leased kernel by id (another web instance, or a restarted one, takes it over).

    ``kernel_id`` of the answer is another one when the kernel was restarted.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = [
        (b"kernel_id", _Unicode()),
        (b"key", _String()),
        (b"directory", _Unicode()),
        (b"environment", _Unicode()),
        (b"single", _Boolean(optional=True)),
    ]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Locate(amp.Command):
    """Ask where a leased kernel is, as `Attach` does, but without becoming one of its users."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = Attach.arguments
    response: ClassVar[list[tuple[bytes, Any]]] = Attach.response
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Keep(amp.Command):
    """Let a kernel that was to end with its evaluations live on: it has put something on the page that is in use."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = []
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Release(amp.Command):
    """End a leased kernel. ``reason`` is a `DeathReason` code: ``released``, ``stopped`` or ``client_gone``."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode()), (b"reason", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = []
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Interrupt(amp.Command):
    """Send SIGINT to a leased kernel."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = []
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class PoolStatus(amp.Command):
    """Ask for the counts and layers, as JSON text.

    ``{"limit", "leased", "ready", "starting", "in_line", "draining", "environments", "missing", "last_failure",
    "layers", "connected"}``. ``environments``: those with a zygote. ``missing``: for each of the others the seconds
    since it had one, or since the pool started. ``connected``: for each environment the seconds since its zygote came.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = []
    response: ClassVar[list[tuple[bytes, Any]]] = [(b"status", _Unicode())]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class PoolMetrics(amp.Command):
    """Ask for the pool's metrics, as text for Prometheus."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = []
    response: ClassVar[list[tuple[bytes, Any]]] = [(b"text", _Unicode())]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Usage(amp.Command):
    """Ask what a leased kernel has used so far: processor time, and the largest memory it had; 0 is unknown."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = [(b"cpu_seconds", _Float()), (b"memory_bytes", _Integer())]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Drain(amp.Command):
    """Deal no kernel to visitors any more, or deal again; kernels that run go on. For the administrator alone."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"on", _Boolean())]
    response: ClassVar[list[tuple[bytes, Any]]] = []
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Renew(amp.Command):
    """Start the zygotes anew, from what is installed now; kernels in use go on. For the administrator alone.

    ``environment``: that of one environment only. (A pool of an earlier version takes it for all.)
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"environment", _Unicode(optional=True))]
    response: ClassVar[list[tuple[bytes, Any]]] = []
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class Overview(amp.Command):
    """Ask for every kernel and the last deaths, as JSON (`appliance.pool.overview`). For the administrator alone."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = []
    response: ClassVar[list[tuple[bytes, Any]]] = [(b"overview", _Unicode())]
    errors: ClassVar[dict[type[Exception], bytes]] = ERRORS


class LetGo(amp.Command):
    """Pool to web, to each connection that has a kernel which another one attached to: ``left`` unless it is used."""

    arguments: ClassVar[list[tuple[bytes, Any]]] = [(b"kernel_id", _Unicode())]
    response: ClassVar[list[tuple[bytes, Any]]] = [(b"left", _Boolean())]


class KernelDied(amp.Command):
    """Pool to web, to each connection that leased or attached the kernel: it ended, why, and what it had used.

    The two last are of an earlier moment, or 0, when it ended before anybody looked.
    """

    arguments: ClassVar[list[tuple[bytes, Any]]] = [
        (b"kernel_id", _Unicode()),
        (b"reason", _Unicode()),
        (b"detail", _Unicode()),
        (b"cpu_seconds", _Float(optional=True)),
        (b"memory_bytes", _Integer(optional=True)),
    ]
    response: ClassVar[list[tuple[bytes, Any]]] = []
