"""Let those go whom a connection has left in no SCIM group: at once, or at the end of the request (S7, S8)."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.guard import put_out
from services.directory.rules.leaving import WayOut
from services.directory.store.tables import SourceKind, UserState

JUDGED_WITHIN: Final = timedelta(seconds=60)
"""How long a unit of work may be silent before the directory judges it by itself: whoever kept it is gone."""

_ALONE: Final = f"""
    FROM users u JOIN {{each}} ON i.id = u.id
    WHERE u.tenant_id = :t AND u.owner_source_id = :s AND u.state = {UserState.ACTIVE}
      AND NOT EXISTS (
          SELECT 1 FROM memberships m JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
          JOIN sources c ON c.tenant_id = g.tenant_id AND c.id = g.owner_source_id AND c.kind = {SourceKind.SCIM}
          WHERE m.tenant_id = :t AND m.user_id = u.id AND NOT g.is_main)
"""
"""Of the people given, the connection's own active ones who are in no SCIM group."""


def let_go(call: Call, user_ids: Collection[int]) -> None:
    """Of these people, whom the connection took out of a group, those leave who are in no SCIM group now.

    Within a unit of work they wait for its end, since later calls of it may put them into another group.
    Errors: GuardTripped.
    """
    if not user_ids:
        return
    if call.unit:
        call.run(
            "INSERT INTO pending_departures (tenant_id, source_id, unit, user_id, due_time)"
            f" SELECT :t, :s, :unit, u.id, :until {_ALONE} ORDER BY u.id"
            " ON CONFLICT (tenant_id, source_id, unit, user_id) DO UPDATE SET due_time = excluded.due_time",
            unit=call.unit,
            until=call.now + JUDGED_WITHIN,
            ids=call.ids(user_ids),
        )
        return
    alone = call.run(f"SELECT u.id {_ALONE}", ids=call.ids(user_ids)).scalars()
    if alone:
        put_out(call, alone, WayOut.LAST_GROUP_GONE)


def forget(call: Call, user_id: int) -> None:
    """Let somebody who is deleted wait for no judgement: who comes back after that is wanted as it then is (S6)."""
    call.run(
        "DELETE FROM pending_departures WHERE tenant_id = :t AND source_id = :s AND user_id = :u",
        u=user_id,
    )


def judge(call: Call, unit: str) -> int:
    """End a unit of work: whoever waited and is in no SCIM group by now leaves; answers how many.

    Errors: GuardTripped, unless an administrator has resumed the connection since.
    """
    waiting = call.run(
        "DELETE FROM pending_departures WHERE tenant_id = :t AND source_id = :s AND unit = :unit"
        " RETURNING user_id, is_agreed",
        unit=unit,
    ).all()
    people = [row.user_id for row in waiting]
    # Held before it is looked who is alone: another request may be putting somebody into a group at this moment.
    call.run(
        "SELECT u.id FROM users u JOIN {each} ON i.id = u.id WHERE u.tenant_id = :t ORDER BY u.id{for_update_of_u}",
        ids=call.ids(people),
    )
    alone = call.run(f"SELECT u.id {_ALONE}", ids=call.ids(people)).scalars()
    is_agreed = bool(waiting) and all(row.is_agreed for row in waiting)
    return len(put_out(call, alone, WayOut.LAST_GROUP_GONE, is_agreed=is_agreed))
