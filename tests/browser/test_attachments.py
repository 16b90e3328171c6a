"""Files that a visitor adds to a cell, by the file chooser and by dropping them, before there is a kernel and later."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.browser.test_accessibility import violations

READ = "print(open('words.txt').read().upper())"

DROP = """(element, files) => {
  const transfer = new DataTransfer();
  for (const [name, size] of files) transfer.items.add(new File(['x'.repeat(size)], name));
  for (const type of ['dragenter', 'dragover', 'drop']) {
    const event = new DragEvent(type, {dataTransfer: transfer, bubbles: true, cancelable: true, composed: true});
    element.dispatchEvent(event);
    if (!event.defaultPrevented) throw new Error(`${type} is left to others`);
  }
}"""


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def choose(cell, *files):
    """Add files by keys alone."""
    with cell.page.expect_file_chooser() as chooser:
        cell.button("Add files").focus()
        cell.page.keyboard.press("Enter")
    chooser.value.set_files([{"name": name, "mimeType": "text/plain", "buffer": data} for name, data in files])


def test_chosen_files_are_there_for_every_evaluation(cell, watch):
    # axe asks for style sheets of the page for its own checks, which the page's policy refuses
    watch.expected.append("")
    choose(cell, ("words.txt", b"some words"), ("d ü.bin", bytes(3_000_000)))
    listed = cell.root.get_by_role("group", name="Files for the program").get_by_role("listitem")
    expect(listed).to_have_text(
        ["words.txt 10 bytes · comes with the next evaluation", "d ü.bin 3.0 MB · comes with the next evaluation"]
    )
    expect(cell.announced).to_contain_text("Added: words.txt, d ü.bin.")
    for _ in range(2):
        cell.evaluate(READ + "\nimport os\nprint(os.stat('d ü.bin').st_size)")
        expect(cell.output.get_by_text("SOME WORDS")).to_be_visible()
        expect(cell.output.get_by_text("3000000")).to_be_visible()
        expect(listed.first).to_have_text("words.txt 10 bytes · is there")
    # what was brought is not what the program wrote
    expect(cell.root.get_by_role("region", name="Files")).to_be_hidden()
    # the frame of the earlier output stands there for another moment
    expect(cell.root.locator("iframe.ca-frame-last")).to_have_count(0)
    assert violations(cell.page) == []
    cell.button("Remove d ü.bin").click()
    expect(cell.button("Add files")).to_be_focused()
    cell.evaluate("import os; print(os.listdir())")
    expect(cell.output.get_by_text("['words.txt']")).to_be_visible()


def test_files_are_dropped_on_a_cell_whose_program_runs(cell):
    cell.write(
        "import os, time\nprint('waiting', flush=True)\nwhile not os.path.exists('late.txt'): time.sleep(0.05)\n"
        "print(os.stat('late.txt').st_size)"
    )
    cell.start()
    expect(cell.output.get_by_text("waiting")).to_be_visible()
    before = cell.code
    cell.content.evaluate(DROP, [["late.txt", 1234]])
    expect(cell.output.get_by_text("1234")).to_be_visible()
    cell.wait_until_ended()
    # the editor has not taken what is in the file
    assert cell.code == before


def test_what_is_too_large_is_refused_on_the_page_and_by_the_server(cell):
    cell.content.evaluate(DROP, [["huge.bin", 17_000_000], ["words.txt", 3]])
    listed = cell.root.get_by_role("group", name="Files for the program").get_by_role("listitem")
    expect(listed.first).to_contain_text("huge.bin 17.0 MB · Too large: this server takes files of up to 16.8 MB.")
    # the others come all the same
    cell.evaluate("import os; print(os.listdir())")
    expect(cell.output.get_by_text("['words.txt']")).to_be_visible()


def test_a_file_that_the_kernel_does_not_take_is_told_and_the_others_come(cell, watch):
    watch.expected.append("409")
    cell.write(
        "import os, time\nos.mkdir('a')\nprint('waiting', flush=True)\n"
        "while not os.path.exists('go'): time.sleep(0.05)\n"
        "print('gone on')"
    )
    cell.start()
    expect(cell.output.get_by_text("waiting")).to_be_visible()
    cell.content.evaluate(DROP, [["a", 3], ["go", 3]])
    listed = cell.root.get_by_role("group", name="Files for the program").get_by_role("listitem")
    expect(listed.first).to_contain_text("In the kernel, something else has the name")
    expect(cell.output.get_by_text("gone on")).to_be_visible()
    cell.wait_until_ended()
    # a fresh kernel has nothing in the way
    cell.evaluate("import os; print(sorted(os.listdir()))")
    expect(cell.output.get_by_text("['a', 'go']")).to_be_visible()


def test_without_the_server_the_evaluation_says_so_and_can_be_tried_again(cell, watch):
    watch.expected.append("")
    cell.content.evaluate(DROP, [["words.txt", 3]])
    cell.page.route("**/files/*", lambda route: route.abort())
    cell.start()
    expect(cell.notice).to_contain_text("The server could not be reached.")
    cell.page.unroute("**/files/*")
    cell.button("Try again").click()
    cell.wait_until_ended()
    cell.evaluate(READ)
    expect(cell.output.get_by_text("XXX")).to_be_visible()


def test_linked_cells_share_files_and_the_page_speaks_its_language(page, foreign, site):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_cell.js"></script>',
            f"<div lang=de><code-cell linked>x = 1</code-cell><code-cell linked id=second>{READ}</code-cell>"
            "<code-cell hide=files id=without>1</code-cell></div>",
        )
    )
    first, second = CellOnPage(page), CellOnPage(page, "#second")
    first.root.get_by_role("button", name="Ausführen").click()
    first.wait_until_ended()
    with page.expect_file_chooser() as chooser:
        first.root.get_by_role("button", name="Dateien hinzufügen").click()
    chooser.value.set_files([{"name": "words.txt", "mimeType": "text/plain", "buffer": b"some words"}])
    group = first.root.get_by_role("group", name="Dateien für das Programm")
    # at once, since there is a kernel
    expect(group.get_by_role("listitem")).to_have_text("words.txt 10 bytes · ist da")
    second.root.get_by_role("button", name="Ausführen").click()
    expect(second.output.get_by_text("SOME WORDS")).to_be_visible()
    expect(page.locator("#without").get_by_role("button", name="Dateien hinzufügen")).to_be_hidden()
