"""Widgets that bring a front end of their own, and data that is no text."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.cells import FRAMES, CellOnPage


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


COUNTER = '''import anywidget, traitlets
class Counter(anywidget.AnyWidget):
    _esm = """
    export default {
      initialize({ model }) { model.set("started", model.get("started") + 1); model.save_changes(); },
      render({ model, el }) {
        const button = document.createElement("button");
        const show = () => { button.textContent = `count is ${model.get("value")}`; };
        button.addEventListener("click", () => { model.set("value", model.get("value") + 1); model.save_changes(); });
        model.on("change:value", show);
        show();
        el.append(button);
        return () => { document.title = "taken away"; };
      },
    };
    """
    _css = "button { color: rgb(0, 0, 255); }"
    value = traitlets.Int(0).tag(sync=True)
    started = traitlets.Int(0).tag(sync=True)
'''


def test_a_counter_of_anywidget_works_without_the_network(cell, watch):
    cell.evaluate(
        COUNTER + "counter = Counter(value=5)\ndisplay(counter)\n"
        "counter.observe(lambda change: print('Python has', change.new, counter.started), 'value')"
    )
    button = cell.output.get_by_role("button", name="count is 5")
    expect(button).to_have_css("color", "rgb(0, 0, 255)")
    button.click()
    expect(cell.output.get_by_text("Python has 6 1")).to_be_visible()
    cell.output.get_by_role("button", name="count is 6").click()
    expect(cell.output.get_by_text("Python has 7 1")).to_be_visible()
    assert watch.strangers == []


def test_a_widget_of_anywidget_is_a_control_of_an_interact(cell):
    cell.evaluate(COUNTER + "@interact\ndef f(counter=Counter(value=2)):\n    print('twice is', 2 * counter)")
    cell.output.get_by_role("button", name="count is 2").click()
    expect(cell.output.locator(".widget-output")).to_have_text("twice is 6\n")


def test_a_widget_is_cleaned_up_when_it_goes(cell):
    cell.evaluate(
        COUNTER + "from IPython.display import clear_output\nimport ipywidgets\n"
        "counter = Counter()\nbutton = ipywidgets.Button(description='Close')\n"
        "button.on_click(lambda _: counter.close())\ndisplay(counter, button)"
    )
    cell.output.get_by_role("button", name="Close").click()
    expect(cell.output.get_by_role("button", name="count is 0")).to_have_count(0)
    assert cell.frame.evaluate("document.title") == "taken away"


@pytest.mark.parametrize(
    ("module", "sentence"),
    [
        ("export default { render( }", "SyntaxError"),
        ("export default { render() { throw new Error('no picture today'); } }", "no picture today"),
        ("import x from 'https://example.org/x.js'; export default {}", "Failed to fetch dynamically imported module"),
    ],
)
def test_a_module_that_fails_is_told_in_its_place(cell, watch, module, sentence):
    watch.expected += ["example.org", "no picture today", "SyntaxError"]
    cell.evaluate(
        f"import anywidget\nclass Broken(anywidget.AnyWidget):\n    _esm = {module!r}\ndisplay(Broken())\nprint('on')"
    )
    expect(cell.output.locator(".error")).to_contain_text("This widget's own program failed")
    if sentence != "SyntaxError":
        expect(cell.output.locator(".error")).to_contain_text(sentence)
    expect(cell.output.get_by_text("on", exact=True)).to_be_visible()


def test_commands_and_bytes_travel_both_ways(cell):
    cell.evaluate(
        '''import anywidget, traitlets
from ipywidgets.widgets.trait_types import CByteMemoryView
class Bytes(anywidget.AnyWidget):
    _esm = """
    export default {
      async render({ model, el, experimental }) {
        const data = new Uint8Array(model.get("data").buffer);
        model.set("back", new DataView(data.map((byte) => 255 - byte).buffer));
        model.save_changes();
        const [answer, buffers] = await experimental.invoke("_double", 21, { buffers: [new Uint8Array([7]).buffer] });
        el.textContent = `${answer} ${buffers[0].getUint8(0)}`;
      },
    };
    """
    data = traitlets.Bytes(b"").tag(sync=True)
    back = CByteMemoryView(b"").tag(sync=True)

    @anywidget.experimental.command
    def _double(self, message, buffers):
        return 2 * message, [bytes(buffers[0]) ]

widget = Bytes(data=bytes([0, 1, 254, 255]))
widget.observe(lambda change: print("back", list(change.new)), "back")
display(widget)'''
    )
    expect(cell.output.get_by_text("back [255, 254, 1, 0]")).to_be_visible()
    expect(cell.output.get_by_text("42 7")).to_be_visible()


def test_a_display_in_an_output_widget_is_updated_from_without(cell):
    cell.evaluate(
        "import ipywidgets\narea = ipywidgets.Output()\ndisplay(area)\n"
        "outer = display('outer 1', display_id=True)\n"
        "with area:\n    inner = display('inner 1', display_id=True)\n    outer.update('outer 2')\n"
        "inner.update('inner 2')\ninner.display('inner 2')\ninner.update('inner 3')"
    )
    expect(cell.output.locator(".widget-output")).to_have_text("'inner 3'")
    expect(cell.output.get_by_text("'outer 2'")).to_be_visible()
    expect(cell.output.get_by_text("'inner 3'")).to_have_count(2)


def test_a_program_that_goes_on_in_a_thread_is_seen_to(cell):
    cell.evaluate(
        "import ipywidgets, threading, time\nbar = ipywidgets.IntProgress(max=3)\ndisplay(bar)\n"
        "def work():\n    for step in range(4):\n        time.sleep(0.3)\n        bar.value = step\n"
        "    print('all done')\n    display('and shown')\n"
        "threading.Thread(target=work).start()"
    )
    expect(cell.output.get_by_text("all done")).to_be_visible()
    expect(cell.output.get_by_text("and shown")).to_be_visible()
    expect(cell.output.locator(".progress-bar")).to_have_attribute("style", re.compile("width: 100%"))


def test_what_a_thread_shows_after_an_evaluation_without_output_is_seen(page, foreign, site):
    page.goto(
        foreign.publish(f'<script src="{site}/static/embedded_cell.js"></script>', "<code-cell linked></code-cell>")
    )
    cell = CellOnPage(page)
    cell.evaluate("print('before')")
    cell.evaluate("import threading\nthreading.Timer(1, print, ['later']).start()")
    expect(cell.announced).to_have_text("Finished without output.")
    expect(cell.root.locator(".ca-output")).to_have_class(re.compile("ca-parked"))
    expect(cell.output.get_by_text("later")).to_be_visible()
    cell.evaluate("print('next')")
    expect(cell.output.get_by_text("next")).to_be_visible()
    expect(cell.root.locator(FRAMES)).to_have_count(1)


def test_a_picture_as_a_widget(cell):
    cell.evaluate(
        "import io, ipywidgets, matplotlib.pyplot as plt\n"
        "plt.figure(figsize=(1, 1)); plt.savefig(b := io.BytesIO()); plt.close()\n"
        "display(ipywidgets.Image(value=b.getvalue()))"
    )
    image = cell.output.locator("img.widget-image")
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 100


def test_a_large_front_end_goes_to_each_output_once(page, foreign, site):
    received = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: received.append(frame)))
    cells = '<code-cell linked id="one"></code-cell><code-cell linked id="other"></code-cell>'
    page.goto(foreign.publish(f'<script src="{site}/static/embedded_cell.js"></script>', cells))
    one, other = CellOnPage(page, "#one"), CellOnPage(page, "#other")
    one.evaluate(
        COUNTER.replace('_esm = """', '_esm = "//" + "padding " * 7_000 + """')
        + "import ipywidgets\nbutton = ipywidgets.Button(description='Another')\n"
        "button.on_click(lambda _: display(Counter(value=3)))\nbutton"
    )
    other.evaluate("display(Counter(value=1))\ndisplay(Counter(value=2))")
    for value in (1, 2):
        expect(other.output.get_by_role("button", name=f"count is {value}")).to_be_visible()
    assert sum("padding padding" in str(frame) for frame in received) == 1
    # This output has never got it, and asks.
    one.output.get_by_role("button", name="Another").click()
    expect(one.output.get_by_role("button", name="count is 3")).to_be_visible()
    assert sum("padding padding" in str(frame) for frame in received) == 2
