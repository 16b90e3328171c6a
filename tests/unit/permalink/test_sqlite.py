from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pysqlite3.dbapi2 as dbapi2
import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from appliance.errors import PermalinkRemoved, PermalinksFull, PermalinksUnavailable, UnknownPermalink
from appliance.permalink import database, sqlite, writer
from appliance.permalink.group import Beat, Put, commit_group
from appliance.permalink.sqlite import Limits, SQLiteStore
from appliance.protocol.permalink import SharedCell, candidate_ids, content_digest, digest

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Callable, Coroutine, Iterator

#: Longer than any commit takes; reached only by a store that is broken.
SECONDS = 30

#: Bytes that a database may have here.
ROOM = 10**9


class FakeReactor(Clock):
    """Takes the calls of the writer's thread; the test makes them when it wants the answers."""

    def __init__(self) -> None:
        super().__init__()
        self.from_threads: queue.Queue[Callable[[], object]] = queue.Queue()

    def callFromThread(self, call: Callable[..., object], *arguments: Any) -> None:  # noqa: N802
        self.from_threads.put(lambda: call(*arguments))

    def turn(self) -> None:
        self.advance(0)
        self.from_threads.get(timeout=SECONDS)()

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
    assert commit_group(connection, [Put(cell, 0), Put(cell, 1)], ROOM) == [digest(cell)[:20]] * 2
    connection.close()


def test_a_group_is_one_transaction(path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = database.open_writer(path)
    statements: list[str] = []
    connection.set_trace_callback(statements.append)
    answers = commit_group(connection, [Put(SharedCell(code=str(number)), 0) for number in range(50)] + [Beat()], ROOM)
    connection.set_trace_callback(None)
    assert len(set(answers)) == 51
    assert statements.count("COMMIT") == 1

    def fail(_self: Beat, _connection: object) -> int:
        raise dbapi2.OperationalError("broken")

    monkeypatch.setattr(Beat, "run", fail)
    with pytest.raises(dbapi2.OperationalError):
        commit_group(connection, [Put(SharedCell(code="lost"), 0), Beat()], ROOM)
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM permalink WHERE code = 'lost'").fetchone() == (0,)
    connection.close()


def test_writes_that_wait_for_a_commit_share_the_next(
    store: SQLiteStore, reactor: FakeReactor, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, proceed, groups = threading.Event(), threading.Event(), []

    def slow(connection: Any, writes: Any, room: int) -> list[Any]:
        groups.append(len(writes))
        entered.set()
        assert proceed.wait(SECONDS)
        return commit_group(connection, writes, room)

    monkeypatch.setattr(sqlite, "commit_group", slow)
    first = ensureDeferred(store.put(SharedCell(code="first")))
    reactor.advance(0)
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
    monkeypatch.setattr(writer, "MAX_QUEUED_WRITES", 3)

    def slow(connection: Any, writes: Any, room: int) -> list[Any]:
        entered.set()
        assert proceed.wait(SECONDS)
        return commit_group(connection, writes, room)

    monkeypatch.setattr(sqlite, "commit_group", slow)
    waiting = [ensureDeferred(store.put(SharedCell(code="being written")))]
    reactor.advance(0)
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


def test_a_cell_that_was_taken_down_is_gone_and_is_not_taken_again(
    store: SQLiteStore, reactor: FakeReactor, path: pathlib.Path
) -> None:
    cell = SharedCell(code="bad")
    permalink_id = reactor.result(store.put(cell))
    admin = database.open_writer(path)
    admin.execute("DELETE FROM permalink WHERE id = ?", (permalink_id,))
    admin.execute("INSERT INTO tombstone VALUES (?, ?, 0, 'r')", (permalink_id, content_digest(cell)))
    admin.close()
    with pytest.raises(PermalinkRemoved):
        reactor.result(store.get(permalink_id))
    both = [ensureDeferred(store.put(cell)), ensureDeferred(store.put(SharedCell(code="good")))]
    with pytest.raises(PermalinkRemoved):
        reactor.result(store.put(cell))
    assert both[0].result.check(PermalinkRemoved)
    both[0].addErrback(lambda _: None)
    assert both[1].result


def test_an_id_of_something_taken_down_is_not_given_to_another_cell(path: pathlib.Path) -> None:
    connection = database.open_writer(path)
    cell = SharedCell(code="mine")
    connection.execute("INSERT INTO tombstone VALUES (?, x'', 0, '')", (next(candidate_ids(cell)),))
    assert commit_group(connection, [Put(cell, 0)], ROOM) == [digest(cell)[:16]]
    connection.close()


def test_beyond_the_largest_size_what_is_there_is_still_served(path: pathlib.Path, reactor: FakeReactor) -> None:
    store = SQLiteStore(path, reactor, Limits(max_bytes=100_000))
    kept = reactor.result(store.put(SharedCell(code="kept")))
    answers = [ensureDeferred(store.put(SharedCell(code=f"{number:02}" * 1000))) for number in range(100)]
    with pytest.raises(PermalinksFull):
        reactor.result(store.put(SharedCell(code="one too many")))
    for answer in answers:
        answer.addErrback(lambda failure: failure.trap(PermalinksFull) and None)
    assert reactor.result(store.put(SharedCell(code="kept"))) == kept
    assert reactor.result(store.get(kept)).code == "kept"
    reactor.result(store.check())
    reactor.result(store.close())
    assert path.stat().st_size < 300_000


def test_reads_are_counted_in_batches_apart_from_the_content(
    store: SQLiteStore, reactor: FakeReactor, path: pathlib.Path
) -> None:
    first, second = (reactor.result(store.put(SharedCell(code=code))) for code in "ab")
    for permalink_id in (first, second, first):
        reactor.result(store.get(permalink_id))
    rows = database.open_reader(path)
    assert rows.execute("SELECT * FROM access").fetchall() == []
    reactor.advance(10)
    reactor.turn()
    reactor.result(store.get(first))
    reactor.advance(10)
    reactor.turn()
    assert rows.execute("SELECT id, reads, last_read FROM access ORDER BY reads").fetchall() == [
        (second, 1, 1_800_000_000),
        (first, 3, 1_800_000_000),
    ]
    rows.close()


def test_the_last_reads_are_counted_at_the_end(path: pathlib.Path, reactor: FakeReactor) -> None:
    store = SQLiteStore(path, reactor)
    reactor.result(store.get(reactor.result(store.put(SharedCell(code="a")))))
    reactor.result(store.close())
    rows = database.open_reader(path)
    assert rows.execute("SELECT reads FROM access").fetchall() == [(1,)]
    rows.close()


DAY = 86_400


class World:
    """A store whose links expire after ten days, with a clock for each kind of time."""

    def __init__(self, path: pathlib.Path) -> None:
        self.reactor = FakeReactor()
        self.offset = 1_800_000_000.0
        self.store = SQLiteStore(
            path, self.reactor, Limits(expire_unread_days=10), now=lambda: self.offset + self.reactor.seconds()
        )
        self.rows = database.open_reader(path)

    def put(self, code: str) -> str:
        permalink_id: str = self.reactor.result(self.store.put(SharedCell(code=code)))
        return permalink_id

    def days(self, number: float) -> None:
        """Let time pass, with a link a day so that the store is in use."""
        for day in range(int(number)):
            for part, seconds in enumerate((DAY, 2, 2)):
                self.reactor.advance(seconds)
                # its answer comes after those of what the upkeep has written
                self.put(f"day {self.reactor.seconds()} {day} {part}")

    def codes(self) -> set[str]:
        return {row[0] for row in self.rows.execute("SELECT code FROM permalink WHERE code NOT LIKE 'day %'")}

    def close(self) -> None:
        self.rows.close()
        self.reactor.result(self.store.close())


def test_a_link_that_nobody_read_expires_and_one_that_was_read_stays(path: pathlib.Path) -> None:
    world = World(path)
    world.put("never read")
    world.reactor.result(world.store.get(world.put("read")))
    world.days(8)
    assert world.codes() == {"never read", "read"}
    world.days(6)
    assert world.codes() == {"read"}
    world.close()


def test_nothing_expires_when_the_clock_was_set(path: pathlib.Path) -> None:
    world = World(path)
    world.put("never read")
    world.offset += 365 * DAY
    world.days(3)
    assert world.codes() == {"never read"}
    world.close()
    world = World(path)
    world.offset += 365 * DAY
    world.close()


def test_damage_ends_writing_and_health_and_not_reading(path: pathlib.Path, reactor: FakeReactor) -> None:
    connection = database.open_writer(path)
    ids = commit_group(connection, [Put(SharedCell(code=str(number) * 3000), 0) for number in range(100)], ROOM)
    connection.close()
    data = bytearray(path.read_bytes())
    data[-4096:] = b"\xff" * 4096
    path.write_bytes(data)
    store = SQLiteStore(path, reactor)
    reactor.turn()  # what the check has found
    with pytest.raises(PermalinksUnavailable, match="damaged"):
        reactor.result(store.put(SharedCell(code="x")))
    with pytest.raises(PermalinksUnavailable, match="damaged"):
        reactor.result(store.check())
    assert reactor.result(store.get(ids[0])).code == "0" * 3000
    reactor.result(store.close())
