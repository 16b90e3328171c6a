from __future__ import annotations

import os

import pytest

from appliance.web import static
from appliance.web.static import StaticFiles
from tests.unit.web.serving import ask


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "dist"
    (root / "fonts").mkdir(parents=True)
    (root / "embedded_cell.js").write_text("1;")
    (root / "page.css").write_text("a{}")
    (root / "output_frame.html").write_text("<p>")
    (root / "other.html").write_text("<p>")
    (root / "fonts" / "KaTeX-AB12CD34.woff2").write_bytes(b"\x00\x01")
    (root / "data.bin").write_bytes(b"\x00")
    (root / ".hidden").write_text("no")
    (tmp_path / "secret.txt").write_text("no")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "up").symlink_to(tmp_path)
    return root


def get(root, path, headers=(), method="GET"):
    return ask(StaticFiles(root).routes(), method, path, headers)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("embedded_cell.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("output_frame.html", "text/html; charset=utf-8"),
        ("fonts/KaTeX-AB12CD34.woff2", "font/woff2"),
        ("data.bin", "application/octet-stream"),
    ],
)
def test_files_have_their_type_and_are_for_everybody(root, name, kind):
    answer = get(root, f"/static/{name}", ["Origin: null"])
    assert answer.body == (root / name).read_bytes()
    assert answer.headers["content-type"] == kind
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


def test_names_with_a_hash_are_kept_and_others_asked_for_again(root):
    assert get(root, "/static/fonts/KaTeX-AB12CD34.woff2").headers["cache-control"] == static.IMMUTABLE
    for name in ("page.css", "output_frame.html"):
        assert get(root, f"/static/{name}").headers["cache-control"] == static.REVALIDATE
    assert get(root, "/static/embedded_cell.js").headers["cache-control"] == "public, max-age=300"


@pytest.mark.parametrize(
    ("accepted", "body", "encoding"),
    [
        ("gzip, deflate, br", b"brotli", "br"),
        ("br;q=0, gzip;q=0.5", b"gzipped", "gzip"),
        ("gzip;q=0.0", b"1;", None),
        ("x-gzip, brotli, *", b"1;", None),
        ("", b"1;", None),
    ],
)
def test_what_the_build_compressed_is_sent_as_it_is(root, accepted, body, encoding):
    (root / "embedded_cell.js.br").write_bytes(b"brotli")
    (root / "embedded_cell.js.gz").write_bytes(b"gzipped")
    answer = get(root, "/static/embedded_cell.js", [f"Accept-Encoding: {accepted}"])
    assert answer.body == body
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    # each has an entity tag of its own
    again = ["Accept-Encoding: gzip", f"If-None-Match: {answer.headers['etag']}"]
    assert get(root, "/static/embedded_cell.js", again).status == (304 if encoding == "gzip" else 200)


def test_the_page_finds_the_names_with_hashes(root):
    files = StaticFiles(root)
    assert files.current_name("page.css") == "page.css"
    names = root / "assets.json"
    names.write_text('{"page.css": "page-0123456789abcdef.css"}')
    assert files.current_name("page.css") == "page-0123456789abcdef.css"
    assert files.current_name("other.css") == "other.css"
    for wrong in ("not JSON", "[1]"):
        names.write_text(wrong)
        assert files.current_name("page.css") == "page.css"


def test_an_unchanged_file_is_not_sent_again(root):
    files = StaticFiles(root).routes()
    etag = ask(files, "GET", "/static/page.css").headers["etag"]
    for known in (etag, f'"x", {etag}', f"W/{etag}"):
        answer = ask(files, "GET", "/static/page.css", [f"If-None-Match: {known}"])
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", etag)
    (root / "page.css").write_text("b{}!")
    answer = ask(files, "GET", "/static/page.css", [f"If-None-Match: {etag}"])
    assert (answer.status, answer.body) == (200, b"b{}!")


def test_the_output_frame_is_an_opaque_origin_even_when_opened_by_itself(root):
    policy = get(root, "/static/output_frame.html").headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; script-src http://cells.example ")
    assert "'self'" not in policy
    assert "connect-src blob:" in policy
    assert "frame-ancestors" not in policy
    other = get(root, "/static/other.html").headers["content-security-policy"]
    assert "script-src" not in other
    assert other.startswith("default-src 'none'")


@pytest.mark.parametrize(
    "name",
    [
        *("", ".hidden", "nothing.js", "fonts", "fonts/", "./page.css", "fonts/../page.css", "../secret.txt"),
        *("%2e%2e/secret.txt", "..%2fsecret.txt", "%2Fetc/passwd", "/etc/passwd", "link.txt", "up/secret.txt"),
        *("page.css%00", "page.css%00.js", "..%5csecret.txt", "a" * 300 + ".js", "~root/x", "\\etc"),
    ],
)
def test_nothing_outside_the_folder_is_sent(root, name):
    assert get(root, f"/static/{name}").status == 404


def test_a_fifo_is_not_read(root):
    os.mkfifo(root / "fifo.js")
    assert get(root, "/static/fifo.js").status == 404


def test_a_large_file_is_not_sent(root, monkeypatch):
    monkeypatch.setattr(static, "MAX_FILE_BYTES", 1)
    assert get(root, "/static/page.css").status == 404


def test_memory_for_files_is_bounded(root, monkeypatch):
    monkeypatch.setattr(static, "MAX_KEPT_BYTES", 4)
    files = StaticFiles(root)
    for _ in range(2):
        for name in ("page.css", "embedded_cell.js"):
            assert ask(files.routes(), "GET", f"/static/{name}").status == 200
    assert list(files._files) == ["page.css"]
    (root / "page.css").write_text("a{}bcdef")
    ask(files.routes(), "GET", "/static/page.css")
    assert (files._files, files._kept_bytes) == ({}, 0)


def test_scripts_have_short_addresses(root):
    for name in ("embedded_cell.js", "embedded_sagecell.js"):
        answer = get(root, f"/{name}")
        assert (answer.status, answer.headers["location"]) == (301, f"/static/{name}")
        assert answer.headers["access-control-allow-origin"] == "*"


def test_files_cannot_be_posted_to(root):
    assert get(root, "/static/page.css", method="POST").status == 405
