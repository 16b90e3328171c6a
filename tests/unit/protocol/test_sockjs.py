from __future__ import annotations

import pytest

from appliance.errors import BadRequest
from appliance.protocol import sockjs


def test_frames_hold_nothing_that_a_browser_would_change():
    assert sockjs.messages_frame(['a"\u2028\ud800\x00', "ü"]) == 'a["a\\"\\u2028\\ud800\\u0000","\\u00fc"]'
    assert sockjs.close_frame(sockjs.GO_AWAY) == 'c[3000,"Go away!"]'


def test_one_string_and_a_list_are_both_messages():
    assert sockjs.parse_messages('"x"') == ["x"]
    assert sockjs.parse_messages('["x","y"]') == ["x", "y"]


@pytest.mark.parametrize("text", ["", "x", "{}", "[1]", "[[]]", "null", "[" * 100_000, '["x"' + ',"x"' * 256 + "]"])
def test_other_payloads_are_refused(text):
    with pytest.raises(BadRequest):
        sockjs.parse_messages(text)


def test_a_script_calls_the_function_of_the_page_and_does_nothing_else():
    assert sockjs.jsonp("_jp.abc", "</script>&\u2028") == '/**/_jp.abc("\\u003c/script\\u003e\\u0026\\u2028");\r\n'


@pytest.mark.parametrize("name", ["", "a b", "alert(1)", "a;b", "a.b.", ".a", "1a", "a" * 65, "a\n", "ä", "a[0]"])
def test_what_is_no_name_of_a_function_is_refused(name):
    with pytest.raises(BadRequest):
        sockjs.jsonp(name, "")


def test_transports_wrap_a_frame():
    assert sockjs.XHR.wrap("o") == "o\n"
    assert sockjs.EVENTSOURCE.wrap("o") == "data: o\r\n\r\n"
    assert sockjs.XHR_STREAMING.prelude == b"h" * 2048 + b"\n"
    assert sockjs.jsonp_transport("f").wrap("o") == '/**/f("o");\r\n'
