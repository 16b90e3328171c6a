"""A cell as a visitor sees it: by labels, names and text."""

import io
import urllib.parse

from playwright.sync_api import FloatRect, Frame, FrameLocator, Locator, Page, expect

#: Elements pierce shadow roots in Playwright's selectors, so these fit `<code-cell>` and `makeSagecell` alike.
ENDED = ".ca-input[data-phase=idle] .ca-status:not(:empty)"


def address(site: str, **arguments: str) -> str:
    """Return the address of the page at `/` with arguments."""
    return f"{site}/?{urllib.parse.urlencode(arguments)}"


#: A frame that new output has just replaced may stand there for another moment.
FRAMES = "iframe.ca-frame:not(.ca-frame-last, .ca-frame-ahead)"


def output_in(root: Locator) -> FrameLocator:
    """Return the newest output below ``root``."""
    return root.locator(FRAMES).last.content_frame


class CellOnPage:
    """One cell of a page; ``root`` contains it."""

    def __init__(self, page: Page, root: str = "code-cell") -> None:
        self.page = page
        self.root = page.locator(root).first
        self.content = self.root.locator(".cm-content")
        self.status = self.root.locator(".ca-status")
        self.notice = self.root.locator(".ca-notice")
        self.announced = self.root.locator("[role=status]")

    @property
    def output(self) -> FrameLocator:
        return output_in(self.root)

    @property
    def frame(self) -> Frame:
        handle = self.root.locator(FRAMES).last.element_handle()
        assert handle is not None
        frame = handle.content_frame()
        assert frame is not None
        return frame

    @property
    def frame_height(self) -> float:
        """Height of the output, in CSS pixels."""
        return float(self.root.locator(FRAMES).last.evaluate("frame => frame.getBoundingClientRect().height"))

    @property
    def frame_box(self) -> FloatRect:
        """Place of the output in the window, in CSS pixels."""
        box = self.root.locator(FRAMES).last.bounding_box()
        assert box is not None
        return box

    @property
    def code(self) -> str:
        return "\n".join(self.content.locator(".cm-line").all_inner_texts()).replace("\n\n", "\n")

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name)

    def write(self, code: str) -> None:
        """Replace the code, as by pasting."""
        self.content.click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(code)

    def start(self) -> None:
        self.button("Evaluate").click()

    def wait_for_phase(self, phase: str) -> None:
        expect(self.root.locator(f".ca-input[data-phase={phase}]")).to_be_attached(timeout=30_000)

    def wait_until_ended(self) -> None:
        expect(self.root.locator(ENDED)).to_be_attached(timeout=30_000)

    def evaluate(self, code: str | None = None) -> None:
        """Evaluate code, or what stands in the editor, and wait for its end."""
        if code is not None:
            self.write(code)
        self.start()
        self.wait_until_ended()


#: Milliseconds in which a browser draws a frame that has come into its window.
DRAWN_MILLISECONDS = 400


def colours(element):
    """Return the colours that an element is drawn with."""
    element.scroll_into_view_if_needed()
    element.page.wait_for_timeout(DRAWN_MILLISECONDS)
    # Only who looks at pixels waits for this module.
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(element.screenshot()), format="png")
    return {tuple(pixel) for row in pixels for pixel in row.tolist()}


def take_picture(element, file):
    """Save a picture of an element: a browser draws frames only when they are near, and a little later."""
    element.scroll_into_view_if_needed()
    element.page.wait_for_timeout(DRAWN_MILLISECONDS)
    element.screenshot(path=file)
