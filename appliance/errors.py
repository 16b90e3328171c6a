"""Errors that a client may see: a code, an HTTP status and one sentence.

The docstring of each class is the sentence shown when the instance carries no message of its own.
"""

from __future__ import annotations


class ApplianceError(Exception):
    """Something went wrong on the server."""

    code = "internal_error"
    http_status = 500

    def __init__(self, message: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message or self.sentence())
        self.retry_after_seconds = retry_after_seconds

    @classmethod
    def sentence(cls) -> str:
        """Return the default message: the first line of the class docstring."""
        return (cls.__doc__ or "").strip().splitlines()[0]

    @property
    def message(self) -> str:
        """The sentence a user sees."""
        return str(self)


class BadRequest(ApplianceError):
    """The request is malformed."""

    code = "bad_request"
    http_status = 400


class MissingArgument(BadRequest):
    """A required argument is missing."""

    code = "missing_argument"


class UnknownEnvironment(BadRequest):
    """There is no such environment."""

    code = "unknown_environment"


class UnknownProfile(BadRequest):
    """There is no such profile."""

    code = "unknown_profile"


class InvalidZip(BadRequest):
    """Invalid zipped code: z must be URL-safe base64 of zlib-compressed UTF-8 text."""

    code = "invalid_zip"


class InvalidMessage(BadRequest):
    """The message is not a Jupyter message."""

    code = "invalid_message"


class Forbidden(ApplianceError):
    """This server does not let you do that."""

    code = "forbidden"
    http_status = 403


class TermsNotAccepted(Forbidden):
    """When evaluating code, please acknowledge your acceptance of the terms of service: /tos.html."""

    code = "terms_not_accepted"


class NotFound(ApplianceError):
    """There is nothing at this address."""

    code = "not_found"
    http_status = 404


class UnknownKernel(NotFound):
    """There is no such kernel: it never existed or has ended."""

    code = "unknown_kernel"


class UnknownPermalink(NotFound):
    """ID not found in permalink database."""

    code = "unknown_permalink"


class PermalinkRemoved(ApplianceError):
    """The administrator of this server has removed what this permalink named."""

    code = "permalink_removed"
    http_status = 410


class OtherPermalink(ApplianceError):
    """A permalink's id follows from its content, and this content has another one."""

    code = "other_permalink"
    http_status = 409


class UnknownTicket(NotFound):
    """The place in the line was given up: nobody asked for it in time, or the wait took too long. Evaluate again."""

    code = "unknown_ticket"


class MethodNotAllowed(ApplianceError):
    """This address does not answer that method."""

    code = "method_not_allowed"
    http_status = 405


class TooLarge(ApplianceError):
    """The request is larger than this server accepts."""

    code = "too_large"
    http_status = 413


class QuotaExceeded(ApplianceError):
    """You have all that this server allows you at once."""

    code = "quota_exceeded"
    http_status = 429


class PoolExhausted(ApplianceError):
    """All kernels of this server are in use. Try again in a few seconds."""

    code = "pool_exhausted"
    http_status = 503


class KernelLate(ApplianceError):
    """No kernel was ready in time: this server is slow to start one now. Try again in a few seconds."""

    code = "kernel_late"
    http_status = 503


class Draining(ApplianceError):
    """This server is about to stop and starts no new cells; those that run go on. Try again in a few minutes."""

    code = "draining"
    http_status = 503


class PoolUnavailable(ApplianceError):
    """The kernel pool is not answering. Try again in a few seconds."""

    code = "pool_unavailable"
    http_status = 503


class EnvironmentUnavailable(ApplianceError):
    """This environment cannot start kernels now."""

    code = "environment_unavailable"
    http_status = 503


class PermalinksUnavailable(ApplianceError):
    """The permalink store is not answering. Try again in a few seconds."""

    code = "permalinks_unavailable"
    http_status = 503


class PermalinksFull(ApplianceError):
    """The permalink store has reached its largest size. Permalinks that exist still work."""

    code = "permalinks_full"
    http_status = 507


class ConfigError(ApplianceError):
    """The configuration is invalid."""

    code = "config_error"
