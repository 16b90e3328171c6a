from __future__ import annotations

import pytest

from appliance import confinement, data_sets
from appliance.config import Config, Profile
from appliance.errors import ConfigError


def config(directory):
    return Config(profile={"default": Profile(), "archive": Profile(data=str(directory))})


def test_profiles_without_data_need_none():
    data_sets.check(Config())
    assert Config().data_directories == {}
    assert confinement.data(Config()) == []


def test_a_directory_that_all_may_read(tmp_path):
    tmp_path.chmod(0o755)
    data_sets.check(config(tmp_path))
    (layer,) = confinement.data(config(tmp_path))
    assert (layer.in_force, layer.missing) == (True, False)
    assert str(tmp_path) in layer.detail


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot be looked at (No such file or directory); until it is there, no kernel starts"),
        (lambda path: path.write_text("x"), "is no directory"),
        (lambda path: path.mkdir(mode=0o750), "chmod -R o+rX"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, make, words):
    path = tmp_path / "data"
    make(path)
    with pytest.raises(ConfigError) as caught:
        data_sets.check(config(path))
    assert caught.value.message.startswith(f"profile.archive.data: {path} ")
    assert words in caught.value.message
    (layer,) = confinement.data(config(path))
    assert layer.missing
    assert words in layer.detail
