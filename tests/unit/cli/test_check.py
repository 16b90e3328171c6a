from __future__ import annotations

import pytest

from appliance.cli.check import complaints


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", ""),
        ("something else\n", "something else"),
        (
            "[NOTICE]   (7) : haproxy version is 2.6.12\n[ALERT]    (7) : config : parsing [a.cfg:7]: no\n",
            "config : parsing [a.cfg:7]: no",
        ),
        (
            'nginx: [emerg] unknown directive "x" in a.conf:3\nnginx: test failed\n',
            'nginx: [emerg] unknown directive "x" in a.conf:3',
        ),
    ],
)
def test_what_is_wrong_is_told_without_the_rest(text: str, told: str) -> None:
    assert complaints(text) == told
