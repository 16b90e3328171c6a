"""Permalinks without I/O: what a shared cell is, the id that its content gives it, and the zipped form in URLs.

The id is a digest of the content, so the same cell always has the same link, a link never changes its meaning, and
an answer may be cached for ever. It cannot be enumerated: 12 characters show 71 of the digest's 256 bits.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import string
import zlib
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import BadRequest, InvalidZip, MissingArgument, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Quicker than `json.loads`, which guesses the encoding and looks at options.
_read_json = json.JSONDecoder().decode

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
#: Two digits, the least significant first.
_PAIRS = tuple(low + high for high in _ALPHABET for low in _ALPHABET)

#: Separates these digests from any other use of BLAKE2b (RFC 7693, the ``person`` parameter).
_PERSON = b"cell-permalink-1"

#: Characters of an ordinary id; each carries 5.95 bits.
ID_LENGTH = 12
#: Characters added when another cell already has the shorter id.
ID_STEP = 4
#: All characters of a digest: 256 bits need 43 digits in base 62.
MAX_ID_LENGTH = 43
#: Longest id that is looked up at all; ids of imported databases are free text (UUIDs are the longest known).
MAX_LOOKUP_LENGTH = 64
#: Longest language name.
MAX_LANGUAGE_BYTES = 64


@attrs.frozen(kw_only=True)
class SharedCell:
    """What a permalink names: code, its language, and the state of its interacts as JSON text."""

    code: str
    language: str = "sage"
    interacts: str = "[]"

    def size_bytes(self) -> int:
        """Return the number of bytes of all fields in UTF-8."""
        return _size_bytes(self.code) + _size_bytes(self.language) + _size_bytes(self.interacts)


def _size_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _text(document: dict[str, Any], name: str, default: str | None, max_bytes: int) -> str:
    value = document.get(name, default)
    if value is None:
        raise MissingArgument(f"The argument {name} is missing.")
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a string.")
    try:
        size = _size_bytes(value)
    except UnicodeEncodeError as exc:
        raise BadRequest(f"{name} is not Unicode text: it holds half of a surrogate pair.") from exc
    if size > max_bytes:
        raise TooLarge(f"{name} is {size} bytes long; this server stores at most {max_bytes}.")
    return value


def parse_cell(body: bytes, max_bytes: int) -> SharedCell:
    """Return the cell written in a JSON object with the keys ``code``, ``language`` and ``interacts``.

    Raises `BadRequest` or `MissingArgument` when it is malformed and `TooLarge` when ``code`` or ``interacts`` has
    more than ``max_bytes`` bytes of UTF-8. Other keys are ignored; text is kept byte for byte.
    """
    try:
        document = _read_json(body.decode())
    except (ValueError, RecursionError) as exc:
        raise BadRequest("The body must be a JSON object.") from exc
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.")
    return SharedCell(
        code=_text(document, "code", None, max_bytes),
        language=_text(document, "language", "sage", MAX_LANGUAGE_BYTES),
        interacts=_text(document, "interacts", "[]", max_bytes),
    )


def render_cell(cell: SharedCell) -> bytes:
    """Return the cell as the JSON object that `parse_cell` reads."""
    quote = json.encoder.encode_basestring
    text = f'{{"code": {quote(cell.code)}, "language": {quote(cell.language)}, "interacts": {quote(cell.interacts)}}}'
    return text.encode()


def entity_tag(rendered: bytes) -> bytes:
    """Return the strong entity tag of a rendered cell, quotes included (RFC 9110, section 8.8.3)."""
    return b'"%b"' % hashlib.blake2b(rendered, digest_size=12).hexdigest().encode("ascii")


def content_digest(cell: SharedCell) -> bytes:
    """Return the cell's BLAKE2b-256 digest.

    Each field is preceded by its length as eight bytes, so no two cells have the same encoding.
    """
    state = hashlib.blake2b(digest_size=32, person=_PERSON)
    for text in (cell.code, cell.language, cell.interacts):
        data = text.encode()
        state.update(len(data).to_bytes(8, "big"))
        state.update(data)
    return state.digest()


def base62(content: bytes, length: int = MAX_ID_LENGTH) -> str:
    """Return the first ``length`` base-62 digits of a digest, least significant digit first.

    This order makes every character of a shortened id equally likely.
    """
    number = int.from_bytes(content, "big")
    if length < MAX_ID_LENGTH:
        number %= len(_ALPHABET) ** length  # a smaller number is divided faster
    digits = []
    for _ in range((length + 1) // 2):
        number, digit = divmod(number, len(_PAIRS))
        digits.append(_PAIRS[digit])
    return "".join(digits)[:length]


def digest(cell: SharedCell) -> str:
    """Return all 43 base-62 digits of the cell's digest: its longest id."""
    return base62(content_digest(cell))


def candidate_ids(cell: SharedCell) -> Iterator[str]:
    """Yield the cell's ids from the shortest on: the first that no other cell holds is its id."""
    content = content_digest(cell)
    for length in range(ID_LENGTH, MAX_ID_LENGTH, ID_STEP):
        yield base62(content, length)
    yield base62(content)


def may_be_id(permalink_id: str) -> bool:
    """Return whether a permalink could have this id: ids of imported databases are free text within limits."""
    return 0 < len(permalink_id) <= MAX_LOOKUP_LENGTH and permalink_id.isprintable()


def zip_text(text: str) -> str:
    """Return ``text`` as URL-safe base64 of its zlib-compressed UTF-8, with padding."""
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode("ascii")


def unzip_text(zipped: str, max_bytes: int) -> str:
    """Return the text that `zip_text` compressed; padding is optional.

    Never holds more than ``max_bytes`` + 1 decompressed bytes. Raises `InvalidZip` when the input is not base64 of
    zlib of UTF-8, is cut short, or holds more than ``max_bytes`` bytes.
    """
    try:
        standard = zipped.encode("ascii").rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
        packed = base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
        inflater = zlib.decompressobj()
        data = inflater.decompress(packed, max_bytes + 1)
        if len(data) > max_bytes:
            raise InvalidZip(f"Invalid zipped code: it unpacks to more than {max_bytes} bytes.")
        if not inflater.eof:
            raise InvalidZip("Invalid zipped code: it is cut short.")
        return data.decode()
    except (UnicodeError, binascii.Error, zlib.error) as exc:
        raise InvalidZip from exc
