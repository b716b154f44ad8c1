"""Whatever people, a file and an identity provider do to a tenant, in any order: the directory is as the model says."""

from __future__ import annotations

from functools import partial

import pytest

from tests.integration.directory.register.machine import Days
from tests.integration.directory.register.world import World
from tests.machine_runs import run_machine

pytestmark = pytest.mark.timeout(1800)  # a failure takes its time to shrink

STEPS = 50
STEPS_IN_ALL = 20_000
"""Of the long form, on both databases together."""


def live(directory, support, examples: int) -> None:
    class DaysHere(Days):
        make_world = staticmethod(partial(World, directory, support))

    run_machine(DaysHere, examples=examples, steps=STEPS)


def test_the_directory_is_as_the_model_says(directory, support):
    live(directory, support, 3 if directory.store.is_sqlite else 2)


@pytest.mark.long
def test_the_directory_is_as_the_model_says_for_long(directory, support):
    live(directory, support, STEPS_IN_ALL // 2 // STEPS)
