"""A kernelspec as the sandbox needs it: found by jupyter_client, its interpreter located, its directories named.

`find_apart` does it in a process of its own, so that jupyter_client is not in the memory of the launcher and of all
that it becomes.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import string
from typing import TYPE_CHECKING, Any

import attrs

from appliance import config as configuration
from appliance.errors import ConfigError
from appliance.zygote import staging
from appliance.zygote.sandbox import HOME

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from appliance.config import Environment

#: Where programs are looked for, here and in the sandbox, after the environment's own.
SEARCH_PATH = "/usr/local/bin:/usr/bin:/bin"

#: Largest description of a kernelspec that crosses from the process that finds it.
MAX_DESCRIPTION_BYTES = 65_536

#: Kernelspecs of the package itself (`appliance.kernel.languages`): their Python is that of the environment "python",
#: their code is staged with the rest of the package.
OWN_KERNELSPECS = configuration.PACKAGE_DIR / "kernel/languages/kernelspecs"

#: ... and their variables.
_OWN_VARIABLES = {
    "PYTHONPATH": staging.CODE,
    "PYTHONDONTWRITEBYTECODE": "1",
    "IPYTHONDIR": "/tmp/.ipython",  # noqa: S108 - the kernel's own
}

#: What kernelspecs write when they mean "the Python that this is installed for".
_PYTHON = re.compile(r"python(3(\.\d+)?)?")

_LOCAL_PROVISIONER = "local-provisioner"


@attrs.frozen
class Program:
    """How to start a kernel: arguments (``{connection_file}`` is still to be put in), variables, how to interrupt it.

    ``trees``: directories of the host that it needs beside /usr.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    interrupt_mode: str
    trees: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return what `appliance.kernel.exec_bridge.Program` reads, with the paths of the staged root."""
        return {
            "argv": [self._staged(argument) for argument in self.argv],
            "environment": {name: self._staged(value) for name, value in self.environment.items()},
            "interrupt_mode": self.interrupt_mode,
        }

    def _staged(self, text: str) -> str:
        for tree in sorted(self.trees, key=len, reverse=True):
            where = staging.staged_tree(tree)
            if where != tree:
                text = re.sub(rf"{re.escape(tree)}(?=[/:\s]|$)", where.replace("\\", r"\\"), text)
        return text


def find(name: str, environment: Environment) -> Program:
    """Return how to start the kernelspec of the environment ``name``.

    Raises `ConfigError` saying what is missing.
    """
    spec = _specification(name, environment)
    where = f"environment.{name}: kernelspec {environment.kernelspec}"
    provisioner = spec.metadata.get("kernel_provisioner", {}).get("provisioner_name", _LOCAL_PROVISIONER)
    if provisioner != _LOCAL_PROVISIONER:
        raise ConfigError(f"{where} is started by {provisioner}, not in this sandbox")
    if not spec.argv:
        raise ConfigError(f"{where} names no program")
    python, variables = environment.python, {}
    resources = os.path.realpath(spec.resource_dir)
    own = os.path.dirname(resources) == str(OWN_KERNELSPECS)
    if own:
        python = python or str(configuration.environment_python("python", configuration.Environment()))
        variables = _OWN_VARIABLES
        programs = spec.metadata["programs"]
        if not any(shutil.which(name, path=SEARCH_PATH) for name in programs):
            needed = " or ".join(programs)
            package = spec.metadata.get("debian_package")
            raise ConfigError(f"{where} needs {needed}" + (f", Debian's package {package}" if package else ""))
    prefix = staging.environment_prefix(python) if python else "/usr"
    search = SEARCH_PATH if prefix == "/usr" else f"{prefix}/bin:{SEARCH_PATH}"
    program = _locate(spec.argv[0], python, search)
    if program is None:
        raise ConfigError(f"{where} starts {spec.argv[0]}, which is not there (looked in {search})")
    trees = [prefix, staging.environment_prefix(program), *staging.interpreter_trees(program)]
    if not own:
        trees.append(resources)
    substitutes = {"prefix": prefix, "resource_dir": resources}
    argv = [program, *(_substitute(argument, substitutes) for argument in spec.argv[1:])]
    variables = {"PATH": search, "HOME": HOME, "LANG": "C.UTF-8", "TERM": "dumb", **variables}
    variables |= {key: string.Template(str(value)).safe_substitute(variables) for key, value in spec.env.items()}
    variables |= dict(variable.split("=", 1) for variable in environment.variables)
    return Program(tuple(argv), variables, spec.interrupt_mode, tuple(_outermost(where, trees)))


def _specification(name: str, environment: Environment) -> Any:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel
    from jupyter_core.paths import jupyter_path
    from traitlets import TraitError

    if environment.python:
        directories = [f"{staging.environment_prefix(environment.python)}/share/jupyter/kernels"]
    else:
        directories = jupyter_path("kernels")
    directories.append(str(OWN_KERNELSPECS))
    manager = KernelSpecManager(kernel_dirs=directories, ensure_native_kernel=False)
    try:
        return manager.get_kernel_spec(environment.kernelspec)
    except (NoSuchKernel, OSError, ValueError, TypeError, AttributeError, TraitError) as exc:
        found = ", ".join(sorted(manager.find_kernel_specs())) or "none"
        reason = "" if isinstance(exc, NoSuchKernel) else f" ({exc})"
        raise ConfigError(
            f"environment.{name}: there is no kernelspec {environment.kernelspec}{reason}; "
            f"there are: {found}; looked in {', '.join(directories)}"
        ) from exc


def _locate(program: str, python: str, search: str) -> str | None:
    if python and _PYTHON.fullmatch(program):
        program = python
    return shutil.which(program, path=search)


def _substitute(argument: str, values: Mapping[str, str]) -> str:
    """Put values where a kernelspec has ``{NAME}``; what is no known name stays."""
    return re.sub(r"\{([A-Za-z0-9_]+)\}", lambda match: values.get(match[1], match[0]), argument)


def _outermost(where: str, trees: Iterable[str]) -> list[str]:
    """Return the directories that lie in no other and not in /usr.

    Raises `ConfigError` for one that would show visitors more than a program: a home or a directory of the root.
    """
    homes = {os.path.realpath(entry.pw_dir) for entry in pwd.getpwall() if entry.pw_dir != "/"}
    kept: list[str] = []
    for tree in sorted(set(trees), key=len):
        if any(f"{tree}/".startswith(f"{outer}/") for outer in ("/usr", *kept)):
            continue
        real = os.path.realpath(tree)
        if real.count("/") < 2 or real in homes or (os.path.dirname(real) in homes and real.endswith("/.local")):
            raise ConfigError(f"{where} needs all of {tree}; install its program in a directory of its own")
        kept.append(tree)
    return kept


def find_apart(name: str, environment: Environment) -> Program:
    """Do what `find` does, in a child process. Raises `ConfigError`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(reading)
            try:
                answer = json.dumps(attrs.asdict(find(name, environment)))
            except ConfigError as exc:
                answer = json.dumps(exc.message)
            with open(writing, "w", encoding="utf-8") as pipe:
                pipe.write(answer)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        text = pipe.read(MAX_DESCRIPTION_BYTES)
    os.waitpid(pid, 0)
    try:
        answer = json.loads(text)
    except ValueError as exc:
        raise ConfigError(f"environment.{name}: its kernelspec cannot be read") from exc
    if isinstance(answer, str):
        raise ConfigError(answer)
    return Program(tuple(answer["argv"]), answer["environment"], answer["interrupt_mode"], tuple(answer["trees"]))
