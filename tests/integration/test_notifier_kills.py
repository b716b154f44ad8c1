"""Notifiers that are killed at every step of every message: each arrives, and a repeat is one, and counted."""

from __future__ import annotations

import itertools
import os
import queue
import sys
import time
from collections import Counter
from contextlib import ExitStack

import pytest

from services.notifier.messages import MessageState, MessageStore
from tests.stack.smtp_faults import DROP, FaultySink, Step
from tests.unit.notifier.directory_double import NOTIFIER_TOKEN, TENANT, a_directory
from tests.unit.notifier.replicas import Replicas

TO = "hr@ingleby.example"
STEPS = (DROP, *Step)
SMTP_TIMEOUT_S = "1"  # so a claim runs out after 2.5 s
_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/notifier.db"
        return
    postgres = request.getfixturevalue("stack").postgres()
    name = f"notifier_kills_{os.getpid()}_{next(_numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def directory():
    with a_directory(TO) as double:
        yield double


class _Killer:
    """Two replicas, each with its own door of the mail server; kills one at a step of a message, each step in turn."""

    def __init__(self, replicas, doors):
        self.replicas = replicas
        self.doors = doors
        self.fallen = queue.SimpleQueue()
        self.hit = Counter()
        self._wanted = itertools.cycle(STEPS)
        self._next = next(self._wanted)
        for name, door in doors.items():
            door.at_step = self._watch(name)

    def _watch(self, name):
        def at_step(step, recipient):
            if self._next is DROP and step is Step.DATA:
                self._hit(DROP)
                return DROP
            if step is self._next and self.replicas.runs(name):
                self._hit(step)
                self.replicas.kill(name)
                self.fallen.put(name)
            return None

        return at_step

    def _hit(self, step):
        self.hit[step] += 1
        self._next = next(self._wanted)

    def mails(self):
        return [mail for door in self.doors.values() for mail in door.everything()]


def _run(url, directory, tmp_path, *, people, runs, kills, timeout_s):
    """Have messages to send, kill until there were enough kills, and wait until all is sent."""
    settings = {
        "NOTIFIER_DIRECTORY": directory.address,
        "NOTIFIER_TOKEN": NOTIFIER_TOKEN,
        "NOTIFIER_DATABASE_URL": url,
        "NOTIFIER_SENDER": "muster@vendor.example",
        "NOTIFIER_SMTP_TLS": "none",
        "NOTIFIER_SMTP_TIMEOUT_S": SMTP_TIMEOUT_S,
        "NOTIFIER_SMTP_CONNECTIONS": "1",
    }
    store = MessageStore(url)
    store.migrate()
    with ExitStack() as stack:
        stack.callback(store.close)
        doors = {name: stack.enter_context(FaultySink()) for name in ("one", "two")}
        replicas = stack.enter_context(Replicas(tmp_path / "notifier.log", **settings))
        killer = _Killer(replicas, doors)
        directory.began_at = int(time.time()) - 2 * people - runs
        for number in range(people):
            directory.change_mail(directory.add_user(f"old{number}@x.example"), f"new{number}@x.example")
        for _ in range(runs):
            directory.add_run("applied")
        for name, door in doors.items():
            replicas.start(name, NOTIFIER_SMTP_HOST=door.host, NOTIFIER_SMTP_PORT=str(door.port))
        deadline = time.monotonic() + timeout_s
        expected = 2 * people + runs
        while not _is_done(store, expected):
            assert time.monotonic() < deadline, Counter(message.state for message in _messages(store))
            try:
                fallen = killer.fallen.get(timeout=0.1)
            except queue.Empty:
                continue
            if replicas.killed >= kills:
                for door in doors.values():
                    door.at_step = lambda _step, _recipient: None
            replicas.start(fallen)
        return _messages(store), killer


def _messages(store):
    pages, before = [], None
    while page := store.page(TENANT, before=before, limit=1_000):
        pages += page
        before = page[-1].key
    return pages


def _is_done(store, expected):
    return store.next_due() is None and len(_messages(store)) == expected


def _check(messages, killer):
    arrived = Counter(mail.message_id for mail in killer.mails())
    assert {message.state for message in messages} == {MessageState.SENT}
    assert arrived.keys() == {message.message_id for message in messages}
    to = {message.message_id: message.recipient for message in messages}
    assert all(mail.recipients == (to[mail.message_id],) for mail in killer.mails())
    possible = {message.message_id: message.possible_repeats for message in messages}
    uncounted = {name: times for name, times in arrived.items() if times - 1 > possible[name]}
    assert not uncounted, "a repeat that nobody counted"
    repeats = sum(arrived.values()) - len(arrived)
    # SMTP's own ambiguity: whoever is killed between the server's taking a mail and our note of it repeats that one.
    assert repeats >= killer.hit[Step.WHOLE]
    sys.stdout.write(
        f"{len(messages)} messages, {killer.replicas.killed} kills {dict(killer.hit)}, {repeats} repeats\n"
    )


@pytest.mark.mostly("sqlite")
def test_notifiers_that_are_killed_at_every_step_lose_nothing(url, directory, tmp_path):
    messages, killer = _run(url, directory, tmp_path, people=3, runs=4, kills=len(Step), timeout_s=60)
    assert set(killer.hit) == set(STEPS)
    _check(messages, killer)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_a_thousand_messages_survive_a_kill_at_a_step_of_each(url, directory, tmp_path):
    messages, killer = _run(url, directory, tmp_path, people=350, runs=300, kills=1_000, timeout_s=1_700)
    assert set(killer.hit) == set(STEPS)
    _check(messages, killer)
