"""What a declared environment is, and what is none."""

from __future__ import annotations

import pytest

from appliance import config as configuration
from appliance.cli.env import build, declaration
from appliance.errors import ConfigError

LOCK = """
a-b==1.0 ; python_version >= '3.11' \\
    --hash=sha256:00 \\
    --hash=sha256:01
C.d==2 \\
    --hash=sha256:02
c.d==1 ; python_version < '3' \\
    --hash=sha256:03
elsewhere==1 ; sys_platform == 'win32' --hash=sha256:04
"""

GOOD = """
name = "course"
requirements = "course.lock"
check = "print(1)"
prints = "1\\n"
[environment]
language = "python"
preload = ["a"]
variables = ["A=b=c"]
"""


def declare(path, text=GOOD, lock=LOCK):
    (path / "environment.toml").write_text(text)
    (path / "course.lock").write_text(lock)
    return path


def test_a_declaration_is_read(tmp_path):
    found = declaration.read(declare(tmp_path))
    assert (found.name, found.lock, found.check, found.prints) == (
        "course",
        tmp_path / "course.lock",
        "print(1)",
        "1\n",
    )
    assert found.environment.preload == ("a",)
    assert found.environment.variables == ("A=b=c",)


def test_what_a_language_needs_is_named_for_each_system(tmp_path, monkeypatch):
    text = GOOD + '[install]\napt = "lang"\ndnf = "Lang lang-data"\n'
    declared = declaration.read(declare(tmp_path, text))
    monkeypatch.setattr(declaration.shutil, "which", lambda name: None)
    assert declared.advice == "apt install lang (Debian, Ubuntu) or dnf install Lang lang-data (Fedora)"
    monkeypatch.setattr(declaration.shutil, "which", lambda name: name if name == "dnf" else None)
    assert declared.advice == "dnf install Lang lang-data (Fedora)"


def test_the_package_declares_languages_which_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = {
        file.parent.name: declaration.read(file.parent) for file in declaration.SHIPPED[1].glob("*/environment.toml")
    }
    assert {"gap", "gp", "julia", "macaulay2", "maxima", "octave", "r", "singular"} <= set(own)
    for name, declared in own.items():
        assert declared.name == name
        assert declared.environment.kernelspec
        assert set(declared.packages) in (set(declaration.MANAGERS), {declaration.OTHERWISE})
        assert declared.advice
        assert declaration.locate(name) == declared.directory
    with pytest.raises(
        ConfigError, match=r"fortran is no directory with .*, and no name of the package's own: .*gap, gp"
    ):
        declaration.locate("fortran")


def test_a_declaration_is_found_by_its_path_or_by_the_name_that_the_package_gave_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert declaration.read(declaration.locate("sage")).environment.language == "sage"
    (tmp_path / "sage").mkdir()
    declare(tmp_path / "sage")
    assert declaration.locate("sage") == tmp_path / "sage"
    assert declaration.locate("./nothing") == tmp_path / "nothing"
    with pytest.raises(ConfigError, match=r"nothing is no directory with .*: .*sage"):
        declaration.locate("nothing")


def test_a_lock_lists_distributions_for_this_machine_by_their_canonical_names(tmp_path):
    assert declaration.pinned(declare(tmp_path) / "course.lock") == {"a-b": "1.0", "c-d": "2"}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "course"', 'name = "../course"', ["name", "'../course'"]),
        ('name = "course"', 'name = "python"', ["name", "'python'", "package"]),
        ('name = "course"', "", ["name"]),
        ('name = "course"', "name = 1", ["name", "string"]),
        ('name = "course"', 'nam = "course"', ["unknown key nam", "known keys"]),
        ("preload", "prelaod", ["unknown key environment.prelaod"]),
        ('"A=b=c"', '"A"', ["variables", "NAME=VALUE", "'A'"]),
        ('prints = "1\\n"', "", ["check and prints"]),
        ('check = "print(1)"\nprints = "1\\n"', "", ["check and prints"]),
        ('"course.lock"', '"../course.lock"', ["requirements", "beside"]),
        ('"course.lock"', '"other.lock"', ["other.lock", "cannot be read"]),
        ('requirements = "course.lock"', "", ["nothing to run"]),
        ("preload", 'python = "/usr/bin/python3"\npreload', ["environment.python", "leave it out"]),
        ("[environment]", "[environment", ["cannot be read"]),
        ("[environment]", "[install]\nyum = 'a'\n[environment]", ["install", "apt and dnf"]),
        ("[environment]", "[install]\napt = ''\n[environment]", ["install", "names of packages"]),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, words):
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        declaration.read(declare(tmp_path, GOOD.replace(old, new, 1)))
    for word in words:
        assert word in caught.value.message


@pytest.mark.parametrize(
    ("lock", "word"),
    [
        ("", "lists nothing"),
        ("a>=1\n", "lists nothing"),
        ("a==1 \\\n    --hash=sha256:00\nb==2\n", "b has no hash"),
        ("a[b]==1\n", "a has no hash"),
        ("a==1 ; nonsense \\\n    --hash=sha256:00\n", "a: "),
    ],
)
def test_a_list_without_hashes_is_no_lock(tmp_path, lock, word):
    with pytest.raises(ConfigError, match=word):
        declaration.read(declare(tmp_path, lock=lock))


def test_the_reason_of_pip_is_what_follows_its_first_error():
    said = ["Collecting a", "ERROR: no such thing", "", "  a from here", *["x"] * 30]
    lines = build.reason(said).splitlines()
    assert lines[:2] == ["  ERROR: no such thing", "    a from here"]
    assert lines[-1] == "  (12 more lines)"
    assert build.reason(["Collecting a", "killed"]) == "  Collecting a\n  killed"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("Collecting Jupyter_Client==8.10.0 (from -r course.lock (line 3))", "jupyter-client"),
        (
            "Processing /srv/my wheels/jupyter_client-8.10.0-py3-none-any.whl (from -r course.lock (line 3))",
            "jupyter-client",
        ),
        ("Processing ./a-1-py3-none-any.whl", "a"),
        ("  Downloading a-1-py3-none-any.whl (12 kB)", ""),
        ("Installing collected packages: a", ""),
    ],
)
def test_pip_tells_what_it_takes(line, name):
    assert build.taken(line) == name


def install(place, name, version):
    information = place / f"lib/python3.11/site-packages/{name}-{version}.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return information


def test_what_is_installed_is_compared_with_the_lock(tmp_path):
    declared = declaration.read(declare(tmp_path))
    assert build.differences(declared, tmp_path) == [
        "a-b 1.0 is in the lock, installed is none",
        "c-d 2 is in the lock, installed is none",
    ]
    for name, version in (("A_b", "1"), ("c.d", "2"), ("pip", "23")):
        install(tmp_path, name, version)
    assert build.differences(declared, tmp_path) == []
    install(tmp_path, "c.d", "3")
    (install(tmp_path, "broken", "1") / "METADATA").unlink()
    install(tmp_path, "more\x1b", "1")
    changed = build.differences(declared, tmp_path)
    assert {
        "c-d 2 is in the lock, installed is 2, 3",
        "(no name) (no version) is installed and not in the lock",
        "more\\x1b 1 is installed and not in the lock",
    } == {text.replace("3, 2", "2, 3") for text in changed}


def test_a_removal_that_is_interrupted_leaves_no_environment(tmp_path):
    directory = declare(tmp_path)
    (directory / "lib").mkdir()
    (directory / "lib64").symlink_to("lib")
    assert not build.unfinished(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", None)
        with pytest.raises(TypeError):
            build.clear(directory)
    assert build.unfinished(directory)
    assert not (directory / configuration.DECLARATION).exists()
    build.clear(directory)
    assert not directory.exists()


def test_declared_environments_are_those_of_the_configuration(tmp_path):
    directory = tmp_path / "course"
    (directory / "bin").mkdir(parents=True)
    (directory / "bin/python").write_text("")
    declare(directory)
    half_made = tmp_path / "half-made"
    half_made.mkdir()
    file = tmp_path / "appliance.toml"
    file.write_text(f'environments_dir = "{tmp_path}"\n')
    config = configuration.load(file)
    assert list(config.environment) == ["python", "course"]
    assert config.environment["course"].python == str(directory / "bin/python")
    assert configuration.parse(configuration.render(config)) == config
    file.write_text(f'environments_dir = "{tmp_path}"\n[environment.course]\npython = "/other"\n')
    assert configuration.load(file).environment["course"].python == "/other"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("course", "[environment]\ntitel = 'x'\n", r"course/environment\.toml: unknown key environment\.titel"),
        (
            "course",
            "[environment]\npython = '/other'\n",
            r"course/environment\.toml: environment\.python: .*leave it out",
        ),
        ("My course", GOOD, "environments_dir: 'My course' is no name"),
    ],
)
def test_a_wrong_declaration_is_named_by_its_file(tmp_path, name, text, words):
    directory = tmp_path / name
    directory.mkdir()
    declare(directory, text)
    file = tmp_path / "appliance.toml"
    file.write_text(f'environments_dir = "{tmp_path}"\n')
    with pytest.raises(ConfigError, match=words):
        configuration.load(file)


def test_a_directory_of_environments_that_cannot_be_read_is_not_an_empty_one(tmp_path):
    file = tmp_path / "appliance.toml"
    file.write_text(f'environments_dir = "{file}"\n')
    with pytest.raises(ConfigError, match=r"environments_dir: .*cannot be read"):
        configuration.load(file)
    file.write_text(f'environments_dir = "{tmp_path}/none"\n')
    assert list(configuration.load(file).environment) == ["python"]
