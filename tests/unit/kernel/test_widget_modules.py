from __future__ import annotations

import copy

from appliance.kernel.widget_modules import KEY, LEAST_CHARACTERS, MAX_MODULES, WidgetModules

LARGE = "x" * LEAST_CHARACTERS


def opening(module):
    return {"comm_id": "a", "target_name": "jupyter.widget", "data": {"state": {"_esm": module, "value": 1}}}


def state(content):
    return content["data"]["state"]


def test_a_large_front_end_goes_once():
    modules = WidgetModules()
    content = opening(LARGE)
    before = copy.deepcopy(content)
    first, second = modules.shortened(content), modules.shortened(content)
    assert content == before
    assert state(first)["_esm"] == LARGE
    assert "_esm" not in state(second)
    assert state(first)[KEY] == state(second)[KEY]
    assert (second["comm_id"], state(second)["value"]) == ("a", 1)


def test_another_page_gets_it_again():
    modules = WidgetModules()
    modules.shortened(opening(LARGE))
    modules.forget()
    assert state(modules.shortened(opening(LARGE)))["_esm"] == LARGE


def test_others_go_each_time():
    modules = WidgetModules()
    for content in (opening("export default {}"), opening(None), {"data": {"state": 1}}, {"data": None}, {}):
        assert modules.shortened(content) is content
        assert modules.shortened(content) is content


def test_what_is_remembered_is_bounded():
    modules = WidgetModules()
    for number in range(MAX_MODULES + 1):
        modules.shortened(opening(f"{LARGE}{number}"))
    assert state(modules.shortened(opening(f"{LARGE}{MAX_MODULES}")))["_esm"] == f"{LARGE}{MAX_MODULES}"
    assert "_esm" not in state(modules.shortened(opening(f"{LARGE}{MAX_MODULES - 1}")))
