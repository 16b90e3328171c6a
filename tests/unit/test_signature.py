"""Signatures are HMAC-SHA256 whatever the length of the key."""

import hmac

import pytest

from appliance.signature import Signer

PARTS = [b'{"msg_id":"1"}', b"{}", b"{}", "ü".encode()]


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_signature_is_the_hmac(length: int) -> None:
    key = bytes(range(length))
    signer = Signer(key)
    for parts in (PARTS, [], PARTS):
        assert signer.sign(parts) == hmac.new(key, b"".join(parts), "sha256").hexdigest().encode()
