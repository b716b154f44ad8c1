"""Whatever identity providers send: the gateway answers and keeps what scim2-server in memory does."""

from __future__ import annotations

from functools import partial

import pytest

from tests.contract.direct import direct
from tests.contract.oracle.dialects import Dialect
from tests.contract.oracle.tenant import Tenant
from tests.contract.oracle.together import TrafficTogether
from tests.machine_runs import run_machine

pytestmark = [
    pytest.mark.timeout(1800),  # a failure takes its time to shrink
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]

STEPS = 30
STEPS_IN_ALL = 12_000
"""Of the long form, on both databases together, with and without the gateway's short ways."""


def live(directory, support, examples: int, *, always_the_same: bool = False, with_shortcuts: bool = True) -> None:
    """Let it live; `always_the_same` is for a run that must find nothing new on another one's change."""
    with direct(directory.target, with_shortcuts=with_shortcuts) as called:

        class TrafficHere(TrafficTogether):
            make_tenant = staticmethod(partial(Tenant, called, support))

        run_machine(TrafficHere, examples=examples, steps=STEPS, always_the_same=always_the_same)


@pytest.mark.mostly("sqlite")
def test_every_dialect_is_understood_as_the_plain_form_is(directory, support):
    with direct(directory.target) as called:
        TrafficTogether.make_tenant = staticmethod(partial(Tenant, called, support))
        traffic = TrafficTogether()
        traffic.begin()
        for dialect in Dialect:
            traffic.activate(dialect, 0, active=False)
            traffic.set_attributes(dialect, 1, {"title": dialect.value, "name.givenName": "Ann"})
            traffic.set_selected(dialect, 2, 'emails[type eq "work"].value')
            traffic.manage(dialect, 2, 0, clears=False)
            traffic.add_members(dialect, 1, [0, 3])
            traffic.everything_is_the_same()
            traffic.activate(dialect, 0, active=True)
            traffic.clear(dialect, 1, "title")
            traffic.manage(dialect, 2, 0, clears=True)
            traffic.remove_members(dialect, 1, [0, 3])
            traffic.everything_is_the_same()
            together = [("user", 6, 0), ("group", 5, 1), ("add", 1, 0), ("remove", 1, 1), ("title", 0, 1)]
            together += [("user", 6, 0), ("drop group", 1, 0), ("drop user", 0, 1)]
            traffic.send_together([(kind, dialect, *numbers) for kind, *numbers in together], None)
            traffic.everything_is_the_same()


@pytest.mark.mostly("sqlite")
def test_the_gateway_says_what_the_oracle_says(directory, support):
    live(directory, support, 1, always_the_same=True)


@pytest.mark.long
@pytest.mark.parametrize("with_shortcuts", [True, False], ids=["short ways", "the long way"])
def test_the_gateway_says_what_the_oracle_says_for_long(directory, support, with_shortcuts):
    live(directory, support, STEPS_IN_ALL // 4 // STEPS, with_shortcuts=with_shortcuts)
