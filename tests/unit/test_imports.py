"""The trust lines, as far as imports show them. The source is parsed, not run."""

from __future__ import annotations

import ast
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "appliance"
ROLES = ("web", "pool", "permalink", "egress", "requestlog")

#: Modules that do input or output, tell the time or are random: nothing a decision may depend on.
IMPURE = {
    *("twisted", "zmq", "txzmq", "systemd", "psutil", "pysqlite3", "sqlite3", "jupyter_client", "tornado", "asyncio"),
    *("os", "io", "time", "random", "secrets", "socket", "ssl", "select", "selectors", "subprocess", "threading"),
    *("signal", "shutil", "tempfile", "pathlib", "logging", "urllib.request", "http.client", "uuid", "multiprocessing"),
}


def modules(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path for path in folder.rglob("*.py") if "node_modules" not in path.parts)


def name_of(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(source: str, package: str = "") -> set[str]:
    """Return every module imported anywhere in ``source``, and each name imported from one."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            found.add(base)
            found |= {f"{base}.{alias.name}" for alias in node.names}
    return found


def imports_of(path: pathlib.Path) -> set[str]:
    name = name_of(path)
    return imports(path.read_text(encoding="utf-8"), name if path.name == "__init__.py" else name.rpartition(".")[0])


def below(names: set[str], *packages: str) -> set[str]:
    return {name for name in names for package in packages if name == package or name.startswith(package + ".")}


def test_the_parser_sees_every_form_of_import() -> None:
    source = "import a.b\nfrom c import d\ndef f():\n  from .e import g\n  from .. import h\n"
    assert imports(source, "p.q") == {"a.b", "c", "c.d", "p.q.e", "p.q.e.g", "p", "p.h"}
    assert below({"twisted.web", "twistedx", "twisted"}, "twisted") == {"twisted.web", "twisted"}


def test_there_is_something_to_check() -> None:
    names = {name_of(path) for path in modules(PACKAGE)}
    assert {"appliance.main", "appliance.protocol.permalink", "appliance.permalink.service"} <= names


@pytest.mark.parametrize("path", modules(PACKAGE / "protocol"), ids=name_of)
def test_protocol_does_no_input_or_output(path: pathlib.Path) -> None:
    found = imports_of(path)
    assert not below(found, *IMPURE)
    allowed = ("appliance.protocol", "appliance.errors", "appliance.signature")
    assert below(found, "appliance") - {"appliance"} <= below(found, *allowed)


@pytest.mark.parametrize("path", modules(PACKAGE / "zygote") + modules(PACKAGE / "kernel"), ids=name_of)
def test_zygote_and_kernel_import_no_twisted_and_no_role(path: pathlib.Path) -> None:
    found = imports_of(path)
    assert not below(found, "twisted", "txzmq", "systemd", "psutil", "pysqlite3", "appliance.main")
    assert not below(found, *(f"appliance.{role}" for role in (*ROLES, "cli")))


#: The launcher's process holds the standard library alone, and attrs for the configuration.
@pytest.mark.parametrize("name", ["launcher", "keeper", "linux", "staging", "cgroup", "sandbox"])
def test_what_starts_kernels_needs_the_standard_library_only(name: str) -> None:
    found = imports_of(PACKAGE / "zygote" / f"{name}.py")
    third_party = {item for item in found if item.partition(".")[0] not in (*sys.stdlib_module_names, "appliance")}
    assert third_party == set()


#: A zygote for kernelspecs runs in the system's own interpreter, and so does the init of each of its kernels.
@pytest.mark.parametrize("name", ["exec_bridge", "iopub_bridge", "jupyter_message", "relay", "zmtp"])
def test_the_init_of_a_kernelspec_needs_the_standard_library_only(name: str) -> None:
    found = imports_of(PACKAGE / "kernel" / f"{name}.py")
    assert {item for item in found if item.partition(".")[0] not in (*sys.stdlib_module_names, "appliance")} == set()


@pytest.mark.parametrize("role", ROLES)
def test_roles_never_import_each_other(role: str) -> None:
    others = [f"appliance.{other}" for other in (*ROLES, "cli", "kernel") if other != role]
    for path in modules(PACKAGE / role):
        assert not below(imports_of(path), *others), path


def test_only_the_entry_point_imports_the_global_reactor() -> None:
    found = {name_of(path) for path in modules(PACKAGE) if "twisted.internet.reactor" in imports_of(path)}
    assert found == {"appliance.main"}


def test_only_one_module_imports_txzmq() -> None:
    found = {name_of(path) for path in modules(PACKAGE) if below(imports_of(path), "txzmq")}
    assert found <= {"appliance.zmq_sockets"}


def test_nothing_imports_the_tests_or_the_benchmarks() -> None:
    for path in modules(PACKAGE):
        assert not below(imports_of(path), "tests", "benchmarks"), path
