"""The seccomp policy names each call once, and compiles to what is promised."""

from __future__ import annotations

import errno
import struct

import pytest

from appliance.zygote import seccomp_build, seccomp_policy

#: struct seccomp_data of seccomp(2): number, architecture, instruction pointer, six arguments.
AUDIT_ARCH_X86_64 = 0xC000003E
ALLOW, ERRNO, KILL = 0x7FFF0000, 0x00050000, 0x80000000
NUMBERS = {
    "read": 0, "ioctl": 16, "socket": 41, "clone": 56, "ptrace": 101, "mount": 165, "unshare": 272, "keyctl": 250,
    "io_uring_setup": 425, "clone3": 435, "bpf": 321, "execve": 59, "personality": 135, "openat2": 437,
    "fcntl": 72, "inotify_init1": 294,
}  # fmt: skip


def interpret(program: bytes, number: int, *arguments: int, arch: int = AUDIT_ARCH_X86_64) -> int:
    """Run a classic BPF program, as far as seccomp filters use it, on one system call."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("<iIQ6Q", number, arch, 0, *padded)
    instructions = list(struct.iter_unpack("<HBBI", program))
    accumulator, counter = 0, 0
    while True:
        code, true_jump, false_jump, k = instructions[counter]
        counter += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                counter += k
            case 0x15:
                counter += true_jump if accumulator == k else false_jump
            case 0x35:
                counter += true_jump if accumulator >= k else false_jump
            case 0x25:
                counter += true_jump if accumulator > k else false_jump
            case 0x06:
                return k
            case _:
                raise AssertionError(f"instruction {code:#x}")


@pytest.fixture(scope="module")
def program():
    return seccomp_build.build()


def test_no_call_is_named_twice():
    names = [*seccomp_policy.ALLOWED, *seccomp_policy.REFUSED]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", ["read", "execve", "openat2"])
def test_ordinary_calls_are_allowed(program, name):
    assert interpret(program, NUMBERS[name]) == ALLOW


@pytest.mark.parametrize("name", ["ptrace", "mount", "unshare", "keyctl", "io_uring_setup", "bpf", "inotify_init1"])
def test_dangerous_calls_are_refused(program, name):
    assert interpret(program, NUMBERS[name]) == ERRNO | errno.EPERM


@pytest.mark.parametrize("number", [435, 461, 999])
def test_unknown_calls_and_clone3_do_not_exist(program, number):
    assert interpret(program, number) == ERRNO | errno.ENOSYS


def test_another_architecture_ends_the_process(program):
    assert interpret(program, 0, arch=0x40000003) == KILL


def test_threads_and_forks_are_allowed_and_namespaces_not(program):
    thread_flags, fork_flags = 0x3D0F00, 0x1200011
    assert interpret(program, NUMBERS["clone"], thread_flags) == ALLOW
    assert interpret(program, NUMBERS["clone"], fork_flags) == ALLOW
    for flag in seccomp_policy.CLONE_NAMESPACE_FLAGS:
        assert interpret(program, NUMBERS["clone"], flag | 17) == ERRNO | errno.EPERM
        assert interpret(program, NUMBERS["clone"], 0x7E020080) == ERRNO | errno.EPERM


@pytest.mark.parametrize(("family", "answer"), [(1, ALLOW), (2, ALLOW), (10, ALLOW)])
def test_local_and_internet_sockets_are_allowed(program, family, answer):
    assert interpret(program, NUMBERS["socket"], family) == answer


@pytest.mark.parametrize("family", [17, 38, 40, 44])
def test_packet_alg_vsock_and_xdp_do_not_exist(program, family):
    assert interpret(program, NUMBERS["socket"], family) == ERRNO | errno.EAFNOSUPPORT


def test_netlink_is_refused_in_the_way_that_libzmq_takes(program):
    assert interpret(program, NUMBERS["socket"], seccomp_policy.NETLINK) == ERRNO | errno.EINVAL


@pytest.mark.parametrize("request_", [0x5412, 0x100005412, 0xDEAD00005412])
def test_pushing_terminal_input_is_refused_whatever_the_high_bits(program, request_):
    assert interpret(program, NUMBERS["ioctl"], 1, request_) == ERRNO | errno.EPERM


@pytest.mark.parametrize("request_", [0x5401, 0x5413, 0x5410, 0x541B, 0x8912])
def test_other_ioctls_are_allowed(program, request_):
    assert interpret(program, NUMBERS["ioctl"], 1, request_) == ALLOW


def test_only_the_ordinary_personality_is_allowed(program):
    assert interpret(program, NUMBERS["personality"], 0xFFFFFFFF) == ALLOW
    assert interpret(program, NUMBERS["personality"], 0x0040000) == ERRNO | errno.ENOSYS


@pytest.mark.parametrize(("command", "answer"), [(1026, ERRNO | errno.EPERM), (1 << 32 | 1026, ERRNO | errno.EPERM)])
def test_word_of_changes_in_a_directory_is_refused(program, command, answer):
    assert interpret(program, NUMBERS["fcntl"], 3, command) == answer


@pytest.mark.parametrize("command", [0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1024, 1030, 1031, 1033])
def test_locks_flags_and_duplicates_are_allowed(program, command):
    assert interpret(program, NUMBERS["fcntl"], 3, command) == ALLOW
