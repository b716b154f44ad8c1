"""Keep a source's next due time true: with its settings and state, and with how its nights end."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlmodel import Session

from services.directory.rules import schedule
from services.directory.store.tables import ImportRun, RunStatus, Source, SourceKind, SourceState

_AGAIN: Final = frozenset({"interrupted", "stage_lost", "internal"})
"""Why a run failed through no fault of the file or its server: the night is not over."""


def has_nights(source: Source) -> bool:
    """Say whether the source is ever due: a file that is in trial or enabled."""
    is_running = source.state in {SourceState.TRIAL, SourceState.ENABLED}
    return is_running and source.kind == SourceKind.SFTP and source.delete_time is None


def reschedule(source: Source, *, after: datetime) -> None:
    """Set the next night, the first after a moment, or none; where there is none, a claim on the source is void."""
    if has_nights(source):
        spread = schedule.spread_of(source.tenant_id, source.id)
        source.due_at = schedule.next_due(source.nightly_time, source.time_zone, after=after, spread=spread)
        if not source.claim_id:
            source.night_attempts = 0
        return
    source.due_at = None
    source.night_attempts = 0
    drop_claim(source)


def drop_claim(source: Source) -> None:
    """Take the source from whoever claimed it."""
    source.claim_id = source.claimed_by = ""
    source.claimed_until = source.claim_time = None


def end_night(source: Source, *, now: datetime) -> None:
    """End the night that was claimed: the next is the first after the claim, so that none is left out."""
    since = source.claim_time or now
    drop_claim(source)
    reschedule(source, after=since)


def settle_night(session: Session, run: ImportRun, *, now: datetime) -> None:
    """End the night of a claimed run that comes to rest, in the same transaction, so that a night has one such run.

    A run that failed by a fault of ours leaves the night due, for another try.
    """
    if not run.claim_id:
        return
    session.flush()
    key = (run.tenant_id, run.source_id)
    source = session.get(Source, key, with_for_update=True, populate_existing=True)
    if source is None or source.claim_id != run.claim_id:
        return
    again = run.status == RunStatus.FAILED and run.reason in _AGAIN and source.night_attempts < schedule.MOST_TRIES
    if not again:
        end_night(source, now=now)
    elif run.reason == "interrupted":
        drop_claim(source)  # it is due as it was: whoever asks next takes it up
    else:
        put_back(source, now=now)
    session.add(source)


def put_back(source: Source, *, now: datetime) -> None:
    """Let the night be tried again after its pause, or end it after the last try."""
    if schedule.is_last_try(source.night_attempts):
        end_night(source, now=now)
        return
    drop_claim(source)
    source.due_at = now + schedule.try_again_after(source.night_attempts)
