"""Invite whom a run creates, where its source does so by itself: exactly one invitation per new user (R36).

Nobody is invited who is restored, rekeyed or taken over.
"""

from __future__ import annotations

from services.directory.roster.applier import Applier
from services.directory.rules.invitations import VALID_FOR
from services.directory.store.people_tables import InvitationState


def invite_created(applier: Applier) -> None:
    """Write an invitation and its event for each person the run creates."""
    count = applier.order.counts["created"]
    if not count:
        return
    number = "nextval('invitation_id_seq')"
    if applier.dialect.is_sqlite:
        number = f"row_number() OVER () + {applier.order.reserve_ids('invitation', count)[0] - 1}"
    applier.run(
        f"""
        INSERT INTO invitations (tenant_id, id, user_id, state, generation, run_id, create_time, expire_time, revision)
        SELECT {{t}}, {number}, q.user_id, {InvitationState.PENDING}, 1, {{run}}, :now, :until, 1
        FROM (SELECT user_id FROM {{changes}} WHERE action = 1 ORDER BY line) q
        """,
        until=applier.order.now + VALID_FOR,
    )
    applier.add_invitation_events()
