from __future__ import annotations

import pytest

from appliance import config
from appliance.config.lines import line_of
from appliance.errors import ConfigError

TEXT = """\
# a comment
log_level = "info"

[web]
listen = "127.0.0.1:8888"
  "max_body_bytes"=5
[ profile.default ]  # of all
memory_bytes = 1
[pool]
ready = 3
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("log_level", 2),
        ("web", 4),
        ("web.listen", 5),
        ("web.max_body_bytes", 6),
        ("profile.default.memory_bytes", 8),
        ("pool.ready", 10),
        # not written there: the table that it belongs to
        ("pool.max_kernels", 9),
        ("egress.connections", None),
    ],
)
def test_line_of_a_key(key: str, line: int | None) -> None:
    assert line_of(TEXT, key) == line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[web]\n\nlisten = 5\n", "f.toml, line 3: web.listen: expected str"),
        ("[web]\nlisten_to = 5\n", "f.toml, line 2: unknown key web.listen_to"),
        ("\nno_such = 5\n", "f.toml, line 2: unknown key no_such"),
        ("[pool]\nmax_kernels = 1\nready = 4\n", "f.toml, line 3: pool.ready: must not be larger"),
        ("[web\n", "f.toml: not TOML: .*line 1"),
        ('[profile.a]\negress = ["b/c"]\n', "f.toml, line 2: profile.a.egress"),
    ],
)
def test_a_wrong_configuration_names_file_line_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{message}"):
        config.parse(text, "f.toml")
