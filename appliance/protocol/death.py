"""Why a kernel ended: one code and one sentence for each reason."""

from __future__ import annotations

import enum


class DeathReason(enum.Enum):
    """A reason for the end of a kernel; ``value`` is the wire code, ``sentence`` what a visitor reads."""

    sentence: str

    def __new__(cls, code: str, sentence: str) -> DeathReason:
        """Make a member from its wire code and its sentence."""
        member = object.__new__(cls)
        member._value_ = code
        member.sentence = sentence
        return member

    @classmethod
    def of(cls, code: str) -> DeathReason:
        """Return the reason with this wire code. Raises `ValueError` when there is none."""
        for reason in cls:
            if reason.value == code:
                return reason
        raise ValueError(f"there is no reason {code!r}")

    RELEASED = "released", "The computation is over and its kernel was returned."
    STOPPED = "stopped", "The kernel was stopped by you."
    CLIENT_GONE = "client_gone", "The kernel was stopped because the page that used it went away."
    IDLE = "idle", "The kernel was stopped because it was idle for too long."
    BUSY = "busy", "The kernel was stopped because one evaluation ran longer than this server allows."
    LIFETIME = "lifetime", "The kernel was stopped because it reached the longest lifetime this server allows."
    MEMORY_LIMIT = "memory_limit", "The kernel was stopped because it used more memory than this server allows."
    CPU_LIMIT = "cpu_limit", "The kernel was stopped because it used more processor time than this server allows."
    EXITED = "exited", "The kernel was ended by its own program."
    CRASHED = "crashed", "The kernel crashed."
    UNRESPONSIVE = "unresponsive", "The kernel was stopped because it no longer answered."
