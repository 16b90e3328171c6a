from __future__ import annotations

import base64
import hashlib
import json

import pytest

from appliance.config import parse
from appliance.errors import ConfigError
from appliance.web.analytics import MAX_BYTES, Analytics, load
from appliance.web.page import Page
from tests.unit.web.fakes import FakePermalinks
from tests.unit.web.serving import ask

SNIPPET = (
    '<script>count("$x &amp; y")</script>\n<script defer src="https://stats.example/count.js"></script>\n'
    '<img src="https://stats.example/pixel">\n'
)


def config(file: object = "", *origins: str):
    return parse(f"[web]\nanalytics_file = {json.dumps(str(file))}\nanalytics_origins = {json.dumps(list(origins))}\n")


def policy(answer):
    return dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))


def page(snippet: Analytics):
    return ask(Page(FakePermalinks(), 1000, str, snippet).routes(), "GET", "/")


def test_by_default_there_is_none():
    assert load(config()) == Analytics()
    plain = ask(Page(FakePermalinks(), 1000, str).routes(), "GET", "/")
    assert policy(plain)["script-src"] == "'self'"
    assert plain.body == page(Analytics()).body


def test_a_snippet_is_at_the_end_of_the_page_and_allowed_what_it_needs_alone(tmp_path):
    file = tmp_path / "count.html"
    file.write_text(SNIPPET)
    answer = page(load(config(file, "https://stats.example")))
    assert answer.body.decode().rstrip().endswith(f"</footer>\n{SNIPPET}</body>\n</html>")
    digest = base64.b64encode(hashlib.sha256(b'count("$x &amp; y")').digest()).decode()
    found = policy(answer)
    assert found["script-src"] == f"'self' https://stats.example 'sha256-{digest}'"
    assert found["img-src"] == "'self' data: https://stats.example"
    assert found["connect-src"].endswith(" https://stats.example")
    assert found["default-src"] == "'none'"


@pytest.mark.parametrize(
    ("text", "origins", "reason"),
    [
        (SNIPPET, (), "of no origin"),
        (SNIPPET, ("https://stats.example.org",), "of no origin"),
        ("<script src='https://stats.example.evil/x'></script>", ("https://stats.example",), "of no origin"),
        ("<script src='//stats.example/x'></script>", (), "of no origin"),
        ("x", ("stats.example",), "expected https://HOST"),
        ("x", ("https://a; script-src *",), "expected https://HOST"),
        ("x" * (MAX_BYTES + 1), (), "larger than"),
    ],
)
def test_what_cannot_work_is_an_error_at_the_start(tmp_path, text, origins, reason):
    file = tmp_path / "count.html"
    file.write_text(text)
    with pytest.raises(ConfigError, match=reason):
        load(config(file, *origins))


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing\.html"):
        load(config(tmp_path / "nothing.html"))
    (tmp_path / "latin").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(config(tmp_path / "latin"))
