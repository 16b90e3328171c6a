"""Files that programs leave, fetched by clients of SageMathCell during and after the life of their kernels."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time

import pytest

from tests.integration.running import INSTALLED, Appliance, wait_for
from tests.integration.sage_client import SageClient

WRITE = "import os\nos.mkdir('tables')\nopen('tables/a b.csv', 'w').write('1,2\\n')\nopen('.hidden', 'w').write('x')"


def fetch(appliance, kernel_id, name, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", appliance.port, timeout=30)
    try:
        connection.request("GET", f"/kernel/{kernel_id}/files/{name}", headers=headers)
        response = connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def new_files(answer):
    return [name for payload in answer.reply["payload"] for name in payload.get("new_files", ())]


def test_files_are_told_of_and_can_be_fetched_when_their_kernel_is_gone(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        answer = client.run(WRITE)
        assert new_files(answer) == ["tables/a b.csv"]
        assert answer.reply["user_expressions"]["_sagecell_files"]["data"]["text/plain"] == "''"
        assert client.receive()["content"]["execution_state"] == "dead"
    status, headers, body = fetch(appliance, client.kernel_id, "tables/a%20b.csv?q=1", Origin="null")
    assert (status, body) == (200, b"1,2\n")
    assert headers["access-control-allow-origin"] == "null"
    assert headers["cache-control"] == "no-cache"
    status, headers, body = fetch(appliance, client.kernel_id, "tables/a%20b.csv", Range="bytes=2-")
    assert (status, body, headers["content-range"]) == (206, b"2\n", "bytes 2-3/4")
    for name in ("tables", ".hidden", "none", "tables%2F..%2F.hidden", "..%2Fetc%2Fpasswd"):
        assert fetch(appliance, client.kernel_id, name)[0] == 404, name
    assert json.loads(fetch(appliance, client.kernel_id, "none")[2])["error"] == "no_such_file"


def test_only_what_is_new_or_changed_is_told_of(appliance):
    with SageClient(appliance.url) as client:
        assert new_files(client.run("open('a', 'w').write('1'); open('b', 'w').write('1')")) == ["a", "b"]
        assert new_files(client.run("print(1)")) == []
        assert new_files(client.run("open('b', 'w').write('22')")) == ["b"]
        # an error has no such payload; the file is told of with the next reply
        assert new_files(client.run("open('c', 'w').write('3'); 1/0")) == []
        assert new_files(client.run("1")) == ["c"]
        assert fetch(appliance, client.kernel_id, "b")[2] == b"22"
        client.send("shutdown_request", {"restart": False}, channel="control")


@pytest.mark.parametrize(
    "shown",
    ["display({'text/image-filename': 'p.png?m=1', 'text/plain': 'p.png'}, raw=True)",
     "from IPython.display import HTML\ndisplay(HTML('<img src=\"cell://p.png\">'))"],
)  # fmt: skip
def test_a_picture_that_is_displayed_is_there_at_once(appliance, shown):
    with SageClient(appliance.url) as client:
        running = client.start(f"open('p.png', 'wb').write(b'png')\n{shown}\nimport time; time.sleep(60)")
        message = client.receive()
        while message["msg_type"] != "display_data":
            message = client.receive()
        data = message["content"]["data"]
        assert "p.png" in data.get("text/image-filename", data.get("text/html", ""))
        assert fetch(appliance, client.kernel_id, "p.png?m=1")[::2] == (200, b"png")
        client.send("interrupt_request", {}, channel="control")
        assert client.finish(running).reply["ename"] == "KeyboardInterrupt"
        client.send("shutdown_request", {"restart": False}, channel="control")


def test_large_files_arrive_whole_and_too_large_ones_are_told(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        answer = client.run(
            "open('large', 'wb').write(bytes(range(256)) * 30_000)\nopen('huge', 'wb').write(bytes(9_000_000))"
        )
        assert new_files(answer) == ["large"]
        assert answer.stderr == "[Too large or too many to be kept: huge]\n"
    status, headers, body = fetch(appliance, client.kernel_id, "large")
    assert (status, headers["content-length"]) == (200, "7680000")
    assert body == bytes(range(256)) * 30_000
    assert fetch(appliance, client.kernel_id, "huge")[0] == 404


def test_a_file_of_one_kernel_is_not_one_of_another(appliance):
    with SageClient(appliance.url) as client, SageClient(appliance.url) as other:
        assert new_files(client.run("open('a', 'w').write('1')")) == ["a"]
        assert fetch(appliance, other.kernel_id, "a")[0] == 404
        for one in (client, other):
            one.send("shutdown_request", {"restart": False}, channel="control")


def test_what_a_page_with_script_left_runs_nothing(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        assert new_files(client.run("open('a.html', 'w').write('<script>alert(1)</script>')")) == ["a.html"]
    _, headers, _ = fetch(appliance, client.kernel_id, "a.html")
    assert headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert headers["content-disposition"].startswith("attachment")
    assert headers["x-content-type-options"] == "nosniff"


HOSTILE = """
kernel = get_ipython().kernel
def say(name, data):
    kernel.session.send(kernel.publisher, 'session_file', {'name': name}, buffers=[data])
for name in ('../../../../../tmp/owned', '/tmp/owned', '..', '', 'a/../b', 'x' * 5000, 5, None):
    say(name, b'bad')
for number in range(80):
    say(f'flood{number}', bytes(1_000_000))
for number in range(20_000):
    say(f'nothing{number}', b'')
"""


@pytest.mark.skipif(INSTALLED, reason="looks into the directory of this host")
@pytest.mark.attack(16, "names are hashed; bytes of a request are counted", "names that lead elsewhere, and a flood")
def test_names_and_sizes_that_a_kernel_makes_up_lead_nowhere(appliance):
    with SageClient(appliance.url, timeout="0") as client:
        client.run(HOSTILE)
    kept = list((appliance.config.files_path / client.kernel_id).iterdir())
    assert {(len(file.name), file.name.isalnum()) for file in kept} == {(64, True)}
    assert 0 < sum(file.stat().st_size for file in kept) <= 33_554_432
    assert fetch(appliance, client.kernel_id, "flood0")[0] == 200
    assert fetch(appliance, client.kernel_id, "flood79")[0] == 404


@pytest.mark.skipif(INSTALLED, reason="kills a role, and wants a configuration of its own")
def test_files_outlive_the_web_role_and_go_in_time():
    own = Appliance("[pool]\nready = 1\nmax_kernels = 4\n[web]\nfiles_seconds = 6.0\n")
    try:
        with SageClient(own.url, timeout="0") as client:
            assert new_files(client.run("open('a', 'w').write('1')")) == ["a"]
        with SageClient(own.url) as living:
            assert new_files(living.run("open('a', 'w').write('1')")) == ["a"]
            assert own.config.files_path.stat().st_mode & 0o777 == 0o700
            os.kill(own.pid_of("web"), signal.SIGKILL)
            wait_for("the web role is back", own._answers, 20)
            assert fetch(own, client.kernel_id, "a")[::2] == (200, b"1")
            wait_for("the file is gone", lambda: fetch(own, client.kernel_id, "a")[0] == 404, 30)
            assert not (own.config.files_path / client.kernel_id).exists()
        with SageClient(own.url) as living:
            assert new_files(living.run("open('a', 'w').write('1')")) == ["a"]
            until = time.monotonic() + 12
            while time.monotonic() < until:
                living.attend()
                assert fetch(own, living.kernel_id, "a")[0] == 200
                time.sleep(0.5)
    finally:
        own.kill()
