"""Decide who may have a mail that somebody has today (R26 to R31)."""

from __future__ import annotations

from services.directory.roster.owners import owned_by_sql
from services.directory.roster.planner import Planner
from services.directory.rules.ownership import Party, Verdict, users_with
from services.directory.store.tables import UserState


def settle_mails(planner: Planner) -> None:
    """Decide who may have a mail that somebody has today: R26, R27, R28's delete and create, R29, R31.

    A mover is a user of this file whose own row gives up the mail. Whoever waits for a blocked mover is blocked too;
    each row waits for at most one other, so a recursive query walks the chains, and swaps need nothing.
    """
    planner.make(
        "blocked",
        """
        WITH RECURSIVE settled AS (
            SELECT k.line, k.user_id,
                CASE
                    WHEN EXISTS (SELECT 1 FROM {gone} g WHERE g.user_id = k.holder_id) THEN 'free'
                    WHEN EXISTS (SELECT 1 FROM {people} p WHERE p.line = k.line AND p.state IN ('claim', 'rekey'))
                         THEN 'free'
                    WHEN EXISTS (SELECT 1 FROM {people} p WHERE p.user_id = k.holder_id AND p.state = 'mail')
                         THEN 'free'
                    WHEN k.state <> 'new' OR EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = k.holder_id)
                         THEN 'mail_taken'
                    WHEN {is_taken_over} THEN 'free'
                    WHEN k.holder_owner <> {s} AND {is_refused}
                         OR EXISTS (SELECT 1 FROM {dropped} d WHERE d.user_id = k.holder_id)
                         THEN 'owned_by_other_source'
                    ELSE 'mail_taken'
                END AS code
            FROM {contested} k
        ), stuck(line, user_id, code) AS (
            SELECT line, user_id, code FROM settled WHERE code <> 'free'
            UNION
            SELECT k.line, k.user_id, 'mail_taken'
            FROM stuck b JOIN {contested} k ON k.holder_id = b.user_id
        )
        SELECT line, min(code) AS code FROM stuck GROUP BY line
        """,
    )
    if planner.given.has_connections:
        _block_mails_of_dormant(planner)
    planner.run("INSERT INTO {verdicts} (line, code) SELECT line, code FROM {blocked}")
    planner.run("INSERT INTO {held} (user_id) SELECT user_id FROM {people} WHERE line IN (SELECT line FROM {blocked})")
    planner.run("DELETE FROM {people} WHERE line IN (SELECT line FROM {blocked})")
    planner.run(
        """
        UPDATE {people} AS p SET state = 'take_over',
            user_id = (SELECT k.holder_id FROM {contested} k WHERE k.line = p.line)
        WHERE p.state = 'new' AND p.line IN (SELECT k.line FROM {contested} k WHERE {is_taken_over})
        """
    )


def _block_mails_of_dormant(planner: Planner) -> None:
    """R29: a connection's user who is dormant may be back any time, and has the mail until deleted (S6, S7)."""
    planner.run(
        f"""
        INSERT INTO {{blocked}} (line, code)
        SELECT p.line, 'owned_by_other_source' FROM {{people}} p JOIN {{rows}} r ON r.line = p.line
        WHERE p.state IN ('new', 'restore')
          AND r.email IN (
              SELECT u.email FROM users u WHERE u.tenant_id = {{t}} AND u.state = {UserState.DORMANT} AND {_IS_REFUSED})
          AND NOT EXISTS (SELECT 1 FROM {{contested}} k WHERE k.line = p.line)
        """
    )


_IS_REFUSED = owned_by_sql(users_with(Verdict.REFUSED, Party.FILE), "u.owner_source_id", tenant_id="{t}")
