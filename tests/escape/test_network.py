"""Lines 29 and 30: a cell that tries to reach a network, and what it would find there."""

from __future__ import annotations

import json
import socket
import threading

import psutil
import pytest

from tests.escape.scene import Scene, layer_is_on


@pytest.fixture(scope="module")
def scene(appliance):
    scene = Scene(appliance)
    yield scene
    scene.close()


#: Where a cell might go: addresses of documentation stand for those of the internet.
PLACES = {
    "metadata of a cloud": ("169.254.169.254", 80),
    "metadata over IPv6": ("fd00:ec2::254", 80),
    "a private network (10/8)": ("10.0.0.1", 22),
    "a private network (172.16/12)": ("172.17.0.1", 2375),
    "a private network (192.168/16)": ("192.168.0.1", 80),
    "the internet": ("192.0.2.1", 443),
    "the internet over IPv6": ("2001:db8::1", 443),
    "shared address space": ("100.64.0.1", 80),
    "multicast": ("224.0.0.251", 5353),
    "broadcast": ("255.255.255.255", 67),
    "link-local IPv6": ("fe80::1%lo", 80),
    "all nodes of IPv6": ("ff02::1", 80),
    "this host by 0.0.0.0": ("0.0.0.0", 22),
    "this host by ::": ("::", 22),
    "this host by mapped IPv4": ("::ffff:127.0.0.1", 22),
}
CONNECT = """
import errno, socket
host, port = {place!r}
family = socket.AF_INET6 if ":" in host else socket.AF_INET
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(2)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            address = socket.getaddrinfo(host, port, family, kind, 0, socket.AI_NUMERICHOST)[0][4]
            s.connect(address)
            s.send(b"x")
            # a datagram to nobody on one's own loopback is sent; the next call tells that nobody was there
            if kind == socket.SOCK_DGRAM: s.recv(1)
            print("reached")
    except OSError as exc: print(errno.errorcode.get(exc.errno, str(exc)))
"""


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.attack(29, "network namespace with nothing but its own loopback", "reach a network")
def test_a_network_cannot_be_reached(scene, place):
    answer = scene.attacker.run(CONNECT.format(place=PLACES[place]))
    assert len(answer.stdout.splitlines()) == 2, answer.reply
    refusals = {"ENETUNREACH", "ECONNREFUSED", "EADDRNOTAVAIL", "EINVAL"}
    # SELinux comes before: no datagram socket is made, no port of any address is connected to
    assert set(answer.stdout.split()) <= (
        {"EACCES"} | refusals if layer_is_on(scene.appliance, "selinux") else refusals
    )


@pytest.mark.attack(29, "network namespace", "ask a name server")
def test_names_are_not_resolved(scene):
    answer = scene.attacker.run(
        "import socket\n"
        "for name in ('example.org', 'localhost.example', 'metadata.google.internal'):\n"
        "    try: print('reached', socket.getaddrinfo(name, 80))\n"
        "    except socket.gaierror as exc: print('no', exc.errno < 0)\n"
        "print(socket.gethostbyname('localhost'))"
    )
    assert answer.stdout == "no True\n" * 3 + "127.0.0.1\n"


@pytest.mark.attack(29, "network namespace", "reach a service of the host on each of its addresses")
def test_a_service_of_the_host_cannot_be_reached_on_any_address(scene):
    addresses = [
        (item.address.partition("%")[0], item.family)
        for items in psutil.net_if_addrs().values()
        for item in items
        if item.family in (socket.AF_INET, socket.AF_INET6) and not item.address.startswith("fe80")
    ]
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        port = server.getsockname()[1]
        threading.Thread(target=_accept, args=(server,), daemon=True).start()
        for address, _ in addresses:
            with socket.create_connection((address, port), 2):
                pass  # the control: it is there
        answer = scene.attacker.run(
            "import socket\n"
            f"for address, family in {[(address, int(family)) for address, family in addresses]!r}:\n"
            f"    with socket.socket(family) as s: print(s.connect_ex((address, {port})) == 0)"
        )
    assert answer.stdout.split() == ["False"] * len(addresses)


def _accept(server):
    try:
        while True:
            server.accept()[0].close()
    except OSError:
        return


@pytest.mark.attack(29, "capabilities", "make a network interface, a route, or a spoofed packet")
def test_interfaces_and_routes_cannot_be_made(scene):
    answer = scene.attacker.run(
        "import errno, fcntl, os, socket, struct\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)\n"
        "ask = struct.pack('16sHH4s8x', b'lo', 2, 0, bytes([10, 0, 0, 1]))\n"
        "for name, attempt in {\n"
        "    'an address': lambda: fcntl.ioctl(s, 0x8916, ask),\n"
        "    'a route': lambda: fcntl.ioctl(s, 0x890B, bytes(120)),\n"
        "    'a bridge': lambda: fcntl.ioctl(s, 0x89A0, b'br0'),\n"
        "    'a raw packet': lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255),\n"
        "    'transparent': lambda: s.setsockopt(socket.SOL_IP, 19, 1),\n"
        "}.items():\n"
        "    try: attempt(); print('reached', name)\n"
        "    except OSError as exc: print(errno.errorcode[exc.errno])\n"
        "print(os.path.exists('/dev/net/tun'))"
    )
    # ENOPKG: SELinux lets no cell have the module of bridges loaded
    refusals = {"EPERM", "EACCES", *(["ENOPKG"] if layer_is_on(scene.appliance, "selinux") else [])}
    assert set(answer.stdout.split()) <= {*refusals, "False"}, answer.stdout


@pytest.mark.attack(30, "network namespace; the server has no accounts", "log in somewhere")
def test_nothing_listens_where_a_cell_is(scene):
    if layer_is_on(scene.appliance, "selinux"):
        answer = scene.attacker.run("open('/proc/self/net/tcp')")
        assert answer.reply["ename"] == "PermissionError", answer.reply
        return
    answer = scene.attacker.run(
        "listening = []\n"
        "for name in ('tcp', 'tcp6', 'udp', 'udp6', 'raw', 'raw6'):\n"
        "    for line in open(f'/proc/self/net/{name}').read().splitlines()[1:]:\n"
        "        listening.append((name, line.split()[1]))\n"
        "rows = [line.split() for line in open('/proc/self/net/unix').read().splitlines()[1:]]\n"
        "unix = [row[7] for row in rows if len(row) > 7]\n"
        "import json; print(json.dumps([listening, unix]))"
    )
    listening, unix = json.loads(answer.stdout)
    assert listening == []
    # the five sockets of its own, by the names that the host has for them
    assert {path.rsplit("/", 1)[0] for path in unix} <= {
        str(scene.appliance.config.kernels_path / scene.attacker.kernel_id)
    }
