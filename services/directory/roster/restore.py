"""Find people who come back under the key they had when they left, and restore them (R34)."""

from __future__ import annotations

from services.directory.roster.applier import Applier
from services.directory.roster.planner import Planner
from services.directory.rules.leaving import LEAVING, Return
from services.directory.store.tables import UserState

_WAYS = ", ".join(str(int(way)) for way, leaving in LEAVING.items() if Return.FILE in leaving.returns)


def find_returning(planner: Planner) -> None:
    """Give a row of an unknown id the person who had the id last: deleted less than 90 days ago, and not erased.

    Whoever left this file first, and then the last other file under the same id, comes back to either (R41).
    """
    if not planner.look(
        "SELECT count(*) FROM (SELECT 1 FROM former_claims WHERE tenant_id = {t} AND source_id = {s} LIMIT 1) q"
    ):
        return
    planner.run(
        f"""
        UPDATE {{people}} AS p SET state = 'restore', user_id = q.user_id FROM (
            SELECT n.line, f.user_id,
                   row_number() OVER (PARTITION BY n.line ORDER BY f.end_time DESC, f.user_id DESC) AS place
            FROM {{people}} n JOIN {{rows}} r ON r.line = n.line
            JOIN former_claims f ON f.tenant_id = {{t}} AND f.source_id = {{s}} AND f.external_id = r.external_id
            JOIN users u ON u.tenant_id = f.tenant_id AND u.id = f.user_id
            WHERE n.state = 'new' AND {_ended_with_user(planner)}
              AND NOT EXISTS (SELECT 1 FROM {{contested}} k WHERE k.line = n.line AND {{is_taken_over}})
              AND u.state = {UserState.DELETED} AND u.erase_time IS NULL AND u.way_out IN (0, {_WAYS})
        ) q WHERE q.line = p.line AND q.place = 1
        """
    )


def _ended_with_user(planner: Planner) -> str:
    if not planner.given.other_files:
        return "f.end_time > :restorable_since AND f.end_time >= u.leave_time"
    return """EXISTS (
        SELECT 1 FROM former_claims e
        WHERE e.tenant_id = {t} AND e.source_id IN ({s}, {other_files}) AND e.external_id = f.external_id
          AND e.user_id = f.user_id AND e.end_time > :restorable_since AND e.end_time >= u.leave_time)
    """


def forget_former_claims(applier: Applier) -> None:
    """Whoever is back has the key itself again."""
    applier.run(
        """
        DELETE FROM former_claims WHERE tenant_id = {t} AND source_id = {s}
          AND (external_id, user_id) IN (SELECT external_id, user_id FROM {changes} WHERE adds_claim OR action = 6)
        """
    )
