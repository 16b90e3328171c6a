from __future__ import annotations

import base64

import attrs
import pytest

from appliance.protocol import private_network as network
from appliance.protocol.private_network import Endpoint, Node

KEY = base64.b64encode(b"\x30" + b"k" * 525).decode()


def node(name: str, address: str, endpoint: str = "") -> Node:
    own, subnet = network.parse_address(address)
    where = network.parse_endpoint(endpoint) if endpoint else None
    return Node(name=name, address=own, network=subnet, endpoint=where, key=KEY)


DATABASE = node("db", "10.87.0.1/24", "db.example.edu:700")
WEB = node("web1", "10.87.0.2/24")


@pytest.mark.parametrize("made", [DATABASE, WEB, node("a", "fd00::5/64", "[2001:db8::1]:655")])
def test_a_card_comes_back(made: Node) -> None:
    assert network.parse_card(network.render_card(made)) == made


def test_a_card_is_what_tinc_reads() -> None:
    lines = network.render_card(DATABASE).splitlines()
    assert "Address = db.example.edu 700" in lines
    assert "Subnet = 10.87.0.1/32" in lines
    assert "MACLength = 16" in lines
    assert lines[-1] == "-----END RSA PUBLIC KEY-----"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("# Cell", "# Sell", "no card"),
        ("node web1", "node ../x", "no name of a node"),
        ("node web1", "node WEB", "no name of a node"),
        ("10.87.0.0/24", "10.88.0.0/24", "not one of 10.88.0.0/24"),
        ("network 10.87.0.0/24", "network nonsense", "is none"),
        ("Subnet = 10.87.0.2/32", "Subnet = 10.87.0.0/24", "names the network"),
        ("Subnet = 10.87.0.2/32", "Subnet = 10.87.0.2/24", "not one of"),
        ("Subnet = 10.87.0.2/32", "Subnet = 10.99.0.1/0", "not one of"),
        ("Subnet = 10.87.0.2/32", "", "no address"),
        ("Subnet = 10.87.0.2/32", "Subnet = 10.87.0.2/32\nAddress = a;b 5", "no HOST"),
        ("Subnet = 10.87.0.2/32", "Subnet = 10.87.0.2/32\nAddress = a.example 99999", "no port"),
        ("BEGIN RSA PUBLIC KEY", "BEGIN PUBLIC KEY", "no RSA public key"),
        (KEY[:64], "*" * 64, "no RSA public key"),
        (KEY[:64], "A" * 63, "damaged"),
    ],
)
def test_a_card_that_is_wrong_says_how(old: str, new: str, reason: str) -> None:
    card = network.render_card(WEB)
    assert old in card
    with pytest.raises(ValueError, match=reason):
        network.parse_card(card.replace(old, new))


def test_a_short_key_is_refused() -> None:
    card = network.render_card(attrs.evolve(WEB, key=base64.b64encode(b"k" * 140).decode()))
    with pytest.raises(ValueError, match="less than 2048 bits"):
        network.parse_card(card)


def test_what_a_card_says_besides_is_not_taken_over() -> None:
    assert network.render_card(network.parse_card(network.render_card(WEB) + "Script = x\n")) == network.render_card(
        WEB
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.87.0.1", "private addresses"),
        ("8.8.8.8/24", "private addresses"),
        ("10.87.0.0/24", "names the network"),
        ("10.87.0.255/24", "names the network"),
        ("ten", "no ADDRESS/BITS"),
    ],
)
def test_addresses_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        network.parse_address(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("db.example.edu", Endpoint("db.example.edu", 655)),
        ("192.0.2.1:700", Endpoint("192.0.2.1", 700)),
        ("[2001:db8::1]", Endpoint("2001:db8::1", 655)),
    ],
)
def test_endpoints(text: str, found: Endpoint) -> None:
    assert network.parse_endpoint(text) == found


@pytest.mark.parametrize("text", ["", "a b", "a:0", "a:70000", "a:b", "-a", "[x]", "2001:db8::1", "a\nPort = 1"])
def test_endpoints_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        network.parse_endpoint(text)


@pytest.mark.parametrize("text", ["", "A", "a" * 33, "a-b", "a/b", "a\n"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="no name of a node"):
        network.parse_name(text)


@pytest.mark.parametrize("text", ["", "0a", "a" * 16, 'a"', "lo\n"])
def test_interfaces_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="no name of an interface"):
        network.parse_interface(text)


def test_tinc_connects_to_whoever_can_be_reached() -> None:
    text = network.render_tinc(WEB, {"db": DATABASE, "web2": node("web2", "10.87.0.3/24")}, "cell0")
    assert "ConnectTo = db" in text.splitlines()
    assert "web2" not in text
    assert "StrictSubnets = yes" in text
    assert network.parse_tinc(text) == ("web1", "cell0")
    with pytest.raises(ValueError, match="no node"):
        network.parse_tinc("Name = a\n")


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (node("x", "10.99.0.5/24"), "of the network 10.99.0.0/24"),
        (node("web1", "10.87.0.5/24"), "this node itself"),
        (node("x", "10.87.0.2/24"), "same address"),
        (node("x", "10.87.0.1/24"), "same address"),
    ],
)
def test_nodes_that_cannot_join(new: Node, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        network.check_join(WEB, {"db": DATABASE}, new)


def test_a_node_may_join_again_and_nodes_are_bounded() -> None:
    network.check_join(WEB, {"db": DATABASE}, node("db", "10.87.0.7/24"))
    others = {f"n{number}": node(f"n{number}", f"10.87.0.{number}/24") for number in range(10, 9 + network.MAX_NODES)}
    with pytest.raises(ValueError, match="at most 64 nodes"):
        network.check_join(WEB, others, node("x", "10.87.0.200/24"))


def test_the_firewall_opens_what_is_served_inside_alone() -> None:
    rules = network.render_firewall(DATABASE, "cell0", (5432, 5432)).splitlines()
    rules = [rule.strip() for rule in rules]
    accepted = rules.index('iifname "cell0" ip saddr 10.87.0.0/24 tcp dport { 5432 } accept')
    dropped = rules.index('iifname != { "lo", "cell0" } tcp dport { 5432 } drop')
    assert accepted < dropped < rules.index('iifname "cell0" drop')
    assert not [rule for rule in network.render_firewall(WEB, "cell0", ()).splitlines() if "dport" in rule]
    assert "ip6 saddr fd00::/64" in network.render_firewall(node("a", "fd00::5/64"), "cell0", (1,))
