"""product.md's "Where one tenant has several sources", cell by cell."""

from __future__ import annotations

import pytest

from services.directory.rules.leaving import LEAVING, Fate, WayOut
from services.directory.rules.ownership import Party, Verdict, over_group, over_user, users_with

MANUAL, FILE, SCIM = Party.MANUAL, Party.FILE, Party.SCIM


@pytest.mark.parametrize(
    ("owner", "by_hand", "by_file", "by_scim"),
    [
        (MANUAL, Verdict.FREE, Verdict.TAKEOVER, Verdict.TAKEOVER),
        (FILE, Verdict.REVERTS, Verdict.REFUSED, Verdict.READ_ONLY),
        (SCIM, Verdict.REVERTS, Verdict.REFUSED, Verdict.READ_ONLY),
    ],
)
def test_who_may_change_a_user(owner, by_hand, by_file, by_scim):
    assert [over_user(owner, toucher) for toucher in (MANUAL, FILE, SCIM)] == [by_hand, by_file, by_scim]
    assert over_user(owner, FILE, is_own=True) is over_user(owner, SCIM, is_own=True) is Verdict.FREE


@pytest.mark.parametrize(
    ("owner", "by_hand", "by_file", "by_scim"),
    [
        (MANUAL, Verdict.FREE, Verdict.OWN_ONLY, Verdict.TAKEOVER),
        (FILE, Verdict.FREE, Verdict.OWN_ONLY, Verdict.REFUSED),
        (SCIM, Verdict.REVERTS, Verdict.UNSEEN, Verdict.REFUSED),
    ],
)
def test_who_may_change_a_group_with_a_group_id(owner, by_hand, by_file, by_scim):
    assert [over_group(owner, toucher) for toucher in (MANUAL, FILE, SCIM)] == [by_hand, by_file, by_scim]


def test_no_sync_sees_a_group_without_group_id():
    assert over_group(MANUAL, FILE, has_group_id=False) is Verdict.UNSEEN
    assert over_group(MANUAL, SCIM, has_group_id=False) is Verdict.UNSEEN


def test_the_engine_takes_over_manual_users_and_is_refused_all_others():
    assert users_with(Verdict.TAKEOVER, FILE) == {MANUAL}
    assert users_with(Verdict.REFUSED, FILE) == {FILE, SCIM}


def test_every_way_out_is_in_the_table_and_nothing_sleeps_of_whom_is_deleted():
    assert set(LEAVING) == set(WayOut) - {WayOut.NONE}
    deletions = [leaving for leaving in LEAVING.values() if leaving.is_deletion]
    assert all(set(leaving.fates.values()) == {Fate.END} for leaving in deletions)
    assert LEAVING[WayOut.NOT_IN_FILE] in deletions  # the engine ends everything of whom a file has no more
