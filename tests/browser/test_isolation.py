"""T7: what a kernel sends can do nothing to the page around its frame, and nothing from it."""

import json

import pytest
from playwright.sync_api import expect

from tests.browser.cells import FRAMES, CellOnPage


@pytest.fixture
def cell(page, site):
    page.goto(site + "/")
    return CellOnPage(page)


def show(cell, html):
    cell.evaluate(f"from IPython.display import HTML\nHTML({json.dumps(html)})")


def failing(make):
    """Return a script that rejects when what ``make`` creates fails to load or to connect."""
    return f"await new Promise((_, no) => {{ ({make}).onerror = () => no(Error('no')); }})"


#: Each attempt must throw, or reject, in the output frame.
ATTEMPTS = {
    "parent document": "parent.document.title",
    "top document": "top.document.body.innerHTML",
    "frame element": "frameElement.remove()",
    "cookies": "document.cookie",
    "local storage": "localStorage.getItem('x')",
    "session storage": "sessionStorage.length",
    "databases": "indexedDB.open('x')",
    "caches": "await caches.open('x')",
    "fetch from the server": "await fetch('/')",
    "fetch from elsewhere": "await fetch('http://127.0.0.1:9/')",
    "XMLHttpRequest": "const r = new XMLHttpRequest(); r.open('GET', '/', false); r.send()",
    "web socket": failing("new WebSocket('ws://127.0.0.1:9/')"),
    "image from elsewhere": failing("Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'})"),
    "worker": failing("new Worker('/static/embedded_cell.js')"),
    "top navigation": "top.location = 'about:blank'",
    "service worker": "await navigator.serviceWorker.register('/static/embedded_cell.js')",
}


def test_the_frame_has_an_opaque_origin(cell):
    cell.evaluate("1")
    assert cell.frame.evaluate("self.origin") == "null"
    assert cell.root.locator(FRAMES).get_attribute("sandbox") == "allow-scripts"


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.attack(31, "frame without an origin, content security policy", "a script in output reaches out")
def test_a_script_in_output_cannot_reach(cell, watch, site, attempt):
    # The browser reports each refused attempt on the console.
    watch.expected.append("")
    show(
        cell,
        f"""<p id="verdict">trying</p><script>
(async () => {{
  try {{ {ATTEMPTS[attempt]}; verdict.textContent = "REACHED"; }}
  catch (error) {{ verdict.textContent = "refused: " + error; }}
}})();
</script>""",
    )
    expect(cell.output.locator("#verdict")).to_contain_text("refused")
    assert cell.page.url == site + "/"
    expect(cell.button("Evaluate")).to_be_visible()


@pytest.mark.attack(31, "content security policy")
def test_beacons_go_nowhere(cell, watch, site):
    watch.expected.append("")
    show(cell, "<p id=v>x</p><script>navigator.sendBeacon('/permalink', 'code=1'); v.textContent = 'sent'</script>")
    expect(cell.output.get_by_text("sent")).to_be_visible()
    assert [url for url in watch.requests if url.startswith(f"{site}/permalink")] == []


@pytest.mark.attack(37, "the sender's window, and two believed facts", "output posts commands to its page")
def test_messages_of_output_are_not_commands(cell):
    show(
        cell,
        "<p>talking</p><script>for (const type of ['ready', 'shown', 'height', 'batch'])"
        " for (const height of [1e9, -1, '9', null, NaN, 200])"
        " parent.postMessage({type, height, items: [], html: '<b>x</b>'}, '*');</script>",
    )
    expect(cell.output.get_by_text("talking")).to_be_visible()
    assert cell.frame_height <= 640
    cell.evaluate("print('and on')")
    expect(cell.output.get_by_text("and on")).to_be_visible()


@pytest.mark.attack(37, "the sender's window", "another frame writes output")
def test_another_frame_of_the_page_cannot_write_output(page, foreign, site):
    page.goto(
        foreign.publish(
            f'<script src="{site}/static/embedded_cell.js"></script>', "<code-cell>print('mine')</code-cell>"
        )
    )
    cell = CellOnPage(page)
    cell.evaluate()
    expect(cell.output.get_by_text("mine")).to_be_visible()
    page.evaluate("""() => {
      const target = document.querySelector('code-cell').shadowRoot.querySelector('iframe').contentWindow;
      const other = document.body.appendChild(document.createElement('iframe')).contentWindow;
      const post = other.Function('target', 'text', `target.postMessage(
        {type: 'batch', dropped: 0, items: [{kind: 'stream', name: 'stdout', text}]}, '*')`);
      post(target, 'FORGED');
      Function('target', 'text', post.toString().replace(/^[^{]*{|}$/g, ''))(target, 'GENUINE');
    }""")
    expect(cell.output.get_by_text("GENUINE")).to_be_visible()
    assert "FORGED" not in cell.frame.evaluate("document.body.textContent")


@pytest.mark.attack(31, "a frame that loads twice is removed", "output replaces its frame")
def test_a_frame_that_leaves_is_removed(cell):
    show(cell, "<p>leaving</p><script>setTimeout(() => { location = 'about:blank' }, 100)</script>")
    expect(cell.notice).to_contain_text("tried to replace itself")
    expect(cell.root.locator(FRAMES)).to_have_count(0)
    cell.evaluate("print('and on')")
    expect(cell.output.get_by_text("and on")).to_be_visible()


@pytest.mark.attack(31, "links are shown, not followed", "a link leads away in the frame")
def test_a_link_shows_its_address_instead_of_opening_in_the_frame(cell):
    show(cell, '<a href="https://example.org/paper">the paper</a>')
    cell.output.get_by_role("link", name="the paper").click()
    expect(cell.output.get_by_text("(https://example.org/paper)")).to_be_visible()


@pytest.mark.attack(31, "a frame for each evaluation", "a script of earlier output changes what comes later")
def test_scripts_of_earlier_output_are_gone(cell):
    show(cell, "<p>first</p><script>setInterval(() => { document.body.append('GHOST') }, 20)</script>")
    expect(cell.output.get_by_text("GHOST").first).to_be_visible()
    cell.evaluate("print('second')")
    expect(cell.output.get_by_text("second")).to_be_visible()
    cell.page.wait_for_timeout(200)
    assert "GHOST" not in cell.frame.evaluate("document.body.textContent")
