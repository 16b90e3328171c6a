"""The page at `/`: one click on Evaluate."""

import re
import urllib.parse

import pytest
from playwright.sync_api import expect

from tests.browser.cells import FRAMES, CellOnPage, address

FAILED_LOAD = "Failed to load resource"


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def ask_by_post(cell):
    """Load the page again, without a connection before the click."""
    cell.page.route_web_socket(lambda url: "/lease" in url, lambda socket: socket.close())
    cell.page.reload()


def test_two_and_two_is_four(cell):
    cell.evaluate("2+2")
    expect(cell.output.get_by_text("4", exact=True)).to_be_visible()
    expect(cell.status).to_contain_text("Finished in")
    expect(cell.announced).to_have_text("Finished. Output: 4")


def test_the_first_load_brings_the_editor_alone(cell, watch, site):
    cell.page.wait_for_load_state("networkidle")
    paths = {urllib.parse.urlsplit(url).path for url in watch.requests if url.startswith(site)}
    # the names have a hash in them, so that the browser may keep the files for ever
    assert {re.sub(r"-[0-9a-f]{16}\.", "-HASH.", path) for path in paths} == {
        "/",
        "/static/page-HASH.css",
        "/static/embedded_cell-HASH.js",
    }


def test_shift_enter_evaluates(cell):
    cell.write("6*7")
    cell.page.keyboard.press("Shift+Enter")
    expect(cell.output.get_by_text("42", exact=True)).to_be_visible()
    assert cell.code == "6*7"


def test_every_evaluation_starts_afresh(cell):
    cell.evaluate("x = 1; print('set')")
    expect(cell.output.get_by_text("set")).to_be_visible()
    cell.evaluate("x")
    expect(cell.output.get_by_text("NameError: name 'x' is not defined")).to_be_visible()


def test_earlier_output_stays_until_the_new_comes(cell):
    cell.evaluate("print('earlier')")
    cell.write("import time; time.sleep(1); print('later')")
    cell.start()
    cell.wait_for_phase("running")
    expect(cell.root.frame_locator("iframe.ca-frame:not(.ca-frame-next)").get_by_text("earlier")).to_be_visible()
    expect(cell.output.get_by_text("later")).to_be_visible()
    expect(cell.root.locator(FRAMES)).to_have_count(1)


def test_code_without_output_leaves_none(cell):
    cell.evaluate("print('earlier')")
    cell.evaluate("y = 1")
    expect(cell.root.locator(FRAMES)).to_have_count(0)
    expect(cell.announced).to_have_text("Finished without output.")


def test_stop_interrupts_a_loop(cell):
    cell.write("import itertools, time\nfor i in itertools.count():\n    print('tick', i)\n    time.sleep(0.05)")
    cell.start()
    expect(cell.output.get_by_text("tick 3", exact=False)).to_be_visible()
    cell.button("Stop").click()
    cell.wait_until_ended()
    expect(cell.status).to_contain_text("Stopped after")
    expect(cell.output.get_by_text("KeyboardInterrupt").first).to_be_visible()
    expect(cell.button("Stop")).to_be_hidden()


def test_a_kernel_that_ignores_stop_is_ended(cell):
    cell.write(
        "import time\nwhile True:\n    try:\n        print('on')\n        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n        print('and on')"
    )
    cell.start()
    expect(cell.output.get_by_text("on", exact=True)).to_be_visible()
    cell.button("Stop").click()
    cell.wait_until_ended()
    expect(cell.notice).to_contain_text("stopped by you")


def test_evaluate_while_running_starts_again(cell):
    cell.write("import time\nprint('first')\ntime.sleep(60)")
    cell.start()
    expect(cell.output.get_by_text("first")).to_be_visible()
    cell.evaluate("print('second')")
    expect(cell.output.get_by_text("second")).to_be_visible()
    expect(cell.notice).to_be_hidden()


def test_the_death_of_a_kernel_is_explained(cell):
    cell.evaluate("print('before')\nimport os, sys, time\nsys.stdout.flush()\ntime.sleep(0.2)\nos._exit(1)")
    expect(cell.notice).to_contain_text(re.compile(r"^The kernel .*\.$"))
    expect(cell.output.get_by_text("before")).to_be_visible()
    expect(cell.status).to_contain_text("Ended after")
    cell.evaluate("print('alive')")
    expect(cell.output.get_by_text("alive")).to_be_visible()
    expect(cell.notice).to_be_hidden()


def test_a_full_server_says_so_and_can_be_tried_again(cell, watch, site):
    watch.expected.append(FAILED_LOAD)
    refusal = {
        "status": 503,
        "headers": {"Retry-After": "7"},
        "json": {"error": "pool_exhausted", "message": "All kernels of this server are in use."},
    }
    ask_by_post(cell)
    cell.page.route(f"{site}/kernel?*", lambda route: route.fulfill(**refusal), times=1)
    cell.write("print('at last')")
    cell.start()
    expect(cell.notice).to_contain_text("All kernels of this server are in use. The server asks to wait 7 seconds.")
    cell.button("Try again").click()
    expect(cell.output.get_by_text("at last")).to_be_visible()


def test_a_server_that_is_away_is_said_to_be(cell, watch, site):
    watch.expected.append(FAILED_LOAD)
    ask_by_post(cell)
    cell.page.route(f"{site}/kernel?*", lambda route: route.abort(), times=1)
    cell.start()
    expect(cell.notice).to_contain_text("could not be reached")


def test_share_gives_links_to_the_same_code(cell, page):
    code = "# ünïcode, <tags> & \"quotes\"\nprint('shared' + '!')"
    cell.write(code)
    cell.button("Share").click()
    for name in ("Short link", "Long link"):
        link = cell.root.get_by_label(name, exact=False).and_(page.locator("input")).input_value()
        with page.context.new_page() as other:
            other.goto(link)
            opened = CellOnPage(other)
            assert opened.code == code
            expect(opened.output.get_by_text("shared!")).to_be_visible()


@pytest.mark.parametrize("argument", ["c", "autoeval"])
def test_code_in_the_address_is_evaluated_unless_told_not_to(page, site, argument):
    code = "print('</script><b>from the address')"
    arguments = {"c": code} if argument == "c" else {"c": code, "autoeval": "false"}
    page.goto(address(site, **arguments))
    cell = CellOnPage(page)
    assert cell.code == code
    if argument == "c":
        expect(cell.output.get_by_text("</script><b>from the address")).to_be_visible()
    else:
        page.wait_for_load_state("networkidle")
        expect(cell.root.locator(FRAMES)).to_have_count(0)


def test_a_language_that_is_not_there_is_said_so(page, site):
    page.goto(address(site, c="summary(1)", lang="r"))
    expect(CellOnPage(page).notice).to_contain_text("R is not installed on this server")
