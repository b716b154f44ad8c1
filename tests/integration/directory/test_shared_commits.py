"""Brief writers who wait for one another on SQLite share a commit; what one gives up is given up alone."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import make_url, text

from services.directory.store import turns
from services.directory.store.session import Store, TenantLockedError
from tests.stack.databases import Databases
from tests.stack.waiting import wait_until

PEOPLE = 6


@pytest.fixture(scope="module")
def database_url(databases: Databases) -> str:
    return databases.make("sqlite")


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = Store(database_url)
    with opened.write(None) as session:
        session.connection().execute(text("DELETE FROM id_counters WHERE name LIKE 'test%'"))
    yield opened
    opened.close()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A number for each commit of the shared connection."""
    counted: list[int] = []
    commit_all = turns.SharedConnection.commit_all

    def count(connection: turns.SharedConnection) -> None:
        counted.append(1)
        commit_all(connection)

    monkeypatch.setattr(turns.SharedConnection, "commit_all", count)
    monkeypatch.setattr(turns, "LONGEST_TOGETHER_S", 60)
    return counted


def write(store: Store, number: int, then: Callable[[], object] = lambda: None) -> None:
    with store.write(None, is_brief=True, wait_s=30) as session:
        session.connection().execute(text("INSERT INTO id_counters VALUES (:name, 1)"), {"name": f"test{number}"})
        then()


def kept(store: Store) -> list[str]:
    """What a connection of its own sees."""
    with closing(sqlite3.connect(str(make_url(str(store.engine.url)).database))) as other:
        return [name for (name,) in other.execute("SELECT name FROM id_counters WHERE name LIKE 'test%' ORDER BY 1")]


def all_wait_behind(store: Store, *calls: Callable[[], object]) -> list[str]:
    """Make calls that all wait for a writer who ends once they do; gives how each ended."""
    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        end.wait(30)

    def first() -> None:
        write(store, 0, hold)

    def outcome(call: Callable[[], object]) -> str:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - its name is what is asked for
            return type(error).__name__
        return "OK"

    assert store._turns is not None
    turn = store._turns
    with ThreadPoolExecutor(len(calls) + 1) as threads:
        begun = [threads.submit(outcome, first)]
        assert held.wait(30)
        begun += [threads.submit(outcome, call) for call in calls]
        wait_until(lambda: turn._waiting == len(calls))
        end.set()
        return [each.result(30) for each in begun]


def test_who_waits_for_a_turn_shares_the_commit_of_who_has_it(store, commits):
    calls = [lambda number=number: write(store, number) for number in range(1, PEOPLE)]
    assert all_wait_behind(store, *calls) == ["OK"] * PEOPLE
    assert kept(store) == [f"test{number}" for number in range(PEOPLE)]
    assert len(commits) == 1


def test_what_one_gives_up_is_given_up_alone(store, commits):
    def give_up() -> None:
        write(store, 1, lambda: 1 / 0)

    assert all_wait_behind(store, give_up, lambda: write(store, 2)) == ["OK", "ZeroDivisionError", "OK"]
    assert kept(store) == ["test0", "test2"]
    assert len(commits) == 1


def test_nobody_is_told_before_the_commit_and_all_are_told_when_it_fails(store, monkeypatch):
    def full(connection: turns.SharedConnection) -> None:
        assert kept(store) == []
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(turns.SharedConnection, "commit_all", full)
    monkeypatch.setattr(turns, "LONGEST_TOGETHER_S", 60)
    before = store.commits.count
    assert all_wait_behind(store, lambda: write(store, 1)) == ["OperationalError"] * 2
    assert (kept(store), store.commits.count) == ([], before)
    monkeypatch.undo()
    write(store, 2)
    assert kept(store) == ["test2"]


def test_who_is_long_does_not_keep_the_others_waiting(store, commits):
    def long() -> None:
        with store.write(None, wait_s=30):
            assert kept(store) == ["test0"]

    assert all_wait_behind(store, long) == ["OK", "OK"]
    assert len(commits) == 1


def test_who_was_left_a_commit_and_gave_up_waiting_leaves_nobody_behind(store, commits):
    def impatient() -> None:
        with store.write(None, is_brief=True, wait_s=0.01):
            pytest.fail("there was no turn")

    held, end = threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        end.wait(30)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(write, store, 0, hold)
        assert held.wait(30)
        with pytest.raises(TenantLockedError):
            impatient()
        end.set()
        first.result(30)
    assert kept(store) == ["test0"]
    assert len(commits) == 1


def test_what_one_writes_together_is_committed_once_at_the_end(store, commits):
    with store.together():
        for number in range(3):
            write(store, number)
        with pytest.raises(ZeroDivisionError):
            write(store, 3, lambda: 1 / 0)
        assert (kept(store), len(commits)) == ([], 0)
    assert (kept(store), len(commits)) == (["test0", "test1", "test2"], 1)


def test_who_ends_meanwhile_commits_for_those_who_write_together(store, commits):
    with ThreadPoolExecutor(1) as other, store.together():
        write(store, 0)
        other.submit(write, store, 1).result(30)
        assert (kept(store), len(commits)) == (["test0", "test1"], 1)
        write(store, 2)
    assert (kept(store), len(commits)) == (["test0", "test1", "test2"], 2)


def test_whoever_writes_together_is_told_when_the_commit_fails(store, monkeypatch):
    def full(connection: turns.SharedConnection) -> None:
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(turns.SharedConnection, "commit_all", full)
    monkeypatch.setattr(turns, "LONGEST_TOGETHER_S", 60)

    def both() -> None:
        with store.together():
            write(store, 0)
            write(store, 1)

    with pytest.raises(sqlite3.OperationalError):
        both()
    monkeypatch.undo()
    assert kept(store) == []
    write(store, 2)
    assert kept(store) == ["test2"]
