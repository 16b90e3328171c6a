"""Cells on pages of another origin: `<code-cell>`, `makeCell` and SageMathCell's `makeSagecell`."""

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage, output_in


@pytest.fixture
def cell_script(site):
    return f'<script src="{site}/static/embedded_cell.js"></script>'


@pytest.fixture
def sagecell_script(site):
    return f'<script src="{site}/static/embedded_sagecell.js"></script>'


def click_by_script(page, selector):
    """Click as scripts of old pages do."""
    page.evaluate("selector => document.querySelector(selector + ' .sagecell_evalButton').click()", selector)


def test_an_element_is_a_cell(page, foreign, cell_script):
    page.goto(foreign.publish(cell_script, "<code-cell>\nif True:\n    print('embedded')\n</code-cell>"))
    cell = CellOnPage(page)
    assert cell.code == "if True:\n    print('embedded')"
    cell.evaluate()
    expect(cell.output.get_by_text("embedded")).to_be_visible()


def test_code_in_a_script_needs_no_escapes(page, foreign, cell_script):
    code = 'if 1<2 and "a">"b" or 1&1:\n    print("<b>")'
    page.goto(foreign.publish(cell_script, f'<code-cell><script type="text/x-python">\n{code}\n</script></code-cell>'))
    cell = CellOnPage(page)
    assert cell.code == code
    cell.evaluate()
    expect(cell.output.get_by_text("<b>")).to_be_visible()


def test_an_element_evaluates_itself_and_may_be_read_only(page, foreign, cell_script):
    page.goto(foreign.publish(cell_script, "<code-cell autoeval readonly>print('by itself')</code-cell>"))
    cell = CellOnPage(page)
    expect(cell.output.get_by_text("by itself")).to_be_visible()
    cell.write("changed")
    assert cell.code == "print('by itself')"


def test_an_element_that_comes_later_is_a_cell_and_one_that_goes_ends_its_kernel(page, foreign, cell_script):
    page.goto(foreign.publish(cell_script, "<main></main>"))
    page.evaluate("document.querySelector('main').innerHTML = '<code-cell>import time; time.sleep(60)</code-cell>'")
    cell = CellOnPage(page)
    cell.start()
    cell.wait_for_phase("running")
    with page.expect_response(lambda response: response.request.method == "DELETE") as ended:
        page.evaluate("document.querySelector('code-cell').remove()")
    assert ended.value.status == 200


def test_make_cell(page, foreign, cell_script):
    page.goto(
        foreign.publish(
            cell_script,
            """<div id="in"></div><div id="out"></div><script>
            const handle = cellAppliance.makeCell({
              inputLocation: "#in", outputLocation: "#out", code: "print(6 * 7)", evalButtonText: "Compute",
              hide: ["language"], template: {hide: ["permalink"]}, callback: () => { document.title = "built" },
            });
            </script>""",
        )
    )
    cell = CellOnPage(page, "#in")
    assert page.title() == "built"
    cell.button("Compute").click()
    cell.wait_until_ended()
    expect(output_in(page.locator("#out")).get_by_text("42")).to_be_visible()
    expect(cell.button("Share")).to_be_hidden()
    expect(cell.root.get_by_text("Python", exact=True)).to_be_hidden()
    page.evaluate("handle.code = 'print(7)'; handle.evaluate()")
    expect(output_in(page.locator("#out")).get_by_text("7", exact=True)).to_be_visible()
    page.evaluate("handle.remove()")
    expect(page.locator("#out iframe")).to_have_count(0)


def test_make_cell_says_what_is_wrong(page, foreign, cell_script):
    page.goto(foreign.publish(cell_script, "<p class=many></p><p class=many></p>"))
    say = "options => { try { cellAppliance.makeCell(options) } catch (error) { return error.message } }"
    assert "expected an object" in page.evaluate(say, None)
    assert "names 0" in page.evaluate(say, {"inputLocation": "#nowhere"})
    assert "names 2" in page.evaluate(say, {"inputLocation": ".many"})


def test_three_kinds_of_input_location(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script
            + '<script>sagecell.makeSagecell({inputLocation: "#by-selector", languages: ["python"]});</script>',
            """<div id="by-selector"><script type="text/x-sage">print('selector')</script></div>
            <textarea id="by-element">print('element')</textarea>
            <div class="by-list">print('list 1')</div><div class="by-list">print('list 2')</div>
            <script>
            sagecell.makeSagecell({inputLocation: document.getElementById("by-element"), languages: ["python"]});
            sagecell.makeSagecell({inputLocation: document.querySelectorAll(".by-list"), languages: ["python"]});
            </script>""",
        )
    )
    click_by_script(page, "#by-selector")
    expect(output_in(page.locator("#by-selector")).get_by_text("selector")).to_be_visible()
    click_by_script(page, "div:has(+ textarea)")
    expect(output_in(page.locator("div:has(+ textarea)")).get_by_text("element")).to_be_visible()
    expect(page.locator("#by-element")).to_be_hidden()
    for number in (1, 2):
        cell = page.locator(".by-list").nth(number - 1)
        cell.locator(".sagecell_evalButton").click()
        expect(output_in(cell).get_by_text(f"list {number}")).to_be_visible()


def test_a_textarea_follows_its_editor(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            "<textarea>1</textarea><script>sagecell.makeSagecell({inputLocation: 'textarea'})</script>",
        )
    )
    CellOnPage(page, "div.sagecell").write("2 + 2")
    assert page.evaluate("document.querySelector('textarea').value") == "2 + 2"


def test_linked_cells_share_their_variables(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            """<div class="linked" id="first">shared = 11; print('set')</div>
            <div class="linked" id="second">print(shared * 2)</div>
            <div id="third">print(shared * 3)</div>
            <script>
            sagecell.makeSagecell({inputLocation: ".linked", linked: true, languages: ["python"], linkKey: "lesson"});
            sagecell.makeSagecell({inputLocation: "#third", linkKey: "lesson", languages: ["python"]});
            </script>""",
        )
    )
    CellOnPage(page, "#first").evaluate()
    for name, value in (("#second", "22"), ("#third", "33")):
        cell = CellOnPage(page, name)
        cell.evaluate()
        expect(cell.output.get_by_text(value, exact=True)).to_be_visible()
    expect(page.locator("#first").get_by_role("button", name="Share")).to_be_hidden()


def test_what_waited_behind_an_error_is_said_not_to_have_run(page, foreign, cell_script):
    cells = "<code-cell linked id=first>1</code-cell><code-cell linked id=second>print('before')</code-cell>"
    page.goto(foreign.publish(cell_script, cells))
    first, second = CellOnPage(page, "#first"), CellOnPage(page, "#second")
    second.evaluate()
    first.write("input('go? ')\n1 / 0")
    first.start()
    first.wait_for_phase("running")
    second.write("print('never')")
    second.start()
    second.wait_for_phase("running")
    first.root.get_by_label("go?").fill("")
    first.root.get_by_label("go?").press("Enter")
    expect(second.status).to_have_text("Not run: the evaluation before it failed")
    expect(second.announced).to_have_text("Not run: the evaluation before it failed.")
    expect(second.output.get_by_text("before")).to_be_visible()


def test_an_element_that_is_moved_while_it_runs_shows_what_comes_then(page, foreign, cell_script):
    page.goto(
        foreign.publish(
            cell_script, "<code-cell>print('before')\ninput('go? ')\nprint('after')</code-cell><div id=to></div>"
        )
    )
    cell = CellOnPage(page)
    cell.start()
    expect(cell.output.get_by_text("before")).to_be_visible()
    expect(cell.root.get_by_label("go?")).to_be_visible()
    page.evaluate("document.querySelector('#to').append(document.querySelector('code-cell'))")
    cell.root.get_by_label("go?").fill("")
    cell.root.get_by_label("go?").press("Enter")
    cell.wait_until_ended()
    expect(cell.output.get_by_text("after")).to_be_visible()


def test_a_lost_session_of_linked_cells_is_said_to_be_lost(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            """<div class="linked" id="first">kept = 1; print('set')</div>
            <div class="linked" id="second">import os; os._exit(1)</div>
            <script>sagecell.makeSagecell({inputLocation: ".linked", linked: true, languages: ["python"]});</script>""",
        )
    )
    first, second = CellOnPage(page, "#first"), CellOnPage(page, "#second")
    first.evaluate()
    second.evaluate()
    for cell in (first, second):
        expect(cell.notice).to_contain_text("session of the linked cells is lost")
    first.evaluate("print('kept' in globals())")
    expect(first.output.get_by_text("False")).to_be_visible()


def test_options_of_make_sagecell(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            """<script id="code" type="text/x-sage">print('from codeLocation')</script>
            <div id="in">ignored</div><div id="out"></div>
            <script>
            const info = sagecell.makeSagecell({
              inputLocation: "#in", outputLocation: "#out", codeLocation: "#code", evalButtonText: "Los",
              autoeval: true,
              template: sagecell.templates.restricted, hide: ["evalButton", "computationID"], getCode: 7,
              languages: ["python"], callback: function () { window.built = arguments.length; },
            });
            </script>""",
        )
    )
    expect(output_in(page.locator("#out")).get_by_text("from codeLocation")).to_be_visible()
    assert page.evaluate("window.built") == 0
    assert page.evaluate("info.getCode") == 7
    assert page.evaluate("info.editorData.getValue()") == "print('from codeLocation')"
    cell = CellOnPage(page, "#in")
    expect(cell.root.locator(".sagecell_evalButton")).to_be_hidden()
    expect(cell.root.locator(".sagecell_permalink")).to_be_hidden()
    for name in ("sagecell_input", "sagecell_editor", "sagecell_commands"):
        expect(page.locator(f"#in .{name}")).to_have_count(1)
    expect(page.locator("#out .sagecell_output")).to_have_count(1)


def test_forms_are_moved_and_restored_and_cells_deleted(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            """<div id="in">print('here')</div><div id="out"></div><script>
            const info = sagecell.makeSagecell({inputLocation: "#in", outputLocation: "#out", languages: ["python"]});
            </script>""",
        )
    )
    page.evaluate("sagecell.moveInputForm(info)")
    expect(page.locator("#in .sagecell_input")).to_have_count(0)
    expect(page.locator("#sagecell_moved .sagecell_input")).to_be_hidden()
    page.evaluate("sagecell.restoreInputForm(info)")
    cell = CellOnPage(page, "#in")
    cell.evaluate()
    expect(output_in(page.locator("#out")).get_by_text("here")).to_be_visible()
    page.evaluate("singlecell.deleteSinglecell(info)")
    expect(page.locator("#in, #out")).to_have_count(0)


def test_languages_are_chosen_and_those_missing_are_said_to_be(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            """<div id="cell">print(1 + 1)</div><script>
            sagecell.makeSagecell({inputLocation: "#cell", languages: sagecell.allLanguages});
            </script>""",
        )
    )
    cell = CellOnPage(page, "#cell")
    expect(cell.root.get_by_label("Language").locator("option:checked")).to_have_text("Sage (running Python)")
    cell.evaluate()
    expect(cell.output.get_by_text("2", exact=True)).to_be_visible()
    cell.root.get_by_label("Language").select_option("gap")
    cell.start()
    expect(cell.notice).to_contain_text("GAP is not installed on this server")


def test_a_page_and_its_cells_leave_each_other_alone(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script
            + """<style>button { background: rgb(255, 0, 0); text-transform: uppercase; font-size: 40px }
            .notes button { padding: 50px } div, span { letter-spacing: 5px } svg { display: none }</style>""",
            """<div class="notes"><button id="own">mine</button><div id="cell">1</div></div><script>
            sagecell.makeSagecell({inputLocation: "#cell", languages: ["python"]});
            </script>""",
        )
    )
    style = "(element, name) => getComputedStyle(element)[name]"
    run, own = page.locator(".sagecell_evalButton"), page.locator("#own")
    assert run.evaluate(style, "fontSize") == "14px"
    assert run.evaluate(style, "paddingTop") == "4px"
    assert run.evaluate(style, "textTransform") == "none"
    assert run.evaluate(style, "backgroundColor") != "rgb(255, 0, 0)"
    assert page.locator("#cell .cm-line").evaluate(style, "letterSpacing") == "normal"
    assert own.evaluate(style, "backgroundColor") == "rgb(255, 0, 0)"
    assert own.evaluate(style, "fontSize") == "40px"
    assert page.evaluate("Object.keys(window).filter(name => /cell/i.test(name)).sort()") == ["sagecell", "singlecell"]
