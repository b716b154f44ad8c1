"""Statements on the drivers: many rows are inserted by one execution, and are what one after the other would be."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, NoResultFound
from sqlmodel import select

from services.directory.store import events
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.statements import Insertion, Statement, settle
from services.directory.store.tables import Event, RequestReplay
from tests.integration.directory.serving import Office, counted_statements

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
ODD = st.one_of(
    st.none(),
    st.dictionaries(
        st.sampled_from(["email", "groups"]),
        st.one_of(
            st.integers(), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)
        ),
        max_size=2,
    ),
    st.sampled_from([{"name": "{\"a\", \\ 'b' NULL}"}, {"name": "NULL"}, {"name": ""}, {"name": "a\nb,c"}]),
)


@pytest.fixture
def tenant(support):
    return Office(support).tenant_id


@given(told=st.lists(st.tuples(ODD, ODD), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_inserted_together_are_those_that_were_given_in_their_order(store, tenant, told):
    changes = [
        Change("user.updated", ("usr", number), before=before, after=after)
        for number, (before, after) in enumerate(told)
    ]
    with store.write(tenant) as session:
        before = events.basis(session)
        append_events(session, tenant, changes, actor=Actor(name="o'brien {1}"), now=NOW, run_id=7)
    with store.read(tenant) as session:
        kept = session.exec(
            select(Event).where(text(events.newer_than(tenant, before))).order_by(text("position"))
        ).all()
    assert [(each.resource_id, each.before, each.after) for each in kept] == [
        (number, before or None, after or None) for number, (before, after) in enumerate(told)
    ]
    assert {(each.actor, each.time, each.run_id) for each in kept} == {("o'brien {1}", NOW, 7)}


def test_many_rows_are_one_execution(store, tenant):
    changes = [Change("user.updated", ("usr", number)) for number in range(20)]
    with counted_statements(store, thread="MainThread") as statements, store.write(tenant) as session:
        append_events(session, tenant, changes, actor=Actor(), now=NOW)
    assert len([each for each in statements if "INSERT" in each]) == 1


def test_a_text_that_a_column_refuses_is_not_cut(store, tenant):
    insertion = Insertion(
        RequestReplay,
        {
            "tenant_id": ":t",
            "request_id": ":id",
            "method": "'m'",
            "body_sha256": ":b",
            "answer": ":b",
            "create_time": ":n",
        },
    )
    rows = [{"t": tenant, "id": str(n) * 65, "b": b"\0'\\", "n": NOW} for n in range(2)]
    if store.is_sqlite:  # it knows no lengths
        with store.write(tenant) as session:
            insertion.run_many(session, rows)
            kept = session.exec(select(RequestReplay).where(text("method = 'm'"))).all()
        assert [(each.request_id, each.answer) for each in kept] == [(row["id"], row["b"]) for row in rows]
        return
    with pytest.raises(DBAPIError, match="too long"), store.write(tenant) as session:
        insertion.run_many(session, rows)


_ONE = Insertion(
    RequestReplay,
    {
        "tenant_id": ":t",
        "request_id": ":id",
        "method": "'m'",
        "body_sha256": "''",
        "answer": "''",
        "create_time": ":n",
    },
)
_KEPT = Statement("SELECT request_id FROM request_replays WHERE tenant_id = :t AND method = 'm' ORDER BY request_id")


def put_in(session, tenant: int, *request_ids: str):
    for request_id in request_ids:
        _ONE.run_many(session, [{"t": tenant, "id": request_id, "n": NOW}])


def kept(store, tenant: int) -> list[str]:
    with store.read(tenant) as session:
        return list(_KEPT.run(session, t=tenant).scalars())


def test_what_is_sent_is_there_for_whatever_is_asked_next_and_after_the_commit(store, tenant):
    with store.write(tenant) as session:
        put_in(session, tenant, "a", "b")
        assert list(_KEPT.run(session, t=tenant).scalars()) == ["a", "b"]
        put_in(session, tenant, "c")
        assert session.get(RequestReplay, (tenant, "c")).method == "m"  # a model waits as well
        put_in(session, tenant, "d")
    assert kept(store, tenant) == ["a", "b", "c", "d"]


def test_rows_that_are_read_later_come_in_any_order(store, tenant):
    with store.write(tenant) as session:
        put_in(session, tenant, "a")
        first = _KEPT.send_on(session.connection(), {"t": tenant})
        put_in(session, tenant, "b")
        second = _KEPT.send_on(session.connection(), {"t": tenant})
        assert [list(each().scalars()) for each in (second, first)] == [["a", "b"], ["a"]]
        with pytest.raises(NoResultFound):
            Statement("SELECT 1 WHERE :t < 0").send_on(session.connection(), {"t": tenant})().one()


@pytest.mark.parametrize("then", ["a statement", "a model", "settle", "commit"])
def test_what_is_sent_and_refused_is_told_by_what_comes_next_and_nothing_is_kept(store, tenant, then):
    with pytest.raises(IntegrityError), store.write(tenant) as session:  # noqa: PT012 - where it is told is the point
        put_in(session, tenant, "a", "a", "b")
        if then == "a statement":
            _KEPT.run(session, t=tenant)
        elif then == "a model":
            session.get(RequestReplay, (tenant, "a"))
        elif then == "settle":
            settle(session.connection())
        if then != "commit":
            pytest.fail("it was not told")
    assert kept(store, tenant) == []
    for _ in range(3):  # the connection is as good as any
        with store.write(tenant) as session:
            put_in(session, tenant, str(uuid.uuid4()))
    assert len(kept(store, tenant)) == 3


def test_what_is_sent_before_an_error_of_our_own_is_given_up(store, tenant):
    for request_ids in (["a"], ["a", "a"]):
        told = IntegrityError if store.is_sqlite and len(request_ids) > 1 else ValueError
        with pytest.raises(told), store.write(tenant) as session:  # noqa: PT012 - what is sent comes before it
            put_in(session, tenant, *request_ids)
            raise ValueError("ours")
    assert kept(store, tenant) == []
