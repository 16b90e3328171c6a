"""A browser, and pages that are watched for what a visitor's browser would complain about."""

from __future__ import annotations

import os
import re
import shutil
import textwrap
import urllib.parse
from typing import TYPE_CHECKING

import attrs
import pytest

from tests.browser.embedding import ForeignSite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

#: Names under which distributions install Chromium; nothing is ever downloaded.
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")

#: No services of the browser's own may reach for the network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

#: Pictures for the documents are asked for; they have more pixels, also in frames, which get a process of their own
#: otherwise and then not the emulated scale.
PICTURES = os.environ.get("DEMONSTRATION_IMAGES") == "1"
SCALE = 1.5 if PICTURES else 1
PICTURE_ARGUMENTS = ["--disable-features=IsolateSandboxedIframes"]

WAIT_MILLISECONDS = 30_000

#: What Chromium says of WebGL on a machine without a graphics card.
WITHOUT_GRAPHICS_CARD = ["GPU stall", "GL Driver Message", "software WebGL"]


@attrs.define
class Watch:
    """What a page asked for, and what the browser said about it."""

    allowed_hosts: set[str]
    expected: list[str] = attrs.field(factory=list)
    """Patterns of console messages that a test provokes."""

    complaints: list[str] = attrs.field(factory=list)
    strangers: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)

    def attach(self, page: Page) -> None:
        page.on("console", lambda message: self._said(message.type, message.text))
        page.on("pageerror", lambda error: self._said("error", str(error)))
        page.on("request", lambda request: self._asked(request.url))
        page.on("requestfailed", lambda request: self._failed(request.url, request.failure))
        page.on("websocket", lambda socket: self._asked(socket.url))

    def _said(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        self.requests.append(url)
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc not in self.allowed_hosts:
            self.strangers.append(url)

    def _failed(self, url: str, failure: str | None) -> None:
        # What the page's own policy refused never left the browser.
        if failure == "csp" and url in self.strangers:
            self.strangers.remove(url)

    @property
    def surprises(self) -> list[str]:
        """What the browser complained of that no test provoked."""
        return [text for text in self.complaints if not any(re.search(pattern, text) for pattern in self.expected)]

    def verify(self) -> None:
        """Fail when the browser complained, or when another host was asked for anything."""
        assert self.surprises == []
        assert self.strangers == []


#: Characters of each frame, from its start and its end, that the report of a failed test shows.
SHOWN_CHARACTERS = 400
SHOWN_MILLISECONDS = 3000


def shown_by(page: Page) -> str:
    """Return what stands in a page and in its frames, for the report of a test that failed."""
    # Only who drives a browser waits for this module.
    from playwright.sync_api import Error

    lines = []
    for frame in page.frames:
        try:
            text = frame.locator("body").inner_text(timeout=SHOWN_MILLISECONDS)
        except Error as exc:
            text = f"({exc.message.splitlines()[0]})"
        if len(text) > 2 * SHOWN_CHARACTERS:
            text = f"{text[:SHOWN_CHARACTERS]}\n[{len(text)} characters]\n{text[-SHOWN_CHARACTERS:]}"
        lines.append(f"{frame.url}\n{textwrap.indent(text, '    ')}")
    return "\n".join(lines)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Iterator[None]:
    report = yield
    if report.when != "call" or not report.failed:
        return report
    # Only who drives a browser waits for this module.
    from playwright.sync_api import Page

    page = getattr(item, "funcargs", {}).get("page")
    if isinstance(page, Page) and not page.is_closed():
        report.sections.append(("what the page showed", shown_by(page)))
        watch = item.funcargs.get("watch")
        if watch is not None and watch.complaints:
            report.sections.append(("what the browser complained of", "\n".join(watch.complaints)))
    return report


@pytest.fixture(scope="session")
def site(request):
    """Return the address of a running appliance, without a slash at the end.

    CELL_APPLIANCE_URL names one that runs already; otherwise one is started.
    """
    url = os.environ.get("CELL_APPLIANCE_URL") or request.getfixturevalue("appliance").url
    return url.rstrip("/")


@pytest.fixture(scope="session")
def browser():
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    assert executable is not None, f"these tests need one of {', '.join(CHROMIUM)}"
    arguments = ARGUMENTS + PICTURE_ARGUMENTS if PICTURES else ARGUMENTS
    # Only who drives a browser waits for this module.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def watch(site):
    return Watch(allowed_hosts={urllib.parse.urlsplit(site).netloc})


@pytest.fixture
def page(browser: Browser, watch: Watch):
    """Return a page whose console must stay silent and which may ask the appliance alone."""
    context = browser.new_context(viewport={"width": 900, "height": 700}, device_scale_factor=SCALE)
    page = context.new_page()
    page.set_default_timeout(WAIT_MILLISECONDS)
    watch.attach(page)
    yield page
    context.close()
    watch.verify()


@pytest.fixture
def foreign(watch):
    """Return a web site of another origin that embeds cells."""
    with ForeignSite() as foreign:
        watch.allowed_hosts.add(foreign.host)
        yield foreign
