"""Pages as others' tools write them for SageMathCell: they load our script and change nothing else."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage, output_in

MAKE = "<script>sagecell.makeSagecell({inputLocation: '#cell', languages: ['python']});</script>"


@pytest.fixture
def sagecell_script(site):
    return f'<script src="{site}/static/embedded_sagecell.js"></script>'


def test_a_page_of_sphinx_counts_on_jquery(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            """<div class="sage" id="sage-1"><script type="text/x-sage">print(3 < 4 and "a<b>c")</script></div>
            <script>$(function () { sagecell.makeSagecell({inputLocation: "#sage-1"}); });</script>""",
        )
    )
    cell = CellOnPage(page, "#sage-1")
    page.evaluate("() => { $('#sage-1').find('.sagecell_evalButton').click(); }")
    expect(cell.output.get_by_text("a<b>c")).to_be_visible()


def test_files_that_such_pages_load_beside_the_script_are_there(page, foreign, site, sagecell_script):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/jquery.min.js"></script>'
            f'<link rel="stylesheet" href="{site}/static/sagecell_embed.css">' + sagecell_script,
            """<div class="sage" id="sage-1"><script type="text/x-sage">print(6 * 7)</script></div>
            <script>$(function () { sagecell.makeSagecell({inputLocation: "#sage-1"}); });</script>""",
        )
    )
    assert page.evaluate("[$.fn.jquery.split(`.`)[0], sagecell.jQuery === jQuery]") == ["3", True]
    cell = CellOnPage(page, "#sage-1")
    cell.evaluate()
    expect(cell.output.get_by_text("42")).to_be_visible()


def test_a_page_of_pretext(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script
            + """<script>
            for (const hide of [[], ["evalButton", "editorToggle", "language"]]) {
              sagecell.makeSagecell({
                inputLocation: hide.length ? "pre.sagecell-display" : "div.sagecell-python", linked: hide.length === 0,
                linkKey: hide.length ? undefined : "linked-python", autoeval: false, languages: ["python"], hide: hide,
                evalButtonText: "Evaluate (Python)", editor: hide.length ? "codemirror-readonly" : "codemirror",
              });
            }
            sagecell.makeSagecell({inputLocation: ".sagecell-practice", languages: sagecell.allLanguages});
            </script>""",
            """<div class="sagecell-python" id="a">
            <script type="text/x-sage">x = [n for n in range(9) if n < 3]</script></div>
            <div class="sagecell-python" id="b"><script type="text/x-sage">print(x)</script></div>
            <pre class="sagecell-display"><script type="text/x-sage">shown = 1 < 2</script></pre>
            <div class="sagecell-practice" id="c"></div>""",
        )
    )
    for name in ("#a", "#b"):
        cell = CellOnPage(page, name)
        cell.root.get_by_role("button", name="Evaluate (Python)").click()
        cell.wait_until_ended()
    expect(CellOnPage(page, "#b").output.get_by_text("[0, 1, 2]")).to_be_visible()
    display = CellOnPage(page, ".sagecell-display")
    assert display.code == "shown = 1 < 2"
    expect(display.root.get_by_role("button", name="Evaluate")).to_have_count(0)
    assert display.content.get_attribute("aria-readonly") == "true" or not display.content.is_editable()


def test_a_script_finds_the_editor_as_in_codemirror_5(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            f"<div id='cell'>1</div>{MAKE}",
        )
    )
    page.evaluate(
        """() => {
          const editor = $('#cell').find('.CodeMirror').get(0).CodeMirror;
          window.changes = 0;
          editor.on('change', () => { window.changes += 1; });
          editor.setValue('6 * 7');
          editor.refresh();
        }"""
    )
    cell = CellOnPage(page, "#cell")
    assert cell.code == "6 * 7"
    assert page.evaluate("window.changes") == 1
    cell.evaluate()
    expect(cell.output.get_by_text("42")).to_be_visible()


def test_a_page_with_jquery_of_its_own_keeps_it(page, foreign, sagecell_script):
    page.goto(foreign.publish("<script>window.jQuery = window.$ = () => 'own';</script>" + sagecell_script, ""))
    assert page.evaluate("[$(), jQuery(), sagecell.jQuery()]") == ["own"] * 3


def test_an_editor_that_is_collapsed_opens(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            "<div id='cell'>print(5)</div><script>sagecell.makeSagecell("
            "{inputLocation: '#cell', languages: ['python'], collapse: true});</script>",
        )
    )
    cell = CellOnPage(page, "#cell")
    expect(cell.content).to_be_hidden()
    cell.root.get_by_text("Code", exact=True).click()
    expect(cell.content).to_be_visible()


def test_names_that_are_gone_from_sagemathcell_do_no_harm(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            "<div id='cell'>1</div><script>sagecell.init(function () {"
            " sagecell.makeSagecell({inputLocation: '#cell', mode: 'debug', hide: ['evalButton']}); });</script>",
        )
    )
    expect(CellOnPage(page, "#cell").root.get_by_role("button", name="Evaluate")).to_be_visible()
    assert page.evaluate("[sagecell.kernels.length, sagecell.quietMode, typeof sagecell.modes]") == [0, False, "object"]


def test_cells_in_content_that_is_added_later(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            "<div class='sage'>print('first')</div><div id='more'></div><script>"
            "const options = {inputLocation: '.sage', languages: ['python'], linkKey: 'k'};"
            "const info = sagecell.makeSagecell(options);</script>",
        )
    )
    page.evaluate(
        """() => {
          const more = document.getElementById('more');
          more.innerHTML = '<section><div class="sage" id="late">print("late")</div></section>';
          // tools that make cells of what they add do so as before, once more
          sagecell.makeSagecell(options);
        }"""
    )
    late = CellOnPage(page, "#late")
    late.evaluate()
    expect(late.output.get_by_text("late")).to_be_visible()
    page.evaluate(
        """() => { document.getElementById('more').innerHTML = '<div class="sage" id="later">6 * 7</div>'; }"""
    )
    later = CellOnPage(page, "#later")
    later.evaluate()
    expect(later.output.get_by_text("42")).to_be_visible()
    assert page.locator(".sagecell_input").count() == 2
    page.evaluate("sagecell.deleteSagecell(info)")
    expect(page.locator(".sagecell_input")).to_have_count(0)


def test_making_cells_twice_is_harmless(page, foreign, sagecell_script):
    twice = sagecell_script * 2 + MAKE.replace("<script>", "<script>addEventListener('load', () => {").replace(
        "</script>", "});</script>"
    )
    page.goto(foreign.publish(twice, f"<div id='cell'>print(7)</div>{MAKE}"))
    cell = CellOnPage(page, "#cell")
    cell.evaluate()
    expect(cell.output.get_by_text("7")).to_be_visible()
    assert page.locator(".sagecell_input").count() == 1


def test_b10_a_form_that_was_moved_is_restored(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            "<div id='in'>print('here')</div><script>"
            "const info = sagecell.makeSagecell({inputLocation: '#in', languages: ['python']});"
            "sagecell.moveInputForm(info); sagecell.restoreInputForm(info);</script>",
        )
    )
    CellOnPage(page, "#in").evaluate()
    expect(output_in(page.locator("#in")).get_by_text("here")).to_be_visible()


def test_b16_a_script_in_output_does_not_run_in_the_page(page, foreign, sagecell_script):
    page.goto(
        foreign.publish(
            sagecell_script,
            f"<div id='cell'></div>{MAKE}",
        )
    )
    cell = CellOnPage(page, "#cell")
    cell.evaluate(
        "from IPython.display import HTML\n"
        'HTML(\'<p>shown</p><script>try { parent.document.title = "OWNED" } catch (error) {'
        " document.body.append(error.name) }</script>')"
    )
    expect(cell.output.get_by_text("SecurityError")).to_be_visible()
    assert page.title() == "Course notes"


def test_a_page_without_an_origin_of_its_own_has_cells(page, foreign, sagecell_script):
    inner = (
        f"{sagecell_script}<div id=cell>print(6 * 7)</div>"
        "<script>sagecell.makeSagecell({inputLocation: `#cell`, languages: [`python`], autoeval: true});</script>"
    )
    page.goto(
        foreign.publish("", f"<iframe sandbox='allow-scripts' title='cell' height=400 srcdoc='{inner}'></iframe>")
    )
    frame = page.frame_locator("iframe[title=cell]")
    expect(frame.locator("iframe.ca-frame").content_frame.get_by_text("42")).to_be_visible(timeout=20_000)
