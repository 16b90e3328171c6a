"""``cellctl env``: an environment is added from its lock, found by an appliance, verified, and removed."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import zipfile
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.integration.running import ROOT, Appliance, cellctl, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE = ROOT / ".envs/python/lib"

GREETING = "cell_greeting"


class Index:
    """A directory of wheels and the lock of them: what the package's own environment holds, packed again.

    So that nothing comes from the network. Wheels are zip files of what their RECORD lists (PyPA, "Binary distribution
    format").
    """

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self._entries: dict[str, str] = {}

    def take(self, name: str) -> None:
        """Pack a distribution and those that it needs."""
        if name in self._entries:
            return
        (site,) = SITE.glob("python3.*/site-packages")
        (distribution,) = importlib.metadata.distributions(name=name, path=[str(site)])
        tags = re.findall(r"^Tag: (.+)$", distribution.read_text("WHEEL") or "", re.MULTILINE)
        contents = {
            file.as_posix(): pathlib.Path(str(file.locate())).read_bytes()
            for file in distribution.files or []
            if file.suffix != ".pyc" and not file.as_posix().startswith("..")
        }
        self._write(distribution.name, distribution.version, tags[-1], contents)
        for requirement in distribution.requires or []:
            plain = re.split(r"[\[<>=~!;( ]", requirement.strip(), maxsplit=1)[0]
            there = next(importlib.metadata.distributions(name=plain, path=[str(site)]), None)
            if "extra ==" not in requirement and there is not None:
                self.take(plain)

    def make(self, name: str, version: str, source: str) -> None:
        """Make a distribution of one module."""
        info = f"{name}-{version}.dist-info"
        contents = {
            f"{name}.py": source.encode(),
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        self._write(name, version, "py3-none-any", contents)

    def _write(self, name: str, version: str, tag: str, contents: dict[str, bytes]) -> None:
        escaped = re.sub(r"[-_.]+", "_", name)
        info = next(path.partition("/")[0] for path in contents if ".dist-info/" in path)
        for left_out in ("RECORD", "INSTALLER", "REQUESTED"):
            contents.pop(f"{info}/{left_out}", None)
        lines = [f"{path},sha256={_digest(data)},{len(data)}" for path, data in contents.items()]
        file = self.directory / f"{escaped}-{version}-{tag}.whl"
        with zipfile.ZipFile(file, "w") as wheel:
            for path, data in contents.items():
                wheel.writestr(path, data)
            wheel.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        self._entries[name] = f"{name}=={version} \\\n    --hash=sha256:{digest}\n"

    def entry(self, name: str) -> str:
        return self._entries[name]

    @property
    def lock(self) -> str:
        return "".join(self._entries.values())


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def place() -> Iterator[pathlib.Path]:
    """A directory that other accounts can read."""
    directory = pathlib.Path("/opt") if os.geteuid() == 0 else ROOT
    made = pathlib.Path(directory, f"ct-env-{os.getpid()}")
    made.mkdir(mode=0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def index(place: pathlib.Path) -> Index:
    directory = place / "wheels"
    directory.mkdir()
    made = Index(directory)
    made.take("ipykernel")
    made.make(GREETING, "1.0", "import os\ndef greet():\n    return 'hello, ' + os.environ['WHOM']\n")
    return made


def declare(place: pathlib.Path, index: Index, **changes: str) -> pathlib.Path:
    """Write a declaration that is right but for ``changes``; return its directory."""
    directory = place / "declared"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    texts = {
        "lock": index.lock,
        "prints": "hello, world\\n",
        "preload": f'["{GREETING}"]',
        **changes,
    }
    # Nothing but the greeting is enough for what fails anyway.
    (directory / "requirements.lock").write_text(texts["lock"] or index.entry(GREETING))
    (directory / "environment.toml").write_text(
        f'name = "greeting"\nrequirements = "requirements.lock"\n'
        f'check = """import {GREETING}; print({GREETING}.greet())"""\nprints = "{texts["prints"]}"\n'
        f'[environment]\ntitle = "Greetings"\nlanguage = "python"\npreload = {texts["preload"]}\n'
        f'variables = ["WHOM=world"]\nwarm_up = ["import {GREETING}"]\n'
    )
    return directory


@pytest.fixture
def start(place: pathlib.Path, index: Index):
    config = place / "appliance.toml"
    config.write_text(f'environments_dir = "{place / "environments"}"\n[environment.python]\npreload = []\n')
    variables = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(index.directory)}

    def start(*arguments: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            cellctl("env", arguments[0], "--config", str(config), *arguments[1:]), cwd=ROOT, text=True,
            env=variables | more, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


@pytest.fixture
def run(start):
    def run(*arguments: str, answer: str | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        with start(*arguments, **more) as process:
            stdout, stderr = process.communicate(answer, timeout=240)
        return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)

    return run


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"lock": f"{GREETING}==1.0 --hash=sha256:{'0' * 64}\n"}, 1, ["pip failed", "DO NOT MATCH THE HASHES"]),
        ({"lock": f"{GREETING}==2.0 --hash=sha256:{'0' * 64}\n"}, 1, ["pip failed", "No matching distribution"]),
        ({"lock": f"{GREETING}==1.0\n"}, 78, [f"{GREETING} has no hash"]),
        ({"lock": ""}, 1, ["No module named 'ipykernel'"]),
    ],
    ids=["hash", "version", "no hash", "module"],
)
def test_what_cannot_be_added_is_told_and_leaves_nothing(
    run, place, index, changes: dict[str, str], status: int, words: list[str]
):
    result = run("add", str(declare(place, index, **changes)))
    assert result.returncode == status, result.stderr
    for word in words:
        assert word in result.stderr
    assert not (place / "environments/greeting").exists()
    assert "greeting" not in run("list").stdout


def test_what_pip_made_is_compared_with_the_lock(run, place, index):
    result = run("add", str(declare(place, index, lock="")), PIP_DRY_RUN="1")
    assert result.returncode == 1
    assert "pip made something else" in result.stderr
    assert "cell-greeting 1.0 is in the lock, installed is none" in result.stderr
    assert not (place / "environments/greeting").exists()


def test_a_directory_that_it_did_not_make_is_left_alone(run, place, index):
    precious = place / "environments/greeting/precious"
    precious.parent.mkdir(parents=True, exist_ok=True)
    precious.write_text("")
    result = run("add", str(declare(place, index, lock="")))
    assert result.returncode == 1
    assert "is in the way" in result.stderr
    assert precious.exists()
    shutil.rmtree(precious.parent)


@pytest.mark.parametrize(
    ("number", "step", "left"), [(signal.SIGTERM, "distributions of", False), (signal.SIGKILL, "a kernel of it", True)]
)
def test_an_add_that_is_ended_leaves_nothing_running(start, run, place, index, number: int, step: str, left: bool):
    before = set(pathlib.Path("/tmp").glob("cell-env-*"))
    with start("add", str(declare(place, index))) as process:
        next(line for line in process.stdout if step in line)
        below = psutil.Process(process.pid)
        wait_for("something that it started", below.children, 30)
        process.send_signal(signal.SIGSTOP)
        assert "another cellctl env is at work" in run("add", str(place / "declared")).stderr
        family = below.children(recursive=True)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
    assert family
    wait_for("everything that it started has ended", lambda: not any(one.is_running() for one in family), 30)
    for trial in set(pathlib.Path("/tmp").glob("cell-env-*")) - before:
        shutil.rmtree(trial)
    assert process.returncode == (-number if left else 128 + number)
    assert (place / "environments/greeting").exists() is left
    assert "greeting" not in run("list").stdout


def test_what_to_install_is_told_where_the_program_of_a_language_is_missing(run, place):
    directory = place / "missing"
    directory.mkdir()
    (directory / "environment.toml").write_text(
        'name = "lang"\ncheck = "1"\nprints = "1"\n[environment]\nkernelspec = "no-such-lang"\n'
        '[install]\napt = "no-such-lang"\n'
    )
    result = run("add", str(directory))
    assert result.returncode == 1
    assert "there is no kernelspec no-such-lang" in result.stderr
    assert "install it: apt install no-such-lang (Debian, Ubuntu)" in result.stderr
    assert "nothing was left behind" in result.stderr
    assert not (place / "environments/lang").exists()


@pytest.mark.skipif(shutil.which("gp") is None, reason="gp is not installed")
def test_a_language_is_added_by_its_name(run, place):
    added = run("add", "gp")
    assert added.returncode == 0, added.stdout + added.stderr
    assert "its check answered in" in added.stdout
    assert "kernelspec gp" in run("list").stdout
    verified = run("verify", "gp")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert run("remove", "gp", "--yes").returncode == 0


def test_an_environment_is_added_used_verified_and_removed(run, place, index):
    added = run("add", str(declare(place, index)))
    assert added.returncode == 0, added.stdout + added.stderr
    count = index.lock.count("--hash=")
    assert f"  {count} of {count}: " in added.stdout
    assert "clearing away what an earlier try left" in added.stdout
    assert "its check answered in" in added.stdout
    assert "there is an environment greeting already" in run("add", str(place / "declared")).stderr

    rows = {row["name"]: row for row in json.loads(run("list", "--json").stdout)}
    assert rows["greeting"]["added"] is True
    assert rows["greeting"]["python"] == str(place / "environments/greeting/bin/python")

    running = Appliance(
        f'environments_dir = "{place / "environments"}"\n[pool]\nready = 1\n[environment.python]\npreload = []\n'
    )
    try:
        status, _, body = running.request(
            "POST", "/service", {"code": f"print({GREETING}.greet())\nimport {GREETING}", "environment": "greeting"}
        )
        assert status == 200
        assert "NameError" in json.dumps(json.loads(body)), "what warm-up imported is no variable of visitors"
        status, _, body = running.request(
            "POST", "/service", {"code": f"import {GREETING}; print({GREETING}.greet())", "environment": "greeting"}
        )
        assert json.loads(body)["stdout"] == "hello, world\n"
    finally:
        running.stop()

    verified = run("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "greeting: as declared" in verified.stdout
    declaration = place / "environments/greeting/environment.toml"
    text = declaration.read_text()
    declaration.write_text(text.replace("hello, world", "good bye"))
    other = run("verify", "greeting")
    assert other.returncode == 1
    assert "its check should print 'good bye\\n'; it brought stdout 'hello, world\\n'" in other.stdout
    declaration.write_text(text)
    (module,) = (place / "environments/greeting/lib").glob(f"python3.*/site-packages/{GREETING}-1.0.dist-info")
    module.rename(module.with_name(f"{GREETING}-1.1.dist-info"))
    metadata = module.with_name(f"{GREETING}-1.1.dist-info") / "METADATA"
    metadata.write_text(metadata.read_text().replace("1.0", "1.1"))
    changed = run("verify", "greeting")
    assert changed.returncode == 1
    assert "cell-greeting 1.0 is in the lock, installed is 1.1" in changed.stdout

    asked = run("remove", "greeting", answer="n\n")
    assert asked.returncode == 1
    assert "say --yes" in asked.stderr
    assert (place / "environments/greeting").exists()
    assert run("remove", "greeting", "--yes").returncode == 0
    assert not (place / "environments/greeting").exists()
    assert "greeting" not in run("list").stdout
