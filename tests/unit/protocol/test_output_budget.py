from __future__ import annotations

import json

import attrs
import pytest

from appliance.protocol import output_budget
from appliance.protocol.frames import KernelFrame
from appliance.protocol.output_budget import (
    TAIL_CHARACTERS,
    MessageRate,
    OutputBudget,
    OutputLimits,
    shortened,
    shortened_content,
    shortened_reply,
)

LIMITS = OutputLimits(
    max_bytes=1_000_000,
    max_messages=50,
    max_displays=10,
    stream_characters=100_000,
    text_characters=10_000,
    messages_per_second=20,
)


def frame(msg_type, **content):
    return KernelFrame("iopub", msg_type, "m", "a", content, json.dumps(content).encode())


def stream(text, name="stdout"):
    return frame("stream", name=name, text=text)


def display(msg_type="display_data", **data):
    return frame(msg_type, data=data, metadata={})


def budget(rate=1000, **changes):
    return OutputBudget(attrs.evolve(LIMITS, messages_per_second=rate, **changes))


def admitted(budget, frames, now=0.0):
    """What passes, and what is said."""
    verdicts = [budget.admit(one, now) for one in frames]
    return [one.content for one in verdicts if one.content is not None], "".join(one.notice for one in verdicts)


def test_ordinary_output_passes_as_it_is():
    made = budget()
    frames = [
        stream("a\n"),
        display(**{"text/html": "<b>b</b>"}),
        frame("clear_output", wait=True),
        stream("e", "stderr"),
    ]
    for one in frames:
        verdict = made.admit(one, 0.0)
        assert verdict.content is one.content
        assert verdict.notice == ""
    assert made.close() == ([], None)


def test_printed_text_keeps_its_beginning_and_its_end():
    made = budget(max_messages=1000)
    lines = [stream(f"{number:09}\n") for number in range(100)] + [stream("x" * 9_999 + "\n") for _ in range(100)]
    lines += [stream("the end\n")]
    passed, said = admitted(made, lines)
    text = "".join(content["text"] for content in passed)
    assert text.startswith("000000000\n000000001\n")
    assert len(text) == LIMITS.stream_characters
    assert said.count("100 000 characters of text") == 1
    texts, last = made.close()
    total = 1000 + 100 * 10_000 + 8
    left_out = total - LIMITS.stream_characters - TAIL_CHARACTERS
    assert texts[0] == (
        "stderr",
        f"\n[Left out of this output: {output_budget.grouped(left_out)} characters. Its end follows.]\n",
    )
    assert texts[1][0] == "stdout"
    assert len(texts[1][1]) == TAIL_CHARACTERS
    assert texts[1][1].endswith("\nthe end\n")
    assert last is None
    assert made.close() == ([], None)


@pytest.mark.parametrize(
    ("changes", "frames", "passing", "words"),
    [
        ({"max_bytes": 1000}, [display(**{"text/html": "x" * 400})] * 5, 2, "1 000 bytes"),
        ({"max_messages": 3}, [frame("clear_output", wait=True)] * 5, 3, "3 messages"),
        ({"max_displays": 2}, [display("update_display_data", **{"text/plain": "x"})] * 5, 2, "2 displayed results"),
        ({"max_displays": 2}, [display(**{"text/plain": "x"})] * 5, 2, "2 displayed results"),
    ],
)
def test_each_limit_is_told_once_and_the_rest_is_counted(changes, frames, passing, words):
    made = budget(**changes)
    passed, said = admitted(made, frames)
    assert len(passed) == passing
    assert said == f"\n[Output is limited to {words} for one evaluation: what is above that is left out.]\n"
    ((name, text),), _ = made.close()
    assert name == "stderr"
    assert text == f"\n[Left out of this output: {5 - passing} messages.]\n"


def test_text_still_comes_after_too_many_displays():
    made = budget(max_displays=1)
    passed, _ = admitted(made, [display(**{"text/plain": "x"})] * 3 + [stream("after")])
    assert passed[-1] == {"name": "stdout", "text": "after"}


def test_the_last_state_of_a_display_comes_at_the_end():
    made = budget(max_displays=2)
    updates = [display("update_display_data", **{"text/plain": str(number)}) for number in range(9)]
    admitted(made, updates)
    _, last = made.close()
    assert last is updates[-1]


def test_a_large_last_update_is_not_kept():
    made = budget(max_displays=1)
    large = display("update_display_data", **{"text/html": "x" * (output_budget.MAX_LAST_UPDATE_BYTES + 1)})
    admitted(made, [large, large])
    assert made.close()[1] is None


def test_an_update_that_passes_makes_an_earlier_one_that_did_not_obsolete():
    made = budget(rate=1)
    updates = [display("update_display_data", **{"text/plain": str(number)}) for number in range(7)]
    admitted(made, updates)
    assert made.admit(updates[0], 10.0).content is not None
    assert made.close()[1] is None


@pytest.mark.parametrize(
    "outcome",
    [frame("error", ename="E", evalue="e", traceback=["t"]), display("execute_result", **{"text/plain": "42"})],
)
def test_the_outcome_comes_after_any_amount_of_output_once(outcome):
    made = budget(max_messages=1)
    passed, _ = admitted(made, [stream("x"), stream("y"), outcome, outcome])
    assert passed == [{"name": "stdout", "text": "x"}, outcome.content]


def test_an_error_that_is_no_error_does_not_pass_for_one():
    made = budget(max_messages=1)
    hostile = frame("error", ename="E", evalue="e", traceback=["t"], more="x" * output_budget.MAX_REPLY_BYTES)
    passed, _ = admitted(made, [stream("x"), hostile])
    assert len(passed) == 1


def test_text_that_comes_too_fast_is_held_back_and_not_lost():
    made = budget(rate=2)
    passed, said = admitted(made, [stream(f"{number} ") for number in range(15)])
    assert len(passed) == 10
    assert "messages a second" in said
    assert made.release(0.1) == []
    assert made.release(1.0) == [("stdout", "10 11 12 13 14 ")]
    assert made.release(2.0) == []
    assert made.close() == ([], None)


def test_text_that_was_held_back_comes_before_what_follows_it():
    made = budget(rate=2)
    admitted(made, [stream(f"{number} ") for number in range(12)])
    assert made.admit(stream("12"), 1.0).content == {"name": "stdout", "text": "10 11 12"}


def test_text_held_back_beyond_the_tail_is_told_where_it_is_missing():
    made = budget(rate=2, max_messages=1000)
    admitted(made, [stream(".") for _ in range(10)])
    admitted(made, [stream("x" * 9_000) for _ in range(3)])
    ((_, text),) = made.release(1.0)
    assert text.startswith("\n[7 000 characters left out.]\nx")
    assert made.close()[0] == [("stderr", "\n[Left out of this output: 7 000 characters.]\n")]


def test_the_end_of_text_over_a_total_is_not_released_before_the_end():
    made = budget(max_messages=1)
    admitted(made, [stream("a"), stream("b")])
    assert made.release(100.0) == []
    assert made.close()[0] == [("stdout", "b")]


def test_a_clock_that_goes_back_grants_nothing():
    rate = MessageRate(1)
    assert [rate.take(10.0) for _ in range(6)] == [True] * 5 + [False]
    assert not rate.take(0.0)


def test_a_long_text_keeps_its_two_ends():
    text = shortened("a" * 60 + "b" * 60, 20)
    assert text == "a" * 10 + "\n[100 characters left out: the limit of one text is 20.]\n" + "b" * 10
    assert shortened("a" * 20, 20) == "a" * 20
    assert shortened("abc", 1) == "a\n[2 characters left out: the limit of one text is 1.]\n"


def test_long_texts_of_each_kind_are_shortened():
    limit = LIMITS.text_characters
    for one, find in (
        (stream("x" * 50_000), lambda content: content["text"]),
        (display(**{"text/plain": "x" * 50_000}), lambda content: content["data"]["text/plain"]),
        (display("execute_result", **{"text/plain": "x" * 50_000}), lambda content: content["data"]["text/plain"]),
        (frame("error", ename="E", evalue="e", traceback=["x" * 100] * 500), lambda content: content["traceback"][0]),
    ):
        content = budget().admit(one, 0.0).content
        text = find(content)
        assert text.startswith("x" * 100)
        assert text.endswith("x" * 100)
        assert "characters left out" in text
        assert limit < len(text) < limit + 100
        assert {**content, "text": 0, "data": 0, "traceback": 0} == {
            **one.content,
            "text": 0,
            "data": 0,
            "traceback": 0,
        }


def test_other_representations_are_not_shortened_but_counted():
    made = budget()
    one = display(**{"text/html": "x" * 600_000, "text/plain": "y" * 20_000})
    content = made.admit(one, 0.0).content
    assert content["data"]["text/html"] == "x" * 600_000
    assert made.admit(one, 0.0).content is None


@pytest.mark.parametrize(
    "content",
    [
        {"text": ["x" * 20_000]},
        {"name": "stdout", "text": None, "more": "x" * 20_000},
        {"name": ["stdout"], "text": "x" * 20_000},
        {"name": "stdout", "text": "x", "more": "y" * 20_000},
    ],
)
def test_malformed_streams_are_counted_like_others(content):
    made = budget(max_bytes=25_000)
    admitted(made, [frame("stream", **content)])
    verdict = made.admit(frame("stream", **content), 0.0)
    assert verdict.content is None or len(json.dumps(verdict.content)) < 11_000


@pytest.mark.parametrize("data", [None, [], {"text/plain": None}, {"text/plain": [1, "x"]}])
def test_malformed_displays_are_left_as_they_are(data):
    content = {"data": data, "more": "x" * 20_000}
    assert shortened_content("display_data", content, 10) == (content, 0)


def test_a_huge_reply_becomes_a_small_one():
    reply = {
        "status": "error",
        "execution_count": 7,
        "ename": "E" * 1000,
        "evalue": "v" * 100_000,
        "traceback": ["t" * 100] * 10_000,
        "user_expressions": {"a": "x" * 1_000_000},
        "payload": ["x" * 1_000_000],
        "more": "x" * 1_000_000,
    }
    small = shortened_reply(reply, 1000)
    assert (small["status"], small["execution_count"]) == ("error", 7)
    assert len(json.dumps(small)) < 5_000
    assert shortened_reply({"status": "ok", "execution_count": 10**400}, 10) == {
        "status": "ok",
        "execution_count": None,
        "user_expressions": {},
        "payload": [],
    }
    hostile = shortened_reply({"status": ["x"], "ename": {}, "evalue": [], "traceback": [1]}, 10)
    assert hostile["status"] == "error"
    assert (hostile["ename"], hostile["evalue"], hostile["traceback"]) == ("", "", [])
