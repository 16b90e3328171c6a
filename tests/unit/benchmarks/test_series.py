import pytest

from benchmarks.series import Bar, Results, Series, Table


def table(*, more_is_better=False):
    return Table(
        "t",
        "A thing",
        "ms",
        (Series("ours", (10.0, 12.0, 11.0)), Series("near", (33.0,)), Series("far", (110.0,))),
        more_is_better=more_is_better,
    )


def test_a_series_is_summed_up_by_median_p99_and_minimum():
    series = Series("s", tuple(float(value) for value in range(1, 201)))
    assert (series.median, series.p99, series.minimum) == (100.5, 198.0, 1.0)


def test_p99_of_few_samples_is_the_largest():
    assert Series("s", (3.0, 1.0, 2.0)).p99 == 3.0


def test_a_series_without_samples_is_refused():
    with pytest.raises(ValueError, match="s: there are no samples"):
        Series("s", ())


def test_the_advantage_counts_how_many_times_longer_the_other_takes():
    assert table().advantage(table().find("near")) == 3.0


def test_the_advantage_counts_how_many_times_more_we_do():
    rates = table(more_is_better=True)
    assert rates.advantage(rates.find("far")) == 0.1


def test_a_bar_is_about_the_better_peer():
    assert table().bar("b", 4.0, ("far", "near")) == Bar("b", 4.0, 3.0, "near")


def test_a_bar_about_a_peer_that_was_not_measured_is_an_error():
    with pytest.raises(KeyError, match="absent"):
        table().bar("b", 4.0, ("absent",))


@pytest.mark.parametrize(("found", "passed"), [(3.99, False), (4.0, True), (5.0, True)])
def test_a_bar_is_passed_when_it_is_reached(found, passed):
    bar = Bar("b", 4.0, found, "near")
    assert bar.passed is passed
    assert Results(bars=[Bar("other", 1.0, 2.0, "near"), bar]).passed is passed


def test_documents_hold_every_sample():
    document = table().document()
    assert [series["values"] for series in document["series"]] == [[10.0, 12.0, 11.0], [33.0], [110.0]]
    assert document["series"][1]["advantage"] == 3.0
