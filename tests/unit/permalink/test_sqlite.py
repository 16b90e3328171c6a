from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as dbapi2
import pytest
from twisted.internet.defer import ensureDeferred
from twisted.python.failure import Failure

from appliance.errors import PermalinksUnavailable, UnknownPermalink
from appliance.permalink import database, sqlite
from appliance.permalink.sqlite import Beat, Put, SQLiteStore, commit_group
from appliance.protocol.permalink import SharedCell, candidate_ids, digest

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Coroutine, Iterator

#: Longer than any commit takes; reached only by a store that is broken.
SECONDS = 30


class FakeReactor:
    """Takes the calls of the writer's thread; the test makes them when it wants the answers."""

    def __init__(self) -> None:
        self.calls: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:  # noqa: N802
        self.calls.put(lambda: call(*arguments))

    def turn(self) -> None:
        self.calls.get(timeout=SECONDS)()

    def result(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        results: list[Any] = []
        ensureDeferred(coroutine).addBoth(results.append)
        while not results:
            self.turn()
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "p.sqlite3"


@pytest.fixture
def reactor() -> FakeReactor:
    return FakeReactor()


@pytest.fixture
def store(path: pathlib.Path, reactor: FakeReactor) -> Iterator[SQLiteStore]:
    opened = SQLiteStore(path, reactor, now=lambda: 1_800_000_000.9)
    yield opened
    reactor.result(opened.close())


@pytest.mark.parametrize("code", ["", "1+1\n", " indented", "\x00 nul\x00", "π 🙂\r\n", "'; DROP TABLE permalink; --"])
def test_a_cell_comes_back_byte_for_byte(store: SQLiteStore, reactor: FakeReactor, code: str) -> None:
    cell = SharedCell(code=code, language="python", interacts='[{"x": 1}]')
    permalink_id = reactor.result(store.put(cell))
    assert permalink_id == next(candidate_ids(cell))
    assert reactor.result(store.get(permalink_id)) == cell


def test_the_same_cell_has_the_same_id_and_one_row(
    store: SQLiteStore, reactor: FakeReactor, path: pathlib.Path
) -> None:
    cell = SharedCell(code="x")
    assert reactor.result(store.put(cell)) == reactor.result(store.put(cell))
    rows = database.open_reader(path)
    assert rows.execute("SELECT count(*), min(created) FROM permalink").fetchone() == (1, 1_800_000_000)
    rows.close()


def test_an_answer_means_that_another_connection_sees_it(
    store: SQLiteStore, reactor: FakeReactor, path: pathlib.Path
) -> None:
    permalink_id = reactor.result(store.put(SharedCell(code="kept")))
    other = database.open_reader(path)
    assert other.execute("SELECT code FROM permalink WHERE id = ?", (permalink_id,)).fetchone() == ("kept",)
    other.close()


@pytest.mark.parametrize("permalink_id", ["", "unknown", "x" * 65, "a\x00b", "%"])
def test_an_unknown_id(store: SQLiteStore, reactor: FakeReactor, permalink_id: str) -> None:
    with pytest.raises(UnknownPermalink):
        reactor.result(store.get(permalink_id))


def test_the_canary_is_written_and_read(store: SQLiteStore, reactor: FakeReactor, path: pathlib.Path) -> None:
    reactor.result(store.check())
    reactor.result(store.check())
    rows = database.open_reader(path)
    assert rows.execute("SELECT beat FROM canary").fetchone() == (2,)
    rows.close()


def test_a_collision_gets_a_longer_id(path: pathlib.Path) -> None:
    connection = database.open_writer(path)
    cell, taken = SharedCell(code="mine"), SharedCell(code="other")
    for permalink_id in list(candidate_ids(cell))[:2]:
        connection.execute(
            "INSERT INTO permalink VALUES (?, ?, ?, ?, 0)", (permalink_id, taken.code, taken.language, taken.interacts)
        )
    assert commit_group(connection, [Put(cell, 0), Put(cell, 1)]) == [digest(cell)[:20]] * 2
    connection.close()


def test_a_group_is_one_transaction(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = database.open_writer(path)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    answers = commit_group(connection, [Put(SharedCell(code=str(number)), 0) for number in range(50)] + [Beat()])
    connection.set_trace_callback(None)
    assert len(set(answers)) == 51
    assert statements.count("COMMIT") == 1

    def fail(_self: Beat, _connection: object) -> int:
        raise dbapi2.OperationalError("broken")

    monkeypatch.setattr(Beat, "run", fail)
    with pytest.raises(dbapi2.OperationalError):
        commit_group(connection, [Put(SharedCell(code="lost"), 0), Beat()])
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM permalink WHERE code = 'lost'").fetchone() == (0,)
    connection.close()


def test_writes_that_wait_for_a_commit_share_the_next(
    store: SQLiteStore, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, proceed, groups = threading.Event(), threading.Event(), []

    def slow(connection: Any, writes: Any) -> list[Any]:
        groups.append(len(writes))
        entered.set()
        assert proceed.wait(SECONDS)
        return commit_group(connection, writes)

    monkeypatch.setattr(sqlite, "commit_group", slow)
    first = ensureDeferred(store.put(SharedCell(code="first")))
    assert entered.wait(SECONDS)
    others = [ensureDeferred(store.put(SharedCell(code=str(number)))) for number in range(20)]
    proceed.set()
    reactor.turn()
    assert first.called
    assert not any(other.called for other in others)
    reactor.turn()
    assert all(other.called for other in others)
    assert groups == [1, 20]


def test_a_full_queue_refuses_and_forgets_nothing(
    store: SQLiteStore, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, proceed = threading.Event(), threading.Event()
    monkeypatch.setattr(sqlite, "MAX_QUEUED_WRITES", 2)

    def slow(connection: Any, writes: Any) -> list[Any]:
        entered.set()
        assert proceed.wait(SECONDS)
        return commit_group(connection, writes)

    monkeypatch.setattr(sqlite, "commit_group", slow)
    waiting = [ensureDeferred(store.put(SharedCell(code="being written")))]
    assert entered.wait(SECONDS)
    waiting += [ensureDeferred(store.put(SharedCell(code=str(number)))) for number in range(2)]
    with pytest.raises(PermalinksUnavailable, match="Too many"):
        reactor.result(store.put(SharedCell(code="one too many")))
    proceed.set()
    while not all(deferred.called for deferred in waiting):
        reactor.turn()


def test_close_commits_what_was_accepted(path: pathlib.Path, reactor: FakeReactor) -> None:
    store = SQLiteStore(path, reactor)
    waiting = ensureDeferred(store.put(SharedCell(code="last")))
    assert store.alive()
    reactor.result(store.close())
    assert waiting.called
    assert not store.alive()
    with pytest.raises(PermalinksUnavailable, match="shutting down"):
        reactor.result(store.put(SharedCell(code="later")))
    connection = database.open_writer(path)
    assert connection.execute("SELECT code FROM permalink").fetchall() == [("last",)]
    connection.close()


def test_a_client_that_went_away_does_not_disturb_the_group(store: SQLiteStore, reactor: FakeReactor) -> None:
    gone = ensureDeferred(store.put(SharedCell(code="gone")))
    gone.addErrback(lambda _: None)
    gone.cancel()
    assert reactor.result(store.put(SharedCell(code="stays")))


def test_a_locked_database_is_an_error_for_each_waiter_and_heals(
    store: SQLiteStore, reactor: FakeReactor, path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store._writer.execute("PRAGMA busy_timeout = 0")
    blocker = database.open_writer(path)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(PermalinksUnavailable, match="locked by another program"):
        reactor.result(store.put(SharedCell(code="x")))
    blocker.execute("ROLLBACK")
    blocker.close()
    assert reactor.result(store.put(SharedCell(code="x")))


def test_a_full_database_says_so_and_reads_go_on(store: SQLiteStore, reactor: FakeReactor) -> None:
    kept = reactor.result(store.put(SharedCell(code="kept")))
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(PermalinksUnavailable, match="is full"):
        reactor.result(store.put(SharedCell(code="x" * 60_000)))
    assert reactor.result(store.get(kept)).code == "kept"


def test_unknown_database_errors_are_bland() -> None:
    assert sqlite.unavailable(dbapi2.OperationalError("secret path")).message == PermalinksUnavailable.sentence()
