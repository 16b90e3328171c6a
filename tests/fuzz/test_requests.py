"""What browsers send outside of WebSockets: arguments, zipped code, permalinks, names of hosts."""

from __future__ import annotations

import base64
import json
import urllib.parse
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import BadRequest, InvalidZip, TooLarge
from appliance.protocol import permalink
from appliance.web.arguments import MAX_ARGUMENTS, parse_arguments
from appliance.web.http import checked_host, script_json
from tests.fuzz.budget import ROUND, fuzz, seconds
from tests.fuzz.test_messages import JSON, PARTS, check_sentence

pytestmark = pytest.mark.timeout(seconds() + 120)

MAX_BYTES = 2000

#: Without halves of surrogate pairs, which no text in UTF-8 holds.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
QUERIES = st.binary(max_size=200) | st.lists(st.tuples(TEXT, TEXT), max_size=120).map(
    lambda pairs: urllib.parse.urlencode(pairs).encode()
)
KINDS = st.sampled_from(
    [
        "",
        "application/json",
        "application/x-www-form-urlencoded",
        "APPLICATION/X-WWW-FORM-URLENCODED; charset=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=B",
        'multipart/form-data; boundary="B"; boundary=C',
        "multipart/form-data; boundary*0=B; boundary*1=C",
        "multipart/form-data; boundary*=utf-8''%42",
        "multipart/form-data; boundary=" + "B" * 400,
        "multipart/form-data;;=",
    ]
) | TEXT.map(lambda text: f"multipart/form-data; {text}")
LINES = st.sampled_from(
    [
        b"--B",
        b"--B--",
        b"--",
        b"",
        b"Content-Disposition: form-data; name=code",
        b'Content-Disposition: form-data; name="',
        b"Content-Disposition: form-data",
        b"Content-Disposition: ; name*=utf-8''%ff",
        b"Content-Transfer-Encoding: base64",
        b"Content-Disposition: form-data; name*0=a; name*1*=b",
        b"Content-Transfer-Encoding: x-uuencode",
        b"begin 644 x",
        b"Content-Type: multipart/mixed; boundary=B",
        b"Content-Type: message/rfc822",
        b" folded",
        b"a: b",
        b"!!!!",
        b"\xff\xfe",
        b"Content-Type: text/plain; charset=nonsense",
        b"Content-Disposition: form-data; name=\xff",
        b"From x",
        b"=?utf-8?q?=ff?=: x",
    ]
)
BODIES = st.binary(max_size=200) | st.lists(LINES | st.binary(max_size=20), max_size=30).map(b"\r\n".join)


@ROUND
@given(QUERIES, KINDS, BODIES)
def any_arguments(query: bytes, kind: str, body: bytes) -> None:
    try:
        arguments = parse_arguments(query, kind, body)
    except BadRequest as exc:
        check_sentence(exc.message)
        return
    values = [value for values in arguments.values.values() for value in values]
    assert len(values) <= 2 * MAX_ARGUMENTS
    for text in (*arguments.values, *values):
        text.encode("utf-8")


@ROUND
@given(st.dictionaries(TEXT, TEXT, max_size=20), st.booleans())
def arguments_come_back(values: dict[str, str], form: bool) -> None:
    data = urllib.parse.urlencode(values).encode()
    kind = "application/x-www-form-urlencoded"
    arguments = parse_arguments(b"" if form else data, kind if form else "", data if form else b"")
    assert {name: arguments.get(name) for name in arguments.values} == values


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()


ZIPPED = (
    st.text(max_size=100)
    | st.binary(max_size=100).map(encoded)
    | st.binary(max_size=3 * MAX_BYTES).map(lambda data: encoded(zlib.compress(data)))
    | st.integers(1, 10**6).map(lambda size: encoded(zlib.compress(bytes(size))))
    | st.tuples(st.binary(max_size=300), st.integers(0, 40)).map(lambda cut: encoded(zlib.compress(cut[0])[: cut[1]]))
    | TEXT.map(permalink.zip_text)
    | TEXT.map(lambda text: permalink.zip_text(text) + "=" * 7)
)


@ROUND
@given(ZIPPED)
def any_zip(zipped: str) -> None:
    try:
        text = permalink.unzip_text(zipped, MAX_BYTES)
    except InvalidZip:
        return
    assert len(text.encode()) <= MAX_BYTES
    assert permalink.unzip_text(permalink.zip_text(text), MAX_BYTES) == text


@ROUND
@given(
    PARTS
    | JSON.map(lambda value: json.dumps({"code": value, "language": value}).encode())
    | TEXT.map(lambda text: json.dumps({"code": text}).encode())
)
def any_cell(body: bytes) -> None:
    try:
        cell = permalink.parse_cell(body, MAX_BYTES)
    except (BadRequest, TooLarge):
        return
    assert permalink.parse_cell(permalink.render_cell(cell), MAX_BYTES) == cell
    ids = list(permalink.candidate_ids(cell))
    assert ids == list(permalink.candidate_ids(cell))
    assert all(name.isalnum() and len(name) <= permalink.MAX_ID_LENGTH for name in ids)


@ROUND
@given(st.text(max_size=60))
def any_host_and_any_text_in_a_script(text: str) -> None:
    try:
        host = checked_host(text)
    except BadRequest:
        pass
    else:
        assert not set(host) & set("\"'<>/\\ ;,\r\n\0@?#")
    shown = script_json(text)
    assert not set(shown) & set("<>&\u2028\u2029")
    assert json.loads(shown) == text


def test_any_arguments() -> None:
    fuzz(any_arguments)


def test_arguments_come_back() -> None:
    fuzz(arguments_come_back)


def test_any_zip() -> None:
    fuzz(any_zip)


def test_any_cell() -> None:
    fuzz(any_cell)


def test_any_host_and_any_text_in_a_script() -> None:
    fuzz(any_host_and_any_text_in_a_script)
