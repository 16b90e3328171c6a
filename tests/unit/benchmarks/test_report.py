import pytest

from benchmarks import report
from benchmarks.series import Bar, Series, Table


@pytest.mark.parametrize(("value", "text"), [(1234.5, "1234"), (100.0, "100"), (12.34, "12.3"), (0.756, "0.76")])
def test_numbers_have_three_digits(value, text):
    assert report.number(value) == text


def test_a_table_shows_each_series_and_how_many_times_better_the_first_is():
    table = Table("t", "A thing", "ms", (Series("ours", (2.0,)), Series("theirs", (30.0, 40.0))), notes=("A note.",))
    lines = list(report.table_lines(table))
    assert lines[1] == "A thing [ms]"
    assert lines[3].split() == ["ours", "1", "2.00", "2.00", "2.00"]
    assert lines[4].split() == ["theirs", "2", "35.0", "40.0", "30.0", "17.5x"]
    assert lines[5:] == ["  A note."]


def test_a_table_without_series_is_its_notes():
    assert list(report.table_lines(Table("t", "A thing", "ms", (), notes=("Why.",)))) == ["", "A thing [ms]", "  Why."]


def test_a_bar_that_is_nearly_reached_does_not_look_reached():
    lines = list(report.bar_lines([Bar("a", 30.0, 29.991, "near"), Bar("b", 2.5, 3.0, "far")]))
    assert lines[2].split() == ["FAIL", "a", ">=", "30.0x", "29.99x", "(near)"]
    assert lines[3].split() == ["pass", "b", ">=", "2.50x", "3.00x", "(far)"]
