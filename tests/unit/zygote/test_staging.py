"""Where an environment is seen in the staged root, and which trees it needs."""

from __future__ import annotations

import os

import pytest

from appliance.zygote import staging, zygote


@pytest.mark.parametrize(
    ("python", "staged"),
    [
        ("/usr/lib/env/bin/python", "/usr/lib/env/bin/python"),
        ("/srv/env/bin/python", "/srv/env/bin/python"),
        ("/tmp/x/env/bin/python", "/run/environment/bin/python"),
        ("/var/tmp/env/bin/python3", "/run/environment/bin/python3"),
        ("/run/env/bin/python", "/run/environment/bin/python"),
        ("/home/visitor/env/bin/python", "/run/environment/bin/python"),
        ("/home/visitors/env/bin/python", "/home/visitors/env/bin/python"),
    ],
)
def test_an_environment_below_a_covered_directory_is_moved(python, staged):
    assert staging.staged_interpreter(python) == staged


def test_the_base_of_a_virtual_environment_is_found(tmp_path):
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "python3").write_text("")
    env = tmp_path / "env"
    (env / "bin").mkdir(parents=True)
    (env / "bin" / "python").symlink_to(base / "bin" / "python3")
    (env / "pyvenv.cfg").write_text(f"home = {base}/bin\ninclude-system-site-packages = false\n")
    assert staging.interpreter_trees(str(env / "bin" / "python")) == [str(base)]


def test_a_base_below_usr_needs_no_tree_of_its_own(tmp_path):
    env = tmp_path / "env"
    (env / "bin").mkdir(parents=True)
    (env / "bin" / "python").symlink_to("/usr/bin/env")
    (env / "pyvenv.cfg").write_text("home = /usr/bin\n")
    assert staging.interpreter_trees(str(env / "bin" / "python")) == []


def test_a_missing_interpreter_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        staging.interpreter_trees(str(tmp_path / "bin" / "python"))


@pytest.mark.parametrize("value", ["", "default", "a-1", "x" * 32])
def test_the_name_of_a_profile(value):
    assert zygote._profile_name({"data": value}, "data") == value


@pytest.mark.parametrize("value", ["..", ".", "/", "a/b", "A", "x" * 33, "a\n", None, 1, ["a"]])
def test_what_is_no_name_of_a_profile(value):
    with pytest.raises(ValueError, match="data: expected the name of a profile"):
        zygote._profile_name({"data": value}, "data")


def test_an_environment_that_changes_on_disk_is_noticed(tmp_path, monkeypatch):
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.setattr(zygote.sys, "path", ["", str(packages), str(tmp_path / "absent")])
    before = zygote.environment_stamp()
    assert zygote.environment_stamp() == before
    os.utime(packages, (1, 1))
    assert zygote.environment_stamp() != before


def test_what_the_host_keeps_to_itself_is_not_copied(tmp_path):
    source, target = tmp_path / "pki", tmp_path / "copy"
    (source / "private").mkdir(parents=True)
    (source / "private" / "key.pem").write_text("key")
    (source / "certificate.pem").write_text("certificate")
    (source / "key.pem").write_text("key")
    (source / "link.pem").symlink_to("certificate.pem")
    for path, mode in ((source, 0o755), (source / "private", 0o711), (source / "key.pem", 0o640)):
        path.chmod(mode)
    (source / "certificate.pem").chmod(0o644)
    os.utime(source / "certificate.pem", (1, 1))
    staging.copy_public(str(source), str(target))
    assert sorted(os.listdir(target)) == ["certificate.pem", "link.pem"]
    assert (target / "link.pem").read_text() == "certificate"
    assert (target / "certificate.pem").stat().st_mtime == 1
