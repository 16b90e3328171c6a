"""Figures that answer the mouse: ipympl's, plotly's and K3D's, without the network."""

from __future__ import annotations

import base64
import re

import pytest
from playwright.sync_api import expect

from tests.browser.cells import CellOnPage
from tests.browser.fixtures import WITHOUT_GRAPHICS_CARD


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def drag(page, element, start, end):
    """Drag with the mouse from one place in an element to another, both in CSS pixels from its corner."""
    box = element.bounding_box()
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    for step in range(1, 6):
        share = step / 5
        page.mouse.move(
            box["x"] + start[0] + (end[0] - start[0]) * share, box["y"] + start[1] + (end[1] - start[1]) * share
        )
        page.wait_for_timeout(60)  # the figure takes a movement every 33 ms
    page.mouse.up()


def middle_of(element):
    """Return where the mouse points at an element, also at one below another that takes the events."""
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def saved(cell):
    """Save the file that the output offers and return what is in it."""
    with cell.page.expect_download() as download:
        cell.button("Save").click()
    return download.value.path().read_bytes()


#: A line whose middle is the middle of the axes; says its limits at each end of a drag.
PLANE = """%matplotlib widget
import matplotlib.pyplot as plt
figure, axes = plt.subplots(figsize=(4, 3))
axes.set_xlim(0, 2)
axes.plot([0, 1, 2], [0, 1, 2], 'o-', picker=5)
def say(event):
    print('limits', *(round(limit, 2) for limit in axes.get_xlim()), 'end')
figure.canvas.mpl_connect('button_release_event', say)
figure.canvas.mpl_connect('pick_event', lambda event: print('picked', event.ind.tolist()))
"""

#: Whether the picture has ink: the share of the canvas that is not white.
INK = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, index) => index % 4 === 0 && value < 200).length / (data.length / 4);
}"""


def test_a_figure_of_ipympl_is_picked_panned_and_zoomed(cell, page, watch):
    cell.evaluate(PLANE)
    canvas = cell.output.locator("canvas").first
    expect(canvas).to_have_css("width", "400px")
    top = cell.output.locator("canvas").nth(1)
    cell.frame.wait_for_function(f"() => ({INK})(document.querySelector('canvas')) > 0.005")
    # in the middle of the axes, whose place is matplotlib's default
    middle = (400 * (0.125 + 0.9) / 2, 300 * (1 - (0.11 + 0.88) / 2))
    # once it has come to rest: the frame grows with what it shows
    top.click(position={"x": middle[0], "y": middle[1]})
    expect(cell.output.get_by_text("picked [1]")).to_be_visible()
    expect(cell.output.get_by_text("limits 0.0 2.0 end")).to_be_visible()
    # Half the width of the axes to the right is half the limits to the left.
    top.hover()
    cell.output.get_by_title("Left button pans", exact=False).click()
    drag(page, top, middle, (middle[0] + 155, middle[1]))
    expect(cell.output.get_by_text("limits -1.0 1.0 end")).to_be_visible()
    cell.output.get_by_title("Zoom to rectangle", exact=False).click()
    drag(page, top, middle, (middle[0] + 77.5, middle[1] + 60))
    expect(cell.output.get_by_text("limits 0.0 0.5 end")).to_be_visible()
    cell.output.get_by_title("Reset original view").click()
    # a press without a movement zooms nothing
    top.click(position={"x": middle[0], "y": middle[1]})
    expect(cell.output.locator("body")).to_contain_text(re.compile(r"limits 0\.0 0\.5 end\s+limits 0\.0 2\.0 end"))
    cell.output.get_by_title("Download plot").click()
    assert saved(cell).startswith(b"\x89PNG")
    assert watch.strangers == []


def test_a_figure_of_ipympl_in_three_dimensions_is_turned(cell, page):
    cell.evaluate(
        "%matplotlib ipympl\nimport numpy as np, matplotlib.pyplot as plt\n"
        "figure, axes = plt.subplots(subplot_kw={'projection': '3d'}, figsize=(4, 3))\n"
        "x, y = np.meshgrid(*2 * [np.linspace(-2, 2, 20)])\naxes.plot_surface(x, y, x * y)\n"
        "figure.canvas.mpl_connect('button_release_event',\n"
        "    lambda event: print('turned to', round(axes.elev), round(axes.azim)))\nplt.show()"
    )
    top = cell.output.locator("canvas").nth(1)
    expect(top).to_be_visible()
    cell.frame.wait_for_function(f"() => ({INK})(document.querySelector('canvas')) > 0.005")
    drag(page, top, (200, 150), (250, 120))
    said = cell.output.get_by_text("turned to")
    expect(said).to_be_visible()
    elevation, azimuth = map(int, re.findall(r"-?\d+", said.inner_text()))
    assert (elevation, azimuth) != (30, -60)


def test_a_figure_of_plotly(cell, page, watch):
    cell.evaluate(
        "import plotly.graph_objects as go\n"
        "go.Figure(go.Bar(x=['a', 'b'], y=[1, 3]), layout={'title': 'Bars', 'height': 300})"
    )
    plot = cell.output.locator(".js-plotly-plot")
    expect(plot.get_by_text("Bars")).to_be_visible()
    expect(cell.announced).to_contain_text("A picture.")
    page.mouse.move(*middle_of(plot.locator(".point path").nth(1)))
    expect(plot.locator(".hoverlayer")).to_contain_text("3")
    assert cell.frame_height >= 300
    plot.locator("[data-title^='Download plot as a PNG']").click()
    assert saved(cell).startswith(b"\x89PNG")
    assert watch.strangers == []


def test_a_figure_widget_of_plotly_tells_python_of_click_and_zoom(cell, page, watch):
    cell.evaluate(
        "import plotly.graph_objects as go\n"
        "figure = go.FigureWidget(go.Bar(x=['a', 'b'], y=[1, 3]), layout={'height': 300})\n"
        "figure.data[0].on_click(lambda trace, points, state: print('clicked', points.xs, points.ys))\n"
        "figure.layout.on_change(lambda layout, range: print('zoomed to', range), 'xaxis.range')\n"
        "display(figure)"
    )
    plot = cell.output.locator(".js-plotly-plot")
    page.mouse.click(*middle_of(plot.locator(".point path").nth(1)))
    expect(cell.output.get_by_text("clicked ['b'] [3]")).to_be_visible()
    layer = plot.locator(".nsewdrag").first
    drag(page, layer, (20, 100), (200, 100))
    expect(cell.output.get_by_text("zoomed to")).to_be_visible()
    assert watch.strangers == []


#: A surface over a plane, and what Python hears of the camera.
SCENE = """import k3d, numpy as np
x, y = np.mgrid[-3:3:60j, -3:3:60j]
plot = k3d.plot(height=400, background_color=0xffffff)
plot += k3d.surface(np.cos(x**2 + y**2), bounds=[-3, 3, -3, 3], color=0xcc0000)
plot.observe(lambda change: print('seen from', [round(float(n), 2) for n in change.new[:3]]), 'camera')
plot
"""

#: The share of pixels of a picture that are of the colour of the surface, more or less in the light.
RED = """async (element, source) => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.width, image.height];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let red = 0;
  for (let at = 0; at < data.length; at += 4) {
    red += data[at] > 60 && data[at + 1] < data[at] / 2 && data[at + 2] < data[at] / 2;
  }
  return red / (data.length / 4);
}"""


def test_a_scene_of_k3d_is_drawn_turned_and_changed(cell, page, watch):
    watch.expected += WITHOUT_GRAPHICS_CARD
    cell.evaluate(SCENE)
    canvas = cell.output.locator("canvas").first
    expect(canvas).to_be_visible()
    canvas.scroll_into_view_if_needed()

    def picture():
        page.wait_for_timeout(300)
        return canvas.screenshot()

    def red(png):
        return page.locator("body").evaluate(RED, "data:image/png;base64," + base64.b64encode(png).decode())

    before = picture()
    for _ in range(50):
        if red(before) > 0.02:
            break
        before = picture()
    assert red(before) > 0.02
    box = canvas.bounding_box()
    drag(page, canvas, (box["width"] / 2, box["height"] / 2), (box["width"] / 2 + 150, box["height"] / 2 + 40))
    expect(cell.output.get_by_text("seen from").last).to_be_visible()
    after = picture()
    assert after != before
    assert red(after) > 0.02
    assert watch.strangers == []


def test_scenes_of_k3d_follow_a_control(cell, page, watch):
    watch.expected += WITHOUT_GRAPHICS_CARD
    cell.evaluate(
        "import k3d, numpy as np\nx, y = np.mgrid[-3:3:40j, -3:3:40j]\nplot = k3d.plot(height=300)\n"
        "surface = k3d.surface(x * 0, bounds=[-3, 3, -3, 3])\nplot += surface\ndisplay(plot)\n"
        "@interact\ndef bend(height=slider(0, 3)):\n"
        "    surface.heights = (np.cos(x**2 + y**2) * height).astype('float32')\n    print('bent by', height)"
    )
    canvas = cell.output.locator("canvas").first
    expect(canvas).to_be_visible()
    page.wait_for_timeout(1000)
    before = canvas.screenshot()
    cell.output.get_by_role("slider").first.focus()
    page.keyboard.press("End")
    expect(cell.output.get_by_text("bent by 3")).to_be_visible()
    page.wait_for_timeout(1000)
    assert canvas.screenshot() != before
    assert watch.strangers == []
