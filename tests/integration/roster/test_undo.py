"""What is undone is as it was: for any tenant and any file, with anybody changed by hand in between."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from services.directory.store.tables import UserState
from tests.builders import PAYROLL
from tests.integration.directory.undoing import newcomers, require_as_before
from tests.integration.roster.undoing import give_passwords_and_invitations, register_of, rename, undo
from tests.integration.roster.worlds import World, worlds

pytestmark = pytest.mark.timeout(900)  # a failure takes its time to shrink

EXAMPLES = settings().max_examples  # as --hypothesis-profile says


def applied(engine, world: World):
    """Apply the world's first night; answers the register before it, with passwords and invitations."""
    night = world.nights[0]
    plan = engine.plan(world.register, PAYROLL, night.rows, night.file, deletions=night.deletions)
    give_passwords_and_invitations(engine)
    before = register_of(engine)
    engine.apply(world.register, plan)
    return before


@settings(max_examples=EXAMPLES // 10)
@given(world=worlds())
def test_what_is_undone_is_as_it_was(engine, world: World):
    before = applied(engine, world)
    outcome = undo(engine)
    event(f"touched: {len(outcome.touched)}")
    assert outcome.put_back == outcome.touched
    require_as_before(before, register_of(engine))


@settings(max_examples=EXAMPLES // 10)
@given(world=worlds(), data=st.data())
def test_whom_somebody_changed_since_stays_and_everybody_else_is_as_before(engine, world: World, data):
    before = applied(engine, world)
    active = sorted(key for key, user in register_of(engine).users.items() if user["state"] == UserState.ACTIVE)
    changed = data.draw(st.sets(st.sampled_from(active), max_size=2)) if active else set()
    for user_id in sorted(changed):
        rename(engine, user_id)
    between = register_of(engine)
    outcome = undo(engine)
    after = register_of(engine)
    left_out = outcome.touched - outcome.put_back
    event(f"left out: {len(left_out)}")
    assert left_out & changed == outcome.touched & changed
    stay = left_out | changed
    others = (before.users.keys() | after.users.keys()) - stay
    gone = {key for key in others if key not in before.users}
    assert {after.users[key]["state"] for key in gone} <= {UserState.DELETED}
    as_before, is_now = before.without(stay), after.without(stay | gone)
    assert (is_now.users, is_now.claims, is_now.memberships, is_now.passwords, is_now.invitations) == (
        as_before.users,
        as_before.claims,
        as_before.memberships,
        as_before.passwords,
        as_before.invitations,
    )
    assert after.without(others).users == between.without(others).users
    assert after.without(others).memberships == between.without(others).memberships
    assert after.seats_used == sum(user["state"] == UserState.ACTIVE for user in after.users.values())
    if not stay:
        newcomers(before, after)
        assert after.groups == before.groups
