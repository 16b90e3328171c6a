"""Who may use which door: tokens, terms of service."""

from __future__ import annotations

import hmac
import pathlib
from typing import TYPE_CHECKING

from appliance.errors import ConfigError, Forbidden, TermsNotAccepted
from appliance.protocol.quota import page_group
from appliance.web.pool_client import Visitor

if TYPE_CHECKING:
    from appliance.config import Config
    from appliance.web.http import Call

#: A token that a client chose itself names it only if nobody guesses it, or chooses the same.
MIN_TOKEN_CHARACTERS = 20

#: Longest terms of service, in bytes.
MAX_TERMS_BYTES = 1_048_576


def sent_token(call: Call) -> str:
    """Return the token of a request: ``Authorization: token X`` or ``Bearer X``, or the argument ``token``."""
    scheme, _, token = (call.request.getHeader("authorization") or "").strip().partition(" ")
    if scheme.lower() in ("token", "bearer"):
        return token.strip()
    return call.arguments.get("token")


class Access:
    """What the configuration asks of clients."""

    def __init__(self, config: Config) -> None:
        self._tokens = tuple(token.encode("utf-8") for token in config.web.api_tokens)
        self.terms = _terms(config.web.terms_file)

    def check_token(self, call: Call) -> None:
        """Raise `Forbidden` unless a request to an address that wants a token carries one."""
        if self._tokens and not self._is_common(sent_token(call)):
            raise Forbidden("This address needs a token: send Authorization: token SECRET.")

    def check_terms(self, call: Call) -> None:
        """Raise `TermsNotAccepted` when there are terms of service that the request does not accept."""
        if self.terms and call.arguments.get("accepted_tos").lower() != "true":
            raise TermsNotAccepted

    def _is_common(self, token: str) -> bool:
        given = token.encode("utf-8")
        # all are compared, each in constant time
        return sum(hmac.compare_digest(given, known) for known in self._tokens) > 0

    def api_visitor(self, call: Call) -> tuple[Visitor, str]:
        """Return who uses Jupyter's addresses, and the page whose kernels are theirs; empty when nothing tells.

        There are no accounts and no cookies, and everybody in a class room may share an address: what tells clients
        apart is a secret that each chose for itself. A token that the configuration names is known to many.
        """
        token = sent_token(call)
        if len(token) < MIN_TOKEN_CHARACTERS or self._is_common(token):
            return call.visitor, ""
        page = page_group(call.address, f"token {token}", "")
        return Visitor(page, call.address), page


def _terms(file: str) -> str:
    if not file:
        return ""
    try:
        data = pathlib.Path(file).read_bytes()
        if len(data) > MAX_TERMS_BYTES:
            raise ConfigError(f"web.terms_file: {file} is larger than {MAX_TERMS_BYTES} bytes")
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"web.terms_file: {file} cannot be read as UTF-8 text: {exc}") from exc
    if not text.strip():
        raise ConfigError(f"web.terms_file: {file} is empty")
    return text
