"""The project's documents and locks say what is true."""

import importlib
import re
import tomllib
from pathlib import Path

import attrs
import pytest

from appliance import __version__, config

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LOCKS = sorted([*ROOT.glob("requirements*.lock"), *ROOT.glob("appliance/environments/*/requirements.lock")])
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)==([^ ]+)", re.MULTILINE)


def normal(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(path: Path) -> dict[str, set[str]]:
    """Return the versions that a lock has of each distribution: several where they depend on the Python."""
    versions: dict[str, set[str]] = {}
    for name, version in REQUIREMENT.findall(path.read_text()):
        versions.setdefault(normal(name), set()).add(version)
    return versions


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def names(requirements: list[str]) -> set[str]:
    return {normal(re.split(r"[\[<>=~!; ]", requirement, maxsplit=1)[0]) for requirement in requirements}


def test_configuration_document_shows_the_defaults():
    text = (ROOT / "docs" / "configuration.md").read_text()
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    assert block[1] == config.render(config.Config(), comments=True), (
        "put what './dev cellctl config --defaults' prints into docs/configuration.md"
    )


def test_the_documented_configuration_is_the_default_one():
    text = (ROOT / "docs" / "configuration.md").read_text()
    block = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert block is not None
    assert config.parse(block[1]) == config.Config()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(document):
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", document.read_text())
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


def test_news_has_this_version():
    assert f"## {__version__}" in (ROOT / "NEWS.md").read_text()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_locked_distribution_has_hashes_and_no_address(lock):
    text = lock.read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert entries
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in text
    assert not re.search(r"^--", text, re.MULTILINE)


def test_locks_hold_what_the_project_asks_for():
    document = project()
    table = document["project"]
    runtime, dev = locked(ROOT / "requirements.lock"), locked(ROOT / "requirements-dev.lock")
    assert names(table["dependencies"]) <= runtime.keys()
    assert names(table["optional-dependencies"]["dev"]) <= dev.keys()
    for group in ("build", "node", "bench"):
        lock = locked(ROOT / f"requirements-{group}.lock")
        assert names(document["dependency-groups"][group]) <= lock.keys()


def test_tests_run_on_the_versions_that_are_shipped():
    runtime, dev = locked(ROOT / "requirements.lock"), locked(ROOT / "requirements-dev.lock")
    assert {name: dev.get(name) for name in runtime} == runtime


def test_every_environment_has_the_shell_that_the_kernel_is_written_for():
    dev = locked(ROOT / "requirements-dev.lock")
    for lock in ROOT.glob("appliance/environments/*/requirements.lock"):
        assert locked(lock)["ipykernel"] == dev["ipykernel"]


#: What bounds a kernel, a visitor or a request; of [web] and [permalink], what bounds something.
LIMITS = (
    ("pool", config.Pool, ""),
    ("clocks", config.Clocks, ""),
    ("output", config.Output, ""),
    ("quota", config.Quota, ""),
    ("profile.NAME", config.Profile, ""),
    ("egress", config.Egress, ""),
    ("web", config.Web, "max_|_seconds$"),
    ("permalink", config.Permalink, "max_|_per_hour$"),
    ("requestlog", config.RequestLog, "max_"),
    ("results", config.Results, ""),
)


def limits_table() -> list[str]:
    """Return the rows that docs/security.md must have: key, default and reason of every limit."""
    rows = []
    for section, cls, pattern in LIMITS:
        for field in attrs.fields(cls):
            number = isinstance(field.default, int | float) and not isinstance(field.default, bool)
            if number and re.search(pattern, field.name):
                rows.append(f"| `{section}.{field.name}` | {field.default:,} | {field.metadata['doc']} |")
    return rows


def test_the_table_of_limits_is_that_of_the_configuration():
    text = (ROOT / "docs" / "security.md").read_text()
    found = re.findall(
        r"^\| `(?:pool|clocks|output|quota|egress|profile\.NAME|web|permalink|requestlog|results)\.\w+` \|.*$",
        text,
        re.MULTILINE,
    )
    assert found == limits_table(), "docs/security.md must have these rows:\n" + "\n".join(limits_table())


def test_the_table_of_constants_is_that_of_the_code():
    text = (ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| `(appliance\.[\w.]+)\.([A-Z_]+)` \| ([\d,.]+) \|", text, re.MULTILINE)
    assert len(rows) >= 10
    for module, name, value in rows:
        assert f"{getattr(importlib.import_module(module), name):,}" == value, f"{module}.{name}"


def test_every_layer_of_the_sandbox_is_explained():
    """Each step of `sandbox.enter` has a row in the table of layers, under its own name."""
    steps = re.findall(
        r'^        \("([a-z ]+)", (?=lambda|os\.|linux\.|_)',
        (ROOT / "appliance/zygote/sandbox.py").read_text(),
        re.MULTILINE,
    )
    text = (ROOT / "docs" / "security.md").read_text()
    assert re.findall(r"^\| `([a-z ]+)` \|", text, re.MULTILINE) == steps
