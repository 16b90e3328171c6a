"""A page where each language computes and draws, in the reader's colours."""

from __future__ import annotations

import pathlib
import shutil

import pytest
from playwright.sync_api import expect

from appliance.config import PACKAGE_DIR
from tests.browser.cells import CellOnPage, colours, take_picture
from tests.browser.test_accessibility import violations
from tests.browser.test_gallery import PICTURES
from tests.integration.running import Appliance

GALLERY = PACKAGE_DIR.parent / "docs" / "languages.html"

#: What the output of each cell holds in the end: a text, and whether a picture.
SHOWN = {
    "python": ("1.772453", True),
    "r": ("versicolor", True),
    "octave": ("3.6180", True),
    "gap": ("X.5", False),
    "gp": ("7432339208719", True),
    "maxima": ("%pi/2^(3/2)", True),
    "singular": ("g[1]=xy-y2", False),
    "macaulay2": ("total: 1 3 2", True),
    "html": ("strong", True),
}

PROGRAMS = ("octave-cli", "gnuplot", "gap", "gp", "maxima-sage", "Singular", "M2")

missing = [program for program in PROGRAMS if shutil.which(program) is None]
if not pathlib.Path("/usr/share/jupyter/kernels/ir/kernel.json").exists():
    missing.append("r-cran-irkernel")
pytestmark = pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def languages():
    toml = "[pool]\nmax_kernels = 20\nready = 1\nstart_seconds = 60.0\nlease_wait_seconds = 60.0\n"
    toml += '[environment.r]\nkernelspec = "ir"\nready = 0\n'
    for name in ("octave", "gap", "gp", "maxima", "singular", "macaulay2"):
        toml += f'[environment.{name}]\nkernelspec = "{name}"\nready = 0\n'
    running = Appliance(toml)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def site(languages):
    """Return the address of the appliance that the page may ask: not that of the other tests."""
    return languages.url


def assert_seen(cell, picture, name):
    """Fail unless a person sees the whole of a picture in the output, without scrolling there, and not an empty one."""
    expect(picture, name).to_be_visible()
    # an <svg> of a page has no size but the one it is shown with
    width, height = picture.evaluate(
        "one => 'naturalWidth' in one ? [one.naturalWidth, one.naturalHeight] : [one.clientWidth, one.clientHeight]"
    )
    assert (width > 50, height > 50) == (True, True), f"{name}: {width} x {height}"
    frame, shown = cell.frame_box, picture.bounding_box()
    assert shown["height"] > 50, name
    assert frame["x"] <= shown["x"], name
    assert shown["x"] + shown["width"] <= frame["x"] + frame["width"], f"{name}: wider than its frame"
    assert frame["y"] <= shown["y"], name
    assert shown["y"] + shown["height"] <= frame["y"] + frame["height"], f"{name}: {shown} is cut by {frame}"
    assert len(colours(picture)) > 2, f"{name}: nothing is drawn"


def test_each_language_computes_and_draws(site, page, foreign, watch):
    page.goto(foreign.publish_text(GALLERY.read_text().replace("https://cells.example.org", site)))
    assert set(SHOWN) == set(page.eval_on_selector_all("code-cell", "all => all.map((one) => one.id)"))
    for name, (text, drawn) in SHOWN.items():
        cell = CellOnPage(page, f"#{name}")
        cell.evaluate()
        expect(cell.status, name).to_contain_text("Finished in")
        expect(cell.output.get_by_text(text).first, name).to_be_visible(timeout=15_000)
        pictures = cell.output.locator("img, svg")
        expect(pictures, name).to_have_count(1 if drawn else 0)
        if drawn:
            assert_seen(cell, pictures, name)
        assert cell.root.locator(".cm-content span[class]").count() > 1, f"{name}: no colours in the editor"
    assert watch.complaints == []
    watch.expected.append("")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
        for name in SHOWN if PICTURES else ():
            take_picture(page.locator(f"#{name}"), pathlib.Path(PICTURES) / f"{name}-{scheme}.png")
