"""What every permalink store must do, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import hashlib
import json
import signal
from typing import TYPE_CHECKING, Any

import pytest
from twisted.internet.defer import ensureDeferred

from appliance.errors import PermalinkRemoved, PermalinksFull, UnknownPermalink
from appliance.permalink.archive import Added, Record, SQLiteArchive, Tombstone
from appliance.permalink.sqlite import SQLiteStore
from appliance.permalink.store import Limits
from appliance.protocol.permalink import SharedCell, candidate_ids, content_digest, digest
from tests.integration.postgres_server import INITDB, POSTGRES, PostgresServer
from tests.integration.running import run_cellctl, wait_for
from tests.integration.test_permalink import Role
from tests.unit.permalink.test_sqlite import FakeReactor

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterator

needs_postgres = pytest.mark.skipif(POSTGRES is None or INITDB is None, reason="PostgreSQL is not installed")

DAY = 86_400


class Threads:
    """Runs at once what others would run in a thread."""

    def callInThreadWithCallback(self, done: Any, work: Any, *arguments: Any, **named: Any) -> None:  # noqa: N802
        from twisted.python.failure import Failure

        try:
            result = work(*arguments, **named)
        except Exception:  # noqa: BLE001 - as Twisted does
            done(False, Failure())
        else:
            done(True, result)


class Reactor(FakeReactor):
    def getThreadPool(self) -> Threads:  # noqa: N802
        return Threads()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    made = PostgresServer()
    made.start()
    yield made
    made.remove()


class Engine:
    """One database: its store and its archive."""

    def __init__(self, place: Any) -> None:
        self.place = place
        self.reactor = Reactor()
        self.opened: list[Any] = []

    @property
    def shared(self) -> bool:
        return isinstance(self.place, str)

    def store(self, limits: Limits | None = None, now: Any = lambda: 1_800_000_000.0) -> Any:
        if self.shared:
            from appliance.permalink.postgres import PostgresStore

            store: Any = PostgresStore(self.place, self.reactor, limits, now)
        else:
            store = SQLiteStore(self.place, self.reactor, limits, now)
        self.opened.append(store)
        return store

    def archive(self) -> Any:
        if self.shared:
            from appliance.permalink.postgres_archive import PostgresArchive

            return PostgresArchive(self.place)
        return SQLiteArchive(self.place)

    def add(self, *items: Any) -> Added:
        archive, added = self.archive(), Added()
        archive.add(items, added)
        archive.close()
        return added

    def items(self) -> list[Any]:
        archive = self.archive()
        found = list(archive.items())
        archive.close()
        return found

    def result(self, coroutine: Any) -> Any:
        return self.reactor.result(coroutine)

    def close(self) -> None:
        for store in self.opened:
            self.result(store.close())


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def engine(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        made = Engine(tmp_path / "p.sqlite3")
    else:
        import psycopg

        url = request.getfixturevalue("server").url
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS permalink, access, tombstone, canary, cell_schema")
        made = Engine(url)
    yield made
    made.close()


@pytest.mark.parametrize("code", ["", "1+1\n", "\x00 nul\x00", "π 🙂\r\n", "'; DROP TABLE permalink; --"])
def test_a_cell_comes_back_byte_for_byte_under_the_id_of_its_content(engine: Engine, code: str) -> None:
    store = engine.store()
    cell = SharedCell(code=code, language="python", interacts='[{"x": 1}]')
    first, again = engine.result(store.put(cell)), engine.result(store.put(cell))
    assert first == again == next(candidate_ids(cell))
    assert engine.result(store.get(first)) == cell
    assert [item.created for item in engine.items()] == [1_800_000_000]


@pytest.mark.parametrize("permalink_id", ["", "unknown", "x" * 65, "a\x00b", "%"])
def test_an_unknown_id(engine: Engine, permalink_id: str) -> None:
    with pytest.raises(UnknownPermalink):
        engine.result(engine.store().get(permalink_id))


def test_many_writes_share_commits_and_each_has_its_answer(engine: Engine) -> None:
    store = engine.store()
    waiting = [ensureDeferred(store.put(SharedCell(code=str(number % 150)))) for number in range(300)]
    while not all(one.called for one in waiting):
        engine.reactor.turn()
    assert [one.result for one in waiting] == [
        next(candidate_ids(SharedCell(code=str(number % 150)))) for number in range(300)
    ]
    assert len(engine.items()) == 150


def test_a_collision_gets_a_longer_id_and_keeps_it(engine: Engine) -> None:
    cell = SharedCell(code="mine")
    for permalink_id in list(candidate_ids(cell))[:2]:
        engine.add(Record(permalink_id, SharedCell(code="other"), 0))
    store = engine.store()
    both = [ensureDeferred(store.put(cell)) for _ in range(2)]
    assert engine.result(store.put(cell)) == digest(cell)[:20]
    assert [one.result for one in both] == [digest(cell)[:20]] * 2


def test_a_takedown_is_for_good(engine: Engine) -> None:
    store = engine.store()
    cell = SharedCell(code="bad")
    permalink_id = engine.result(store.put(cell))
    engine.add(Record("old-id", cell, 1))
    archive = engine.archive()
    assert archive.takedown("old-id", "reason", 7) == sorted([permalink_id, "old-id"])
    archive.close()
    for one in (permalink_id, "old-id"):
        with pytest.raises(PermalinkRemoved):
            engine.result(store.get(one))
    with pytest.raises(PermalinkRemoved):
        engine.result(store.put(cell))
    assert engine.items()[0] == Tombstone(min(permalink_id, "old-id"), content_digest(cell), 7, "reason")
    assert engine.add(Record("old-id", cell, 1)).removed == 1


def test_beyond_the_largest_size_what_is_there_is_still_served(engine: Engine) -> None:
    kept = engine.result(engine.store().put(SharedCell(code="kept")))
    store = engine.store(Limits(max_bytes=1))
    with pytest.raises(PermalinksFull):
        engine.result(store.put(SharedCell(code="one more")))
    assert engine.result(store.put(SharedCell(code="kept"))) == kept
    assert engine.result(store.get(kept)).code == "kept"
    engine.result(store.check())
    assert store.figures()["database_limit_bytes"] == 1


def test_reads_are_counted_in_batches(engine: Engine) -> None:
    store = engine.store()
    first, second = (engine.result(store.put(SharedCell(code=code))) for code in "ab")
    for permalink_id in (first, second, first):
        engine.result(store.get(permalink_id))
    engine.reactor.advance(10)
    engine.result(store.check())  # after the batch
    engine.result(store.get(first))
    engine.reactor.advance(10)
    engine.result(store.check())
    assert {item.id: item.reads for item in engine.items()} == {first: 3, second: 1}


def test_links_that_nobody_read_expire(engine: Engine) -> None:
    old = 1_800_000_000 - 100 * DAY
    engine.add(Record("never", SharedCell(code="1"), old), Record("read", SharedCell(code="2"), old, 1, old))
    engine.add(Record("new", SharedCell(code="3"), 1_800_000_000))
    store = engine.store(Limits(expire_unread_days=50), now=lambda: 1_800_000_000.0 + engine.reactor.seconds())
    engine.reactor.advance(1)
    engine.result(store.check())
    assert [item.id for item in engine.items()] == ["new", "read"]


def test_what_is_there_is_never_changed_by_an_import(engine: Engine) -> None:
    cell = SharedCell(code="1\x00")
    records = [Record("b", cell, 5, 2, 9), Record("a-0", SharedCell(code=""), 7), Record("Z", cell, 1)]
    assert engine.add(*records).added == 3
    grave = Tombstone("q", b"\x01", 5, "\x00")
    added = engine.add(Record("b", cell, 6, 1, 10), Record("b", SharedCell(code="x"), 5), grave)
    assert (added.added, added.present, added.conflicts) == (1, 1, ["b"])
    assert engine.items() == [records[2], records[1], Record("b", cell, 5, 2, 10), grave]
    archive = engine.archive()
    stats = archive.stats()
    assert (stats.permalinks, stats.tombstones, stats.reads, stats.never_read) == (3, 1, 2, 2)
    assert archive.check() == []
    archive.close()


@needs_postgres
def test_migrating_there_and_back_gives_the_same_dump(server: PostgresServer, tmp_path: pathlib.Path) -> None:
    import psycopg

    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS permalink, access, tombstone, canary, cell_schema")
    first, last = tmp_path / "first.sqlite3", tmp_path / "last.sqlite3"
    cells = [SharedCell(code=f"{number}\x00π", interacts=f"[{number}]") for number in range(2500)]
    records = [Record(next(candidate_ids(cell)), cell, number, number % 3, number) for number, cell in enumerate(cells)]
    Engine(first).add(*records, Tombstone("gone", b"\x01", 1, "r"))

    def cellctl(database: object, *arguments: str) -> str:
        config = tmp_path / "c.toml"
        config.write_text(f'state_dir = "{tmp_path}"\n[permalink]\ndatabase = "{database}"\n')
        done = run_cellctl("permalinks", arguments[0], "--config", str(config), *arguments[1:])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dump(database: object) -> str:
        return hashlib.sha256(cellctl(database, "export", "-").encode()).hexdigest()

    assert cellctl(first, "migrate", server.url).startswith("2,501 copied")
    assert cellctl(server.url, "migrate", str(last)).startswith("2,501 copied")
    assert dump(first) == dump(server.url) == dump(last)
    assert json.loads(cellctl(server.url, "stats", "--json"))["permalinks"] == 2500


@needs_postgres
def test_a_server_that_goes_and_comes_back_loses_nothing_that_was_acknowledged(server: PostgresServer) -> None:
    role = Role()
    role.config.write_text(role.config.read_text() + f'[permalink]\ndatabase = "{server.url}"\n')
    try:
        role.start()
        acknowledged = {}
        for number in range(50):
            status, answer = role.request("POST", "/permalinks", {"code": f"before {number}"})
            assert status == 200
            acknowledged[answer["id"]] = f"before {number}"
        server.stop(signal.SIGQUIT)
        status, refusal = role.request("POST", "/permalinks", {"code": "while away"})
        assert (status, refusal["error"]) == (503, "permalinks_unavailable")
        status, refusal = role.request("GET", f"/permalinks/{next(iter(acknowledged))}")
        assert (status, refusal["error"]) == (503, "permalinks_unavailable")
        server.start()
        wait_for("permalinks are back", lambda: role.healthy(), 30)
        status, answer = role.request("POST", "/permalinks", {"code": "after"})
        assert status == 200
        acknowledged[answer["id"]] = "after"
        for permalink_id, code in acknowledged.items():
            assert role.request("GET", f"/permalinks/{permalink_id}")[1]["code"] == code
        assert role.stop() == 0
    finally:
        role.close()
        if server.process is None:
            server.start()
