"""Cells speak the language of the page around them, and stand in pages that read from right to left."""

from __future__ import annotations

import base64
import json
import pathlib

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage


@pytest.fixture
def publish(foreign, site):
    script = f'<script src="{site}/static/embedded_cell.js"></script>'
    return lambda body: foreign.publish(script, body)


@pytest.mark.parametrize(
    ("language", "button", "status", "share"),
    [
        ("en-GB", "Evaluate", "Finished in", "Short link"),
        ("fr", "Évaluer", "Terminé en", "Lien court"),
        ("es-MX", "Evaluar", "Terminado en", "Enlace corto"),
        ("de", "Ausführen", "Fertig in", "Kurzer Link"),
        ("zh-Hans", "运行", "完成", "短链接"),
        ("tlh", "Evaluate", "Finished in", "Short link"),
    ],
)
def test_a_cell_speaks_the_language_of_its_page(page, publish, language, button, status, share):
    page.goto(publish(f"<div lang={language}><code-cell>print(1)</code-cell></div>"))
    cell = CellOnPage(page)
    cell.root.get_by_role("button", name=button, exact=True).click()
    expect(cell.status).to_contain_text(status)
    cell.root.locator(".ca-share").click()
    expect(cell.root.get_by_label(share, exact=False).first).to_be_visible()


def test_an_attribute_says_it_for_a_single_cell_and_the_end_of_a_kernel_is_told_in_it(page, publish):
    page.goto(publish('<code-cell ui-language="de">import os; os._exit(1)</code-cell>'))
    cell = CellOnPage(page)
    cell.root.get_by_role("button", name="Ausführen").click()
    expect(cell.notice).to_contain_text("Das Programm hat den Kernel selbst beendet.")


def test_a_page_that_reads_from_right_to_left(page, publish):
    page.goto(publish("<div dir=rtl lang=he><code-cell>print('abc')</code-cell></div>"))
    cell = CellOnPage(page)
    bar, run = cell.root.locator(".ca-bar").bounding_box(), cell.root.locator(".ca-run").bounding_box()
    assert run["x"] > bar["x"] + bar["width"] / 2
    assert cell.content.evaluate("content => getComputedStyle(content).direction") == "ltr"
    cell.start()
    line = cell.output.get_by_text("abc")
    expect(line).to_be_visible()
    assert line.evaluate("line => getComputedStyle(line).direction") == "ltr"


def test_shared_code_is_a_picture_html_and_a_notebook(page, site, publish, foreign):
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.evaluate("print('a</script>b')\n1/0")
    cell.button("Share").click()
    expect(cell.root.get_by_role("img", name="QR code of the short link")).to_be_visible()
    with page.expect_download() as downloaded:
        cell.button("Download as a notebook").click()
    assert downloaded.value.suggested_filename == "cell.ipynb"
    notebook = json.loads(downloaded.value.path().read_text())
    (only,) = notebook["cells"]
    assert only["source"] == cell.code
    assert [output["output_type"] for output in only["outputs"]] == ["stream", "error"]
    assert only["outputs"][0]["text"] == "a</script>b\n"
    snippet = cell.root.get_by_label("HTML", exact=False).and_(page.locator("input")).input_value()
    page.goto(foreign.publish("", snippet))
    again = CellOnPage(page)
    assert again.code == cell.code or "a</script>b" in again.code


JSQR = pathlib.Path(__file__).resolve().parents[1] / "clients/node_modules/jsqr/dist/jsQR.js"

DECODE = """async (png) => {
  const picture = await createImageBitmap(await (await fetch('data:image/png;base64,' + png)).blob());
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext('2d');
  context.drawImage(picture, 0, 0);
  const {data, width, height} = context.getImageData(0, 0, picture.width, picture.height);
  return jsQR(data, width, height)?.data;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_qr_code_on_the_screen_is_read_as_the_short_link(page, site, browser, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(site + "/")
    cell = CellOnPage(page)
    cell.write("print('shared by telephone')")
    cell.button("Share").click()
    picture = cell.root.get_by_role("img", name="QR code of the short link")
    expect(picture).to_be_visible()
    link = cell.root.get_by_label("Short link", exact=False).first.input_value()
    seen = base64.b64encode(picture.screenshot()).decode()
    reader = browser.new_page()
    reader.evaluate(JSQR.read_text())
    assert reader.evaluate(DECODE, seen) == link
    reader.close()
    page.goto(link)
    expect(CellOnPage(page).output.get_by_text("shared by telephone")).to_be_visible()


def test_linked_cells_are_shared_with_those_before_them(page, site, foreign):
    script = f'<script src="{site}/static/embedded_cell.js"></script>'
    page.goto(
        foreign.publish(
            script,
            "<code-cell linked id=one>x = 6</code-cell><code-cell id=alone>print('alone')</code-cell>"
            "<code-cell linked id=two>print(x * 7)</code-cell><code-cell linked id=three>print('after')</code-cell>",
        )
    )
    one, two = CellOnPage(page, "#one"), CellOnPage(page, "#two")
    one.evaluate()
    two.evaluate()
    two.button("Share").click()
    link = two.root.get_by_label("Short link", exact=False).first.input_value()
    with page.expect_download() as downloaded:
        two.button("Download as a notebook").click()
    notebook = json.loads(downloaded.value.path().read_text())
    assert [(cell["source"], [output.get("text") for output in cell["outputs"]]) for cell in notebook["cells"]] == [
        ("x = 6", []),
        ("print(x * 7)", ["42\n"]),
        ("print('after')", []),
    ]
    snippet = two.root.get_by_label("HTML", exact=False).and_(page.locator("input")).input_value()
    page.goto(link)
    expect(CellOnPage(page).output.get_by_text("42")).to_be_visible()
    page.goto(foreign.publish("", snippet))
    again = [CellOnPage(page, f"code-cell >> nth={number}") for number in range(3)]
    again[0].evaluate()
    again[1].evaluate()
    expect(again[1].output.get_by_text("42")).to_be_visible()
