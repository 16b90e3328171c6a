"""What is told of a program's variables, also when they are hostile."""

from __future__ import annotations

import collections
import signal
import time
import types

import pytest

from appliance.kernel import variables


def listed(**names):
    return {each["name"]: each for each in variables.listed(names, lambda name, value: name == "kernels")["variables"]}


def described(value):
    found = listed(v=value)["v"]
    return found["type"], found["size"], found["value"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5, ("int", "", "5")),
        (True, ("bool", "", "True")),
        (None, ("NoneType", "", "None")),
        (1.5, ("float", "", "1.5")),
        ("text", ("str", "4", "'text'")),
        ("a\nb", ("str", "3", r"'a\nb'")),
        (b"ab", ("bytes", "2", "b'ab'")),
        ([1, [2, 3]], ("list", "2", "[1, [2, 3]]")),
        ((), ("tuple", "0", "()")),
        ({"a": 1}, ("dict", "1", "{'a': 1}")),
        ({1}, ("set", "1", "{1}")),
        (collections.Counter("aab"), ("collections.Counter", "2", "Counter({'a': 2, 'b': 1})")),
        (range(3), ("range", "3", "range(0, 3)")),
    ],
)
def test_name_type_size_and_value(value, shown):
    assert described(value) == shown


def test_arrays_and_tables_have_shapes():
    numpy = pytest.importorskip("numpy")
    assert described(numpy.zeros((3, 4)))[:2] == ("numpy.ndarray", f"3{variables.TIMES}4")
    kind, size, value = described(numpy.arange(10**6))
    assert (kind, size) == ("numpy.ndarray", "1000000")
    assert value.startswith("array([ 0, 1, 2, ..., 999997, 999998, 999999]")
    assert described(numpy.float64(2))[1] == ""


def test_only_variables_of_the_program_are_listed():
    class Own:
        pass

    found = listed(
        a=1, _hidden=2, kernels=3, module=types, function=lambda: 1, builtin=len, kind=Own, thing=Own(), B=4, b=5
    )
    assert list(found) == ["a", "B", "b", "thing"]


def test_long_values_are_shown_by_their_beginning():
    for value in (
        "x" * 10**7,
        list(range(10**6)),
        dict.fromkeys(range(10**6)),
        b"x" * 10**7,
        [["x" * 10**6] * 30] * 30,
    ):
        started = time.monotonic()
        shown = described(value)[2]
        assert len(shown) <= variables.MAX_REPR_CHARACTERS
        assert "…" in shown
        assert time.monotonic() - started < 5
    assert described(10**100_000)[2] == "… (100001 digits)"
    assert described(-(10**100_000))[2] == "-… (100001 digits)"

    class Many(collections.UserList):
        def __repr__(self):
            raise AssertionError("not asked")

    assert described(Many([0] * (variables.MAX_ENTRIES + 1)))[2] == "…"


class Endless:
    def __repr__(self):
        while True:
            pass


class Deaf:
    def __repr__(self):
        for _ in range(3):
            try:
                while True:
                    pass
            except BaseException:  # noqa: BLE001
                continue
        return "at last"


class Leaving:
    def __repr__(self):
        raise SystemExit(3)


class Wrong:
    def __repr__(self):
        return 5


class Text(str):
    def split(self, *_):
        raise RuntimeError("split")

    def __len__(self):
        return 10**9


class Sly:
    def __repr__(self):
        return Text("x" * 1000)


class Liar:
    __class__ = property(lambda self: 1 / 0)  # type: ignore[assignment]

    def __len__(self):
        return -1

    @property
    def shape(self):
        raise KeyError("shape")


class Kind(type):
    __name__ = property(lambda cls: 1 / 0)  # type: ignore[assignment]


class Printing:
    def __repr__(self):
        print("printed")
        return "Printing()"


def test_hostile_values_are_told_and_the_others_as_well(capsys):
    started = time.monotonic()
    found = listed(
        a=Endless(),
        b=Leaving(),
        c=Wrong(),
        d=Liar(),
        e=Kind("K", (), {"__repr__": lambda self: "fine"})(),
        f=Printing(),
        g=Sly(),
        h="\ud800",
        z=1,
    )
    assert time.monotonic() - started < 30
    assert found["a"]["value"] == "(takes too long to show)"
    assert found["b"]["value"] == "(SystemExit in repr)"
    assert found["c"]["value"] == "(TypeError in repr)"
    assert found["d"]["size"] == ""
    assert found["e"]["value"] == "(ZeroDivisionError in repr)"
    assert found["f"]["value"] == "Printing()"
    assert found["g"]["value"] == "(RuntimeError in repr)"
    assert found["h"]["value"] == r"'\ud800'"
    assert found["z"]["value"] == "1"
    assert capsys.readouterr().out == ""


def test_a_value_that_hears_nothing_is_asked_again():
    assert described(Deaf())[2] in ("(takes too long to show)", "at last")


def test_all_together_have_a_limit(monkeypatch):
    monkeypatch.setattr(variables, "VALUE_SECONDS", 0.05)
    monkeypatch.setattr(variables, "ALL_SECONDS", 0.2)
    found = listed(**{f"v{number:02}": Endless() for number in range(50)}, z=1)
    assert len(found) == 51
    assert found["v00"]["value"] == "(takes too long to show)"
    assert found["v49"]["value"] == found["z"]["value"] == "…"


def test_an_interrupt_goes_on():
    class Stopped:
        def __repr__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listed(v=Stopped())


def test_a_timer_of_the_program_goes_on():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 100)
        listed(v=1)
        assert 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= 100
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_what_is_beyond_the_limit_is_counted():
    names = {f"v{number}": number for number in range(variables.MAX_LISTED + 7)}
    shown = variables.listed(names, lambda name, value: False)
    assert len(shown["variables"]) == variables.MAX_LISTED
    assert shown["more"] == 7
    assert variables.display(shown)[variables.MIME] is shown
