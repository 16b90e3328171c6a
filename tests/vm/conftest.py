"""The image, the booted guest, and what became of the tests that run in the guest."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.packaging.building import bare_debian, renumbered, run, whole_debs
from tests.packaging.machine import CACHE, ROOT, need

from .guest import booted
from .tools import put_together

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from _pytest.terminal import TerminalReporter

    from .guest import Guest

#: What the guest has beside what every Debian of these tests has.
PACKAGES = ("openssh-server", "udev", "kmod", "selinux-policy-default", "policycoreutils", "selinux-utils", "auditd")
KERNEL_PACKAGE = "linux-image-cloud-amd64"
HOST_COMMANDS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "mke2fs": "e2fsprogs",
    "ssh": "openssh-client",
}
#: What the package is upgraded to.
NEWER = "0.1.1"
#: Each run of tests in the guest takes place within this.
INSIDE_SECONDS = 1500.0
#: Each test within this.
ONE_SECONDS = 600

#: Tests that run in the guest, on the installed appliance, in this order. Those that follow the law come first: they
#: may not cause a single denial. The last three files of attacks give the appliance a small configuration.
LAWFUL = ("tests/vm/inside/test_selinux.py", "tests/vm/inside/test_cgroups.py")
POLICY = ("tests/vm/inside/test_policy_alone.py",)
ATTACKS = (
    "tests/escape/test_confinement.py",
    "tests/escape/test_escape_and_neighbours.py",
    "tests/escape/test_network.py",
    "tests/escape/test_host_side_glue.py",
    "tests/escape/test_browser.py",
    "tests/escape/test_exhaustion.py",
    "tests/escape/test_limits_in_total.py",
    "tests/escape/test_leftovers.py",
    "tests/escape/test_operations.py",
)
#: By the test here that stands for them: what is refused in the guest.
REFUSED = {"test_the_policy_alone": POLICY, "test_attack": ATTACKS}
#: Left out of those: what needs a page, for which `test_enforcing` has a browser outside; and what starts copies of the
#: server with a layer taken out, which are not what is installed.
LEFT_OUT = (
    "not (cannot_touch_its_page or in_a_foreign_frame or page_of_another_site or any_step_failed or step_was_left_out)"
)


#: What took how long, in seconds; told at the end.
TIMES: list[tuple[str, float]] = []
#: The same for each test in the guest, with what came before it.
SLOWEST: list[tuple[float, str]] = []
#: As many of them are told.
SLOWEST_SHOWN = 15


@contextlib.contextmanager
def timed(what: str) -> Iterator[None]:
    """Note how long something took."""
    started = time.monotonic()
    yield
    TIMES.append((what, time.monotonic() - started))


def selected(*, permissive: bool) -> str:
    """Return which tests are run in the guest, as pytest's -k wants it."""
    return f"{LEFT_OUT} and not it_enforces" if permissive else LEFT_OUT


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for whoever writes rules."""
    parser.addoption(
        "--permissive",
        action="store_true",
        help="boot the machine of tests/vm without enforcing SELinux, and tell all that would have been denied",
    )


def is_permissive(config: pytest.Config) -> bool:
    """Return what the option says, which there is only where tests/vm is named."""
    return bool(config.getoption("--permissive", default=False))


@pytest.fixture(scope="session")
def permissive(request: pytest.FixtureRequest) -> bool:
    """Return whether what the policy forbids is only written down."""
    return is_permissive(request.config)


def kernel_package() -> Path:
    """Return the file of Debian's kernel for virtual machines, downloaded once."""
    directory = CACHE / "kernel"
    if not (found := sorted(directory.glob("*.deb"))):
        directory.mkdir(parents=True, exist_ok=True)
        depends = subprocess.run(["apt-cache", "depends", KERNEL_PACKAGE], capture_output=True, text=True, check=True)
        name = next(line.split()[1] for line in depends.stdout.splitlines() if "Depends: linux-image" in line)
        subprocess.run(["apt-get", "download", "-qq", name], cwd=directory, check=True, capture_output=True)
        found = sorted(directory.glob("*.deb"))
    return found[-1]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with disk, kernel, initial file system and key."""
    if os.geteuid() != 0:
        pytest.fail("the image of the guest needs root: run this test with sudo")
    for command, package in HOST_COMMANDS.items():
        need(command, package)
    with timed("Debian without our packages, made once"):
        base, kernel = bare_debian("vm-root", *PACKAGES), kernel_package()
    with timed("packages"):
        packages = whole_debs(tmp_path_factory.mktemp("debs"))
    with timed("image"):
        tests = tmp_path_factory.mktemp("tools") / "tests"
        put_together(tests)
        for package in sorted(packages.glob("cell-appliance*.deb")):
            renumbered(package, NEWER, tests / "newer")
        # more than a gigabyte: not where pytest keeps the last three
        out = CACHE / "vm-image"
        run("tests/vm/image.sh", str(base), str(packages), str(kernel), str(tests), str(out))
    for directory in (packages, tests):
        shutil.rmtree(directory)
    return out


@pytest.fixture(scope="session")
def guest(image: Path, tmp_path_factory: pytest.TempPathFactory, permissive: bool) -> Iterator[Guest]:
    """Return the booted guest."""
    log = tmp_path_factory.mktemp("guest") / "console.log"
    booting = time.monotonic()
    with booted(image, log, enforcing=not permissive) as started:
        TIMES.append(("boot", time.monotonic() - booting))
        yield started


class Inside:
    """Runs tests in the guest and keeps how each ended."""

    def __init__(self, guest: Guest, selection: str) -> None:
        self._guest = guest
        self._selection = selection
        self._reports: dict[str, dict[str, Any]] = {}
        self._ran: set[tuple[str, ...]] = set()

    def lawful(self, node: str) -> None:
        """End as the test ``node``, one of `LAWFUL`, has ended in the guest."""
        self._end_as(LAWFUL, node)

    def policy(self, node: str) -> None:
        """End as the test ``node``, one of `POLICY`, has ended in the guest."""
        self._end_as(POLICY, node)

    def attack(self, node: str) -> None:
        """End as the test ``node``, one of `ATTACKS`, has ended in the guest."""
        self._end_as(ATTACKS, node)

    def _end_as(self, places: tuple[str, ...], node: str) -> None:
        if places not in self._ran:
            self._ran.add(places)
            if places == ATTACKS:
                # it takes what attacks do to roles for what it is there to mend
                self._guest.must("systemctl stop cell-healthcheck.timer", seconds=300)
            self._run(places)
        report = self._reports.get(node, {"outcome": "failed", "text": "the guest has not run this test"})
        if report["outcome"] == "skipped":
            pytest.skip(report["text"])
        if report["outcome"] == "xfailed":
            pytest.xfail(report["text"])
        if report["outcome"] != "passed":
            pytest.fail(report["text"], pytrace=False)

    def _run(self, places: tuple[str, ...]) -> None:
        command = ["env", "PYTHONPATH=/opt/tests/site:/opt/tests", "CELL_TEST_INSTALLED=1"]
        command += ["/usr/lib/cell-appliance/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
        command += [f"--timeout={ONE_SECONDS}", "-p", "tests.vm.report", "-k", self._selection, *places]
        with timed(f"{len(places)} files of tests in the guest"):
            try:
                # ended there, so that what has run until then is not lost
                limit = ["timeout", "--kill-after=10", f"{INSIDE_SECONDS:.0f}", *command]
                line = f"cd /opt/tests && {' '.join(map(quote, limit))}"
                print(self._guest.run(line, seconds=INSIDE_SECONDS + 60).output)
            finally:
                for line in self._guest.must("cat /root/reports.jsonl; rm -f /root/reports.jsonl").splitlines():
                    report = json.loads(line)
                    self._reports[report["node"]] = report
                    SLOWEST.append((report["seconds"], report["node"]))


def quote(word: str) -> str:
    """Return ``word`` as one word of a shell."""
    return "'" + word.replace("'", "'\\''") + "'"


@pytest.fixture(scope="session")
def inside(guest: Guest, permissive: bool) -> Inside:
    """Return what runs tests in the guest."""
    return Inside(guest, selected(permissive=permissive))


def collected(places: tuple[str, ...], selection: str) -> list[str]:
    """Return the ids of the tests in ``places`` that are run in the guest."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-summary", "-p", "no:cacheprovider"]
    command += ["-k", selection, *places]
    environment = {**os.environ, "CELL_TEST_INSTALLED": "1"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    found = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode or not found:
        raise pytest.UsageError(f"tests for the guest cannot be collected:\n{done.stdout}{done.stderr}")
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test here of each test there."""
    permissive = is_permissive(metafunc.config)
    if metafunc.function.__name__ == "test_lawful":
        metafunc.parametrize("node", collected(LAWFUL, selected(permissive=permissive)))
    elif metafunc.function.__name__ in REFUSED:
        # where nothing is enforced they tell nothing about rules
        places = REFUSED[metafunc.function.__name__]
        metafunc.parametrize("node", [] if permissive else collected(places, selected(permissive=False)))


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what is for the guest, unless this is the guest, or the list of its tests is asked for."""
    if collection_path.name == "inside" and os.environ.get("CELL_TEST_INSTALLED") != "1":
        return True
    return None


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Tell where the time went."""
    if not TIMES:
        return
    terminalreporter.section("the emulated machine")
    for what, seconds in TIMES:
        terminalreporter.write_line(f"{seconds:6.0f} s  {what}")
    for seconds, node in sorted(SLOWEST, reverse=True)[:SLOWEST_SHOWN]:
        terminalreporter.write_line(f"{seconds:10.0f} s  {node}")
