"""The front end as nginx serves it through HAProxy."""

from __future__ import annotations

import gzip

import pytest

from .conftest import STATIC_FILES, Edge


def test_a_file_with_its_hash_in_the_name_is_kept_for_ever(edge: Edge) -> None:
    answer = edge.ask("GET", "/static/chunk-4KQZ7ABC.js")
    assert answer.body.decode() == STATIC_FILES["chunk-4KQZ7ABC.js"]
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("name", ["embedded_cell.js", "embedded_sagecell.js"])
def test_scripts_that_pages_of_others_name_are_kept_for_a_short_time(edge: Edge, name: str) -> None:
    answer = edge.ask("GET", f"/static/{name}")
    assert answer.status == 200
    assert answer.headers["cache-control"] == "public, max-age=300"
    again = edge.ask("GET", f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status == 304


@pytest.mark.parametrize("name", ["output_frame.css", "output_frame.html", "fonts/KaTeX_Main-BoldItalic.woff2"])
def test_any_other_file_is_asked_for_again(edge: Edge, name: str) -> None:
    first = edge.ask("GET", f"/static/{name}")
    assert first.status == 200
    assert first.body.decode() == STATIC_FILES[name]
    assert first.headers["cache-control"] == "public, max-age=0, must-revalidate"
    again = edge.ask("GET", f"/static/{name}", headers={"If-None-Match": first.headers["etag"]})
    assert again.status == 304


@pytest.mark.parametrize("name", [*STATIC_FILES, "no-such-file.js"])
def test_headers_of_every_file(edge: Edge, name: str) -> None:
    answer = edge.ask("GET", f"/static/{name}", headers={"Origin": "null"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "x-frame-options" not in answer.headers
    assert "nginx/" not in answer.headers.get("server", "")


def policy(answer_headers: dict[str, str]) -> dict[str, list[str]]:
    """Return a Content-Security-Policy as directive → sources."""
    directives = [part.split() for part in answer_headers["content-security-policy"].split(";")]
    return {words[0]: words[1:] for words in directives}


def test_the_output_frame_is_shut_in(edge: Edge) -> None:
    answer = edge.ask("GET", "/static/output_frame.html", headers={"Host": "cells.example.org:8443"})
    origin = "http://cells.example.org:8443"
    assert policy(answer.headers) == {
        "sandbox": ["allow-scripts"],
        "default-src": ["'none'"],
        "script-src": [origin, "blob:", "'unsafe-inline'", "'unsafe-eval'"],
        "style-src": [origin, "'unsafe-inline'"],
        "img-src": ["data:", "blob:"],
        "media-src": ["data:", "blob:"],
        "font-src": [origin, "data:"],
        "connect-src": ["blob:"],
        "form-action": ["'none'"],
        "base-uri": ["'none'"],
    }


@pytest.mark.parametrize("host", ["evil;script-src", "a,b", "*", "x y", "example.org:8443'unsafe-eval'"])
def test_a_host_header_cannot_write_the_policy(edge: Edge, host: str) -> None:
    answer = edge.ask("GET", "/static/output_frame.html", headers={"Host": host})
    if answer.status == 200:
        assert policy(answer.headers)["script-src"] == ["blob:", "'unsafe-inline'", "'unsafe-eval'"]
    else:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br", "br"),
        ("br;q=1.0, gzip;q=0.8", "br"),
        ("br;q=0.5", "br"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.000", None),
        ("brotli", None),
        ("identity", None),
    ],
)
@pytest.mark.parametrize("name", ["embedded_cell.js", "chunk-4KQZ7ABC.js", "output_frame.css"])
def test_what_the_build_compressed_is_sent_as_it_is(edge: Edge, name: str, accepted: str, encoding: str | None) -> None:
    beside = edge.directory / "share" / "static"
    for suffix, text in ((".gz", gzip.compress(b"made by gzip")), (".br", b"made by brotli")):
        (beside / f"{name}{suffix}").write_bytes(text)
        (beside / f"{name}{suffix}").chmod(0o644)
    plain = edge.ask("GET", f"/static/{name}")
    answer = edge.ask("GET", f"/static/{name}", headers={"Accept-Encoding": accepted})
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == encoding
    expected = {"gzip": gzip.compress(b"made by gzip"), "br": b"made by brotli", None: STATIC_FILES[name].encode()}
    assert answer.body[10:] == expected[encoding][10:]  # the head of gzip's has the time
    # all else is that of the file itself
    for header in ("cache-control", "content-type", "access-control-allow-origin", "content-security-policy", "vary"):
        assert answer.headers[header] == plain.headers[header]
    assert answer.headers["vary"] == "Accept-Encoding"


def test_what_was_not_compressed_is_sent_all_the_same(edge: Edge) -> None:
    answer = edge.ask("GET", "/static/plain.js", headers={"Accept-Encoding": "br, gzip"})
    assert answer.body.decode() == STATIC_FILES["plain.js"]
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/static/", 403),
        ("GET", "/static/fonts/", 403),
        ("GET", "/static/../../haproxy/haproxy.cfg", 400),
        ("GET", "/static/..%2f..%2fhaproxy/haproxy.cfg", 400),
        ("GET", "/static/secret-link", 403),
        ("GET", "/static/maintenance.html", 404),
        ("POST", "/static/embedded_cell.js", 403),
        ("PUT", "/static/new.js", 403),
    ],
)
def test_nothing_else_is_served(edge: Edge, method: str, path: str, status: int) -> None:
    answer = edge.ask(method, path)
    assert answer.status == status
    assert b"root:" not in answer.body
    assert b"maxconn" not in answer.body
