"""What authors' checks say of a program."""

from __future__ import annotations

import pytest

from appliance.kernel.hidden_checks import MAX_CHECKS, MAX_SAID, Verdict, judged, shown, wanted


def compiled(code):
    return compile(code, "<check>", "exec")


def test_only_what_is_a_check_is_taken():
    assert wanted({}) == []
    assert wanted({"checks": "all"}) == []
    given = [{"code": "a"}, {"title": 5, "code": "b"}, {"title": "t", "code": "c"}, {"title": "t"}, "x"]
    assert wanted({"checks": given}) == [("Check 1", "a"), ("Check 2", "b"), ("t", "c")]
    assert len(wanted({"checks": [{"code": "a"}] * 1000})) == MAX_CHECKS


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("assert x == 1", ""),
        ("assert x == 2, 'x is not 2'", "x is not 2"),
        ("assert x == 2", "Not as it should be."),
        ("y", "NameError: name 'y' is not defined"),
        ("exit()", "SystemExit: None"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("assert 0, 'a' * 10_000", "a" * MAX_SAID),
        ("x +", "SyntaxError: invalid syntax (<check>, line 1)"),
    ],
)
def test_verdicts(code, fault):
    assert judged("t", code, {"x": 1}, compiled) == Verdict("t", fault)


def test_a_check_changes_no_names_and_prints_nothing(capsys):
    names = {"x": 1}
    assert judged("t", "x = 2\nprint(x)", names, compiled).passed
    assert names == {"x": 1}
    assert capsys.readouterr().out == ""


def test_an_interrupt_is_the_visitors():
    with pytest.raises(KeyboardInterrupt):
        judged("t", "raise KeyboardInterrupt", {}, compiled)


def test_display():
    two = shown([Verdict("<a>", ""), Verdict("b", "is < 2")])
    assert two["text/plain"] == "1 of 2 checks passed\n✓ <a>\n✗ b: is < 2"
    assert "&lt;a&gt;</strong> passed" in two["text/html"]
    assert "not passed: is &lt; 2" in two["text/html"]
    assert shown([Verdict("a", "")])["text/plain"].startswith("The check passed")
    assert shown([Verdict("a", "x")])["text/plain"].startswith("The check did not pass")
