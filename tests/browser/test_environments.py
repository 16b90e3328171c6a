"""Cells of other languages and with other limits: what a page names is what its cells get."""

from __future__ import annotations

import pathlib
import tempfile

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.integration.kernelspecs import BASH, kernelspec, make_prefix
from tests.integration.running import Appliance


@pytest.fixture(scope="module")
def bash():
    with tempfile.TemporaryDirectory(prefix="ct-spec-", dir="/opt") as directory:
        prefix = pathlib.Path(directory)
        prefix.chmod(0o755)
        python = make_prefix(prefix)
        kernelspec(prefix, "shell", argv=BASH)
        running = Appliance(
            "[pool]\nmax_kernels = 6\nready = 1\n"
            "[profile.heavy]\nexposed = true\nprocesses = 50\n"
            f'[environment.shell]\npython = "{python}"\nkernelspec = "shell"\ntitle = "Bash"\nlanguage = "bash"\n'
        )
        yield running
        running.stop()


@pytest.fixture
def publish(bash, page, foreign, watch):
    watch.allowed_hosts.add(f"127.0.0.1:{bash.port}")

    def publish(body: str, script: str = "") -> None:
        page.goto(foreign.publish(f'<script src="{bash.url}/static/embedded_cell.js"></script>', body + script))

    return publish


def test_a_language_finds_its_environment_and_a_menu_changes_it(publish, page):
    publish("<code-cell languages='python bash gap'>print(6 * 7)</code-cell>")
    cell = CellOnPage(page)
    cell.evaluate()
    expect(cell.output.get_by_text("42")).to_be_visible()
    menu = cell.root.get_by_label("Language")
    expect(menu.locator("option")).to_have_text(["Python", "Bash", "GAP (not installed)"])
    menu.select_option("bash")
    cell.evaluate("echo $((6 * 7)) in $BASH")
    expect(cell.output.get_by_text("42 in /usr/bin/bash")).to_be_visible()
    menu.select_option("gap")
    cell.start()
    expect(cell.notice).to_contain_text("GAP is not installed on this server")
    expect(cell.notice).to_contain_text("Installed: Python, Bash.")


def test_a_menu_of_everything_offers_what_the_server_has(bash, publish, page, watch):
    publish("<code-cell languages='python *'>print(6 * 7)</code-cell>")
    cell = CellOnPage(page)
    menu = cell.root.get_by_label("Language")
    expect(menu.locator("option")).to_have_text(["Python", "Bash"])
    menu.select_option("bash")
    cell.evaluate("echo $((6 * 7)) in $BASH")
    expect(cell.output.get_by_text("42 in /usr/bin/bash")).to_be_visible()
    page.goto(f"{bash.url}/")
    expect(CellOnPage(page).root.get_by_label("Language").locator("option")).to_have_text(["Python", "Bash"])


def test_a_cell_that_does_not_know_what_the_server_has_asks_again(publish, page, watch):
    watch.expected.append("Failed to load resource")
    page.route("**/environments", lambda route: route.abort())
    publish("<code-cell language=bash>echo $((6 * 7)) in $BASH</code-cell>")
    cell = CellOnPage(page)
    cell.start()
    expect(cell.notice).to_contain_text("The server could not be reached.")
    page.unroute("**/environments")
    cell.button("Try again").click()
    expect(cell.output.get_by_text("42 in /usr/bin/bash")).to_be_visible()
    expect(cell.notice).to_be_hidden()


def test_environment_and_profile_are_attributes_and_options(publish, page, watch):
    watch.expected.append("400")
    publish(
        "<code-cell environment=shell>echo in $0</code-cell><div id=made></div>",
        "<script>cellAppliance.makeCell({inputLocation: '#made', code: 'open(\"/proc/self/limits\").read()',"
        " profile: 'none'});</script>",
    )
    first, made = CellOnPage(page), CellOnPage(page, "#made")
    first.evaluate()
    expect(first.output.locator(".stdout")).to_contain_text("in ")
    made.start()
    expect(made.notice).to_contain_text("There is no profile 'none' here. Profiles: default, heavy.")


def test_linked_cells_of_two_languages_say_what_is_wrong(publish, page):
    publish(
        "<code-cell link-key=a>1</code-cell><code-cell id=b link-key=a environment=shell>echo</code-cell>",
    )
    CellOnPage(page).evaluate()
    second = CellOnPage(page, "#b")
    second.start()
    expect(second.notice).to_contain_text("Linked cells share one kernel")
