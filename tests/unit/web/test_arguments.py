from __future__ import annotations

import pytest

from appliance.errors import BadRequest, MissingArgument
from appliance.web.arguments import MAX_ARGUMENTS, parse_arguments

FORM = "application/x-www-form-urlencoded"


def multipart(*parts, boundary="B"):
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    )
    return f"multipart/form-data; boundary={boundary}", body + f"--{boundary}--\r\n".encode()


def test_query_and_forms_are_alike():
    kind, body = multipart(('name="code"', b"x=1"))
    assert parse_arguments(b"code=x%3D1", "", b"").get("code") == "x=1"
    assert parse_arguments(b"", FORM, b"code=x%3D1").get("code") == "x=1"
    assert parse_arguments(b"", kind, body).get("code") == "x=1"


def test_text_is_kept_to_the_last_space():
    assert parse_arguments(b"", FORM, b"code=%20%20x%0A%0A+").get("code") == "  x\n\n "


def test_the_body_comes_after_the_query():
    arguments = parse_arguments(b"a=1&b=2", FORM + "; charset=utf-8", b"a=3&c=")
    assert arguments.all("a") == ("1", "3")
    assert arguments.get("a") == "3"
    assert (arguments.get("c", "default"), arguments.get("d", "default")) == ("", "default")
    assert "c" in arguments
    assert "d" not in arguments


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "", "junk"])
def test_a_body_of_another_type_holds_no_arguments(kind):
    assert parse_arguments(b"a=1", kind, b'{"junk').values == {"a": ("1",)}


def test_line_ends_of_a_multipart_form_are_those_of_a_cell():
    kind, body = multipart(('name="code"', b"a\r\nb\r\n"), ('name="language"', b"python"))
    arguments = parse_arguments(b"", kind, body)
    assert arguments.get("code") == "a\nb\n"
    assert arguments.get("language") == "python"


def test_a_multipart_form_may_hold_any_text():
    kind, body = multipart(('name="code"; filename="x.py"', "é\u2028 --B".encode()))
    assert parse_arguments(b"", kind, body).get("code") == "é\u2028 --B"


@pytest.mark.parametrize(
    ("query", "kind", "body"),
    [
        (b"a=%ff", "", b""),
        (b"\xff", "", b""),
        (b"", FORM, b"a=%ff"),
        (b"", FORM, b"\xff"),
        (b"", "multipart/form-data", b"abc"),
        (b"", "multipart/form-data; boundary=B", b"no parts"),
        (b"", *multipart(("filename=x", b"1"))),
        (b"", *multipart(('name="a"', b"\xff"))),
        (b"&".join(b"a=1" for _ in range(MAX_ARGUMENTS + 1)), "", b""),
        (b"", *multipart(*[('name="a"', b"1")] * (MAX_ARGUMENTS + 1))),
    ],
)
def test_malformed_arguments_are_refused(query, kind, body):
    with pytest.raises(BadRequest):
        parse_arguments(query, kind, body)


def test_a_missing_argument_is_named():
    with pytest.raises(MissingArgument, match="code"):
        parse_arguments(b"", "", b"").required("code")
