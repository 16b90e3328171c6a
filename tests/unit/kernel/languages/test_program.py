"""What a program prints before, at and after a mark."""

from __future__ import annotations

import pytest

from appliance.kernel.languages.program import _Stream

WORD = "cell_00ff_"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_text_is_shown_but_for_what_may_become_a_mark(size):
    stream, shown = _Stream("stdout"), ""
    data = b"a cell_ cell_00 \xc3\xa9\ncell_00ff_3_end\n"
    for at in range(0, len(data), size):
        stream.add(data[at : at + size])
        shown += stream.shown(WORD)
        if at + size < len(data):
            assert not stream.take_mark("cell_00ff_3_end\n")
    assert stream.take_mark("cell_00ff_3_end\n")
    assert shown + stream.rest(WORD, "\n") == "a cell_ cell_00 é\n"


def test_marks_of_earlier_interrupts_are_never_shown():
    stream = _Stream("stdout")
    stream.add(b"a\ncell_00ff_1_end\nb\ncell_00ff_2_end\n")
    assert stream.shown(WORD) == "a\n"
    assert stream.take_mark("cell_00ff_2_end\n")
    assert stream.rest(WORD, "\n") == "b\n"


def test_half_a_mark_at_the_end_of_a_program_is_text():
    stream = _Stream("stdout")
    stream.add(b"cell_0")
    assert stream.shown(WORD) == ""
    assert stream.rest(WORD, "\n") == "cell_0"


def test_a_question_is_taken_once_and_whole():
    stream = _Stream("stdout")
    stream.add(b"a\ncell_00ff_asks_n? ")
    assert stream.shown(WORD) == "a\n"
    assert stream.take_question("cell_00ff_asks_", "_cell_00ff_asked\n") is None
    stream.add(b"x_cell_00ff_asked\nb\n")
    assert stream.take_question("cell_00ff_asks_", "_cell_00ff_asked\n") == "n? x"
    assert stream.shown(WORD) == "b\n"
