"""Signatures of Jupyter messages (Jupyter messaging, "The Wire Protocol"), for servers and kernels.

A kernel or a server signs six short messages for each evaluation. OpenSSL's one-shot HMAC spends most of that time on
setting the key, which is always the same, so here the two hashes that a key begins with are made once and copied.
Sandboxes get this module beside `appliance.kernel`: standard library only.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_BLOCK_BYTES = hashlib.sha256().block_size
_INNER, _OUTER = 0x36, 0x5C


class Signer:
    """Signs with one key."""

    def __init__(self, key: bytes) -> None:
        block = (hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key).ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ _INNER for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ _OUTER for byte in block))

    def sign(self, parts: Iterable[bytes]) -> bytes:
        """Return the hexadecimal HMAC-SHA256 (RFC 2104) of the four JSON parts of a message."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(b"".join(parts))
        outer.update(inner.digest())
        return outer.hexdigest().encode("ascii")
