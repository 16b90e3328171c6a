"""Files that are brought to a kernel, whatever is said of them; output of a kernel that is followed, whatever it is."""

from __future__ import annotations

import json
import os
import pathlib
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.kernel import zmtp
from appliance.kernel.file_intake import Intake, Ledger
from appliance.kernel.file_news import CELL_USERNAME, FileNews, Followed
from appliance.kernel.jupyter_message import DELIMITER, Requests
from appliance.signature import Signer
from tests.fuzz.budget import ROUND, fuzz, seconds

pytestmark = pytest.mark.timeout(seconds() + 120)

KEY = b"key"
NAMES = st.lists(
    st.sampled_from(["..", ".", "", "a", "link", "d", "\0", "ü", "x" * 256]) | st.text(max_size=8), max_size=5
).map("/".join)
HEADS = st.fixed_dictionaries(
    {
        "name": NAMES | st.none() | st.integers(),
        "size": st.integers(-2, 40) | st.none() | st.text(max_size=3) | st.floats(),
        "room": st.integers(-2, 60) | st.none() | st.booleans(),
    }
)


@ROUND
@given(
    heads=st.lists(HEADS | st.lists(st.integers(), max_size=3) | st.text(max_size=9), max_size=4),
    data=st.binary(max_size=50),
    junk=st.binary(max_size=20),
    size=st.integers(1, 30),
)
def a_file_stays_below_its_home_and_within_its_room(heads, data, junk, size):
    with tempfile.TemporaryDirectory() as base:
        home, outside = pathlib.Path(base, "home"), pathlib.Path(base, "outside")
        home.mkdir()
        outside.mkdir()
        (home / "link").symlink_to(outside)
        ledger = Ledger(str(home), KEY)
        for head in heads:
            text = json.dumps(head).encode()
            for sent in (Signer(KEY).sign((text,)) + b" " + text + b"\n" + data, junk, junk + b"\n" + data):
                intake = Intake(ledger)
                for at in range(0, len(sent), size):
                    answer = intake.take(sent[at : at + size])
                    if answer is not None:
                        assert json.loads(answer)["status"] in ("ok", "error")
                intake.close()
        assert sorted(os.listdir(base)) == ["home", "outside"]
        assert os.listdir(outside) == []
        assert not [name for _, _, names in os.walk(home) for name in names if name.endswith(".part")]
        assert ledger._coming == 0


PARTS = st.lists(
    st.binary(max_size=20)
    | st.sampled_from(
        [
            DELIMITER,
            b'{"msg_type": "status"}',
            b'{"execution_state": "idle"}',
            json.dumps({"msg_type": "execute_request", "username": CELL_USERNAME}).encode(),
            b"[" * 3000,
        ]
    ),
    min_size=1,
    max_size=8,
)


@ROUND
@given(messages=st.lists(PARTS, max_size=5), junk=st.binary(max_size=12), size=st.integers(1, 40))
def output_that_is_followed_is_what_it_was(messages, junk, size):
    follow = Followed(FileNews(Requests(KEY), lambda: None))
    sent = b"".join(map(zmtp.message, messages))
    out = b"".join(follow.take(sent[at : at + size]) for at in range(0, len(sent), size))
    assert out == sent
    assert (sent + junk).startswith(out + follow.take(junk))


def test_a_file_that_is_brought():
    fuzz(a_file_stays_below_its_home_and_within_its_room)


def test_output_that_is_followed():
    fuzz(output_that_is_followed_is_what_it_was)
