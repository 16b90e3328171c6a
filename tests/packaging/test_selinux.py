"""The SELinux module builds, holds its own neverallow rules, and allows exactly the accesses of two tables.

Nothing is installed or loaded: the module is linked with the distribution's base policy into a policy file, and that is
asked. An enforcing machine is another level of tests.
"""

from __future__ import annotations

import bz2
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from .machine import CACHE, ROOT, need

POLICY_PACKAGE = "selinux-policy-default"
BASE = Path("usr/share/selinux/default")


def base_modules(directory: Path) -> list[Path]:
    """Return base.pp and unconfined.pp of Debian's policy, from the installed package or its file."""
    source = Path("/") / BASE
    if not source.exists():
        source = CACHE / POLICY_PACKAGE / BASE
        if not source.exists():
            download = CACHE / "download"
            download.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                ["apt-get", "download", "-qq", POLICY_PACKAGE], cwd=download, check=True, capture_output=True
            )
            (package,) = download.glob(f"{POLICY_PACKAGE}_*.deb")
            subprocess.run(["dpkg", "-x", str(package), str(CACHE / POLICY_PACKAGE)], check=True)
    modules = []
    for name in ("base", "unconfined"):
        target = directory / f"{name}.pp"
        target.write_bytes(bz2.decompress((source / f"{name}.pp.bz2").read_bytes()))
        modules.append(target)
    return modules


def build(directory: Path, extra: str = "") -> Path:
    """Build the module in ``directory``, with ``extra`` rules at its end."""
    need("checkmodule", "checkpolicy")
    need("make", "make")
    sources = directory / "module"
    shutil.copytree(ROOT / "selinux-policy", sources)
    with (sources / "cell_appliance.te").open("a") as file:
        file.write(extra)
    done = subprocess.run(["make", "-C", str(sources)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()
    return sources / "cell_appliance.pp"


def link(directory: Path, module: Path) -> subprocess.CompletedProcess[str]:
    """Link with the base policy into directory/policy, checking every neverallow."""
    need("semodule_link", "semodule-utils")
    linked = directory / "linked"
    subprocess.run(
        ["semodule_link", "-o", str(linked), *map(str, base_modules(directory)), str(module)],
        check=True,
        capture_output=True,
    )
    return subprocess.run(
        ["semodule_expand", str(linked), str(directory / "policy")], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled policy with our module in it."""
    directory = tmp_path_factory.mktemp("policy")
    done = link(directory, build(directory))
    assert done.returncode == 0, done.stderr
    return directory / "policy"


#: Runs in the system's interpreter, which has setools; the policy is read once for all rows.
ASK = """
import json, sys, setools
policy = setools.SELinuxPolicy(sys.argv[1])
answers = []
for source, target, kind, permission in json.load(sys.stdin):
    query = setools.TERuleQuery(
        policy, ruletype=["allow"], source=source, target=target, tclass=[kind], perms=[permission]
    )
    answers.append(any(True for _ in query.results()))
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def allowed(policy: Path) -> dict[str, bool]:
    """Ask the policy every row of both tables."""
    need("sesearch", "setools")
    table = rows(ALLOWED) + rows(FORBIDDEN)
    done = subprocess.run(
        ["/usr/bin/python3", "-c", ASK, str(policy)],
        input=json.dumps(table),
        capture_output=True,
        text=True,
        check=True,
    )
    return {" ".join(row): answer for row, answer in zip(table, json.loads(done.stdout), strict=True)}


ALLOWED = """
init_t            cell_web_t              process             transition
init_t            cell_pool_t             process             transition
init_t            cell_permalink_t        process             transition
init_t            cell_zygote_t           process             transition
init_t            cell_web_t              tcp_socket          listen
cell_web_t        cell_web_t              tcp_socket          accept
cell_web_t        cell_pool_t             unix_stream_socket  connectto
cell_web_t        cell_pool_runtime_t     sock_file           write
cell_web_t        cell_kernel_runtime_t   sock_file           write
cell_web_t        cell_permalink_t        unix_stream_socket  connectto
cell_web_t        cell_conf_t             file                read
cell_web_t        cell_environment_t      dir                 read
cell_web_t        cell_environment_t      file                read
cell_pool_t       cell_environment_t      file                read
cell_pool_t       sysctl_vm_overcommit_t  file                read
cell_web_t        cell_web_files_t        file                create
cell_web_t        cell_web_files_t        dir                 create
cell_web_t        init_t                  unix_dgram_socket   sendto
cell_pool_t       cell_kernel_runtime_t   dir                 create
cell_pool_t       cell_kernel_runtime_t   sock_file           create
cell_pool_t       cell_zygote_runtime_t   sock_file           create
cell_pool_t       cell_zygote_t           fd                  use
cell_permalink_t  cell_permalink_state_t  file                write
cell_permalink_t  cell_permalink_state_t  file                map
cell_permalink_t  cell_permalink_runtime_t sock_file          create
cell_zygote_t     cell_kernel_t           process             dyntransition
cell_zygote_t     cell_kernel_t           process             sigkill
cell_zygote_t     cell_zygote_t           process             setcurrent
cell_zygote_t     cell_zygote_t           capability          setuid
cell_zygote_t     cell_zygote_t           cap_userns          sys_admin
cell_zygote_t     cell_pool_t             unix_stream_socket  connectto
cell_zygote_t     cell_environment_t      file                execute
cell_zygote_t     cell_environment_t      dir                 mounton
cell_zygote_t     cell_kernel_scratch_t   filesystem          relabelto
cell_zygote_t     cgroup_t                dir                 create
cell_web_t        unreserved_port_t       tcp_socket          name_bind
cell_kernel_t     cell_environment_t      file                execute
cell_kernel_t     cell_environment_t      file                map
cell_kernel_t     cell_environment_t      file                lock
cell_kernel_t     cell_kernel_scratch_t   file                create
cell_kernel_t     cell_kernel_scratch_t   dir                 create
cell_kernel_t     cell_pool_t             unix_stream_socket  accept
cell_kernel_t     cell_kernel_t           process             fork
cell_kernel_t     cell_egress_t           unix_stream_socket  connectto
cell_kernel_t     cell_egress_runtime_t   sock_file           write
cell_kernel_t     http_cache_port_t       tcp_socket          name_connect
cell_egress_t     cell_egress_runtime_t   sock_file           create
cell_egress_t     http_port_t             tcp_socket          name_connect
cell_egress_t     cell_egress_t           tcp_socket          create
init_t            cell_egress_t           process             transition
cell_kernel_t     cell_kernel_t           process             execmem
cell_kernel_t     cell_kernel_devpts_t    chr_file            write
init_t            cell_requestlog_t       process             transition
cell_requestlog_t cell_requestlog_state_t file                create
cell_requestlog_t cell_requestlog_t       tcp_socket          create
cell_web_t        cell_requestlog_t       unix_stream_socket  connectto
cell_kernel_t     lib_t                   file                execute
cell_kernel_t     bin_t                   file                execute
cell_kernel_t     cell_staging_t          file                map
cell_kernel_t     init_exec_t             file                getattr
cell_zygote_t     init_exec_t             file                getattr
cell_zygote_t     shell_exec_t            file                execute
cell_zygote_t     cell_staging_t          file                map
cell_pool_t       cgroup_t                file                read
cell_permalink_t  cert_t                  file                read
"""

FORBIDDEN = """
cell_kernel_t     cell_permalink_state_t  file                read
cell_kernel_t     cell_permalink_state_t  dir                 search
cell_kernel_t     cell_web_files_t        dir                 search
cell_kernel_t     cell_web_files_t        file                read
cell_pool_t       cell_web_files_t        file                read
cell_web_t        cell_web_files_t        file                execute
cell_kernel_t     cell_conf_t             file                read
cell_kernel_t     cell_pool_runtime_t     sock_file           write
cell_kernel_t     cell_permalink_runtime_t sock_file          write
cell_kernel_t     cell_kernel_runtime_t   sock_file           write
cell_kernel_t     cell_kernel_runtime_t   file                read
cell_kernel_t     cell_pool_t             unix_stream_socket  connectto
cell_kernel_t     cell_zygote_t           unix_stream_socket  connectto
cell_kernel_t     init_t                  unix_stream_socket  connectto
cell_kernel_t     init_t                  unix_dgram_socket   sendto
cell_kernel_t     syslogd_t               unix_dgram_socket   sendto
cell_kernel_t     http_port_t             tcp_socket          name_connect
cell_kernel_t     http_port_t             tcp_socket          name_bind
cell_kernel_t     port_t                  tcp_socket          name_connect
cell_kernel_t     cell_egress_runtime_t   sock_file           unlink
cell_egress_t     http_port_t             tcp_socket          name_bind
cell_egress_t     cell_permalink_state_t  file                read
cell_egress_t     cell_pool_runtime_t     sock_file           write
cell_egress_t     cell_kernel_t           process             ptrace
cell_egress_t     cell_egress_t           capability          setuid
cell_web_t        cell_egress_t           unix_stream_socket  connectto
cell_web_t        cell_requestlog_state_t file                read
cell_kernel_t     cell_requestlog_t       unix_stream_socket  connectto
cell_requestlog_t cell_permalink_state_t  file                read
cell_requestlog_t http_port_t             tcp_socket          name_bind
cell_kernel_t     cell_kernel_t           udp_socket          create
cell_kernel_t     cell_kernel_t           netlink_route_socket create
cell_kernel_t     cell_kernel_t           packet_socket       create
cell_kernel_t     cell_kernel_t           capability          setuid
cell_kernel_t     cell_kernel_t           cap_userns          sys_admin
cell_kernel_t     cell_kernel_t           process             ptrace
cell_kernel_t     cell_kernel_t           process             setcurrent
cell_kernel_t     cell_zygote_t           process             sigkill
cell_kernel_t     cell_environment_t      file                write
cell_kernel_t     cell_kernel_scratch_t   file                execute
cell_kernel_t     shadow_t                file                read
cell_kernel_t     etc_t                   file                write
cell_kernel_t     user_home_t             file                read
cell_web_t        cell_permalink_state_t  file                read
cell_web_t        cell_web_t              tcp_socket          create
cell_web_t        cell_web_t              tcp_socket          connect
cell_web_t        cell_web_t              tcp_socket          bind
cell_kernel_t     unreserved_port_t       tcp_socket          name_connect
cell_kernel_t     cgroup_t                dir                 search
cell_kernel_t     cgroup_t                file                write
cell_kernel_t     sysctl_kernel_t         file                write
cell_kernel_t     tmpfs_t                 filesystem          mount
cell_web_t        cell_zygote_runtime_t   sock_file           write
cell_web_t        cell_zygote_t           unix_stream_socket  connectto
cell_web_t        cell_kernel_t           process             dyntransition
cell_web_t        cell_conf_t             file                write
cell_web_t        cell_environment_t      file                write
cell_web_t        cell_environment_t      file                execute
cell_web_t        cell_web_t              capability          setuid
cell_pool_t       cell_permalink_state_t  file                read
cell_pool_t       cell_pool_t             tcp_socket          create
cell_pool_t       cell_kernel_t           process             dyntransition
cell_pool_t       cell_kernel_t           process             ptrace
cell_permalink_t  cell_permalink_t        tcp_socket          create
cell_permalink_t  cell_permalink_t        udp_socket          create
cell_permalink_t  cell_kernel_runtime_t   sock_file           write
cell_permalink_t  cell_pool_t             unix_stream_socket  connectto
cell_zygote_t     cell_permalink_state_t  file                read
cell_zygote_t     cell_pool_t             process             ptrace
cell_zygote_t     cell_environment_t      file                write
cell_kernel_t     init_exec_t             file                read
cell_kernel_t     init_exec_t             file                execute
cell_zygote_t     init_exec_t             file                execute
cell_zygote_t     kernel_t                system              module_request
cell_pool_t       cgroup_t                file                write
cell_permalink_t  cert_t                  file                write
unconfined_t      cell_kernel_t           process             dyntransition
init_t            cell_kernel_t           process             transition
"""


def rows(table: str) -> list[list[str]]:
    """Return the rows of a table."""
    return [line.split() for line in table.strip().splitlines()]


@pytest.mark.parametrize("row", rows(ALLOWED), ids=" ".join)
def test_allowed(allowed: dict[str, bool], row: list[str]) -> None:
    assert allowed[" ".join(row)]


@pytest.mark.parametrize("row", rows(FORBIDDEN), ids=" ".join)
def test_forbidden(allowed: dict[str, bool], row: list[str]) -> None:
    assert not allowed[" ".join(row)]


def test_kernels_are_held_to_their_categories(policy: Path) -> None:
    need("seinfo", "setools")
    done = subprocess.run(
        ["seinfo", "-x", "-a", "mcs_constrained_type", str(policy)], capture_output=True, text=True, check=True
    )
    assert "cell_kernel_t" in done.stdout
    assert "cell_zygote_t" not in done.stdout


@pytest.mark.parametrize(
    "rule",
    [
        "allow cell_kernel_t cell_permalink_state_t:file read;",
        "allow cell_kernel_t self:udp_socket create;",
        "corenet_tcp_connect_all_ports(cell_kernel_t)",
        "corenet_tcp_bind_http_port(cell_egress_t)",
        "allow cell_kernel_t self:process ptrace;",
        "allow cell_web_t cell_kernel_t:process dyntransition;",
        "allow cell_kernel_t cell_kernel_scratch_t:file execute;",
        "corenet_tcp_connect_all_ports(cell_web_t) allow cell_web_t self:tcp_socket create_socket_perms;",
    ],
)
def test_a_rule_against_a_promise_does_not_link(tmp_path: Path, rule: str) -> None:
    done = link(tmp_path, build(tmp_path, f"\n{rule}\n"))
    assert done.returncode != 0
    assert "neverallow" in done.stderr


def test_every_path_has_a_known_type(tmp_path: Path) -> None:
    text = (ROOT / "selinux-policy" / "cell_appliance.te").read_text()
    for line in (ROOT / "selinux-policy" / "cell_appliance.fc").read_text().splitlines():
        if line.startswith("/"):
            name = line.split("object_r:")[1].split(",")[0]
            role = name.removesuffix("_exec_t").removesuffix("_runtime_t")
            assert f"type {name};" in text or f"cell_role_template({role})" in text, line


def test_selint_has_nothing_to_say() -> None:
    """With the policy's interfaces as context, which it parses but does not check.

    Without S-001, which wants no require block: the file says at each use why no interface will do.
    """
    need("selint", "selint")
    sources = [f"selinux-policy/cell_appliance.{suffix}" for suffix in ("te", "if", "fc")]
    done = subprocess.run(
        ["selint", "--fail", "--disable=S-001", "--context=/usr/share/selinux/devel/include", *sources],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "cell_appliance" not in done.stdout
