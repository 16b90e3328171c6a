from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

import attrs
import pytest

import appliance
from appliance import cli, config
from appliance.cli import doctor
from appliance.confinement import Layer, State

if TYPE_CHECKING:
    import pathlib

ON = Layer("user namespace", State.ON, "entered", required=True)
OFF = Layer("cgroup v2", State.OFF, "this host runs cgroup v1", "boot with cgroup v2")
MISSING = Layer("seccomp", State.UNAVAILABLE, "Operation not permitted", "allow it", required=True)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"cellctl {appliance.__version__}\n"


@pytest.mark.parametrize("argv", [[], ["fly"], ["serve", "--port"], ["config", "--defaults", "--check", "x"]])
def test_a_wrong_command_line_is_status_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2
    assert "usage: cellctl" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--help"], ["serve", "--help"], ["doctor", "--help"], ["config", "--help"]])
def test_help_explains_every_option(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 0
    assert len(capsys.readouterr().out) > 200


def test_config_defaults_are_a_valid_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["config", "--defaults"]) == 0
    text = capsys.readouterr().out
    assert config.parse(text) == config.Config()
    assert attrs.fields(config.Pool).ready.metadata["doc"] in text


def test_config_shows_and_checks_a_file(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.toml"
    file.write_text("[pool]\nready = 7\n")
    assert cli.main(["config", "--config", str(file)]) == 0
    assert tomllib.loads(capsys.readouterr().out)["pool"]["ready"] == 7
    assert cli.main(["config", "--check", str(file)]) == 0
    assert capsys.readouterr().out == f"{file}: valid\n"
    file.write_text("[pool]\nreddy = 7\n")
    assert cli.main(["config", "--check", str(file)]) == 78
    assert f"{file}, line 2: unknown key pool.reddy" in capsys.readouterr().err


def test_the_table_tells_what_to_do_about_what_is_not_on() -> None:
    text = doctor.render_table([ON, OFF, MISSING])
    assert "user namespace  on           entered" in text
    assert "-> boot with cgroup v2" in text
    assert "Operation not permitted [required]" in text
    assert text.endswith("Missing: seccomp.")
    assert max(map(len, text.splitlines())) <= 120
    assert doctor.render_table([ON, OFF]).endswith("works here.")


@pytest.mark.parametrize(("layers", "status"), [([ON, OFF], 0), ([ON, MISSING], 1)])
def test_doctor_tells_by_its_status_whether_all_that_is_required_is_there(
    layers: list[Layer], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor.confinement, "probe", lambda _config: layers)
    assert doctor.run(config.Config(), as_json=True) == status
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is (status == 0)
    assert document["layers"][1]["state"] == layers[1].state.value
    assert doctor.run(config.Config(), as_json=False) == status
