"""Interacts in real kernels: as widgets, and by the messages of SageMathCell."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest

from tests.integration.sage_client import Answer, SageClient

UPDATE = "sagenb.interact.update_interact"


class Visitor(SageClient):
    """A client that shows widgets (``modern``) or SageMathCell's interacts."""

    def evaluate(self, code: str, *, modern: bool, interacts: list[Any] | None = None) -> Answer:
        metadata: dict[str, Any] = {"widgets": True} if modern else {}
        if interacts is not None:
            metadata["interacts"] = interacts
        content = {"code": code, "user_expressions": {"_sagecell_files": "sys._sage_.new_files()"}}
        return self.finish(self.say("execute_request", content, metadata))

    def say(self, kind: str, content: dict[str, Any], metadata: dict[str, Any] | None = None) -> str:
        msg_id = uuid.uuid4().hex
        header = {"msg_id": msg_id, "username": "", "session": "s", "msg_type": kind}
        message = {"header": header, "parent_header": {}, "metadata": metadata or {}, "content": content}
        self.socket.send(json.dumps({**message, "channel": "shell"}))
        return msg_id

    def update(self, interact_id: str, values: dict[str, Any], *, last: bool = False) -> Answer:
        content = {"interact_id": interact_id, "values": values, "update_last": last, "user_expressions": {}}
        return self.until_idle(self.say(UPDATE, content), "sagenb.interact.update_interact_reply")

    def set_widget(self, model_id: str, state: dict[str, Any]) -> str:
        return self.say("comm_msg", {"comm_id": model_id, "data": {"method": "update", "state": state}})

    def until_idle(self, msg_id: str, reply: str = "") -> Answer:
        answer, waiting = Answer(), {"idle", reply} - {""}
        deadline = time.monotonic() + 30
        while waiting:
            assert time.monotonic() < deadline
            message = self.receive()
            if message["parent_header"].get("msg_id") != msg_id:
                continue
            answer.messages.append(message)
            waiting.discard(message["msg_type"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                waiting.discard("idle")
        return answer


@pytest.fixture
def visitor(appliance):
    client = Visitor(appliance.url)
    yield client
    client.close()
    appliance.request("DELETE", f"/kernel/{client.kernel_id}")


def data_of(answer: Answer, kind: str) -> Any:
    return next(content["data"][kind] for content in answer.contents("display_data") if kind in content["data"])


def models(answer: Answer) -> dict[str, dict[str, Any]]:
    """Return the state of each widget that was opened, by its id."""
    return {content["comm_id"]: content["data"]["state"] for content in answer.contents("comm_open")}


def model(answer: Answer, name: str) -> str:
    (found,) = [key for key, state in models(answer).items() if state["_model_name"] == name]
    return found


LONG = "    print('begin', n, flush=True)\n    for _ in range(100 * bool(n)): time.sleep(0.01)\n    print('end', n)"


def until_printed(visitor, text):
    while visitor.receive()["content"].get("text") != text:
        continue
    # longer than a run that is overtaken would go on
    time.sleep(0.4)


def test_old_clients_get_the_messages_of_sagemathcell(visitor):
    answer = visitor.evaluate("@interact\ndef f(n=(0, 10), s='text'):\n    print(n, s)", modern=False)
    assert answer.reply["status"] == "ok"
    assert answer.contents("comm_open") == []
    made = data_of(answer, "application/sage-interact")
    assert made["controls"]["n"] == {
        "control_type": "slider",
        "subtype": "continuous",
        "display_value": True,
        "default": 0.0,
        "step": 0.04,
        "range": [0.0, 10.0],
        "raw": True,
        "label": "n",
        "update": True,
    }
    assert made["layout"] == [[["n", 1]], [["s", 1]], [["_output", 1]]]
    interact_id = made["new_interact_id"]
    (printed,) = [message for message in answer.messages if message["msg_type"] == "stream"]
    assert printed["content"]["text"] == "0.0 text\n"
    assert printed["metadata"] == {"interact_id": interact_id}
    changed = visitor.update(interact_id, {"n": 4})
    assert changed.stdout == "4.0 text\n"
    assert data_of(changed, "application/sage-clear") == {"changed": ["n"]}
    (reply,) = changed.contents("sagenb.interact.update_interact_reply")
    assert reply["status"] == "ok"
    afterwards = visitor.evaluate("print('elsewhere')", modern=False)
    (printed,) = [message for message in afterwards.messages if message["msg_type"] == "stream"]
    assert printed["metadata"] == {}


def test_several_values_of_an_old_client_run_it_for_each_or_once(visitor):
    answer = visitor.evaluate("@interact\ndef f(n='a', s='b'):\n    print(n, s)", modern=False)
    interact_id = data_of(answer, "application/sage-interact")["new_interact_id"]
    assert visitor.update(interact_id, {"n": "c", "s": "d"}).stdout == "c b\nc d\n"
    assert visitor.update(interact_id, {"n": "e", "s": "f"}, last=True).stdout == "e f\n"


def test_an_error_stays_in_its_interact_for_old_clients(visitor):
    answer = visitor.evaluate("@interact\ndef f(n=(0, 10)):\n    1 / n", modern=False)
    assert answer.reply["status"] == "ok"
    interact_id = data_of(answer, "application/sage-interact")["new_interact_id"]
    (error,) = [message for message in answer.messages if message["msg_type"] == "error"]
    assert error["content"]["ename"] == "ZeroDivisionError"
    assert error["metadata"] == {"interact_id": interact_id}
    assert "appliance" not in "".join(error["content"]["traceback"])
    assert "Interact state: {'n': 0.0}" in answer.stdout
    assert visitor.evaluate("print(1)", modern=False).messages[1]["metadata"] == {}
    unknown = visitor.update("nowhere", {"n": 1})
    (reply,) = unknown.contents("sagenb.interact.update_interact_reply")
    assert (reply["status"], reply["evalue"]) == ("error", "there is no interact 'nowhere' in this kernel")


def test_program_and_bookmarks_reach_old_clients(visitor):
    answer = visitor.evaluate("@interact\ndef f(n=(1, 9), g=5):\n    print(n)", modern=False)
    interact_id = data_of(answer, "application/sage-interact")["new_interact_id"]
    changes = visitor.evaluate(
        "f.n = 3\nf.extra = True\ndel f.g\nf._bookmark('three')\nprint(f._changed, f._state())", modern=False
    )
    update = data_of(changes, "application/sage-interact-update")
    assert update == {"interact_id": interact_id, "control": "n", "value": 3.0}
    assert data_of(changes, "application/sage-interact-new-control")["control"]["control_type"] == "checkbox"
    assert data_of(changes, "application/sage-interact-del-control") == {"interact_id": interact_id, "name": "g"}
    assert data_of(changes, "application/sage-interact-bookmark")["values"] == {"n": 3.0, "extra": True}
    assert changes.stdout == "['n', 'extra', 'g'] {'n': 3.0, 'extra': True}\n"


def test_an_interact_is_a_tree_of_widgets(visitor):
    answer = visitor.evaluate("@interact\ndef f(n=(0, 10)):\n    print(n)", modern=True)
    assert answer.reply["status"] == "ok"
    assert not any("application/sage-interact" in content["data"] for content in answer.contents("display_data"))
    slider, output = model(answer, "FloatSliderModel"), model(answer, "OutputModel")
    msg_id = visitor.set_widget(slider, {"value": 2.5})
    changed = visitor.until_idle(msg_id)
    assert changed.stdout == "2.5\n"
    directed = [c["data"]["state"]["msg_id"] for c in changed.contents("comm_msg") if c["comm_id"] == output]
    assert directed == [msg_id, ""]
    assert changed.contents("clear_output") == [{"wait": True}]


def test_no_output_clears_what_was_there(visitor):
    answer = visitor.evaluate("@interact\ndef f(n=True):\n    n and print(n)", modern=True)
    changed = visitor.until_idle(visitor.set_widget(model(answer, "CheckboxModel"), {"value": False}))
    assert changed.contents("clear_output") == [{"wait": True}, {"wait": False}]


def test_saved_values_are_there_in_the_first_run(visitor):
    answer = visitor.evaluate(
        "@interact\ndef f(n=(0, 10), c=['a', 'b']):\n    print(n, c)",
        modern=True,
        interacts=[{"state": {"n": 7, "c": 1, "gone": 3}, "bookmarks": []}],
    )
    assert answer.stdout == "7.0 b\n"
    assert visitor.evaluate("@interact\ndef f(n=(0, 10)):\n    print(n)", modern=True).stdout == "0.0\n"


def test_a_widget_of_the_author_begins_with_what_was_saved_and_bookmarks_leave_it(visitor):
    answer = visitor.evaluate(
        "import ipywidgets\n@interact\ndef f(w=ipywidgets.IntSlider()):\n    print(w)",
        modern=True,
        interacts=[{"state": {"w": 7}, "bookmarks": [{"name": "later", "state": {"w": 50}}]}],
    )
    assert answer.stdout == "7\n"
    pressed = {"method": "custom", "content": {"event": "click"}}
    button = visitor.say("comm_msg", {"comm_id": model(answer, "ButtonModel"), "data": pressed})
    assert visitor.until_idle(button).stdout == "50\n"


def test_a_program_sets_a_widget_of_its_author_without_running_again(visitor):
    code = "import ipywidgets\n@interact\ndef f(self, w=ipywidgets.IntSlider()):\n    print(self.w); self.w += 1"
    answer = visitor.evaluate(code, modern=True)
    assert answer.stdout == "0\n"
    assert visitor.until_idle(visitor.set_widget(model(answer, "IntSliderModel"), {"value": 5})).stdout == "5\n"


def test_stop_ends_what_runs_itself_again_and_again(visitor):
    code = (
        "import ipywidgets, time\nw = ipywidgets.IntSlider(max=10**9)\n@interact\ndef f(n=w):\n"
        "    w.value += 1; print(n, flush=True); time.sleep(1)"
    )
    running = visitor.say("execute_request", {"code": code}, {"widgets": True})
    until_printed(visitor, "1\n")
    visitor.send("interrupt_request", {}, channel="control")
    assert [error["ename"] for error in visitor.until_idle(running).contents("error")] == ["KeyboardInterrupt"]
    # by an end of the run, and not by that of a kernel that does not heed it
    assert visitor.evaluate("w.value", modern=True).result == "2"


def test_fifty_values_end_with_the_last_and_skip_those_overtaken(visitor):
    answer = visitor.evaluate(
        "import time\nseen = []\n@interact\ndef f(n=(0, 50)):\n    time.sleep(0.03); seen.append(n); print(n)",
        modern=True,
    )
    slider = model(answer, "FloatSliderModel")
    for value in range(1, 51):
        last = visitor.set_widget(slider, {"value": value})
    assert visitor.until_idle(last).stdout == "50.0\n"
    seen = json.loads(visitor.evaluate("print(seen)", modern=True).stdout)
    assert seen[-1] == 50
    assert seen == sorted(seen)
    assert len(seen) < 10


def test_a_newer_change_ends_a_long_run(visitor):
    answer = visitor.evaluate(
        "import time\nended = []\n@interact\ndef f(n=(0, 10)):\n"
        "    for _ in range(int(n * 1000)):\n        time.sleep(0.01)\n    ended.append(n); print(n)",
        modern=True,
    )
    slider = model(answer, "FloatSliderModel")
    visitor.set_widget(slider, {"value": 9})
    time.sleep(0.5)
    started = time.monotonic()
    assert visitor.until_idle(visitor.set_widget(slider, {"value": 0})).stdout == "0.0\n"
    assert time.monotonic() - started < 5
    assert visitor.evaluate("print(ended)", modern=True).stdout == "[0.0, 0.0]\n"


def test_a_long_run_ends_for_old_clients_as_well(visitor):
    answer = visitor.evaluate(
        "import time\n@interact\ndef f(n=(0, 10)):\n    time.sleep(n * 10); print(n)", modern=False
    )
    interact_id = data_of(answer, "application/sage-interact")["new_interact_id"]
    content = {"interact_id": interact_id, "values": {"n": 10}, "update_last": False}
    visitor.say(UPDATE, content)
    time.sleep(0.5)
    assert visitor.update(interact_id, {"n": 0}).stdout == "0.0\n"


def test_a_change_that_runs_nothing_leaves_a_long_run_alone(visitor):
    code = f"import time\n@interact\ndef f(n='', go=UpdateButton()):\n{LONG}"
    interact_id = data_of(visitor.evaluate(code, modern=False), "application/sage-interact")["new_interact_id"]
    visitor.update(interact_id, {"n": "b"})
    running = visitor.say(UPDATE, {"interact_id": interact_id, "values": {"go": True}, "update_last": False})
    until_printed(visitor, "begin b\n")
    moved = visitor.say(UPDATE, {"interact_id": interact_id, "values": {"n": "c"}, "update_last": False})
    assert visitor.until_idle(running).stdout == "end b\n"
    assert visitor.until_idle(moved).stdout == ""


def test_a_run_that_a_message_without_a_change_has_ended_is_made_again(visitor):
    answer = visitor.evaluate(f"import time\n@interact\ndef f(n=''):\n{LONG}", modern=True)
    box = model(answer, "TextModel")
    visitor.set_widget(box, {"value": "b"})
    until_printed(visitor, "begin b\n")
    entered = visitor.say("comm_msg", {"comm_id": box, "data": {"method": "custom", "content": {"event": "submit"}}})
    assert visitor.until_idle(entered).stdout.endswith("end b\n")


def test_stop_ends_a_run_and_shows_it_in_the_interact(visitor):
    answer = visitor.evaluate("import time\n@interact\ndef f(n=False):\n    n and time.sleep(60)", modern=True)
    msg_id = visitor.set_widget(model(answer, "CheckboxModel"), {"value": True})
    time.sleep(0.5)
    visitor.send("interrupt_request", {}, channel="control")
    assert [error["ename"] for error in visitor.until_idle(msg_id).contents("error")] == ["KeyboardInterrupt"]


@pytest.mark.parametrize("modern", [True, False])
def test_an_exit_ends_a_run_and_not_the_kernel(visitor, modern):
    answer = visitor.evaluate("import sys\n@interact\ndef f(n=False):\n    n and sys.exit()", modern=modern)
    if modern:
        changed = visitor.until_idle(visitor.set_widget(model(answer, "CheckboxModel"), {"value": True}))
    else:
        changed = visitor.update(data_of(answer, "application/sage-interact")["new_interact_id"], {"n": True})
    assert [error["ename"] for error in changed.contents("error")] == ["SystemExit"]
    assert visitor.evaluate("f.n", modern=modern).result == "True"


def test_an_interact_whose_error_cannot_be_shown_leaves_the_kernel_idle(visitor):
    answer = visitor.evaluate(
        "import ipywidgets, traitlets\nclass Bad:\n    def __repr__(self):\n        raise ValueError('no repr')\n"
        "class Held(ipywidgets.DOMWidget):\n    value = traitlets.Any()\n"
        "@interact\ndef f(held=Held(value=Bad()), n=False):\n    if n: 1/0",
        modern=True,
    )
    changed = visitor.until_idle(visitor.set_widget(model(answer, "CheckboxModel"), {"value": True}))
    assert "no repr" in changed.stderr
    assert visitor.evaluate("f.n", modern=True).result == "True"


@pytest.mark.parametrize("ending", ["SystemExit", "KeyboardInterrupt"])
def test_a_callback_of_a_widget_that_exits_leaves_the_kernel(visitor, ending):
    answer = visitor.evaluate(
        f"import ipywidgets\nbox = ipywidgets.Checkbox()\ndef ticked(change):\n    raise {ending}\n"
        "box.observe(ticked, 'value')\nbox",
        modern=True,
    )
    changed = visitor.until_idle(visitor.set_widget(model(answer, "CheckboxModel"), {"value": True}))
    assert [error["ename"] for error in changed.contents("error")] == [ending]
    assert visitor.evaluate("box.value", modern=True).result == "True"


def test_stop_ends_a_callback_of_a_widget(visitor):
    answer = visitor.evaluate(
        "import ipywidgets, time\nbox = ipywidgets.Checkbox()\n"
        "box.observe(lambda change: (print('on', flush=True), time.sleep(60)), 'value')\nbox",
        modern=True,
    )
    msg_id = visitor.set_widget(model(answer, "CheckboxModel"), {"value": True})
    while visitor.receive()["msg_type"] != "stream":
        continue
    visitor.send("interrupt_request", {}, channel="control")
    assert [error["ename"] for error in visitor.until_idle(msg_id).contents("error")] == ["KeyboardInterrupt"]
    assert visitor.evaluate("box.value", modern=True).result == "True"


def test_stop_ends_a_cell_that_has_run_an_interact(visitor):
    answer = visitor.evaluate("@interact\ndef f(n=(0, 10)):\n    pass", modern=False)
    interact_id = data_of(answer, "application/sage-interact")["new_interact_id"]
    code = f"sys._sage_.update_interact({interact_id!r}, 'n', 3)\nimport time\nprint('on', flush=True)\ntime.sleep(60)"
    running = visitor.start(code)
    while visitor.receive()["msg_type"] != "stream":
        continue
    visitor.send("interrupt_request", {}, channel="control")
    assert visitor.finish(running).reply["ename"] == "KeyboardInterrupt"


def test_inner_interacts_go_with_the_run_that_made_them(visitor):
    answer = visitor.evaluate(
        "@interact\ndef f(n=[1, 2]):\n    @interact\n    def g(m=(0, n)):\n        print(n, m)", modern=True
    )
    inner = model(answer, "FloatSliderModel")
    second = next(key for key, state in models(answer).items() if state.get("description") == "2")
    changed = visitor.until_idle(visitor.set_widget(second, {"value": True}))
    assert changed.stdout == "2 0.0\n"
    assert inner in [content["comm_id"] for content in changed.contents("comm_close")]
    again = visitor.until_idle(visitor.set_widget(model(changed, "FloatSliderModel"), {"value": 2}))
    assert again.stdout == "2 2.0\n"


def test_a_grid_sends_all_entries_by_its_button(visitor):
    answer = visitor.evaluate(
        "import numpy\n@interact\ndef f(a=numpy.array([[1, 2], [3, 4]])):\n    print(a.sum())", modern=True
    )
    assert answer.stdout == "10\n"
    entry = next(key for key, state in models(answer).items() if state.get("value") == "1")
    changed = visitor.until_idle(visitor.set_widget(entry, {"value": "100"}))
    assert changed.stdout == ""
    marks = [c["data"]["state"].get("_dom_classes") for c in changed.contents("comm_msg") if c["comm_id"] == entry]
    assert ["interact-dirty"] in marks
    submit = next(key for key, state in models(answer).items() if state.get("description") == "Submit")
    press = {"comm_id": submit, "data": {"method": "custom", "content": {"event": "click"}}}
    sent = visitor.until_idle(visitor.say("comm_msg", press))
    assert sent.stdout == "109\n"


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("@interact\ndef f(n=(3, 3)): pass", "invalid interval: (3, 3), two different numbers are needed"),
        ("@interact\ndef f(n=(0, 10, -1)): pass", "steps of -1 do not lead from 0 to 10"),
        ("@interact(layout=[['m']])\ndef f(n=1): pass", "the layout names 'm', which is no control of this interact"),
        ("@interact(controls=[('n', 1)])\ndef f(n=1): pass", "duplicate argument 'n' in interact definition"),
        ("@interact\ndef f(_n=1): pass", "invalid control name: _n"),
    ],
)
def test_what_cannot_be_is_told_and_the_kernel_goes_on(visitor, code, sentence):
    answer = visitor.evaluate(code, modern=True)
    assert (answer.reply["status"], answer.reply["evalue"]) == ("error", sentence)
    assert visitor.evaluate("print(1)", modern=True).stdout == "1\n"


def test_a_single_kernel_lives_on_with_its_interact(appliance):
    with Visitor(appliance.url, timeout="0") as visitor:
        answer = visitor.evaluate("@interact\ndef f(n=True):\n    print(n)", modern=True)
        time.sleep(0.5)
        assert visitor.until_idle(visitor.set_widget(model(answer, "CheckboxModel"), {"value": False})).stdout == (
            "False\n"
        )
        appliance.request("DELETE", f"/kernel/{visitor.kernel_id}")


@pytest.mark.parametrize("modern", [False, True])
def test_a_dynamic_variable_is_the_same_in_the_next_cell(visitor, modern):
    answer = visitor.evaluate("dynamic(n=(0, 10, 1)); dynamic_expression('n * n', 'n')", modern=modern)
    assert answer.reply["status"] == "ok", answer.stderr
    if modern:
        visitor.until_idle(visitor.set_widget(model(answer, "SelectionSliderModel"), {"index": 4}))
        text = model(answer, "TextModel")
    else:
        visitor.update(data_of(answer, "application/sage-interact")["new_interact_id"], {"n": 4})
    assert visitor.evaluate("print(n)", modern=modern).stdout == "4\n"
    changed = visitor.evaluate("n = 9", modern=modern)
    if modern:
        updates = [c for c in changed.contents("comm_msg") if c["comm_id"] == text]
        assert updates[-1]["data"]["state"]["value"] == "81"
    else:
        said = [c["data"].get("application/sage-interact-update") for c in changed.contents("display_data")]
        assert [update["value"] for update in said if update] == [9, "81"]
