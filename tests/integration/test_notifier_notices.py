"""Who looks after a source hears in time: it is paused, its key ends, the seats run out, the file is not as it was."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from muster.directory.v1 import api_keys_pb2, imports_pb2, sources_pb2
from muster.runtime.client import open_aio_channel

from services.notifier.chores import Chores
from services.notifier.marks import unmarked
from services.notifier.messages import MessageKind
from services.notifier.notices import NoticeReader
from tests.unit.notifier.directory_double import SOURCE, TENANT, a_directory
from tests.unit.notifier.running import SENDER, START, Notifier, to_files

REPORT_TO = "it@ingleby.example"


@pytest.fixture
def directory():
    with a_directory(REPORT_TO) as double:
        yield double


@pytest.fixture
def notifier(directory, tmp_path):
    made = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(tmp_path / "mail"))
    yield made
    made.store.close()


def _follow_all(notifier, directory):
    notifier.follow_until(lambda: notifier.store.cursor() == str(len(directory.events)))
    return notifier.messages()


def _body(notifier, message):
    return unmarked(notifier.store.get(message.tenant, message.key).text)


def test_a_paused_connection_is_told_with_how_to_resume_it(notifier, directory):
    directory.source.kind, directory.source.state = sources_pb2.SOURCE_KIND_SCIM, sources_pb2.SOURCE_STATE_PAUSED
    directory.add_event("source.paused", SOURCE, actor="guard")
    (message,) = _follow_all(notifier, directory)
    assert (message.kind, message.recipient, message.about) == (MessageKind.CONNECTION, REPORT_TO, SOURCE)
    assert message.urgent
    text = _body(notifier, message)
    assert "identity provider's calls are refused" in text
    assert f"muster source resume {SOURCE}" in text
    assert "By: guard" in text


def test_a_source_that_was_resumed_meanwhile_is_no_news(notifier, directory):
    directory.add_event("source.paused", SOURCE)
    assert _follow_all(notifier, directory) == []


PROBLEMS = [
    {"problem": "license_limit_reached", "status": 403, "detail": "Full.", "cure": "Buy.", "count": 18},
    {"problem": "new_word", "status": 400, "detail": "What is <new>.", "cure": "Its cure.", "count": 2},
]


def _fails(directory, *, language="en", **told):
    directory.source.kind, directory.source.language = sources_pb2.SOURCE_KIND_SCIM, language
    directory.health.failing_since.FromSeconds(directory.began_at)
    directory.add_event("connection.failing", SOURCE, requests=30, failures=20, **told)


def test_a_failing_connection_is_told_with_each_reason_explained_and_cured(notifier, directory):
    _fails(directory, problems=PROBLEMS, locked_out=False)
    (message,) = _follow_all(notifier, directory)
    assert (message.kind, message.recipient, message.about) == (MessageKind.CONNECTION, REPORT_TO, SOURCE)
    assert message.urgent
    text = _body(notifier, message)
    assert "20 of the last hour's 30 requests failed" in text
    assert "The license is full" in text
    assert "18 of the last failures" in text
    assert "What is <new>. (2 of the last failures)" in text, "a word that is new here keeps the directory's own words"
    assert f"muster scim activity --source {SOURCE} --errors" in text
    html = notifier.store.get(message.tenant, message.key).html
    assert "What is &lt;new&gt;." in html


def test_a_connection_whose_key_opens_no_more_is_told_to_make_one(notifier, directory):
    _fails(directory, language="sv", problems=[{"problem": "key_expired", "count": 3}], locked_out=True)
    (message,) = _follow_all(notifier, directory)
    text = _body(notifier, message)
    assert "Nyckeln har gått ut." in text
    assert f"muster scim-key create --source {SOURCE}" in text


def test_a_connection_that_recovered_meanwhile_is_no_news(notifier, directory):
    directory.add_event("connection.failing", SOURCE, requests=30, failures=20)
    assert _follow_all(notifier, directory) == []


@pytest.mark.parametrize(
    ("kind", "used", "said"),
    [
        ("license.near_full", 9, "Seats are running out: 9 of 10 are taken"),
        ("license.near_full", 10, "The license is full: 10 of 10 seats are taken"),
        ("license.full", 10, "The license is full: 10 of 10 seats are taken"),
    ],
)
def test_a_license_that_fills_is_told_once_to_each_address_of_the_tenants_sources(
    notifier, directory, kind, used, said
):
    directory.license.seats_used = used
    directory.add_event(kind, directory.license.name)
    (message,) = _follow_all(notifier, directory)
    assert (message.kind, message.recipient) == (MessageKind.LICENSE, REPORT_TO)
    assert message.subject == f"[Ingleby Council] {said}"


@pytest.mark.parametrize(("kind", "used"), [("license.full", 9), ("license.near_full", 8)])
def test_a_license_that_was_full_and_is_not_any_more_is_no_news(notifier, directory, kind, used):
    directory.license.seats_used = used
    directory.add_event(kind, directory.license.name)
    assert _follow_all(notifier, directory) == []


TO_ADMINISTRATORS = {
    "guard": lambda directory: directory.add_event("source.paused", SOURCE, actor="guard", people=120, active=400),
    "failing": lambda directory: _fails(directory, problems=PROBLEMS),
    "full": lambda directory: directory.add_event("license.full", directory.license.name),
    "refused": lambda directory: directory.refuse("ada"),
    "held": lambda directory: directory.add_run("held", reason="delete_limit"),
    "applied": lambda directory: directory.add_run("applied"),
}


@pytest.mark.parametrize("occasion", TO_ADMINISTRATORS)
def test_what_no_address_is_set_for_goes_to_the_tenants_administrators(notifier, directory, occasion):
    directory.source.state = sources_pb2.SOURCE_STATE_PAUSED
    directory.license.seats_used = directory.license.seats_total
    del directory.source.report_to[:]
    directory.add_administrator("eva@ingleby.example")
    directory.add_administrator("school@ingleby.example", account=f"{TENANT}/accounts/acc_1")
    directory.add_administrator("olle@ingleby.example")
    TO_ADMINISTRATORS[occasion](directory)
    messages = _follow_all(notifier, directory)
    assert [message.recipient for message in messages] == ["eva@ingleby.example", "olle@ingleby.example"]
    text = " ".join(_body(notifier, messages[0]).split())
    assert "because you are an administrator of Ingleby Council" in text
    directory.source.report_to.append(REPORT_TO)
    TO_ADMINISTRATORS[occasion](directory)
    assert _follow_all(notifier, directory)[2:] == [] or notifier.messages()[-1].recipient == REPORT_TO
    assert len(notifier.messages()) <= 3


def test_a_key_that_ends_is_told_to_the_administrators_where_no_address_is_set(notifier, directory):
    _a_key(directory, days=2)
    del directory.source.report_to[:]
    assert _do_chores(notifier, directory) == [], "nobody is there to be told"
    directory.add_administrator("eva@ingleby.example")
    assert [message.recipient for message in _do_chores(notifier, directory)] == ["eva@ingleby.example"]


def _do_chores(notifier, directory):
    async def do():
        async with open_aio_channel(directory.address, directory.token) as channel:
            reader = NoticeReader(channel)
            chores = Chores(
                reader, notifier.store, sender=SENDER, now=notifier.clock, queued=lambda: None, keep=timedelta(days=90)
            )
            await chores.do()

    asyncio.run(do())
    return notifier.messages()


def _a_key(directory, *, days, state=api_keys_pb2.API_KEY_STATE_ACTIVE):
    directory.source.kind = sources_pb2.SOURCE_KIND_SCIM
    key = api_keys_pb2.ApiKey(name=f"{SOURCE}/apiKeys/k{len(directory.keys)}", key_id="k", state=state)
    if days is not None:
        key.expire_time.FromDatetime(START + timedelta(days=days))
    directory.keys.append(key)


def test_a_key_that_ends_is_told_two_weeks_before_and_urgently_three_days_before(notifier, directory):
    _a_key(directory, days=20)
    assert _do_chores(notifier, directory) == []
    notifier.clock.pass_by(days=7)
    _do_chores(notifier, directory)
    notifier.clock.pass_by(days=1)
    (first,) = _do_chores(notifier, directory)
    assert (first.kind, first.urgent, first.recipient) == (MessageKind.KEY, False, REPORT_TO)
    assert first.subject == "[Ingleby Council] The key of Staff file expires on 2026-03-21"
    assert f"muster scim-key rotate {SOURCE}/apiKeys/k0" in _body(notifier, first)
    notifier.clock.pass_by(days=10)
    _do_chores(notifier, directory)
    _, last = _do_chores(notifier, directory)
    assert last.urgent


@pytest.mark.parametrize(
    ("days", "state"),
    [
        (None, api_keys_pb2.API_KEY_STATE_ACTIVE),
        (1, api_keys_pb2.API_KEY_STATE_ROTATED),
        (-1, api_keys_pb2.API_KEY_STATE_EXPIRED),
        (5, api_keys_pb2.API_KEY_STATE_REVOKED),
    ],
)
def test_a_key_without_an_end_or_with_one_that_is_meant_is_not_told(notifier, directory, days, state):
    _a_key(directory, days=days, state=state)
    assert _do_chores(notifier, directory) == []


def _file(*, columns, encoding="utf-8", delimiter=";"):
    return imports_pb2.ImportFileFacts(file_name="u.csv", columns=columns, encoding=encoding, delimiter=delimiter)


def _run(directory, *, seconds, **fields):
    run = directory.add_run("applied", **fields)
    directory.runs[run].create_time.FromSeconds(seconds)
    return run


def test_a_file_that_looks_different_from_the_last_applied_one_is_told(notifier, directory):
    usual, today = _file(columns=["UniqueID", "Groups"]), _file(columns=["UniqueID", "Title"], delimiter="\t")
    _run(directory, seconds=1, file=usual, counts=imports_pb2.ImportCounts(rows=1_000, unchanged=1_000))
    _run(directory, seconds=2, file=today, counts=imports_pb2.ImportCounts(rows=700, unchanged=700))
    first, second = _follow_all(notifier, directory)
    assert "LOOKS DIFFERENT" not in _body(notifier, first)
    text = " ".join(_body(notifier, second).split())
    assert "The column Groups is missing now" in text
    assert "The column Title is new." in text
    assert "The delimiter was “;” and is “tab” now." in text
    assert "had 1,000 rows and has 700 now: 30 % fewer." in text


def test_a_report_says_who_can_be_reached_by_phone_and_who_no_longer(notifier, directory):
    groups = [imports_pb2.GroupReach(display_name=f"=Crew {number}", before=2, after=1) for number in range(6)]
    reach = imports_pb2.Reach(came_without_phone=2, lost_phone=1, gained_phone=1, groups_below_two=30, groups=groups)
    directory.add_run("applied", counts=imports_pb2.ImportCounts(rows=6, created=3, updated=3), reach=reach)
    (message,) = _follow_all(notifier, directory)
    text = " ".join(_body(notifier, message).split())
    assert "2 new people have no phone number" in text
    assert "1 person loses the only phone number." in text
    assert "1 person has a phone number for the first time." in text
    assert "30 groups fall below 2 people who can be reached. - '=Crew 0: 2 before, 1 after." in text
    assert "Crew 4: 2 before, 1 after. - 25 more groups." in text


def test_r5_an_unchanged_file_is_reported_if_the_source_asks_for_it(notifier, directory):
    directory.add_run("unchanged", counts=imports_pb2.ImportCounts(rows=6, unchanged=6))
    assert _follow_all(notifier, directory) == []
    directory.source.report_unchanged = True
    directory.add_run("unchanged", counts=imports_pb2.ImportCounts(rows=6, unchanged=6))
    (message,) = _follow_all(notifier, directory)
    assert message.subject.endswith("Staff file: the same file again")


@pytest.mark.parametrize(
    ("accept_url", "said"),
    [("", "1 new person was not invited by mail"), ("https://login.example", "1 new person is being invited by mail.")],
)
def test_r36_a_report_says_whether_new_people_are_invited(notifier, directory, accept_url, said):
    directory.source.automatic_invitations, directory.tenant.accept_url = True, accept_url
    directory.add_run("applied", counts=imports_pb2.ImportCounts(rows=1, created=1))
    (message,) = _follow_all(notifier, directory)
    text = _body(notifier, message)
    assert said in text
    assert (f"muster tenant update {TENANT} --accept-url" in text) is (not accept_url)
