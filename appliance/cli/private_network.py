"""``cellctl private-network``: a tinc network between appliances and the database that they share."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import urllib.parse
from typing import TYPE_CHECKING, Any

import attrs

from appliance.errors import ConfigError
from appliance.protocol import private_network as network
from appliance.protocol.private_network import Node

if TYPE_CHECKING:
    import argparse

    from appliance.config import Config

DIRECTORY = pathlib.Path("/etc/cell-appliance/private-network")
UNIT = "cell-private-network.service"

#: The account of tincd, which may read the key.
GROUP = "cell-network"

DEFAULT_INTERFACE = "cell0"

#: Longest wait for a key, for another program, and for the database.
KEY_SECONDS = 120.0
PROGRAM_SECONDS = 10.0
CONNECT_SECONDS = 3.0

POSTGRES_PORT = 5432


def add_parser(commands: Any, config_option: Any) -> None:
    """Add the command and its verbs to cellctl's."""
    top = commands.add_parser(
        "private-network",
        help="join appliances and the database that they share by an encrypted network",
        description="Make the configuration of a private network of tinc between appliances and their database. Each "
        "node has a card, a file; nodes that hold each other's cards talk to each other.",
    )
    verbs = top.add_subparsers(dest="verb", metavar="VERB", required=True)

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        added.add_argument(
            "--directory",
            type=pathlib.Path,
            default=DIRECTORY,
            metavar="DIR",
            help=f"where the configuration is (default: {DIRECTORY})",
        )
        return added

    init = verb("init", "make this machine a node: its key, its card, tinc's configuration and the firewall's rules")
    init.add_argument("name", metavar="NAME", help="of the node, as db or web1")
    init.add_argument("address", metavar="ADDRESS/BITS", help="of the node in the network, as 10.87.0.1/24")
    init.add_argument(
        "--endpoint", metavar="HOST[:PORT]", help="where others reach it from outside; one of two nodes must have one"
    )
    init.add_argument(
        "--serve",
        action="append",
        default=[],
        metavar="PORT",
        help="a TCP port that is reached through the network and in no other way, as 5432; may be repeated",
    )
    init.add_argument("--interface", default=DEFAULT_INTERFACE, help=f"its interface (default: {DEFAULT_INTERFACE})")
    verb("join", "let other nodes in by their cards").add_argument(
        "cards", nargs="+", metavar="CARD", type=pathlib.Path
    )
    status = verb("status", "tell whether the network is up, who is in it, and whether the database answers through it")
    config_option(status)
    status.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _write(path: pathlib.Path, text: str, mode: int) -> None:
    """Put a file in place whole; as root, the group of tincd may read it."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.chmod(mode)
    _give(new)
    os.replace(new, path)


def _give(path: pathlib.Path) -> None:
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            os.chown(path, 0, grp.getgrnam(GROUP).gr_gid)


def _program(name: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise ConfigError(f"{name} is missing: install {package}")
    return found


def _make_key(directory: pathlib.Path) -> str:
    """Have tinc make a key; return the public one as base64 text. Raises `ConfigError`."""
    command = [_program("tincd", "tinc"), "-c", str(directory), f"-K{network.KEY_BITS}"]
    done = subprocess.run(  # noqa: S603 - a fixed program
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=KEY_SECONDS
    )
    try:
        name, _ = network.parse_tinc((directory / "tinc.conf").read_text("utf-8"))
        return network.parse_key((directory / "hosts" / name).read_text("utf-8"))
    except (OSError, ValueError) as exc:
        raise ConfigError(f"tincd made no key: {done.stderr.strip() or exc}") from exc


def init(arguments: argparse.Namespace) -> int:
    """Make a node."""
    directory: pathlib.Path = arguments.directory
    address, subnet = network.parse_address(arguments.address)
    endpoint = network.parse_endpoint(arguments.endpoint) if arguments.endpoint else None
    own = Node(name=network.parse_name(arguments.name), address=address, network=subnet, endpoint=endpoint)
    interface = network.parse_interface(arguments.interface)
    ports = tuple(network.parse_port(text) for text in arguments.serve)
    if (directory / "tinc.conf").exists():
        raise ConfigError(f"{directory} has a node already: move it away to make another")
    (directory / "hosts").mkdir(parents=True, exist_ok=True)
    for folder in (directory, directory / "hosts"):
        folder.chmod(0o750)
        _give(folder)
    try:
        # tinc wants to know its name before it makes a key, and appends the public one to the card
        _write(directory / "tinc.conf", network.render_tinc(own, {}, interface), 0o640)
        _write(directory / "hosts" / own.name, network.render_card(own), 0o640)
        own = attrs.evolve(own, key=_make_key(directory))
        (directory / "rsa_key.priv").chmod(0o640)
        _give(directory / "rsa_key.priv")
        card = directory / "hosts" / own.name
        _write(card, network.render_card(own), 0o640)
        _write(directory / "tinc-up", network.render_up(own), 0o750)
        _write(directory / "tinc-down", network.render_down(), 0o750)
        _write(directory / "firewall.nft", network.render_firewall(own, interface, ports), 0o640)
    except BaseException:
        (directory / "tinc.conf").unlink(missing_ok=True)  # half a node is none
        raise
    print(f"{own.name} is {address} in {subnet}. Its card: {card}")
    print("Give the card to the other nodes (cellctl private-network join CARD), join theirs here, and then:")
    print(f"systemctl enable --now {UNIT}")
    return 0


def _nodes(directory: pathlib.Path) -> tuple[Node, dict[str, Node], str]:
    """Return this node, the others, and the interface. Raises `ConfigError`."""
    try:
        name, interface = network.parse_tinc((directory / "tinc.conf").read_text("utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(f"there is no node in {directory}: cellctl private-network init makes one") from exc
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{directory / 'tinc.conf'}: {exc}") from exc
    found = {}
    for path in sorted((directory / "hosts").iterdir()):
        if not path.name.startswith("."):
            found[path.name] = _read_card(path)
    if name not in found:
        raise ConfigError(f"{directory / 'hosts'} has no card of this node, {name}")
    return found.pop(name), found, interface


def _read_card(path: pathlib.Path) -> Node:
    try:
        data = path.read_bytes()
        if len(data) > network.MAX_CARD_BYTES:
            raise ValueError(f"it is larger than {network.MAX_CARD_BYTES} bytes")
        return network.parse_card(data.decode())
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def join(arguments: argparse.Namespace) -> int:
    """Let other nodes in: all of those that are named, or none."""
    directory: pathlib.Path = arguments.directory
    own, others, interface = _nodes(directory)
    joined = []
    for path in arguments.cards:
        node = _read_card(path)
        try:
            network.check_join(own, others, node)
        except ValueError as exc:
            raise ConfigError(f"{path}: {exc}") from exc
        others[node.name] = node
        joined.append(node)
    for node in joined:
        _write(directory / "hosts" / node.name, network.render_card(node), 0o640)
    _write(directory / "tinc.conf", network.render_tinc(own, others, interface), 0o640)
    for node in joined:
        print(f"{node.name} is {node.address}")
    if not any(node.endpoint for node in (own, *others.values())):
        print("cellctl: no node has an --endpoint yet, so that none can be connected to", file=sys.stderr)
    if directory == DIRECTORY and os.path.isdir("/run/systemd/system"):
        subprocess.run(["/usr/bin/systemctl", "try-reload-or-restart", UNIT], check=False)  # noqa: S603 - a fixed program
    return 0


def _ip(*words: str) -> list[dict[str, Any]]:
    """Return what ip(8) says, nothing when it fails."""
    done = subprocess.run(  # noqa: S603 - a fixed program
        [_program("ip", "iproute2"), "-json", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=PROGRAM_SECONDS,
    )
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    except ValueError:
        return []
    return found if done.returncode == 0 else []


def _answers(host: str, port: int) -> str:
    """Return an empty text when something accepts connections, else why not."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as exc:
        return str(exc)
    return ""


def _database(config: Config) -> tuple[str, int] | None:
    """Return host and port of the permalink database where it is reached over a network."""
    if not config.database_url:
        return None
    try:
        parts = urllib.parse.urlsplit(config.database_url)
        return (parts.hostname, parts.port or POSTGRES_PORT) if parts.hostname else None
    except ValueError as exc:
        raise ConfigError(f"permalink.database: {exc}") from exc


def status(config: Config, arguments: argparse.Namespace) -> int:
    """Tell how the network is; return 0 when it is up and the database, if there is one, answers through it."""
    own, others, interface = _nodes(arguments.directory)
    addresses = [
        entry["local"] for link in _ip("address", "show", "dev", interface, "up") for entry in link.get("addr_info", [])
    ]
    up = str(own.address) in addresses
    nodes = [
        {
            "name": node.name,
            "address": str(node.address),
            "endpoint": f"{node.endpoint.host} {node.endpoint.port}" if node.endpoint else "",
            "through_tunnel": any(route.get("dev") == interface for route in _ip("route", "get", str(node.address))),
        }
        for node in others.values()
    ]
    document: dict[str, Any] = {
        "name": own.name,
        "address": str(own.address),
        "network": str(own.network),
        "interface": interface,
        "up": up,
        "nodes": nodes,
    }
    well = up
    database = _database(config)
    if database is not None:
        host, port = database
        inside = any(host == node["address"] and node["through_tunnel"] for node in nodes)
        trouble = _answers(host, port)
        document["database"] = {"host": host, "port": port, "through_tunnel": inside, "trouble": trouble}
        well = well and inside and not trouble
    if arguments.json:
        print(json.dumps(document))
    else:
        print("\n".join(_lines(document)))
    return 0 if well else 1


def _lines(document: dict[str, Any]) -> list[str]:
    state = "up" if document["up"] else f"down (systemctl status {UNIT})"
    lines = [f"{document['name']:<16} {document['address']:<24} {document['interface']} is {state}"]
    for node in document["nodes"]:
        way = "through the tunnel" if node["through_tunnel"] else "not through the tunnel"
        lines.append(f"{node['name']:<16} {node['address']:<24} {way}, {node['endpoint'] or 'connects to us'}")
    database = document.get("database")
    if database is not None:
        way = "through the tunnel" if database["through_tunnel"] else "NOT through the tunnel"
        answer = f"no answer: {database['trouble']}" if database["trouble"] else "answers"
        lines.append(f"{'database':<16} {database['host']}:{database['port']} {answer}, {way}")
    return lines


def run(config: Config | None, arguments: argparse.Namespace) -> int:
    """Run one verb; return the exit status. Raises `ConfigError`."""
    try:
        if arguments.verb == "init":
            return init(arguments)
        if arguments.verb == "join":
            return join(arguments)
        assert config is not None  # noqa: S101 - status has --config
        return status(config, arguments)
    except (OSError, ValueError, subprocess.TimeoutExpired) as exc:
        raise ConfigError(f"private-network: {exc}") from exc
