"""Cells of Sage in a browser: text/x-sage pages run by Sage where it is, with plots, scenes and interacts."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage

CODE = """show(x^2/2)
@interact
def draw(n=slider([1..4], default=2), c=Color('red')):
    show(plot(sin(n*x), (x, 0, pi), color=c, figsize=3))
    print('drawn', n)
sphere()"""


@pytest.mark.timeout(400)
def test_a_page_for_sagemathcell_plots_and_interacts(sage_appliance, page, foreign, watch):
    watch.allowed_hosts.add(f"127.0.0.1:{sage_appliance.port}")
    # what three.js says of a machine without a graphics card
    watch.expected += ["GPU stall", "WebGL", "GL Driver Message"]
    page.goto(
        foreign.publish(
            f'<script src="{sage_appliance.url}/static/embedded_sagecell.js"></script>',
            "<div class=compute><script type='text/x-sage'>" + CODE + "</script></div>"
            "<script>sagecell.makeSagecell({inputLocation: '.compute', languages: ['sage']})</script>",
        )
    )
    cell = CellOnPage(page, ".compute")
    expect(cell.root.locator(".ca-language")).to_have_text("Sage")
    cell.start()
    output = cell.output
    expect(output.get_by_text("drawn 2")).to_be_visible(timeout=180_000)
    expect(output.locator(".katex .mfrac").first).to_be_visible()
    picture = output.locator(".widget-output img")
    before = picture.get_attribute("src")
    scene = output.frame_locator("iframe[title='three-dimensional picture']")
    expect(scene.locator("canvas").first).to_be_visible(timeout=60_000)
    output.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    expect(output.get_by_text("drawn 3")).to_be_visible()
    expect(picture).to_have_count(1)
    assert picture.get_attribute("src") != before
