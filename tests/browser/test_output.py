"""What kernels send, shown in the output frame."""

import pathlib

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

PLOT = """import numpy as np
import matplotlib.pyplot as plt
t = np.linspace(0, 1, 50)
plt.plot(t, t**2)
plt.show()"""


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def natural_width(cell, selector):
    return cell.output.locator(selector).evaluate("image => image.decode().then(() => image.naturalWidth)")


def test_a_plot_is_a_picture(cell):
    cell.evaluate(PLOT)
    assert natural_width(cell, "[data-mime='image/png'] img") > 100
    assert cell.frame_height > 200


def refuse(page, watch, times):
    """Let the first requests for the document of the output fail; return a list that grows with them."""
    watch.expected.append("Failed to load resource")
    refused = []

    def answer(route):
        if len(refused) < times:
            refused.append(route.request.url)
            route.abort()
        else:
            route.fallback()

    page.route("**/output_frame.html", answer)
    return refused


def test_the_frame_of_output_is_loaded_again_until_it_is_there(cell, page, watch):
    refused = refuse(page, watch, 3)
    cell.evaluate("print('at last')")
    expect(cell.output.get_by_text("at last")).to_be_visible(timeout=15_000)
    expect(cell.notice).to_be_hidden()
    assert len(refused) == 3


def test_output_that_cannot_be_shown_is_said_not_to_be(cell, page, watch):
    refuse(page, watch, 100)
    cell.evaluate("print('never seen')")
    expect(cell.notice).to_contain_text("The output cannot be shown", timeout=15_000)
    page.unroute("**/output_frame.html")
    cell.evaluate("print('seen again')")
    expect(cell.output.get_by_text("seen again")).to_be_visible()
    expect(cell.notice).to_be_hidden()


def test_formulas_are_typeset_with_fonts_of_the_server(cell, watch, site):
    cell.evaluate("from sympy import *\nx = symbols('x')\nintegrate(exp(-x**2), (x, -oo, oo)) / x")
    expect(cell.output.locator(".katex .mfrac")).to_be_visible()
    cell.frame.evaluate("document.fonts.ready")
    assert cell.frame.evaluate("document.fonts.check('16px KaTeX_Main')")
    fonts = [url for url in watch.requests if url.endswith(".woff2")]
    assert fonts
    assert all(url.startswith(f"{site}/static/fonts/") for url in fonts)


def test_nothing_of_katex_is_loaded_before_a_formula(cell, watch):
    cell.evaluate("1")
    assert [url for url in watch.requests if "katex" in url.lower()] == []


def test_html_svg_jpeg_json_and_markdown(cell):
    cell.evaluate(
        "import pandas as pd\n"
        "from IPython.display import SVG, Markdown, JSON, display\n"
        "display(pd.DataFrame({'n': [1, 2]}))\n"
        'display(SVG(\'<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30"/>\'))\n'
        "display(Markdown('*stressed*'))\n"
        "display({'application/json': {'key': [1]}}, raw=True)\n"
        "import io, matplotlib.pyplot as plt\n"
        "plt.figure(figsize=(1, 1)); plt.savefig(b := io.BytesIO(), format='jpeg'); plt.close()\n"
        "import base64; display({'image/jpeg': base64.b64encode(b.getvalue()).decode()}, raw=True)"
    )
    expect(cell.output.locator("table.dataframe td").first).to_have_text("1")
    assert natural_width(cell, "[data-mime='image/svg+xml'] img") == 40
    assert natural_width(cell, "[data-mime='image/jpeg'] img") == 100
    expect(cell.output.locator("[data-mime='text/markdown'] em")).to_have_text("stressed")
    tree = cell.output.locator("[data-mime='application/json']")
    expect(tree.locator("summary")).to_have_text(["{1}", "key: [1]"])
    expect(tree.locator(".json-number")).to_have_text("1")
    tree.locator("summary").first.click()
    expect(tree.locator(".json-number")).to_be_hidden()


def test_formulas_in_html_are_typeset_where_they_are_marked_as_such(cell):
    cell.evaluate(
        "from IPython.display import HTML\n"
        r"HTML(r'<p>\(\frac{a}{b}\) for $5 and $6 <code>\(verbatim\)</code></p><div>\[\sum_i i\]</div>')"
    )
    shown = cell.output.locator("[data-mime='text/html']")
    expect(shown.locator("p > span .katex .mfrac")).to_be_visible()
    expect(shown.locator("p")).to_contain_text("for $5 and $6 ")
    expect(shown.locator("code")).to_have_text(r"\(verbatim\)")
    expect(shown.locator("div .katex-display")).to_be_visible()


def test_markdown_with_tables_code_and_formulas(cell):
    cell.evaluate(
        "from IPython.display import Markdown\n"
        "Markdown('# Title\\n\\n| a | b |\\n|---|---|\\n| 1 | $x_1^2$ |\\n\\n`$no_formula$`\\n\\n$$\\\\int_0^1 x$$')"
    )
    shown = cell.output.locator(".markdown")
    expect(shown.locator("h1")).to_have_text("Title")
    expect(shown.locator("td .katex")).to_be_visible()
    expect(shown.locator(".katex-display")).to_be_visible()
    expect(shown.locator("code")).to_have_text("$no_formula$")


def test_a_question_mark_shows_help(cell):
    cell.evaluate("print?")
    expect(cell.output.locator("#outputs")).to_contain_text("Prints the values to a stream")


def test_a_link_to_a_file_offers_it_and_the_visitor_saves_it(cell, page):
    cell.evaluate(
        "from IPython.display import HTML\n"
        'HTML(\'<a download="../a\\u202eb.csv" href="data:text/csv;base64,MSwyCg==">table</a>\')'
    )
    cell.output.get_by_text("table").click()
    expect(cell.notice).to_contain_text("The output offers a file: ab.csv (4 bytes).")
    with page.expect_download() as download:
        cell.button("Save").click()
    assert download.value.suggested_filename == "ab.csv"
    assert pathlib.Path(download.value.path()).read_bytes() == b"1,2\n"
    expect(cell.notice).to_be_hidden()


def test_a_traceback_has_colours(cell):
    cell.evaluate("def f():\n    return 1/0\nf()")
    expect(cell.output.locator(".error")).to_contain_text("ZeroDivisionError: division by zero")
    expect(cell.output.locator(".error .ansi-red-fg").first).to_be_visible()
    expect(cell.announced).to_have_text("Error. ZeroDivisionError: division by zero")


def test_streams_stay_apart_and_in_order(cell):
    cell.evaluate(
        "import sys\nprint('out 1', flush=True)\nprint('error', file=sys.stderr, flush=True)\n"
        "print('out 2', flush=True)"
    )
    expect(cell.output.locator(".output")).to_have_text(["out 1\n", "error\n", "out 2\n"])
    expect(cell.output.locator(".stderr")).to_have_count(1)


def test_progress_bars_overwrite_their_line(cell):
    cell.evaluate(
        "import time\nfor i in range(5):\n    print(f'\\r{i * 25} %', end='', flush=True)\n    time.sleep(0.02)"
    )
    expect(cell.output.locator(".stdout")).to_have_text("100 %")


def test_displays_are_updated_and_cleared(cell):
    cell.evaluate(
        "from IPython.display import HTML, clear_output, display\n"
        "print('cleared')\nclear_output(wait=True)\n"
        "handle = display(HTML('<p>before</p>'), display_id=True)\n"
        "handle.update(HTML('<p>after</p>'))"
    )
    expect(cell.output.locator("#outputs")).to_have_text("after")


def test_a_program_asks_in_place(cell):
    cell.write(
        "name = input('Your name? ')\nprint('Hello', name)\nimport getpass\nprint(len(getpass.getpass('Secret: ')))"
    )
    cell.start()
    field = cell.root.get_by_label("Your name?")
    expect(field).to_be_focused()
    field.fill("Ada")
    field.press("Enter")
    expect(cell.output.get_by_text("Hello Ada")).to_be_visible()
    secret = cell.root.get_by_label("Secret:")
    expect(secret).to_have_attribute("type", "password")
    secret.fill("abc")
    cell.button("Send").click()
    cell.wait_until_ended()
    expect(cell.output.locator("#outputs")).to_contain_text("Your name? Ada")
    expect(cell.output.locator("#outputs")).not_to_contain_text("abc")
    expect(cell.output.locator("#outputs")).to_contain_text("3")
    expect(cell.root.locator(".ca-question")).to_be_hidden()


def test_a_question_is_gone_when_the_program_is_stopped(cell):
    cell.evaluate("print('earlier')")
    cell.write("input('Really? ')")
    cell.start()
    expect(cell.root.get_by_label("Really?")).to_be_visible()
    expect(cell.output.get_by_text("earlier")).to_have_count(0)
    cell.button("Stop").click()
    cell.wait_until_ended()
    expect(cell.root.locator(".ca-question")).to_be_hidden()
    expect(cell.status).to_contain_text("Stopped after")
    expect(cell.output.locator(".error")).to_contain_text("KeyboardInterrupt")
    expect(cell.output.locator(".error")).not_to_contain_text("ipykernel")


def test_a_flood_of_print_leaves_the_page_alive(cell):
    cell.evaluate("for i in range(400_000):\n    print('a line of the flood, number', i)")
    expect(cell.output.locator(".stderr").first).to_contain_text("Output is limited to 800 000 characters of text")
    expect(cell.output.locator(".stdout").first).to_contain_text("a line of the flood, number 0")
    expect(cell.output.locator(".stdout").last).to_contain_text("a line of the flood, number 399999")
    assert cell.frame.evaluate("document.body.textContent.length") < 2_200_000
    cell.evaluate("print('alive')")
    expect(cell.output.get_by_text("alive")).to_be_visible()


def test_long_output_scrolls_inside_and_follows_what_is_printed(cell):
    cell.evaluate("for i in range(300):\n    print('line', i)")
    expect(cell.output.get_by_text("line 299", exact=False)).to_be_visible()
    assert cell.frame_height == 640
    position = "document.documentElement.scrollTop + document.documentElement.clientHeight"
    cell.frame.wait_for_function(f"() => {position} > document.documentElement.scrollHeight - 30")


def test_output_that_grows_later_gets_its_room(cell):
    cell.evaluate(
        "from IPython.display import HTML\n"
        'HTML(\'<div id="late">small</div><script>setTimeout(() => late.style.height = "300px", 200)</script>\')'
    )
    cell.page.wait_for_function(
        "() => document.querySelector('code-cell').shadowRoot.querySelector('iframe').clientHeight > 300"
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_output_wears_the_colours_of_the_page(page, site, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate("print('text')")
    red, green, blue = cell.frame.evaluate("getComputedStyle(document.body).color.match(/[0-9]+/g).map(Number)")
    ground = cell.root.locator(".ca-output").evaluate("part => getComputedStyle(part).backgroundColor.match(/[0-9]+/g)")
    assert (red + green + blue > 384) == (scheme == "dark")
    assert (sum(map(int, ground[:3])) > 384) == (scheme == "light")


def test_paper_shows_all_of_a_long_output_and_no_buttons(cell, page):
    cell.evaluate("for n in range(100): print('line', n)")
    expect(cell.output.get_by_text("line 99")).to_be_visible()
    assert cell.frame_height == 640
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert cell.frame_height > 1500
    expect(cell.root.locator(".ca-bar")).to_be_hidden()
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert cell.frame_height == 640


def test_a_hundred_thousand_lines_scroll(cell):
    cell.evaluate("for n in range(100_000): print(n)")
    frame = cell.frame
    frame.get_by_text("99999").wait_for()
    assert frame.evaluate("document.documentElement.scrollHeight") > 1_000_000
    assert (
        frame.evaluate("document.body.innerText.split('\\n').filter((line) => /^\\d+$/.test(line)).length") == 100_000
    )
    # what is copied is what was printed
    copied = frame.evaluate(
        "() => { getSelection().selectAllChildren(document.body); return getSelection().toString() }"
    )
    assert copied.strip() == "\n".join(str(n) for n in range(100_000))
    # scrolling is quick: two frames pass within the time in which a visitor sees no stutter
    milliseconds = frame.evaluate(
        """async () => {
          const began = performance.now();
          for (const top of [0, 700_000]) {
            document.documentElement.scrollTop = top;
            await new Promise((resolve) => requestAnimationFrame(resolve));
          }
          return performance.now() - began;
        }"""
    )
    assert milliseconds < 1000
