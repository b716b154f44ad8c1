"""The SQL engine equals the reference model, for any tenant, any file, any block size and any order of rows."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.builders import a_file
from tests.integration.roster.worlds import World, worlds
from tests.reference.applying import apply_plan
from tests.reference.planning import plan_import
from tests.reference.values import Plan

pytestmark = pytest.mark.timeout(900)  # a failure takes its time to shrink

EXAMPLES = settings().max_examples  # as --hypothesis-profile says


def shown(plan: Plan) -> Plan:
    """What a plan tells the outside: all but the model's own notes for applying."""
    return replace(plan, present=frozenset(), missed={}, left_out=frozenset())


@settings(max_examples=EXAMPLES * 2 // 10)
@given(world=worlds())
def test_the_engine_plans_and_applies_what_the_model_says(engine, world: World):
    register = world.register
    for night in world.nights:
        expected = plan_import(register, night.source, night.rows, night.file, deletions=night.deletions)
        engine.block_rows = night.block_rows
        plan = engine.plan(register, night.source, night.rows, night.file, deletions=night.deletions)
        assert plan == shown(expected)
        for code in {change.action.value for change in plan.changes} | {code for _, code in plan.warnings}:
            event(code)
        after = apply_plan(register, expected)
        assert engine.apply(register, plan) == after
        register = after


@settings(max_examples=EXAMPLES // 10)
@given(world=worlds(follow_up=True))
def test_rows_that_are_spared_because_they_are_settled_change_nothing(engine, world: World):
    first, second = world.nights
    register = apply_plan(world.register, plan_import(world.register, first.source, first.rows, first.file))
    plan = engine.plan(world.register, first.source, first.rows, first.file)
    assert engine.apply(world.register, plan) == register
    expected = plan_import(register, second.source, second.rows, second.file, deletions=second.deletions)
    engine.block_rows = second.block_rows
    plan = engine.plan(
        register, second.source, second.rows, second.file, deletions=second.deletions, spares_settled_rows=True
    )
    event(f"settled rows: {engine.settled}")
    assert plan == shown(expected)
    assert engine.apply(register, plan) == apply_plan(register, expected)


@settings(max_examples=EXAMPLES // 10)
@given(world=worlds(), data=st.data())
def test_the_order_of_rows_changes_nothing_but_their_lines(engine, world: World, data):
    register, night = replace(world.register, seats_total=100), world.nights[0]
    outcomes = []
    for rows in (night.rows, a_file(*data.draw(st.permutations(night.rows)))):
        plan = engine.plan(register, night.source, rows, night.file, deletions=night.deletions)
        changes = {replace(change, line=0, fields=tuple(change.fields.items())) for change in plan.changes}
        codes = Counter((issue.costs_row, issue.code) for issue in plan.issues)
        outcomes.append((plan.counts, changes, codes, plan.reason, engine.apply(register, plan)))
    assert outcomes[0] == outcomes[1]
