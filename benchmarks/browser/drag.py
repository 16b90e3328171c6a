"""A slider dragged across fifty values: milliseconds from each value in sight to its picture in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.browser.pages import dragged_page
from benchmarks.client import BenchmarkError
from benchmarks.series import Series, Table

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from benchmarks.browser.pages import Site

VALUES = 50

#: A hand goes across the slider in a second.
STEP_MILLISECONDS = 20

PROGRAM = """import matplotlib.pyplot as plt
@interact
def f(n=slider(0, 50, 1)):
    plt.figure(figsize=(3, 2))
    plt.plot([0, n])
    plt.show()
    print('drawn', n)
"""

#: Notes when the slider first shows a value, and when its picture stands in the output.
OBSERVER = r"""() => {
  const times = { moved: {}, drawn: {} };
  window.times = times;
  const note = () => {
    const now = performance.now();
    times.moved[document.querySelector(".widget-readout").textContent] ??= now;
    const output = document.querySelector(".widget-output");
    const drawn = /drawn (\d+)/.exec(output.textContent);
    if (drawn && output.querySelector("img")) times.drawn[drawn[1]] ??= now;
  };
  new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


async def drag(browser: Browser, site: Site, root: str) -> Table:
    """Measure one drag on a page of its own, until the picture of the last value is there. Raises `BenchmarkError`."""
    site.pages["/drag"] = dragged_page(root, PROGRAM)
    context = await browser.new_context(viewport={"width": 900, "height": 700})
    try:
        page = await context.new_page()
        await page.goto(f"{site.origin}/drag")
        await page.locator("code-cell .ca-run").click()
        output = page.locator("iframe.ca-frame:not(.ca-frame-last, .ca-frame-ahead)").last
        slider = output.content_frame.locator(".noUi-target")
        await output.content_frame.locator(".widget-output img").wait_for()
        handle = await output.element_handle()
        frame = await handle.content_frame() if handle else None
        box = await slider.bounding_box()
        if frame is None or box is None:
            raise BenchmarkError("there is no slider on the page")
        await frame.evaluate(OBSERVER)
        middle = box["y"] + box["height"] / 2
        await page.mouse.move(box["x"] + 1, middle)
        await page.mouse.down()
        for step in range(1, VALUES + 1):
            await page.mouse.move(box["x"] + box["width"] * step / VALUES, middle)
            await page.wait_for_timeout(STEP_MILLISECONDS)
        await page.mouse.up()
        await frame.wait_for_function(f"times.drawn[{VALUES}] !== undefined")
        times = await frame.evaluate("times")
    finally:
        await context.close()
    moved, drawn = times["moved"], times["drawn"]
    latencies = tuple(at - moved[value] for value, at in drawn.items() if value in moved)
    return Table(
        "drag",
        f"Drag to picture: a slider across {VALUES} values, a picture by matplotlib for each",
        "ms",
        (Series("appliance", latencies),),
        notes=(f"{len(drawn)} of {len(moved)} values were drawn, the last of them at the end: newer ones come first.",),
    )
