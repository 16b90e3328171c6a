"""Who may come in by which address, and what a page of another site is told: terms, tokens, origins, preflights."""

from __future__ import annotations

import json
import os
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

import pytest
import websocket

from tests.integration.running import Appliance, wait_for
from tests.integration.sage_client import SageClient

OWN = "only-this-client-knows-this"
OTHER = "and-this-is-another-client's"


def ask(url, method="GET", path="/", document=None, **headers):
    """Return status, headers and body of an answer to JSON."""
    data = None if document is None else json.dumps(document).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if data is not None:
        sent["Content-Type"] = "application/json"
    request = urllib.request.Request(url + path, data=data, method=method, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def token(value):
    return {"Authorization": f"token {value}"}


@pytest.fixture(scope="module")
def guarded():
    """An appliance with terms of service, tokens and a list of sites."""
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir="/tmp", delete=False) as file:
        file.write("<p>Be <b>kind</b>.</p>")
    os.chmod(file.name, 0o644)
    running = Appliance(
        "[pool]\nmax_kernels = 4\nready = 1\n"
        f'[web]\nterms_file = "{file.name}"\napi_tokens = ["{OWN}"]\n'
        'allowed_origins = ["https://good.example", "null"]\n'
    )
    yield running
    running.stop()
    os.unlink(file.name)


# --- whose kernels are whose


def test_a_list_shows_the_kernels_of_the_token_that_started_them(appliance):
    status, headers, body = ask(appliance.url, "POST", "/api/kernels", {"name": "python3"}, **token(OWN))
    model = json.loads(body)
    assert (status, model["name"], model["connections"]) == (201, "python", 0)
    assert headers["Location"] == f"/api/kernels/{model['id']}"

    def listed(**headers):
        return [kernel["id"] for kernel in json.loads(ask(appliance.url, "GET", "/api/kernels", **headers)[2])]

    assert listed(**token(OWN)) == [model["id"]]
    assert listed(**token(OTHER)) == listed() == listed(**token("short")) == []
    path = f"/api/kernels/{model['id']}"
    assert json.loads(ask(appliance.url, "GET", path)[2])["id"] == model["id"]
    assert ask(appliance.url, "DELETE", path)[0] == 204
    wait_for("it is gone", lambda: ask(appliance.url, "GET", path)[0] == 404, 5)
    assert listed(**token(OWN)) == []


def test_tokens_too_short_to_be_a_secret_tell_nobody_apart(appliance):
    _, _, body = ask(appliance.url, "POST", "/api/kernels", {}, **token("test-secret"))
    assert json.loads(ask(appliance.url, "GET", "/api/kernels", **token("test-secret"))[2]) == []
    ask(appliance.url, "DELETE", f"/api/kernels/{json.loads(body)['id']}")


@pytest.mark.parametrize(
    ("method", "path", "document", "status"),
    [
        ("POST", "/api/kernels", {"name": "fortran"}, 400),
        ("POST", "/api/kernels", {"name": 1}, 400),
        ("POST", "/api/kernels", [], 400),
        ("POST", "/api/kernels", {"profile": "none"}, 400),
        ("GET", f"/api/kernels/{uuid.uuid4()}", None, 404),
        ("POST", f"/api/kernels/{uuid.uuid4()}/restart", {}, 404),
        ("POST", f"/api/kernels/{uuid.uuid4()}/interrupt", {}, 404),
        ("DELETE", f"/api/kernels/{uuid.uuid4()}", None, 404),
        ("POST", "/api/sessions", {"path": "x" * 2000, "kernel": {"name": "python"}}, 400),
        ("POST", "/api/sessions", {"path": "x", "kernel": {"id": str(uuid.uuid4())}}, 404),
        ("POST", "/api/sessions", {"path": "x", "kernel": "python"}, 400),
        ("GET", f"/api/sessions/{uuid.uuid4()}", None, 404),
        ("PATCH", f"/api/sessions/{uuid.uuid4()}", {"name": "x"}, 404),
        ("GET", "/api/kernelspecs/none", None, 400),
        ("GET", "/api/contents", None, 404),
    ],
)
def test_what_is_wrong_is_said(appliance, method, path, document, status):
    found, _, body = ask(appliance.url, method, path, document)
    assert (found, bool(json.loads(body)["message"])) == (status, True)


# --- terms, tokens, origins


def test_terms_must_be_accepted(guarded):
    status, _, body = guarded.request("POST", "/kernel", {})
    assert (status, json.loads(body)["error"]) == (403, "terms_not_accepted")
    assert guarded.request("POST", "/tos.html", {})[2] == b"<p>Be <b>kind</b>.</p>"
    status, headers, body = guarded.request("GET", "/tos.html")
    assert status == 200
    assert b"<p>Be <b>kind</b>.</p>" in body
    assert "script-src" not in headers["content-security-policy"]
    status, headers, body = guarded.request("POST", "/tos.html", {"callback": "page.show"})
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert body == b'/**/page.show("\\u003cp\\u003eBe \\u003cb\\u003ekind\\u003c/b\\u003e.\\u003c/p\\u003e");\r\n'
    with SageClient(guarded.url) as client:  # it says that it accepts them
        assert client.run("1 + 1").result == "2"
    guarded.request("DELETE", f"/kernel/{client.kernel_id}")


def test_no_terms_are_an_empty_answer(appliance):
    assert appliance.request("POST", "/tos.html", {})[::2] == (200, b"")
    assert appliance.request("GET", "/tos.html")[0] == 404


def test_jupyters_addresses_want_a_token_where_there_are_some(guarded):
    assert ask(guarded.url, "GET", "/api")[0] == 200
    for method, path in (
        ("GET", "/api/kernels"),
        ("POST", "/api/kernels?accepted_tos=true"),
        ("GET", "/api/kernelspecs"),
        ("GET", "/api/status"),
        ("GET", "/api/me"),
        ("POST", "/api/sessions?accepted_tos=true"),
        ("GET", f"/api/kernels/{uuid.uuid4()}/channels"),
        ("POST", "/service?code=1&accepted_tos=true"),
    ):
        document = {} if method == "POST" else None
        assert ask(guarded.url, method, path, document)[0] == 403, path
        assert ask(guarded.url, method, path, document, **token(OTHER))[0] == 403, path
        assert ask(guarded.url, method, path, document, **token(OWN))[0] in (200, 201, 400, 404), path
    # a token that many know shows nobody the kernels of the others
    assert json.loads(ask(guarded.url, "GET", "/api/kernels", **token(OWN))[2]) == []


@pytest.mark.attack(33, "web.allowed_origins", "a page of a site that is not on the list")
@pytest.mark.parametrize(
    ("origin", "welcome"),
    [
        ("https://good.example", True),
        ("null", True),
        ("https://evil.example", False),
        ("https://good.example.evil.test", False),
        ("http://good.example", False),
        ("https://good.example:444", False),
    ],
)
def test_only_pages_of_listed_sites_may_use_an_appliance_that_lists_them(guarded, origin, welcome):
    for method, path in (("GET", "/api"), ("POST", "/tos.html"), ("GET", "/sockjs/info"), ("OPTIONS", "/kernel")):
        status, headers, _ = ask(guarded.url, method, path, Origin=origin)
        assert (status == 200, headers["Access-Control-Allow-Origin"]) == (welcome, origin if welcome else None)
    for path in ("/sockjs/websocket", "/sockjs/000/aaaaaaaa/websocket"):
        url = f"ws://127.0.0.1:{guarded.port}{path}"
        if welcome:
            websocket.create_connection(url, origin=origin, timeout=10).close()
        else:
            assert ask(guarded.url, "GET", path, Origin=origin, Upgrade="websocket")[0] == 403
    # files are public, and the server's own pages are its own
    assert ask(guarded.url, "GET", "/static/embedded_cell.js", Origin=origin)[0] == 200
    assert ask(guarded.url, "GET", "/api", Origin=guarded.url)[0] == 200


ADDRESSES = (
    "/",
    "/kernel",
    f"/kernel/{uuid.uuid4()}",
    "/service",
    "/permalink",
    "/tos.html",
    "/help.html",
    "/sockjs/info",
    "/sockjs/000/aaaaaaaa/xhr",
    "/sockjs/000/aaaaaaaa/xhr_send",
    "/sockjs/000/aaaaaaaa/xhr_streaming",
    "/api/kernels",
    f"/api/kernels/{uuid.uuid4()}",
    f"/api/kernels/{uuid.uuid4()}/restart",
    "/api/sessions",
    f"/api/sessions/{uuid.uuid4()}",
    "/api/kernelspecs",
)


@pytest.mark.parametrize("origin", ["https://course.example", "null"])
@pytest.mark.parametrize("path", ADDRESSES)
def test_every_address_answers_a_preflight(appliance, path, origin):
    status, headers, body = ask(appliance.url, "OPTIONS", path, Origin=origin, Access_Control_Request_Method="POST")
    assert (status, body) == (200, b"")
    assert headers["Access-Control-Allow-Origin"] == origin
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert "Content-Type" in headers["Access-Control-Allow-Headers"]
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    assert headers["Access-Control-Allow-Methods"] == headers["Allow"]
    assert "Set-Cookie" not in headers


# --- SockJS beyond its npm client


def frames(url, session, transport="xhr", **arguments):
    query = urllib.parse.urlencode(arguments)
    method = "GET" if transport in ("jsonp", "eventsource") else "POST"
    return ask(url, method, f"/sockjs/000/{session}/{transport}?{query}")


def test_a_connection_without_frames_of_sockjs(appliance):
    client = SageClient(appliance.url)
    client.close()
    connection = websocket.create_connection(f"ws://127.0.0.1:{appliance.port}/sockjs/websocket", timeout=20)
    header = {"msg_id": "a", "msg_type": "execute_request", "username": "", "session": "s"}
    message = {"header": header, "content": {"code": "print(6 * 7)"}}
    connection.send(f"{client.kernel_id}/channels,{json.dumps(message)}")
    text = ""
    while '"execute_reply"' not in text:
        text = connection.recv()
        assert text.startswith(f"{client.kernel_id}/channels,{{")
    connection.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def test_frames_as_scripts(appliance):
    session = uuid.uuid4().hex
    assert frames(appliance.url, session, "jsonp", c="window.go")[2] == b'/**/window.go("o");\r\n'
    gone = str(uuid.uuid4())
    form = {"d": json.dumps([f"{gone}/channels,{{}}"])}
    assert appliance.request("POST", f"/sockjs/000/{session}/jsonp_send", form)[::2] == (200, b"ok")
    _, headers, body = frames(appliance.url, session, "jsonp", c="window.go")
    assert headers["Content-Type"] == "application/javascript; charset=UTF-8"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert b"unknown_kernel" in body
    for name in ("", "alert(1)//", "a;b", "<script>", "a" * 500, "a..b", "a\r\nb"):
        assert frames(appliance.url, uuid.uuid4().hex, "jsonp", c=name)[0] == 400


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 400), (b"x", 400), (b"{}", 400), (b"[1]", 400), (b"\xff", 400), (b"[" * 5000, 400)]
)
def test_a_payload_that_is_none_is_refused(appliance, body, status):
    session = uuid.uuid4().hex
    frames(appliance.url, session)
    request = urllib.request.Request(f"{appliance.url}/sockjs/000/{session}/xhr_send", data=body, method="POST")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    with caught.value as error:
        assert error.code == status


def test_a_second_answer_at_the_same_time_is_turned_away(appliance):
    session = uuid.uuid4().hex
    stream = urllib.request.urlopen(
        urllib.request.Request(f"{appliance.url}/sockjs/000/{session}/xhr_streaming", method="POST"), timeout=10
    )
    assert stream.readline() == b"h" * 2048 + b"\n"
    assert stream.readline() == b"o\n"
    assert frames(appliance.url, session)[2] == b'c[2010,"Another connection still open"]\n'
    stream.close()


def test_a_message_for_nobody_ends_the_session_with_a_reason(appliance):
    session = uuid.uuid4().hex
    frames(appliance.url, session)
    assert ask(appliance.url, "POST", f"/sockjs/000/{session}/xhr_send", ["no comma"])[0] == 204
    assert frames(appliance.url, session)[2].startswith(b"c[3001,")


@pytest.mark.parametrize("transport", ["websocket", "raw", "xhr"])
def test_the_kernel_of_a_client_that_vanished_is_freed(appliance, transport):
    """Whatever the door, a kernel whose page is gone does not keep its place."""
    _, _, body = ask(appliance.url, "POST", "/kernel?timeout=inf", {})
    kernel_id = json.loads(body)["id"]
    message = f"{kernel_id}/channels,{json.dumps({'header': {'msg_id': 'a', 'msg_type': 'kernel_info_request'}})}"
    if transport == "xhr":
        session = uuid.uuid4().hex
        frames(appliance.url, session)
        ask(appliance.url, "POST", f"/sockjs/000/{session}/xhr_send", [message])
        assert b"kernel_info_reply" in frames(appliance.url, session)[2] + frames(appliance.url, session)[2]
    else:
        path = "/sockjs/websocket" if transport == "raw" else "/sockjs/000/aaaaaaaa/websocket"
        connection = websocket.create_connection(f"ws://127.0.0.1:{appliance.port}{path}", timeout=20)
        connection.send(message if transport == "raw" else json.dumps([message]))
        while "kernel_info_reply" not in connection.recv():
            continue
        connection.shutdown()  # no close frame: it is just gone
    started = time.monotonic()
    wait_for("freed", lambda: ask(appliance.url, "GET", f"/api/kernels/{kernel_id}")[0] == 404, 25)
    assert time.monotonic() - started > 5
