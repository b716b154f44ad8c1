"""Whatever people, a file and an identity provider do to a tenant, in any order: the directory is as the model says."""

from __future__ import annotations

from functools import partial

import hypothesis
import pytest
from hypothesis.stateful import run_state_machine_as_test

from tests.integration.directory.register.machine import Days
from tests.integration.directory.register.world import World

pytestmark = pytest.mark.timeout(1800)  # a failure takes its time to shrink

STEPS = 50
STEPS_IN_ALL = 20_000
"""Of the long form, on both databases together."""


def live(directory, support, examples: int) -> None:
    class DaysHere(Days):
        make_world = staticmethod(partial(World, directory, support))

    run_state_machine_as_test(
        DaysHere,
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        ),
    )


def test_the_directory_is_as_the_model_says(directory, support):
    live(directory, support, 3 if directory.store.is_sqlite else 2)


@pytest.mark.long
def test_the_directory_is_as_the_model_says_for_long(directory, support):
    live(directory, support, STEPS_IN_ALL // 2 // STEPS)
