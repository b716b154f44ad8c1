"""Statements on the drivers: many rows are inserted by one execution, and are what one after the other would be."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import select

from services.directory.store import events
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.statements import Insertion
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
