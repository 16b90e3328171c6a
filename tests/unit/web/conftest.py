from __future__ import annotations

import pytest

from tests.unit.web.fakes import World


@pytest.fixture
def world(monkeypatch):
    return World(monkeypatch)
