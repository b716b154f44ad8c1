"""Every error of the directory travels as the table of reasons says."""

from __future__ import annotations

import pytest
from muster.runtime.errors import code_of, to_status

from services.directory.rules import errors

SAMPLES = [
    errors.InvalidArgument([("name", "is wrong")] * 30),
    errors.Unauthenticated(),
    errors.PermissionDenied(),
    errors.NotFound(resource="tenants/x"),
    errors.EmailTaken(),
    errors.GroupIdTaken(group_external_id="G-1"),
    errors.GroupIdReserved(group_external_id="G-1"),
    errors.LicenseLimitReached(seats_total=200, seats_used=200),
    errors.TenantBusy(),
    errors.StoreUnavailable(),
    errors.StaleEtag(resource="tenants/x"),
    errors.RequestIdReused(),
    errors.InvalidPageToken(),
    errors.RunState(status="applied"),
    errors.PlanChanged(plan_hash="abc"),
    errors.UndoExpired(import_run="tenants/x/importRuns/y", days=30),
    errors.UndoLaterFirst(import_run="tenants/x/importRuns/y"),
    errors.StageMismatch(rows_announced=10, rows_received=9),
    errors.SourceStateError("no", state="disabled"),
    errors.FailedPrecondition("no", why="source_owns"),
    errors.TooManyWatchers(most=8),
    errors.UserNameTaken(),
    errors.OwnedByOtherSource(owner="HR file"),
    errors.GroupSyncedElsewhere(group_external_id="G-1"),
    errors.GroupUnknown(group_external_id="G-1"),
    errors.UnknownMembers([f"usr_{number}" for number in range(30)]),
    errors.InvalidFilter("too large"),
    errors.KeyStateError(state="revoked"),
    errors.InvitationStateError(state="accepted"),
    errors.UserStateError(state="deleted", needed="active"),
    errors.WrongPassword(),
    errors.TotpRequired(),
    errors.SignInLocked(retry_after_s=60.0),
    errors.GuardTripped(people=101, active=400),
    errors.TooManySignIns(),
    errors.PasswordResetRequired(),
    errors.LinkInvalid(),
    errors.AdministratorExists(),
    errors.TotpStateError(state="on"),
    errors.AcceptUrlMissing(),
    errors.ClaimLost(),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: error.reason)
def test_an_error_has_the_code_of_its_reason_and_fits_into_metadata(error):
    status = to_status(error)
    assert status.code is code_of(error.reason)
    assert status.details == error.message
    assert sum(len(value) for _, value in status.trailing_metadata) < 4096


def test_every_class_has_a_reason_of_its_own():
    classes: set[type[errors.DirectoryError]] = {
        kind for kind in vars(errors).values() if isinstance(kind, type) and kind.__base__ is errors.DirectoryError
    }
    assert {type(sample) for sample in SAMPLES} == classes
    assert len({kind.reason for kind in classes}) == len(classes)
