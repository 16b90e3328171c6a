"""What other sites show of a link to a cell: title and description out of its code, which nobody runs for that.

Names of the properties: ogp.me, and the summary card that most messengers fall back to.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from appliance.protocol.permalink import SharedCell

#: Characters of a title and of a description; sites cut them there themselves.
MAX_TITLE_CHARACTERS = 70
MAX_DESCRIPTION_CHARACTERS = 200

#: Code that is looked at; whatever follows is not shown.
MAX_CODE_CHARACTERS = 4000

SITE = "Code cell"

#: What could turn text around, hide in it, or be a control.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]+")

#: Marks of comments and of cell magics at the beginning of a line.
_MARKS = re.compile(r"^(?:#+|//+|--+|%+)\s*")


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def title_and_description(cell: SharedCell) -> tuple[str, str]:
    """Return the first line that says something, and the beginning of the code on one line."""
    lines = [_UNSEEN.sub(" ", line).strip() for line in cell.code[:MAX_CODE_CHARACTERS].splitlines()]
    lines = [line for line in lines if line]
    title = next((found for line in lines if (found := _MARKS.sub("", line))), SITE)
    description = " ⏎ ".join(lines)
    return _shortened(title, MAX_TITLE_CHARACTERS), _shortened(description, MAX_DESCRIPTION_CHARACTERS)


def head(cell: SharedCell, url: str, alternate: str = "") -> str:
    """Return the title and the properties of a page with this cell at ``url``, as HTML for its head.

    ``alternate`` is the address of the same cell as JSON. Pages with visitors' code are kept out of search engines.
    """
    if not cell.code:
        return "<title>Cell</title>"
    title, description = title_and_description(cell)
    about = f"{SITE} ({cell.language}): {description}"
    lines = [f"<title>{html.escape(title)}</title>", '<meta name="robots" content="noindex">']
    lines += [
        f'<meta {kind}="{name}" content="{html.escape(value)}">'
        for kind, name, value in (
            ("name", "description", about),
            ("property", "og:type", "website"),
            ("property", "og:site_name", SITE),
            ("property", "og:title", title),
            ("property", "og:description", about),
            ("property", "og:url", url),
            ("name", "twitter:card", "summary"),
        )
    ]
    if alternate:
        lines.append(f'<link rel="alternate" type="application/json" href="{html.escape(alternate)}">')
    return "\n".join(lines)
