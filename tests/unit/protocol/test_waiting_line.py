from __future__ import annotations

from appliance.protocol.waiting_line import (
    LOST_SECONDS,
    MAX_POLL_SECONDS,
    MIN_POLL_SECONDS,
    WaitingLine,
    poll_seconds,
)


def test_places_are_given_in_order_and_move_up():
    line = WaitingLine(10, 60.0)
    assert [line.join(ticket, ticket.upper(), 0.0) for ticket in "abc"] == [0, 1, 2]
    assert line.wishes == ["A", "B", "C"]
    assert line.leave("b") == "B"
    assert line.leave("b") is None
    assert [line.ask(ticket, 1.0) for ticket in "abc"] == [0, None, 1]
    assert len(line) == 2


def test_a_line_without_length_takes_nobody():
    assert WaitingLine(0, 60.0).join("a", None, 0.0) is None


def test_who_comes_back_stays_until_the_longest_wait_is_over():
    line = WaitingLine(10, 60.0)
    line.join("a", None, 0.0)
    line.join("b", None, 0.0)
    for now in range(0, 61, int(LOST_SECONDS)):
        line.expire(float(now))
        assert line.ask("a", float(now)) == 0
    assert line.ask("b", 60.0) is None
    line.expire(60.5)
    assert len(line) == 0


def test_pauses_grow_with_the_place_and_leave_time_to_be_late():
    assert poll_seconds(0) == MIN_POLL_SECONDS
    assert poll_seconds(10) > MIN_POLL_SECONDS
    assert poll_seconds(10_000) == MAX_POLL_SECONDS
    assert 2 * MAX_POLL_SECONDS < LOST_SECONDS
