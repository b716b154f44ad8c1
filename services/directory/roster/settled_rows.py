"""Spare rows that are as they were: they travel as a hash, and nothing is compared for them.

A row is settled when the hash of it as it is now stands in its claim. An apply puts the hash there only for a row that
took full effect and of which there was nothing to say, and takes it away from every other claim of the source. So it
speaks of the register as that apply left it, and holds for as long as no event says that anything else has touched the
user, or anything but users, licenses, invitations and administrators, since. Whatever does not fit, such as a row that
shares its UniqueID with a settled one, is for a whole comparison to judge: then all rows are wanted.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.engine import Connection

from services.directory.roster.planner import LastApply, Planner
from services.directory.roster.stage_sql import StageSql
from services.directory.store.events import newer_than

NO_HASH = "0" * 32
"""Of a row that is always to be sent."""


class RowsWantedError(Exception):
    """Some row that was sent as settled is needed whole, so all are."""


_SINCE = "SELECT resource_id FROM events WHERE {newer} AND run_id <> {last_run}"
_TOUCHED = _SINCE + " AND resource_kind = 'usr'"
_UNSETTLING = _SINCE + " AND resource_kind NOT IN ('usr', 'run', 'lic', 'inv', 'adm')"

SHARED_MAILS = """
    UNION
    SELECT r.email FROM {rows} r
    JOIN users u ON u.tenant_id = {t} AND u.email = r.email AND u.state = 1
    JOIN {settled} s ON s.user_id = u.id
    WHERE r.disposition <> 2 AND NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.line = r.line)
"""
"""R19 looks at the whole file; a settled row has the mail that its user has."""


def settled_hashes(connection: Connection, tenant_id: int, source_id: int, last: LastApply | None) -> Iterator[bytes]:
    """Yield the hashes of rows that need not be sent, a 256th at a time."""
    if last is None:
        return
    words = _words(tenant_id, last) | {"t": tenant_id, "s": source_id}
    if connection.execute(text(f"SELECT EXISTS ({_UNSETTLING})".format(**words))).scalar_one():
        return
    joined = "group_concat" if connection.dialect.name == "sqlite" else "string_agg"
    sql = f"""
        SELECT {joined}(c.row_hash, '') FROM claims c
        WHERE c.tenant_id = {{t}} AND c.source_id = {{s}} AND c.row_hash IS NOT NULL AND c.user_id NOT IN ({_TOUCHED})
        GROUP BY substr(c.row_hash, 1, 2)
    """
    for page in connection.execute(text(sql.format(**words))).scalars():
        yield bytes.fromhex(page)


def is_untouched(connection: Connection, tenant_id: int, source_id: int, last: LastApply) -> bool:
    """Say whether the source's people, and what decides how its file is read, are as its last apply left them (R5).

    Its people are those it has now and those whose key it lost since: who was deleted by hand returns with the file.
    """
    words = _words(tenant_id, last) | {"t": tenant_id, "s": source_id}
    knows = " OR ".join(
        f"EXISTS (SELECT 1 FROM {table} c WHERE c.tenant_id = {{t}} AND c.source_id = {{s}} AND c.user_id = t.user_id)"
        for table in ("claims", "former_claims")
    )
    # As a table of its own, or PostgreSQL may look at the events anew for each key that was lost.
    touched = f"WITH touched(user_id) AS MATERIALIZED ({_TOUCHED})"
    sql = f"{touched} SELECT EXISTS ({_UNSETTLING}) OR EXISTS (SELECT 1 FROM touched t WHERE {knows})"
    return not connection.execute(text(sql.format(**words))).scalar_one()


def find_settled(planner: Planner) -> int:
    """Make `settled` and answer how many there are. Errors: RowsWantedError, unless it is all that were sent so."""
    sent, last = planner.count("settled_rows"), planner.given.last_apply
    if not sent:
        planner.make("settled", "SELECT line, 0 AS user_id FROM {settled_rows}")
        return 0
    if last is None:
        raise RowsWantedError
    planner.words |= _words(planner.given.tenant_id, last)
    if planner.look(f"SELECT count(*) FROM ({_UNSETTLING}) q"):
        raise RowsWantedError
    found = planner.make(
        "settled",
        f"""
        SELECT k.line, c.user_id, c.external_id FROM {{settled_rows}} k
        JOIN claims c ON c.tenant_id = {{t}} AND c.source_id = {{s}} AND c.row_hash = k.row_hash
        WHERE c.user_id NOT IN ({_TOUCHED})
        """,
    )
    planner.index("settled", "user_id")
    if not found == sent == planner.look("SELECT count(DISTINCT user_id) FROM {settled}"):
        raise RowsWantedError
    if planner.look("SELECT count(*) FROM {rows} WHERE external_id IN (SELECT external_id FROM {settled})"):
        raise RowsWantedError
    return sent


def add_to_people(planner: Planner) -> None:
    """Let settled people be in the file, with nothing to compare."""
    planner.run(
        """
        INSERT INTO {people} (line, user_id, state, groups, has_groups, leads)
        SELECT line, user_id, 'settled', NULL, false, true FROM {settled}
        """
    )
    if not planner.space.store.is_sqlite:
        planner.run("ANALYZE {people}")


def find_effective(planner: Planner) -> None:
    """Make `effective`: people whose row takes full effect, with nothing to say about it, and its hash."""
    planner.index("findings", "line")  # there may be as many as rows
    planner.index("merged", "into_line")
    planner.make(
        "effective",
        f"""
        SELECT p.user_id, r.row_hash FROM {{people}} p JOIN {{rows}} r ON r.line = p.line
        WHERE p.state <> 'deferred' AND r.row_hash <> '{NO_HASH}'
          AND NOT EXISTS (SELECT 1 FROM {{findings}} f WHERE f.line = p.line)
          AND NOT EXISTS (SELECT 1 FROM {{merged}} m WHERE m.into_line = p.line)
        """,
    )
    planner.index("effective", "user_id")


def remember_effective(applier: StageSql) -> None:
    """Keep the hashes of rows that took full effect, and of no other; new people have theirs already."""
    applier.run(
        """
        UPDATE claims SET row_hash = e.row_hash FROM {effective} e
        WHERE claims.tenant_id = {t} AND claims.source_id = {s} AND claims.user_id = e.user_id
          AND coalesce(claims.row_hash, '') <> e.row_hash
        """
    )
    applier.run(
        """
        UPDATE claims SET row_hash = NULL WHERE tenant_id = {t} AND source_id = {s} AND row_hash IS NOT NULL
          AND NOT EXISTS (SELECT 1 FROM {effective} e WHERE e.user_id = claims.user_id)
          AND NOT EXISTS (SELECT 1 FROM {settled} k WHERE k.user_id = claims.user_id)
        """
    )


def _words(tenant_id: int, last: LastApply) -> dict[str, object]:
    return {"newer": newer_than(tenant_id, last.basis), "last_run": last.run_id}
