from __future__ import annotations

import html.parser

import pytest

from appliance.protocol.permalink import SharedCell
from appliance.web import preview


@pytest.mark.parametrize(
    ("code", "title", "description"),
    [
        ("1+1", "1+1", "1+1"),
        ("\n\n  # A title\n\nx = 1\n", "A title", "# A title ⏎ x = 1"),
        ("%%html\n<b>", "html", "%%html ⏎ <b>"),
        ("###\n// next", "next", "### ⏎ // next"),
        ("\u202egnihtemos\x00", "gnihtemos", "gnihtemos"),
        ("#\n \n", preview.SITE, "#"),
        ("x" * 100, "x" * 69 + "…", "x" * 100),
        ("y" * 5000, "y" * 69 + "…", "y" * 199 + "…"),
    ],
)
def test_title_and_description(code: str, title: str, description: str) -> None:
    assert preview.title_and_description(SharedCell(code=code)) == (title, description)


@pytest.mark.parametrize("text", ['"><script>alert(1)</script>', "</title><script>", "&quot;'"])
def test_whatever_a_cell_holds_stays_text(text: str) -> None:
    tags: list[str] = []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.append(tag)

    Parser().feed(preview.head(SharedCell(code=text, language=text), f"http://x/?q={text}", f"/a/{text}"))
    assert set(tags) == {"title", "meta", "link"}
