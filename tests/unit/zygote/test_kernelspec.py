"""What a kernelspec needs in the sandbox."""

from __future__ import annotations

import json
import os
import pwd

import pytest

from appliance.config import Environment
from appliance.errors import ConfigError
from appliance.zygote import kernelspec, staging


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """A prefix with a Python and a program; nothing of this machine is found."""
    made = tmp_path / "opt" / "lang"
    (made / "bin").mkdir(parents=True)
    for name in ("python3", "lang"):
        (made / "bin" / name).write_text("")
        (made / "bin" / name).chmod(0o755)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "nothing"))
    return made


def write(prefix, name="lang", **document):
    directory = prefix / "share/jupyter/kernels" / name
    directory.mkdir(parents=True)
    document = {"argv": ["lang", "{connection_file}"], "display_name": "L", "language": "l", **document}
    (directory / "kernel.json").write_text(json.dumps(document))
    return directory


def environment(prefix, name="lang"):
    return Environment(python=f"{prefix}/bin/python3", kernelspec=name)


def test_program_variables_and_directories_are_found(prefix):
    directory = write(
        prefix,
        argv=["lang", "-f", "{connection_file}", "--at={prefix}", "{resource_dir}/start", "{other}"],
        env={"LANG_HOME": "${HOME}/lang", "PATH": "/extra:${PATH}", "LEFT": "${UNKNOWN}"},
        interrupt_mode="message",
    )
    found = kernelspec.find("x", environment(prefix))
    assert found.argv == (
        f"{prefix}/bin/lang", "-f", "{connection_file}", f"--at={prefix}", f"{directory}/start", "{other}"
    )  # fmt: skip
    search = f"{prefix}/bin:{kernelspec.SEARCH_PATH}"
    assert found.environment == {
        "PATH": f"/extra:{search}",
        "HOME": "/home/visitor",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "LANG_HOME": "/home/visitor/lang",
        "LEFT": "${UNKNOWN}",
    }
    assert found.interrupt_mode == "message"
    assert found.trees == (str(prefix),)


@pytest.mark.parametrize("name", ["python", "python3", "python3.12"])
def test_a_kernelspec_that_means_its_own_python_gets_it(prefix, name):
    write(prefix, argv=[name, "-m", "kernel"])
    assert kernelspec.find("x", environment(prefix)).argv[0] == f"{prefix}/bin/python3"


def test_a_program_of_the_system_needs_no_directory_but_that_of_its_kernelspec(prefix, tmp_path, monkeypatch):
    directory = write(tmp_path / "data", argv=["sh", "{connection_file}"])
    (directory.parents[0]).rename(tmp_path / "kernels")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    found = kernelspec.find("x", Environment(kernelspec="lang"))
    assert found.argv[0] in ("/usr/bin/sh", "/bin/sh")
    assert str(tmp_path / "kernels/lang") in found.trees
    assert [tree for tree in found.trees if not tree.startswith(str(tmp_path))] == []


@pytest.mark.parametrize("name", ["gap", "gp", "julia", "macaulay2", "maxima", "octave", "singular"])
def test_languages_of_the_package_run_in_the_python_of_the_environments(prefix, monkeypatch, name):
    for python in ("", f"{prefix}/bin/python3"):
        monkeypatch.setattr("appliance.config.environment_python", lambda *_: f"{prefix}/bin/python3")
        monkeypatch.setattr(kernelspec.shutil, "which", lambda program, path: program)
        found = kernelspec.find("x", Environment(python=python, kernelspec=name))
        assert found.argv == (
            f"{prefix}/bin/python3", "-m", f"appliance.kernel.languages.{name}", "-f", "{connection_file}"
        )  # fmt: skip
        assert found.environment["PYTHONPATH"] == staging.CODE
        assert found.trees == (str(prefix),)


def test_a_language_whose_program_is_missing_names_its_package(prefix, monkeypatch):
    monkeypatch.setattr(kernelspec, "SEARCH_PATH", str(prefix))
    with pytest.raises(ConfigError, match=r"environment\.x: kernelspec gp needs gp, Debian's package pari-gp"):
        kernelspec.find("x", environment(prefix, "gp"))


def test_a_kernelspec_of_the_system_comes_before_the_package_s_own(prefix, tmp_path):
    write(prefix, "gap", argv=["lang", "{connection_file}"])
    found = kernelspec.find("x", environment(prefix, "gap"))
    assert found.argv[0] == f"{prefix}/bin/lang"
    assert "PYTHONPATH" not in found.environment


def test_paths_are_those_of_the_staged_root():
    program = kernelspec.Program(
        ("/tmp/a/bin/x", "{connection_file}", "--lib=/tmp/a/lib", "/tmp/ab", "/opt/l/y"),
        {"PATH": "/tmp/a/bin:/usr/bin"},
        "signal",
        ("/tmp/a", "/opt/l"),
    )
    assert program.document() == {
        "argv": [
            "/run/environment/tmp/a/bin/x",
            "{connection_file}",
            "--lib=/run/environment/tmp/a/lib",
            "/tmp/ab",
            "/opt/l/y",
        ],
        "environment": {"PATH": "/run/environment/tmp/a/bin:/usr/bin"},
        "interrupt_mode": "signal",
    }


def test_a_kernelspec_that_is_not_there_is_named_with_those_that_are(prefix):
    write(prefix, "other")
    with pytest.raises(
        ConfigError, match=r"environment\.x: there is no kernelspec lang; there are: .*other, .*; looked in /"
    ):
        kernelspec.find("x", environment(prefix))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"argv": ["no-such-program"]}, "starts no-such-program, which is not there"),
        ({"argv": []}, "names no program"),
        ({"interrupt_mode": "shout"}, "there is no kernelspec lang"),
        ({"metadata": {"kernel_provisioner": {"provisioner_name": "no-such-provisioner"}}}, "there is no kernelspec"),
    ],
)
def test_a_kernelspec_that_cannot_be_started_says_why(prefix, document, words):
    write(prefix, **document)
    with pytest.raises(ConfigError, match=words):
        kernelspec.find("x", environment(prefix))


def test_a_file_that_is_no_kernelspec_is_refused(prefix):
    (write(prefix) / "kernel.json").write_text("{")
    with pytest.raises(ConfigError, match="there is no kernelspec lang"):
        kernelspec.find("x", environment(prefix))


def test_a_home_or_a_directory_of_the_root_is_not_shown_to_visitors(prefix, monkeypatch):
    write(prefix)
    entry = pwd.getpwuid(os.getuid())
    for home in (str(prefix), os.path.dirname(prefix)):
        listed = [pwd.struct_passwd((*entry[:5], home, entry[6]))]
        monkeypatch.setattr(pwd, "getpwall", lambda listed=listed: listed)
        if home == str(prefix):
            with pytest.raises(ConfigError, match="needs all of"):
                kernelspec.find("x", environment(prefix))
        else:
            assert kernelspec.find("x", environment(prefix)).trees == (str(prefix),)


@pytest.mark.parametrize("tree", ["/opt", "/srv", "/"])
def test_a_directory_of_the_root_is_too_much(tree):
    with pytest.raises(ConfigError, match=f"needs all of {tree};"):
        kernelspec._outermost("here", [tree])


def test_what_is_found_apart_is_what_is_found(prefix):
    write(prefix)
    assert kernelspec.find_apart("x", environment(prefix)) == kernelspec.find("x", environment(prefix))
    with pytest.raises(ConfigError, match="there is no kernelspec absent"):
        kernelspec.find_apart("x", environment(prefix, "absent"))
