"""A visitor with a browser: ``python -m tests.packaging.visit ADDRESS`` evaluates there and prints what it saw as JSON.

A program of its own, since it runs in another network than the tests (`tests.packaging.outside`).
"""

from __future__ import annotations

import json
import shutil
import sys

from playwright.sync_api import sync_playwright

from tests.browser.cells import CellOnPage
from tests.browser.fixtures import ARGUMENTS, CHROMIUM


def visit(address: str) -> dict[str, object]:
    """Open the page, evaluate 2+2, and return what is shown and how its files came."""
    program = next(found for name in CHROMIUM if (found := shutil.which(name)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = browser.new_page()
        complaints: list[str] = []
        files: dict[str, dict[str, str]] = {}
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("response", lambda response: files.update({response.url.removeprefix(address): response.headers}))
        page.goto(f"{address}/")
        cell = CellOnPage(page)
        cell.evaluate("2+2")
        seen = {
            "output": cell.output.locator("body").inner_text().strip(),
            "status": cell.status.inner_text(),
            "complaints": complaints,
            "files": {
                name: {key: headers.get(key, "") for key in ("server", "cache-control", "content-encoding")}
                for name, headers in files.items()
                if name.startswith("/static/")
            },
        }
        browser.close()
    return seen


if __name__ == "__main__":
    print(json.dumps(visit(sys.argv[1])))
