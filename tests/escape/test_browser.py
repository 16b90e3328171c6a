"""Lines 31 to 38: output that attacks its page, pages that attack the server, and every route with anything.

More of line 31 and line 37 is in tests/browser/test_isolation.py.
"""

from __future__ import annotations

import base64
import http.client
import itertools
import json
import random
import re
import urllib.parse
import uuid

import attrs
import pytest
import websocket
from twisted.internet.testing import MemoryReactorClock

from appliance.config import Users
from appliance.web.service import make_service
from tests.escape.scene import end_kernel
from tests.integration.running import INSTALLED, SLOWNESS, wait_for
from tests.integration.sage_client import SageClient
from tests.integration.test_web import handshake

if not INSTALLED:
    # A guest has no browser: the tests with a page run on the host and look at the guest from there.
    from playwright.sync_api import expect

    from tests.browser.cells import CellOnPage

# --- line 31

#: Each would set the title of the page, or of its own frame, to OWNED if it ran where it should not.
OWN = "top.document.title='OWNED';parent.document.title='OWNED'"
OUTPUT = {
    "an image that fails": ("text/html", f'<p>shown</p><img src="x:" onerror="{OWN}">'),
    "a link to a script": ("text/html", f'<p>shown</p><a id="target" href="javascript:{OWN}">go</a>'),
    "an SVG with a script": (
        "image/svg+xml",
        f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="{OWN}"><script>{OWN}</script><text>shown'
        "</text></svg>",
    ),
    "a script as a type": ("application/javascript", OWN),
    "a formula with a link to a script": ("text/latex", f"$\\href{{javascript:{OWN}}}{{x}}$"),
    "Markdown with a link to a script": ("text/markdown", f'[shown](javascript:{OWN}) <img src=x: onerror="{OWN}">'),
    "a frame of the server": ("text/html", '<p>shown</p><iframe src="/"></iframe>'),
    "a form to the server": (
        "text/html",
        '<p>shown</p><form id="f" action="/kernel" method="post" target="_top"></form><script>f.submit()</script>',
    ),
    "a base and a refresh": (
        "text/html",
        '<p>shown</p><base href="https://evil.test/"><meta http-equiv=refresh content="0;/">',
    ),
    "styles that cover the page": (
        "text/html",
        "<p>shown</p><style>*{position:fixed!important;inset:-9999px;z-index:99999}</style>",
    ),
    "a type with a script in its name": ('text/html"><script>alert(1)</script>', "<p>shown</p>"),
}


@pytest.mark.parametrize("kind", OUTPUT)
@pytest.mark.attack(31, "frame without an origin, content security policy", "output that attacks its page")
def test_output_cannot_touch_its_page(page, site, watch, kind):
    watch.expected.append("")
    page.goto(site + "/")
    cell = CellOnPage(page)
    mime, data = OUTPUT[kind]
    bundle = json.dumps({mime: data, "text/plain": "plain"})
    cell.evaluate(
        f"import json\nfrom IPython.display import display\ndisplay(json.loads({bundle!r}), raw=True)\nprint('end')"
    )
    target = cell.output.locator("a")
    if "link" in kind and target.count():
        target.first.click()
    page.wait_for_timeout(300)
    assert page.title() != "OWNED"
    assert page.url == site + "/"
    asked = [url for url in watch.requests if urllib.parse.urlsplit(url).path in ("/kernel", "/")]
    # the page, whose kernel comes over its own connection, and nothing in the visitor's name; a frame that loads
    # another page is taken away
    assert len(asked) == (2 if "refresh" in kind else 1)
    if "refresh" in kind:
        expect(cell.notice).to_contain_text("tried to replace itself")
    else:
        cell.evaluate("print('and on')")
        expect(cell.output.get_by_text("and on")).to_be_visible()


# --- line 32


@pytest.mark.attack(32, "frame-ancestors 'self'", "frame a page that evaluates by itself")
def test_a_page_that_evaluates_by_itself_does_not_in_a_foreign_frame(page, site, foreign, watch):
    watch.expected.append("")
    link = f"{site}/?{urllib.parse.urlencode({'c': 'print(1)'})}"
    sent = []
    page.on("websocket", lambda connection: connection.on("framesent", lambda text: sent.append(text)))
    page.goto(foreign.publish("", f'<iframe src="{link}"></iframe><p>framed</p>'))
    page.wait_for_timeout(1500)
    assert [url for url in watch.requests if urllib.parse.urlsplit(url).path == "/kernel"] == []
    assert sent == []
    page.goto(link)  # the control: the link itself does evaluate
    expect(CellOnPage(page).output.get_by_text("1")).to_be_visible()
    assert [message for message in sent if "execute_request" in str(message)]


# --- line 33


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "https://trusted.example.evil.test", "file://"])
@pytest.mark.attack(33, "nothing to ride on: no cookie, the id is the secret", "a WebSocket of another site")
def test_another_site_has_its_own_kernel_and_no_other(appliance, origin):
    """Public cells are a choice: any page may start a kernel. It gets that one, and nothing that a visitor has."""
    client = SageClient(appliance.url)
    connection = websocket.create_connection(
        f"{client.ws_url}kernel/{client.kernel_id}/channels", timeout=10 * SLOWNESS, origin=origin
    )
    assert connection.getheaders().get("set-cookie") is None
    connection.close()
    assert handshake(appliance, str(uuid.uuid4())) == (404, "unknown_kernel")
    end_kernel(appliance, client)


@pytest.mark.attack(33, "no cookie is ever set", "find something to ride on")
def test_no_answer_sets_a_cookie_or_asks_for_a_password(appliance):
    for method, path in itertools.product(
        ("GET", "POST", "OPTIONS"),
        (
            "/",
            "/kernel",
            "/service",
            "/permalink",
            "/healthz",
            "/sockjs/info",
            "/sockjs/000/aaaaaaaa/xhr",
            "/api/status",
        ),
    ):
        _, headers, body = appliance.request(method, path, {"code": "1"} if method == "POST" else None)
        assert {"set-cookie", "www-authenticate"} & set(headers) == set()
        if path == "/kernel" and method == "POST":
            appliance.request("DELETE", f"/kernel/{json.loads(body)['id']}")


@pytest.mark.attack(33, "a list shows nothing without the token it was started with", "read the kernels of a visitor")
def test_a_page_of_another_site_sees_no_kernels_of_its_visitor(page, site, foreign, watch):
    """A visitor has kernels by every door; a hostile page in the same browser looks for them."""
    watch.expected.append("")
    page.goto(site + "/")
    own = page.evaluate(
        """async () => {
          const post = { method: "POST", headers: { Authorization: "token " + crypto.randomUUID() } };
          const kernel = await (await fetch("/api/kernels", post)).json();
          const session = await (await fetch("/api/sessions", { method: "POST", body: "{}" })).json();
          return [kernel.id, session.kernel.id];
        }"""
    )
    page.goto(foreign.publish("", "<p>evil</p>"))
    seen = page.evaluate(
        """async (site) => {
          const read = async (path) => (await fetch(site + path, { credentials: "include" })).text();
          const paths = ["/api/kernels", "/api/sessions", "/api/status", "/api/me", "/api/kernelspecs", "/sockjs/info"];
          const texts = await Promise.all(paths.map(read));
          const socket = new WebSocket(site.replace("http", "ws") + "/sockjs/websocket");
          await new Promise((resolve) => { socket.onopen = resolve; });
          const answers = [];
          socket.onmessage = (event) => answers.push(event.data);
          for (const name of ["*", "..", "undefined", "null"]) {
            socket.send(name + '/channels,{"header":{"msg_id":"a","msg_type":"kernel_info_request"}}');
          }
          while (answers.length < 4) await new Promise((resolve) => setTimeout(resolve, 50));
          return [...texts, ...answers].join("");
        }""",
        site,
    )
    assert "unknown_kernel" in seen  # what is not there is told, whoever asks
    assert [kernel_id for kernel_id in own if kernel_id in seen] == []
    page.goto(site + "/")  # the control: who knows an id may use it
    status = page.evaluate("async (id) => (await fetch('/api/kernels/' + id, { method: 'DELETE' })).status", own[0])
    assert status == 204
    page.evaluate("async (id) => (await fetch('/api/sessions/' + id, { method: 'DELETE' })).status", own[1])


@pytest.mark.parametrize("origin", ["https://evil.test", "null", "file://"])
@pytest.mark.attack(33, "nothing to ride on: no cookie, the id is the secret", "another site, by each door")
def test_every_websocket_gives_another_site_what_it_started_itself_and_no_more(appliance, origin):
    other = str(uuid.uuid4())
    base = f"ws://127.0.0.1:{appliance.port}"
    for path in ("/sockjs/websocket", "/sockjs/000/aaaaaaaa/websocket"):
        connection = websocket.create_connection(base + path, timeout=10 * SLOWNESS, origin=origin)
        assert connection.getheaders().get("set-cookie") is None
        message = f'{other}/channels,{{"header":{{"msg_id":"a","msg_type":"kernel_info_request"}}}}'
        connection.send(json.dumps([message]) if "000" in path else message)
        answer = connection.recv()
        assert "unknown_kernel" in (connection.recv() if answer == "o" else answer)
        connection.close()
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=10 * SLOWNESS)
    connection.request("GET", f"/api/kernels/{other}/channels", headers={"Upgrade": "websocket", "Origin": origin})
    assert connection.getresponse().status == 404
    connection.close()


# --- line 34


@pytest.mark.attack(34, "122 random bits; no id in the log", "guess, reuse or read somebody's kernel id")
def test_kernel_ids_cannot_be_guessed_reused_or_read(appliance):
    ids = []
    for _ in range(20):
        client = SageClient(appliance.url)
        ids.append(client.kernel_id)
        client.run("1")
        end_kernel(appliance, client)
    assert all(uuid.UUID(text).version == 4 and uuid.UUID(text).variant == uuid.RFC_4122 for text in ids)
    # bits that are not the version's and the variant's fall both ways
    ones = [sum(uuid.UUID(text).int >> bit & 1 for text in ids) for bit in range(128)]
    assert sum(count in (0, 20) for count in ones) <= 6 + 2
    for text in ids:
        wait_for("it is over", lambda: handshake(appliance, text) == (404, "unknown_kernel"), 5)  # noqa: B023
    near = [str(uuid.UUID(int=uuid.UUID(ids[0]).int ^ 1 << bit)) for bit in range(0, 128, 9)]
    odd = ["..", "%2e%2e", "*", "%00", ids[0].upper(), "{" + ids[0] + "}", ids[0].replace("-", ""), "a" * 64]
    assert {handshake(appliance, urllib.parse.quote(text))[0] for text in near + odd} == {404}
    assert [text for text in ids if text in appliance.text()] == []


# --- line 35

PAYLOAD = "</script><script>alert(1)</script>\"'`<img src=x onerror=alert(1)>\r\nX-Injected: 1\u2028"


@pytest.mark.attack(35, "escaped, typed answers; arguments that mean nothing are ignored", "injection by arguments")
@pytest.mark.parametrize(
    "path",
    [
        "/?c={0}",
        "/?c=x&lang={0}",
        "/?c=x&autoeval={0}",
        "/?q={0}",
        "/?z={0}",
        "/?interacts={0}",
        "/permalink?q={0}",
        "/permalink?q={0}&callback={0}",
        "/kernel/{0}",
        "/static/{0}",
        "/{0}",
        "/healthz?callback={0}",
    ],
)
def test_what_an_argument_holds_is_never_markup_or_a_header(appliance, path):
    status, headers, body = appliance.request("GET", path.format(urllib.parse.quote(PAYLOAD, safe="")))
    assert "x-injected" not in headers
    assert b"<script>alert" not in body
    assert b"<img src=x" not in body
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-type"] in ("application/json", "text/html; charset=utf-8")
    if headers["content-type"].startswith("text/html"):
        assert "script-src 'self'" in headers["content-security-policy"]
    assert status in (200, 400, 404, 405)


@pytest.mark.parametrize("path", ["/kernel", "/permalink", "/service"])
@pytest.mark.attack(35, "one script, allowed by its hash", "injection by frame, callback and code")
def test_what_a_form_holds_is_never_markup(appliance, path):
    form = {"code": PAYLOAD, "frame": PAYLOAD, "callback": PAYLOAD, "language": "python", "n": "1"}
    status, headers, body = appliance.request("POST", path, form)
    text = body.decode()
    assert status == 200
    if headers["content-type"].startswith("text/html"):
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert text == f"<script>{script}</script>"
        assert "<" not in script
        assert re.search(r"default-src 'none'; script-src 'sha256-[^']+'$", headers["content-security-policy"])
    else:
        assert headers["content-type"] == "application/json"
        json.loads(text)
    found = re.search(r'\\?"id\\?": \\?"([0-9a-f-]{36})', text)
    if path == "/kernel" and found:
        appliance.request("DELETE", f"/kernel/{found[1]}")


@pytest.mark.parametrize(
    "host", ['evil.test"><script>', "a b", "x/../y", "", "x" * 300, "evil.test@good", "[::1", "x:999999"]
)
@pytest.mark.attack(35, "the Host header is checked before it is used", "a reflected Host")
def test_a_host_that_is_none_is_not_reflected(appliance, host):
    for method, path in (("POST", "/kernel"), ("GET", "/?c=1"), ("GET", "/static/output_frame.html")):
        connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=20 * SLOWNESS)
        connection.putrequest(method, path, skip_host=True)
        connection.putheader("Host", host)
        connection.putheader("Content-Length", "0")
        connection.endheaders()
        response = connection.getresponse()
        body = response.read().decode()
        connection.close()
        assert response.status == 400
        assert host not in body or len(host) < 2
        assert not any("<script>" in value for _, value in response.getheaders())


# --- line 36


@pytest.mark.attack(36, "ids from the content: 71 bits; immutable; size cap", "enumerate, overwrite, delete, overfill")
def test_permalinks_cannot_be_enumerated_overwritten_deleted_or_overfilled(appliance):
    def store(code: str, **more: str) -> tuple[int, dict[str, str]]:
        status, _, body = appliance.request("POST", "/permalink", {"code": code, "language": "python", **more})
        return status, json.loads(body)

    first, second = store("print(1)")[1]["query"], store("print(2)")[1]["query"]
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 6
    assert store("print(1)")[1]["query"] == first
    # neither an id nor another method can be asked for
    store("print('other')", q=first, query=first, id=first)
    for method in ("PUT", "DELETE", "PATCH"):
        assert appliance.request(method, f"/permalink?q={first}")[0] == 405
    assert json.loads(appliance.request("GET", f"/permalink?q={first}")[2])[0] == "print(1)"
    for odd in (
        first[:-1],
        first + "x",
        first.swapcase(),
        "%",
        "_" * 12,
        "' OR 1=1 --",
        "*",
        "../" + first,
        "\0",
        "é" * 30,
    ):
        assert appliance.request("GET", f"/permalink?q={urllib.parse.quote(odd)}")[0] == 404
    most = appliance.config.permalink.max_code_bytes
    assert store("x" * most)[0] == 200
    for much in ({"code": "x" * (most + 1)}, {"code": "é" * most}, {"code": "", "interacts": "x" * (most + 1)}):
        assert appliance.request("POST", "/permalink", much)[0] == 413


# --- line 38

SOCKJS = ("websocket", "xhr", "xhr_streaming", "eventsource", "jsonp", "xhr_send", "jsonp_send")
#: Addresses of which each route must have one.
PATHS = (
    "/", "/lease", "/kernel", "/kernel/x", "/kernel/x/channels", "/kernel/x/files/y", "/kernel/ticket/x", "/service",
    "/permalink",
    "/healthz", "/readyz", "/livez", "/static/x", "/embedded_cell.js", "/embedded_sagecell.js",
    "/tos.html", "/help.html", "/openapi.json",
    "/environments", "/api", "/api/status", "/api/me", "/api/kernelspecs", "/api/kernelspecs/x", "/api/kernels",
    "/api/kernels/x", "/api/kernels/x/interrupt", "/api/kernels/x/restart", "/api/kernels/x/channels", "/api/sessions",
    "/api/sessions/x", "/api/permalinks", "/api/permalinks/x",
    "/sockjs", "/sockjs/info", "/sockjs/iframe.html", "/sockjs/websocket",
    *(f"/sockjs/000/x/{name}" for name in SOCKJS),
)  # fmt: skip
#: Answered elsewhere: these take a kernel, or wait for one.
COSTLY = {("POST", "/kernel"), ("POST", "/api/kernels"), ("POST", "/api/sessions"), ("GET", "/healthz")} | {
    (method, f"/sockjs/000/x/{name}") for name in SOCKJS for method in ("GET", "POST")
}
METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "get", "X", "CONNECT")


def ask(appliance, method, path, body=None, headers=()):
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=30 * SLOWNESS)
    try:
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


@pytest.mark.attack(38, "one table of routes", "every route by every method")
def test_every_route_answers_as_the_table_says(appliance):
    config = attrs.evolve(appliance.config, users=Users(web="root", pool="root", permalink="root"))
    service = make_service(config, MemoryReactorClock())
    service.kernels.sockets.shutdown()
    routes = service.router.routes
    for route in routes:
        assert any(route.pattern.fullmatch(path) for path in PATHS), f"{route.pattern.pattern} is not tried here"
    for path in PATHS:
        handlers = next(route.handlers for route in routes if route.pattern.fullmatch(path))
        allowed = set(handlers)
        for method in METHODS:
            if (method, path) in COSTLY:
                continue
            status, headers, _ = ask(appliance, method, path)
            if method in allowed:
                assert status < 500, (method, path, status)
            else:
                assert status in (405, 400, 501), (method, path, status)
                if status == 405:
                    assert allowed <= set(headers["Allow"].split(", "))
        status, headers, body = ask(appliance, "OPTIONS", path)
        assert (status, body) == (200, b""), path
        assert allowed <= set(headers["Allow"].split(", "))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.attack(38, "parsed once; unknown faults are bland", "anything at every route")
def test_anything_at_every_route_is_answered_and_logged_as_no_fault(appliance, seed):
    chance = random.Random(seed)
    pieces = [
        "kernel",
        "service",
        "permalink",
        "static",
        "healthz",
        "api",
        "kernels",
        "channels",
        "..",
        ".",
        "",
        "%2e%2e",
        "%00",
        "%ff",
        "a" * 300,
        "é",
        "x",
        "embedded_cell.js",
        "admin",
        "metrics",
        ".git",
        "%0d%0a",
        ";",
        "~",
        "sockjs",
        "info",
    ]
    bodies = [
        None,
        b"",
        b"{}",
        b"[]",
        b"\xff\xfe",
        b"code=1",
        b"x" * 5000,
        b"a=" + b"%" * 3000,
        b"&" * 500,
        b"--x\r\nContent-Disposition: form-data; name=code\r\n\r\n1\r\n--x--",
        b"\0" * 100,
        base64.b64encode(b"x" * 999),
    ]
    kinds = [
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "text/html; charset=\xff",
        "application/x-www-form-urlencoded; charset=utf-7",
        "",
    ]
    mark = len(appliance.output)
    for _ in range(150):
        path = "/" + "/".join(chance.choice(pieces) for _ in range(chance.randrange(5)))
        path = urllib.parse.quote(path, safe="/%;~")
        if path == "/kernel" or path.startswith("/service"):
            path += "/x"  # those make kernels, and have their own tests
        query = "?" + "&".join(f"{chance.choice(pieces)}={chance.choice(pieces)}" for _ in range(chance.randrange(4)))
        method = chance.choice(METHODS[:6])
        headers = {"Content-Type": chance.choice(kinds).encode("latin-1")}
        if chance.random() < 0.3:
            headers |= {
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": chance.choice(["13", "x", ""]),
            }
        target = path + urllib.parse.quote(query, safe="?&=%")
        status, got, body = ask(appliance, method, target, chance.choice(bodies), headers.items())
        assert status in (200, 301, 400, 404, 405, 413), (method, target, status, body)
        assert got["Server"] == "cell-appliance" or status == 400
        if status >= 400 and got.get("Content-Type") == "application/json":
            assert set(json.loads(body)) == {"error", "message"}
        assert b"Traceback" not in body
        assert b"twisted" not in body.lower()
    assert [line for line in appliance.output[mark:] if "Traceback" in line or " error " in line] == []
