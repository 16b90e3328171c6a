"""Lines 1 to 14 again, with one layer taken out at a time: the others hold.

What is taken out is taken out of a copy of the server; nothing in the product can switch a layer off.
"""

from __future__ import annotations

import contextlib
import os
import unittest.mock

import pytest

from tests.escape.altered import ALLOW_ALL, altered
from tests.escape.attempts import ATTEMPTS
from tests.escape.scene import Scene
from tests.escape.test_escape_and_neighbours import CHANNELS, passes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="two of these layers are removed by root only")

SANDBOX = "zygote/sandbox.py"

#: Each layer: changes of the package's files, files put in place, and more configuration.
REMOVALS = {
    "seccomp": ({}, {"zygote/seccomp.bpf": ALLOW_ALL}, ""),
    "user namespace": (
        {
            "zygote/launcher.py": {
                "_enter_user_namespace(lambda pid: _write_map_as_root(pid, config.ids.base, config.ids.count))": "pass"
            },
            # it would be that of the whole host
            "zygote/keeper.py": {
                '        file.write("0")\n': "        file.read()\n",
                'namespaces", "w",': 'namespaces", "r",',
            },
            "config/checks.py": {"if config.ids.base == 0 or ": "if "},
        },
        {},
        "[ids]\nbase = 0\n",
    ),
    "Landlock": ({SANDBOX: {"    if confinement.landlock:\n": "    if False:\n"}}, {}, ""),
    "masks of /proc": ({SANDBOX: {"    for name in MASKED:\n": "    for name in ():\n"}}, {}, ""),
    "network namespace": (
        {SANDBOX: {" | linux.CLONE_NEWNET": "", '("loopback", linux.bring_loopback_up)': '("loopback", lambda: None)'}},
        {},
        "",
    ),
    "no new privileges and seccomp": (
        {
            SANDBOX: {
                "    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)\n": "    return\n",
                '("seccomp", lambda: linux.load_seccomp(confinement.seccomp_program))': '("seccomp", lambda: None)',
                "    if confinement.without_cgroup:\n": "    if False:\n",
                "    elif confinement.cgroup is None:\n": "    elif False:\n",
                '    if not filtered or status["NoNewPrivs"] != "1":\n': "    if False:\n",
                "    if confinement.landlock:\n": "    if False:\n",  # it cannot be had without no_new_privs
            }
        },
        {},
        "",
    ),
    "closing of inherited descriptors": ({SANDBOX: {"    linux.close_all_but(keep_fds)\n": ""}}, {}, ""),
}

#: What the removed layer alone stops, and why no harm comes of it. Everything else must be stopped as before.
ALONE = {
    # The namespace of a kernel is inside that of its zygote, whose loopback is as empty.
    "network namespace": {"connect to an abstract socket of the host": "the environment's network namespace"},
    # It holds the directory of the zygotes' socket, and is there to be found; its own account cannot use it.
    "closing of inherited descriptors": {
        "find a descriptor that is not its own": "descriptors of the zygote",
        "claim to be ready over an inherited socket": "sockets of the zygote",
    },
}


@pytest.fixture(scope="module", params=REMOVALS)
def removed(request):
    changes, files, toml = REMOVALS[request.param]
    if request.param == "user namespace":
        # the tests read the configuration with the unaltered package
        reading = unittest.mock.patch("appliance.config.text.check")
    else:
        reading = contextlib.nullcontext()
    with reading, altered(changes, files, toml) as (appliance, _), contextlib.closing(Scene(appliance)) as scene:
        yield request.param, scene


def expected(layer, attempt):
    """Return whether an attempt may get through without a layer."""
    filterless = layer in ("seccomp", "no new privileges and seccomp")
    return (filterless and attempt.seccomp_only) or attempt.name in ALONE.get(layer, {})


@pytest.mark.attack(1, "all layers but one", "lines 1 to 11 without each layer in turn")
def test_programs_get_nowhere_without_it(removed):
    layer, scene = removed
    verdicts = {attempt.name: scene.inside(attempt) for attempt in ATTEMPTS}
    through = [
        f"{attempt.number}: {attempt.name}: {verdicts[attempt.name]}"
        for attempt in ATTEMPTS
        if not expected(layer, attempt) and not verdicts[attempt.name].startswith(("refused", "nothing"))
    ]
    assert through == []


@pytest.mark.control
def test_it_was_removed(removed):
    layer, scene = removed
    look = {
        "seccomp": ("import ctypes; print(ctypes.CDLL(None).syscall(250, 0, -3, 1) > 0)", "True"),
        "user namespace": ("print(open('/proc/self/uid_map').read().split())", "['0', '0', '4294967295']"),
        "Landlock": ("print(__import__('ctypes').CDLL(None).mq_open(b'/x', 66, 0o600, None) != -13)", "True"),
        "masks of /proc": ("print(__import__('os').path.ismount('/proc/keys'))", "False"),
        "network namespace": (None, None),
        "no new privileges and seccomp": (
            "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('NoNew', 'Seccomp:'))])",
            "['0', '0']",
        ),
        "closing of inherited descriptors": (None, None),
    }[layer]
    if look[0] is None:
        pytest.skip("seen by what the attempts find")
    assert scene.attacker.run(look[0]).stdout.strip() == look[1]


@pytest.mark.attack(12, "all layers but one", "covert channels without each layer in turn")
def test_no_bit_passes_without_it(removed):
    layer, scene = removed
    if layer == "network namespace":
        pytest.skip("abstract sockets and loopback are what it keeps apart")
    names = [name for name in CHANNELS if not (layer == "masks of /proc" and name == "keyrings")]
    assert [name for name in names if passes(scene, *CHANNELS[name])] == []
