"""The description of the addresses: complete, and sound."""

from __future__ import annotations

import json
import re

import pytest
from twisted.internet.testing import MemoryReactorClock

from appliance.config import Config, Users
from appliance.web import kernels
from appliance.web.openapi import document, operations
from appliance.web.operations import OPERATIONS, SCHEMAS
from appliance.web.service import make_service
from tests.unit.web.fakes import FakeSockets
from tests.unit.web.serving import ask


@pytest.fixture
def routes(monkeypatch):
    monkeypatch.setattr(kernels, "Sockets", FakeSockets)
    return make_service(Config(users=Users(pool="123", permalink="123", web="123")), MemoryReactorClock()).router.routes


def test_every_operation_is_described_and_nothing_else(routes):
    assert {f"{method} {address}" for address, method, _, _ in operations(routes)} == set(OPERATIONS)


def test_addresses_are_templates(routes):
    for address, _, route, _ in operations(routes):
        assert re.fullmatch(r"(/[\w.{}]*)+", address), address
        names = set(re.findall(r"\{(\w+)\}", address))
        assert names == set(route.pattern.groupindex)


def test_every_operation_says_what_it_does_and_names_its_parameters(routes):
    for address, methods in document(routes)["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith("."), (method, address)
            named = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
            assert named == set(re.findall(r"\{(\w+)\}", address))


def test_references_lead_somewhere(routes):
    text = json.dumps(document(routes))
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == set(SCHEMAS)


def test_it_is_served(routes):
    answer = ask([route for route in routes if route.pattern.pattern == r"/openapi\.json"], "GET", "/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert json.loads(answer.body) == json.loads(json.dumps(document(routes)))
