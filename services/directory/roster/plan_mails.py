"""Decide who may have a mail that somebody has today (R26 to R31)."""

from __future__ import annotations

from services.directory.roster.planner import Planner


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
                    WHEN k.state = 'new' AND {is_taken_over}
                         AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = k.holder_id) THEN 'free'
                    WHEN k.state = 'new' AND k.holder_owner <> {s} AND {is_refused} THEN 'owned_by_other_source'
                    WHEN EXISTS (SELECT 1 FROM {people} p WHERE p.user_id = k.holder_id AND p.state = 'mail')
                         THEN 'free'
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
