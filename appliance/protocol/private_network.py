"""A private network between appliances and their database, without I/O: what tinc and the firewall are told.

Each node has a *card*, the file that tinc calls a host configuration file: its name, its address in the network, where
it is reached from outside, its public key. Nodes that hold each other's cards talk to each other. Source: tinc.conf(5)
of tinc 1.0, nft(8).
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re

import attrs

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Port of tinc, TCP and UDP.
DEFAULT_PORT = 655

#: Largest card: a key of 8192 bits is 1.4 KiB of it.
MAX_CARD_BYTES = 16_384

#: Bits of a node's key, and of the shortest that a card may have.
KEY_BITS = 3072
MIN_KEY_BITS = 2048

#: Nodes of one network.
MAX_NODES = 64

#: What tinc takes as a name of a node (tinc.conf(5), Name), in lower case; Linux takes 15 bytes for an interface.
_NAME = re.compile(r"[a-z0-9_]{1,32}")
_INTERFACE = re.compile(r"[a-z][a-z0-9-]{0,14}")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?")

_HEADER = "# Cell Appliance, card of a private network, version 1; network "
_KEY = re.compile(r"-----BEGIN RSA PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+?)\s+-----END RSA PUBLIC KEY-----")


@attrs.frozen
class Endpoint:
    """Where a node is reached from outside."""

    host: str
    port: int = DEFAULT_PORT


@attrs.frozen(kw_only=True)
class Node:
    """One machine of the network; ``key`` is base64 text of its public key, empty before it is made."""

    name: str
    address: Address
    network: Network
    endpoint: Endpoint | None = None
    key: str = ""


def parse_name(text: str) -> str:
    """Return the name of a node. Raises `ValueError`."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:64]!r} is no name of a node: use 1 to 32 of a-z, 0-9 and _")
    return text


def parse_interface(text: str) -> str:
    """Return the name of an interface. Raises `ValueError`."""
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"{text[:64]!r} is no name of an interface: use 1 to 15 of a-z, 0-9 and -")
    return text


def parse_address(text: str) -> tuple[Address, Network]:
    """Return address and network written as ADDRESS/BITS, of a private range. Raises `ValueError`."""
    try:
        found = ipaddress.ip_interface(text)
    except ValueError as exc:
        raise ValueError(f"{text[:64]!r} is no ADDRESS/BITS, as 10.87.0.1/24") from exc
    if not found.network.is_private or found.network.num_addresses < 2:
        raise ValueError(f"{text[:64]} must be in a network of private addresses, as 10.87.0.1/24")
    whole = found.network.num_addresses > 2
    if whole and found.ip in (found.network.network_address, found.network.broadcast_address):
        raise ValueError(f"{found.ip} names the network {found.network} itself, not a node in it")
    return found.ip, found.network


def parse_port(text: str) -> int:
    """Return a port. Raises `ValueError`."""
    if not text.isdecimal() or not 0 < int(text) < 65_536:
        raise ValueError(f"{text[:64]!r} is no port")
    return int(text)


def parse_endpoint(text: str) -> Endpoint:
    """Return what is written as HOST, HOST:PORT or [IPV6]:PORT. Raises `ValueError`."""
    match = re.fullmatch(r"\[([0-9A-Fa-f:]+)\](?::([0-9]+))?|([^:\s]+)(?::([0-9]+))?", text)
    host, port = (match[1] or match[3], match[2] or match[4]) if match is not None else ("", None)
    if match is not None and match[1]:
        ipaddress.IPv6Address(host)
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{text[:64]!r} is no HOST, HOST:PORT or [IPV6]:PORT")
    return Endpoint(host, parse_port(port) if port is not None else DEFAULT_PORT)


def parse_key(text: str) -> str:
    """Return the base64 text of the RSA public key in PEM. Raises `ValueError` when there is none, or a short one."""
    match = _KEY.search(text)
    if match is None:
        raise ValueError("there is no RSA public key in it")
    key = re.sub(r"\s", "", match[1])
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error as exc:
        raise ValueError("its RSA public key is damaged") from exc
    if size * 8 < MIN_KEY_BITS:
        raise ValueError(f"its RSA public key has less than {MIN_KEY_BITS} bits")
    return key


def render_card(node: Node) -> str:
    """Return a node's card."""
    lines = [f"{_HEADER}{node.network}, node {node.name}"]
    if node.endpoint is not None:
        lines += [f"Address = {node.endpoint.host} {node.endpoint.port}", f"Port = {node.endpoint.port}"]
    lines += [
        f"Subnet = {node.address}/{node.address.max_prefixlen}",
        "Cipher = aes-256-cbc",
        "Digest = sha256",
        # the default is 4 bytes
        "MACLength = 16",
    ]
    if node.key:
        key = [node.key[start : start + 64] for start in range(0, len(node.key), 64)]
        lines += ["", "-----BEGIN RSA PUBLIC KEY-----", *key, "-----END RSA PUBLIC KEY-----"]
    return "\n".join(lines) + "\n"


def parse_card(text: str) -> Node:
    """Return the node of a card; nothing else that it says is taken over. Raises `ValueError` with what is wrong."""
    first, _, rest = text.partition("\n")
    match = re.fullmatch(rf"{re.escape(_HEADER)}(\S+), node (\S+)", first)
    if match is None:
        raise ValueError("it is no card of a private network (cellctl private-network init makes one)")
    try:
        network = ipaddress.ip_network(match[1])
    except ValueError as exc:
        raise ValueError(f"its network {match[1][:64]!r} is none") from exc
    values = dict(re.findall(r"^(Address|Subnet) = (.+)$", rest, re.MULTILINE))
    address_text, _, bits = values.get("Subnet", "").partition("/")
    try:
        address = ipaddress.ip_address(address_text)
    except ValueError as exc:
        raise ValueError("it names no address in the network") from exc
    parse_address(f"{address}/{network.prefixlen}")
    if address not in network or bits != str(address.max_prefixlen):
        raise ValueError(f"its address {values['Subnet'][:64]} is not one of {network}")
    endpoint = None
    if "Address" in values:
        host, _, port = values["Address"].partition(" ")
        endpoint = parse_endpoint(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
    return Node(name=parse_name(match[2]), address=address, network=network, endpoint=endpoint, key=parse_key(rest))


def check_join(own: Node, others: dict[str, Node], new: Node) -> None:
    """Raise `ValueError` when a node cannot be added to those that are known."""
    if new.network != own.network:
        raise ValueError(f"{new.name} is of the network {new.network}, this node of {own.network}")
    if new.name == own.name:
        raise ValueError(f"{new.name} is this node itself: cards are for the others")
    for known in (own, *others.values()):
        if known.name != new.name and known.address == new.address:
            raise ValueError(f"{new.name} and {known.name} have the same address {new.address}")
    if new.name not in others and len(others) + 1 >= MAX_NODES:
        raise ValueError(f"a private network has at most {MAX_NODES} nodes")


def render_tinc(own: Node, others: dict[str, Node], interface: str) -> str:
    """Return tinc.conf: connections go to every node that is reached from outside."""
    lines = [
        "# Made by cellctl private-network; see tinc.conf(5).",
        f"Name = {own.name}",
        f"Interface = {interface}",
        "Mode = router",
        # what a node says of addresses counts only as far as its card does
        "StrictSubnets = yes",
        "TunnelServer = yes",
        "PingInterval = 10",
        "PingTimeout = 5",
        "MaxTimeout = 10",
        *(f"ConnectTo = {node.name}" for node in others.values() if node.endpoint is not None),
    ]
    return "\n".join(lines) + "\n"


def parse_tinc(text: str) -> tuple[str, str]:
    """Return the names of the node and of its interface. Raises `ValueError`."""
    values = dict(re.findall(r"^(Name|Interface) = (\S+)$", text, re.MULTILINE))
    if values.keys() != {"Name", "Interface"}:
        raise ValueError("tinc.conf names no node or no interface")
    return parse_name(values["Name"]), parse_interface(values["Interface"])


def render_up(own: Node) -> str:
    """Return the script that tinc runs when its interface is there."""
    return (
        '#!/bin/sh\nset -e\nip link set dev "$INTERFACE" mtu 1400 up\n'
        f'ip address replace {own.address}/{own.network.prefixlen} dev "$INTERFACE"\n'
    )


def render_down() -> str:
    """Return the script that tinc runs before its interface goes."""
    return '#!/bin/sh\nip link set dev "$INTERFACE" down\n'


def render_firewall(own: Node, interface: str, ports: tuple[int, ...]) -> str:
    """Return rules of nftables: ``ports`` are reached through the tunnel alone, and nothing else is through it."""
    served = ", ".join(map(str, sorted(set(ports))))
    rules = [
        f'iifname "{interface}" ct state established,related accept',
        f'iifname "{interface}" meta l4proto {{ icmp, ipv6-icmp }} accept',
    ]
    if served:
        family = "ip6" if own.address.version == 6 else "ip"
        rules += [
            f'iifname "{interface}" {family} saddr {own.network} tcp dport {{ {served} }} accept',
            f'iifname != {{ "lo", "{interface}" }} tcp dport {{ {served} }} drop',
        ]
    rules.append(f'iifname "{interface}" drop')
    table = "table inet cell_private_network"
    lines = [
        "# Made by cellctl private-network; loaded by cell-private-network.service. Loading it again replaces it.",
        table,
        f"delete {table}",
        f"{table} {{",
        "    chain input {",
        "        type filter hook input priority filter; policy accept;",
        *(f"        {rule}" for rule in rules),
        "    }",
        "    chain forward {",
        "        type filter hook forward priority filter; policy accept;",
        f'        iifname "{interface}" drop',
        f'        oifname "{interface}" drop',
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"
