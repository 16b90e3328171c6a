"""Files that a program writes, saved by the visitor when its kernel is gone."""

from __future__ import annotations

import pathlib
import zipfile

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def test_files_are_listed_and_saved_one_by_one_and_together(cell, page):
    cell.evaluate(
        "import os\nos.mkdir('tables')\nopen('tables/a.csv', 'w').write('1,2\\n')\n"
        "open('note.txt', 'w').write('ünïcode')\nopen('big.bin', 'wb').write(bytes(5_000_000))\n"
        "open('.hidden', 'w').write('x')\nprint('written')"
    )
    files = cell.root.get_by_role("region", name="Files")
    expect(files.get_by_role("listitem")).to_have_text(
        [
            "big.bin 5.0 MB · application/octet-stream · "
            "too large to come along: it can be saved while its kernel is there",
            "note.txt 9 bytes · text/plain",
            "tables/a.csv 4 bytes · text/csv",
        ]
    )
    with page.expect_download() as download:
        files.get_by_role("button", name="Save tables/a.csv").click()
    assert download.value.suggested_filename == "a.csv"
    assert pathlib.Path(download.value.path()).read_text() == "1,2\n"
    with page.expect_download() as download:
        files.get_by_role("button", name="Save big.bin").click()
    assert download.value.suggested_filename == "big.bin"
    assert pathlib.Path(download.value.path()).read_bytes() == bytes(5_000_000)
    with page.expect_download() as download:
        files.get_by_role("button", name="Save all (zip)").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "note.txt": "ünïcode",
            "tables/a.csv": "1,2\n",
        }
    cell.evaluate("print('nothing written')")
    expect(files).to_be_hidden()


def test_why_a_large_file_is_not_to_be_had_is_said_where_it_stands(cell, page, watch):
    watch.expected += ["404"]
    cell.evaluate(
        "import os, threading\nopen('gone', 'wb').truncate(5_000_000)\nopen('there', 'wb').truncate(5_000_000)\n"
        "threading.Timer(1, lambda: os.unlink('gone')).start()\nprint('written')"
    )
    files = cell.root.get_by_role("region", name="Files")
    page.wait_for_timeout(1500)
    files.get_by_role("button", name="Save gone").click()
    expect(files.get_by_role("listitem").first).to_contain_text("There is no such file")
    expect(files.locator(".ca-failed")).to_have_count(1)
    with page.expect_download():
        files.get_by_role("button", name="Save there").click()
    expect(files.locator(".ca-failed")).to_have_count(1)


def test_linked_cells_are_told_what_changed_since(page, foreign, site):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_cell.js"></script>',
            "<code-cell linked>open('a', 'w').write('1'); open('b', 'w').write('1')</code-cell>"
            "<code-cell linked id=second>open('b', 'w').write('22'); 1 / 0</code-cell>",
        )
    )
    first, second = CellOnPage(page), CellOnPage(page, "#second")
    first.evaluate()
    expect(first.root.locator(".ca-files li")).to_have_count(2)
    second.evaluate()
    expect(second.root.locator(".ca-files li")).to_have_text("b 2 bytes · application/octet-stream")


def test_files_that_an_object_names_are_in_it(cell, page):
    cell.evaluate(
        "import matplotlib.pyplot as plt\nfrom IPython.display import HTML\nplt.plot([1, 2])\n"
        "plt.savefig('p.png'); plt.savefig('q.svg'); plt.close()\nopen('t.txt', 'w').write('text')\n"
        "display({'text/image-filename': 'p.png?m=1', 'text/plain': 'one'}, raw=True)\n"
        "display({'text/image-filename': 'q.svg', 'text/plain': 'two'}, raw=True)\n"
        'display(HTML(\'<img id=third alt=three src="cell://p.png"><a href="CELL://t.txt" download="t.txt">it</a>\'))\n'
        "from IPython.display import Markdown\ndisplay(Markdown('![four](cell://p.png) and [that](cell://t.txt)'))"
    )
    for picture in ("[data-mime='image/png'] img", "[data-mime='image/svg+xml'] img", "#third", "img[alt=four]"):
        width = cell.output.locator(picture).evaluate("image => image.decode().then(() => image.naturalWidth)")
        assert width > 100, picture
    cell.output.get_by_role("link", name="it").click()
    with page.expect_download() as download:
        cell.root.get_by_role("button", name="Save", exact=True).click()
    assert download.value.suggested_filename == "t.txt"
    assert pathlib.Path(download.value.path()).read_text() == "text"
    # a link in Markdown says no name; that of the file is with it
    cell.output.get_by_role("link", name="that").click()
    with page.expect_download() as download:
        cell.root.get_by_role("button", name="Save", exact=True).click()
    assert download.value.suggested_filename == "t.txt"
