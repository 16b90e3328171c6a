"""Where results are kept: for how long, how many, and for which environment."""

from __future__ import annotations

import os

import attrs
import pytest

from appliance.config import Config, Environment, Results
from appliance.protocol.frames import checked_client_message
from appliance.web import results
from appliance.web.results import PAGE_BYTES, ResultStore

A, B, C, D = (letter * 64 for letter in "abcd")
DAY = 86_400.0


class Now:
    def __init__(self):
        self.seconds = 1_800_000_000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def now():
    return Now()


@pytest.fixture
def store(tmp_path, now):
    return ResultStore(tmp_path / "results", max_bytes=3 * PAGE_BYTES, keep_seconds=DAY, wall=now)


def test_a_result_is_found_by_every_process(tmp_path, store, now):
    assert store.find(A) is None
    assert store.keep(A, [b"one", b"two"])
    other = ResultStore(tmp_path / "results", max_bytes=3 * PAGE_BYTES, keep_seconds=DAY, wall=now)
    found = other.find(A)
    assert (found.texts, found.made) == ([b"one", b"two"], now.seconds)
    assert (tmp_path / "results").stat().st_mode & 0o777 == 0o700


def test_the_first_result_stays(store, now):
    store.keep(A, [b"first"])
    now.seconds += 5
    assert not store.keep(A, [b"second"])
    assert store.find(A).texts == [b"first"]


def test_a_result_ends_with_its_age_however_often_it_is_asked_for(store, now):
    store.keep(A, [b"x"])
    made = now.seconds
    for _ in range(4):
        now.seconds += DAY / 5
        assert store.find(A).made == made
    now.seconds = made + DAY + 1
    assert store.find(A) is None
    store.sweep()
    assert store.all() == []


def test_what_nobody_asked_for_lately_makes_room(store, now):
    for key in (A, B, C):
        store.keep(key, [b"x"])
        now.seconds += 1
    store.find(A)
    now.seconds += 1
    assert store.keep(D, [b"x"])
    assert {one.key for one in store.all()} == {A, C, D}


def test_a_result_larger_than_all_may_be_is_not_kept(store):
    assert not store.keep(A, [b"x" * (3 * PAGE_BYTES)])
    assert store.all() == []


def test_what_is_damaged_is_forgotten(tmp_path, store, now):
    store.keep(A, [b"x"])
    (tmp_path / "results" / A).write_bytes(b"\0\0")
    os.utime(tmp_path / "results" / A, (now.seconds, now.seconds))
    assert store.find(A) is None
    assert store.all() == []


def test_what_was_never_finished_is_removed_after_a_while(tmp_path, store, now):
    store.keep(A, [b"x"])
    left = tmp_path / "results" / f".new-{B}-{'0' * 32}"
    left.write_bytes(b"x")
    os.utime(left, (now.seconds, now.seconds))
    store.sweep()
    assert left.exists()
    now.seconds += results.SWEEP_SECONDS + 1
    store.sweep()
    assert not left.exists()
    assert [one.key for one in store.all()] == [A]


def test_all_is_cleared(store):
    assert store.clear() == 0
    store.keep(A, [b"x"])
    store.keep(B, [b"y"])
    assert store.clear() == 2
    assert store.find(A) is None


def test_a_directory_that_cannot_be_written_costs_no_answer(tmp_path, store):
    (tmp_path / "results").write_text("in the way")
    assert not store.keep(A, [b"x"])
    assert store.find(A) is None


# --- which environment


def request(code="1+1"):
    header = {"msg_id": "a", "msg_type": "execute_request"}
    return checked_client_message(header, [None, None, {"code": code}], "2026-01-01", ())


@pytest.fixture
def prefix(tmp_path):
    """An environment that is installed."""
    made = tmp_path / "environment"
    packages = made / "lib/python3.13/site-packages"
    packages.mkdir(parents=True)
    (made / "bin").mkdir()
    python = made / "bin/python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    os.utime(packages, (1, 1))
    return made


@pytest.fixture
def config(tmp_path, prefix):
    environment = {"python": Environment(python=str(prefix / "bin/python"))}
    return Config(runtime_dir=str(tmp_path), environment=environment)


def key_of(config, profile="default"):
    return results.Results(config, Now()).key(request(), "python", profile)


def test_the_same_environment_has_the_same_key(config):
    assert key_of(config) == key_of(config)


def test_another_version_of_the_environment_is_another_one(config, prefix):
    before = key_of(config)
    # as pip leaves it
    os.utime(prefix / "lib/python3.13/site-packages", (2, 2))
    installed = key_of(config)
    (prefix / "requirements.lock").write_text("numpy==2.0\n")
    locked = key_of(config)
    configured = attrs.evolve(
        config, environment={"python": attrs.evolve(config.environment["python"], variables=("A=1",))}
    )
    assert len({before, installed, locked, key_of(configured)}) == 4


def test_another_limit_of_the_profile_is_another_one(config):
    small = attrs.evolve(config, profile={"default": attrs.evolve(config.profile["default"], memory_bytes=1)})
    assert key_of(config) != key_of(small)


def test_hits_and_misses_are_counted(config):
    (config.runtime_path / "files").mkdir()
    kept = results.Results(config, Now())
    assert kept.find(A) is None
    kept.keep(A, [b"x"])
    kept.keep(A, [b"x"])
    assert kept.find(A) is not None
    assert (kept.hits, kept.misses, kept.kept) == (1, 1, 1)
    assert kept.sizes() == (1, PAGE_BYTES)


def test_without_results_nothing_is_looked_through(config, monkeypatch):
    kept = results.Results(attrs.evolve(config, results=Results(enabled=False)), Now())
    monkeypatch.setattr(ResultStore, "sweep", lambda _self: pytest.fail("looked"))
    kept.tick()
    assert not kept.enabled
