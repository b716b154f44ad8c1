"""What leaving does: product.md's table, row by row, for any number of people at once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import insert
from sqlmodel import col, select

from services.directory.operations.leaving import delete_long_dormant, leave
from services.directory.operations.memberships import join_groups
from services.directory.operations.users import NewUser, create_user
from services.directory.rules import names
from services.directory.rules.leaving import WayOut
from services.directory.store import ids
from services.directory.store.events import Actor
from services.directory.store.people_tables import FormerClaim, Invitation, InvitationState
from services.directory.store.provisioning_tables import SleepingMembership
from services.directory.store.tables import (
    Account,
    Claim,
    Event,
    License,
    Membership,
    Source,
    SourceKind,
    User,
    UserState,
)
from tests.integration.directory.serving import START, Office, counted_statements

SOMEBODY = Actor("somebody")
A_DAY = START + timedelta(hours=24)
ENDS = "ends"


class Staff:
    """People of one tenant, each in one group by hand, by a file and by a connection."""

    def __init__(self, office: Office, store, count: int = 1):
        self.tenant_id, self.store = office.tenant_id, store
        _, account = names.parse(names.ACCOUNT, office.main_account, field="account")
        _, self.group = names.parse(names.GROUP, office.group("Choir").name, field="group")
        with store.write(self.tenant_id) as session:
            self.sources = {kind: ids.next_id(session, "source") for kind in SourceKind}
            for kind, source_id in self.sources.items():
                session.add(
                    Source(tenant_id=self.tenant_id, id=source_id, display_name="s", kind=kind, create_time=START)
                )
            self.people = [
                create_user(
                    session,
                    self.tenant_id,
                    NewUser(account, "Ann", f"ann{number}@example.org"),
                    actor=SOMEBODY,
                    now=START,
                ).user.id
                for number in range(count)
            ]
            join_groups(session, self.tenant_id, [self.group], self.people)
            for user_id in self.people:
                self._add_what_sources_say(session, user_id)

    def _add_what_sources_say(self, session, user_id):
        key = {"tenant_id": self.tenant_id, "user_id": user_id}
        for source_id in self.sources.values():
            row = {"group_id": self.group, "origin_source_id": source_id}
            session.connection().execute(insert(Membership), [key | row])
        file = self.sources[SourceKind.SFTP]
        session.add(Claim(**key, source_id=file, external_id=f"EMPLOYEE-{user_id}"))
        session.add(
            Invitation(
                **key,
                id=ids.next_id(session, "invitation"),
                state=InvitationState.SENT,
                create_time=START,
                expire_time=A_DAY,
            )
        )

    def leave(self, way, *, now=START):
        with self.store.write(self.tenant_id) as session:
            return leave(session, self.tenant_id, self.people, way, actor=SOMEBODY, now=now)

    def rows(self, table):
        with self.store.read(self.tenant_id) as session:
            return list(session.exec(select(table).where(table.tenant_id == self.tenant_id)))

    def fates(self):
        """What became of memberships in the group, by who made them: `ends`, or until when they sleep."""
        slept = {row.origin_source_id: row.until for row in self.rows(SleepingMembership) if row.group_id == self.group}
        made_by = {"manual": 0, "file": self.sources[SourceKind.SFTP], "scim": self.sources[SourceKind.SCIM]}
        return {word: slept.get(source_id, ENDS) for word, source_id in made_by.items()}


@pytest.mark.parametrize(
    ("way", "state", "scim", "file", "manual"),
    [
        (WayOut.NOT_IN_FILE, UserState.DELETED, ENDS, ENDS, ENDS),
        (WayOut.DEACTIVATED, UserState.DORMANT, None, ENDS, ENDS),
        (WayOut.LAST_GROUP_GONE, UserState.DORMANT, ENDS, ENDS, A_DAY),
        (WayOut.SCIM_DELETED, UserState.DELETED, ENDS, ENDS, ENDS),
        (WayOut.BY_HAND, UserState.DELETED, ENDS, ENDS, ENDS),
        (WayOut.DETACHED, UserState.DELETED, ENDS, ENDS, ENDS),
        (WayOut.LONG_DORMANT, UserState.DELETED, ENDS, ENDS, ENDS),
    ],
    ids=lambda value: value.name if isinstance(value, WayOut) else "",
)
def test_a_way_out_does_what_its_row_says(office, store, way, state, scim, file, manual):  # noqa: PLR0917 - a row
    staff = Staff(office, store)
    assert staff.leave(way) == staff.people
    assert staff.rows(Membership) == []
    assert staff.fates() == {"scim": scim, "file": file, "manual": manual}
    [user] = staff.rows(User)
    assert (user.state, user.way_out, user.leave_time, user.revision) == (state, way, START, 2)
    is_deleted = state == UserState.DELETED
    assert [len(staff.rows(table)) for table in (Claim, FormerClaim)] == ([0, 1] if is_deleted else [1, 0])
    assert [invitation.state for invitation in staff.rows(Invitation)] == [InvitationState.REVOKED]
    assert [license_.seats_used for license_ in staff.rows(License)] == [0]
    told = [event.kind for event in staff.rows(Event)]
    assert told.count("user.deleted" if is_deleted else "user.dormant") == 1


def test_who_sleeps_can_be_deleted_and_who_is_deleted_stays_as_he_left(office, store):
    staff = Staff(office, store)
    staff.leave(WayOut.DEACTIVATED)
    assert staff.leave(WayOut.DEACTIVATED) == []
    assert staff.leave(WayOut.SCIM_DELETED, now=A_DAY) == staff.people
    assert staff.rows(SleepingMembership) == []
    assert staff.leave(WayOut.BY_HAND) == staff.leave(WayOut.LAST_GROUP_GONE) == []
    [user] = staff.rows(User)
    assert (user.way_out, user.leave_time) == (WayOut.SCIM_DELETED, A_DAY)
    assert [license_.seats_used for license_ in staff.rows(License)] == [0]


@pytest.mark.parametrize("way", [WayOut.BY_HAND, WayOut.LAST_GROUP_GONE])
def test_any_number_of_people_leave_in_the_same_number_of_statements(office, store, way):
    counts = []
    for office_, count in ((office, 1), (Office(office.support, seats=50), 30)):
        staff = Staff(office_, store, count)
        with counted_statements(store, thread="MainThread") as statements:
            staff.leave(way)
        counts.append(len(statements))
    assert counts[0] == counts[1]


def test_dormant_becomes_deleted_after_90_days(office, store):
    staff = Staff(office, store, 3)
    staff.leave(WayOut.LAST_GROUP_GONE)
    outcomes = []
    for days, limit in ((89, 10), (90, 2), (90, 10), (90, 10)):
        with store.write(staff.tenant_id) as session:
            now = START + timedelta(days=days)
            outcomes.append(delete_long_dormant(session, staff.tenant_id, now=now, limit=limit))
    assert outcomes == [0, 2, 1, 0]
    assert {(user.state, user.way_out) for user in staff.rows(User)} == {(UserState.DELETED, WayOut.LONG_DORMANT)}
    with store.read(staff.tenant_id) as session:
        ends = session.exec(select(FormerClaim.end_time).where(col(FormerClaim.tenant_id) == staff.tenant_id)).all()
    assert set(ends) == {START + timedelta(days=90)}


def test_a_night_takes_people_out_as_the_table_says(night):
    night.apply(night.plan("anna", "bo"))
    key = {"tenant_id": night.tenant_id}
    with night.store.write(night.tenant_id) as session:
        claim = session.exec(
            select(Claim).where(Claim.tenant_id == night.tenant_id, Claim.external_id == "EMPLOYEE-anna")
        ).one()
        anna = claim.user_id
        join_groups(session, night.tenant_id, [main_group_of(session, night)], [anna])
        session.add(
            Invitation(
                **key,
                id=ids.next_id(session, "invitation"),
                user_id=anna,
                create_time=START,
                expire_time=A_DAY,
            )
        )
    night.apply(night.plan("bo"))
    with night.store.read(night.tenant_id) as session:
        user = session.get(User, (night.tenant_id, anna))
        assert (user.state, user.way_out, user.leave_time) == (
            UserState.DELETED,
            WayOut.NOT_IN_FILE,
            night.imports.clock(),
        )
        left = session.exec(
            select(Membership).where(Membership.tenant_id == night.tenant_id, Membership.user_id == anna)
        )
        former = session.exec(select(FormerClaim).where(FormerClaim.tenant_id == night.tenant_id)).one()
        invitation = session.exec(select(Invitation).where(Invitation.tenant_id == night.tenant_id)).one()
        assert left.all() == []
        assert (former.user_id, former.external_id, former.end_time) == (anna, "EMPLOYEE-anna", night.imports.clock())
        assert invitation.state == InvitationState.REVOKED


def main_group_of(session, night):
    return session.get_one(Account, (night.tenant_id, night.account_id)).main_group_id
