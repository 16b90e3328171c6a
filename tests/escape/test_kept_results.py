"""Line 42: output of one's own under the program of others, where results are kept for the next visitor."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
import uuid

import pytest

from tests.integration.result_client import ResultClient, execute_request, shown
from tests.integration.running import wait_for

FORGED = "FORGED"


def author(name):
    """Return a program of an author, which nobody has evaluated yet: it takes a second, and an interrupt shows."""
    return (
        f"# {name} {uuid.uuid4().hex}\nimport time\nprint('begun', flush=True)\n"
        f"try:\n    time.sleep(1)\n    print('true')\nexcept KeyboardInterrupt:\n    print('{FORGED}')"
    )


def verify(appliance, code):
    """Fail if the next visitor sees anything but what the program prints."""
    assert shown(appliance.url, code)[0] == "begun\ntrue\n"
    # the control: it is kept, and this is what is kept
    assert shown(appliance.url, code) == ("begun\ntrue\n", True)


def ask(url, method="GET", token="", data=None):
    request = urllib.request.Request(url, data=data, method=method)
    if token:
        request.add_header("Authorization", f"token {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def message(msg_type, content, channel="shell", **header):
    head = {"msg_id": uuid.uuid4().hex, "msg_type": msg_type, "session": "s", "username": "", **header}
    return {"channel": channel, "header": head, "parent_header": {}, "metadata": {}, "content": content}


FORGERIES = {
    "another evaluation": execute_request(f"print('{FORGED}')"),
    "another evaluation of the same id": message("execute_request", {"code": f"print('{FORGED}')"}, msg_id="0" * 32),
    "a message of a widget": message("comm_msg", {"comm_id": "x", "data": {"text": FORGED}}),
    "an answer to no question": message("input_reply", {"value": FORGED}, "stdin"),
    "an interrupt": message("interrupt_request", {}, "control"),
    "what kernels say": message("stream", {"name": "stdout", "text": FORGED}, "iopub"),
}


@pytest.mark.parametrize("how", FORGERIES)
@pytest.mark.attack(42, "whoever speaks to the kernel ends the recording", "speak to a kernel that works for all")
def test_speaking_to_the_kernel_places_nothing(small, how):
    code = author(how)
    client = ResultClient(small.url, code)
    client.until("stream")
    client.send(FORGERIES[how])
    client.until("idle")
    if how == "an interrupt":
        # it does have a say
        assert FORGED in str(client.messages)
    client.close()
    verify(small, code)


@pytest.mark.attack(42, "the key has all that reaches the kernel", "send more than the code along")
def test_what_comes_along_makes_another_result(small):
    code = author("more")
    check = {"title": FORGED, "code": f"print('{FORGED}')"}
    for metadata in ({"checks": [check]}, {"interacts": [{"state": {"x": FORGED}}]}):
        ResultClient(small.url, execute_request(code, **metadata)).answer()
    verify(small, code)


@pytest.mark.attack(42, "the request is the server's", "a header with a forgery in it")
def test_headers_of_a_visitor_reach_no_kernel(small):
    code = f"# {uuid.uuid4().hex}\nprint(sorted(get_ipython().get_parent()['header'].items())[1:])"
    request = execute_request(code)
    request["header"] |= {"username": FORGED, "session": FORGED, "msg_id": FORGED, "forged": FORGED}
    request["parent_header"] = {"forged": FORGED}
    first = ResultClient(small.url, request).answer()
    assert FORGED not in first.stdout
    text, stored = shown(small.url, code)
    assert (FORGED in text, stored) == (False, True)


@pytest.mark.attack(42, "its id is told to nobody, in no list", "find out which kernel it is and bring it a file")
def test_the_kernel_is_in_no_list(small):
    token = uuid.uuid4().hex
    code = f"# {uuid.uuid4().hex}\nimport time, os\nprint('begun', flush=True)\ntime.sleep(1)\nprint(os.listdir())"
    # a page's name is chosen by the page: this one is what the lists of a token are called by
    client = ResultClient(small.url, code, session=f"token {token}")
    client.until("stream")
    assert client.leased == [{"id": ""}]
    assert json.loads(ask(f"{small.url}/api/kernels", token=token)[1]) == []
    client.answer()
    # the control: an ordinary kernel of such a page is in it
    other = ResultClient(small.url, code, session=f"token {token}", result=False)
    other.until("stream")
    (listed,) = json.loads(ask(f"{small.url}/api/kernels", token=token)[1])
    assert listed["id"] == other.leased[0]["id"]
    ask(f"{small.url}/kernel/{listed['id']}", "DELETE")
    other.close()


@pytest.mark.attack(42, "a kernel that works for a result is nobody's", "reach it by its id, guessed right")
def test_its_id_does_not_help(small):
    code = author("id")
    client = ResultClient(small.url, code)
    client.until("stream")
    kernels = small.config.kernels_path
    names = [path.name for path in kernels.iterdir() if (path / "leased").exists()]
    assert names
    for name in names:
        assert ask(f"{small.url}/kernel/{name}/files/true.py", "PUT", data=b"x")[0] == 404
        assert ask(f"{small.url}/api/kernels/{name}")[0] == 404
        assert ask(f"{small.url}/api/kernels/{name}/interrupt", "POST")[0] == 404
    client.answer()
    wait_for("they are gone", lambda: not any((kernels / name).exists() for name in names), 10)
    verify(small, code)
