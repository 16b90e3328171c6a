"""How the launcher reads subordinate ids."""

from __future__ import annotations

import pytest

from appliance.errors import ConfigError
from appliance.zygote.launcher import subordinate_range


@pytest.fixture
def subuid(tmp_path):
    file = tmp_path / "subuid"
    file.write_text("# a comment\nann:100000:65536\nbob:165536:1000\n1003:300000:70000\nbroken line\n")
    return str(file)


def test_a_range_is_found_by_name_or_number(subuid):
    assert subordinate_range(subuid, "ann", 1001, 65535) == (100000, 65535)
    assert subordinate_range(subuid, "carol", 1003, 65535) == (300000, 65535)


@pytest.mark.parametrize("user", ["bob", "dave"])
def test_what_is_missing_is_said(subuid, user):
    with pytest.raises(ConfigError, match=rf"gives {user} no range of 65535 ids; as root: usermod"):
        subordinate_range(subuid, user, 4000, 65535)


def test_an_unreadable_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="absent cannot be read"):
        subordinate_range(str(tmp_path / "absent"), "ann", 1001, 65535)
