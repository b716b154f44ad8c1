"""Say what is wrong or worth knowing with each row, once the plan knows the register: rejections and warnings."""

from __future__ import annotations

from sqlalchemy import text

from services.directory.roster.planner import Planner
from services.directory.rules.text import MOST_CHARACTERS

_VALUES = {
    "UniqueID": "r.external_id",
    "Mail": "r.email",
    "Name": "r.display_name",
    "Title": "r.title",
    "TelephoneNumber": "r.phone",
    "SecondaryTelephoneNumber": "r.secondary_phone",
}
_REJECTED, _WARNING = 1, 2

_REJECTIONS = {
    "duplicate_id": ("UniqueID", "This UniqueID stands in several rows that differ; leave one row of this person."),
    "duplicate_mail": ("Mail", "Another row has this mail address; give each person an address of their own."),
    "mail_taken": ("Mail", "Another active person has this mail address; correct it here or there."),
    "owned_by_other_source": (
        "Mail",
        "This mail address belongs to a person whom another source keeps; remove the row or the person there.",
    ),
}
_WARNINGS = {
    "duplicate_identical": ("UniqueID", "This row repeats an earlier one of the same person; it was left out."),
    "duplicate_merged": ("Groups", "This row differs from an earlier one of the same person in Groups only; merged."),
    "taken_over": ("Mail", "A user made by hand had this mail address; the file owns it from now on."),
    "rekeyed": ("UniqueID", "This person had another UniqueID until now, and is the same user under the new one."),
    "restored": ("UniqueID", "This person left less than 90 days ago, and is the same user again."),
    "mail_reused": ("Mail", "A person who left the file had this mail address; a new person has it now."),
    "deferred_license": ("", "No seat is free; this person is added as soon as there is one."),
    "no_account": ("Groups", "The row names no known group and the file has no linked account; link the file to one."),
}


def masked(value: str) -> str:
    """Hide a value but for its first character; of a mail also the domain's first and its ending: `a***@e***.org`.

    The importer masks what it finds likewise. SQL that both databases know has nothing to look for a character with:
    `rtrim` of all others leaves what stands before it.
    """
    domain, ending = (f"length(rtrim({value}, replace({value}, '{sign}', '')))" for sign in "@.")
    return (
        f"CASE WHEN {value} LIKE '_%@_%._%' THEN substr({value}, 1, 1) || '***@' || substr({value}, {domain} + 1, 1)"
        f" || '***' || substr({value}, {ending}, 25) WHEN {value} <> '' THEN substr({value}, 1, 1) || '***' ELSE '' END"
    )


def write_findings(planner: Planner, *, deferred: int, merged: int) -> None:
    """Make `findings`: every issue of the run, staged ones included, in the shape of import_issues."""
    planner.make(
        "findings",
        """
        SELECT i.line, i.row_key, i.severity, i.code, i.column_name, i.masked_value, i.message FROM {issues} i
        WHERE i.severity = 2 OR NOT (
            EXISTS (SELECT 1 FROM {verdicts} v WHERE v.line = i.line AND v.code <> 'staged')
            OR EXISTS (SELECT 1 FROM {merged} m WHERE m.line = i.line))
        """,
    )
    for code, (column, message) in _REJECTIONS.items():
        _add(
            planner,
            f"{_told(planner, column)} FROM {{verdicts}} v JOIN {{rows}} r ON r.line = v.line WHERE v.code = '{code}'",
            (_REJECTED, code, column, message),
        )
    if merged:
        for code in ("duplicate_identical", "duplicate_merged"):
            column, message = _WARNINGS[code]
            told = f"{_told(planner, column)} FROM {{merged}} m JOIN {{rows}} r ON r.line = m.line "
            _add(planner, f"{told} WHERE m.code = '{code}'", (_WARNING, code, column, message))
    _add_people(planner, "taken_over", "p.state = 'take_over'")
    _add_people(planner, "restored", "p.state = 'restore'")
    _add_people(planner, "rekeyed", "p.state = 'rekey'")
    if planner.given.earlier_files:
        _add_differences(planner)
    _add_people(
        planner,
        "mail_reused",
        "p.state IN ('new', 'restore', 'deferred') AND p.line IN ("
        "SELECT k.line FROM {contested} k JOIN {gone} g ON g.user_id = k.holder_id)",
    )
    if deferred:
        _add_people(planner, "deferred_license", "p.state = 'deferred'")
    if not planner.given.linked_group_id:
        _add_no_account(planner)
    _add_unknown_groups(planner)
    _add_groups_outside(planner)


def _told(planner: Planner, column: str) -> str:
    """Begin a query for `_add`: what is told of a row `r`, the column's value masked."""
    value = planner.dialect.first_group if column == "Groups" else _VALUES.get(column, "''")
    return f"SELECT r.line, r.external_id, {masked(value)} AS masked"


def _add(planner: Planner, query: str, finding: tuple[int, str, str, str]) -> None:
    """Add one finding for each (line, external_id, masked) of the query."""
    severity, code, column, message = finding
    planner.connection.execute(
        text(
            "INSERT INTO {findings} (line, row_key, severity, code, column_name, masked_value, message) ".format(
                **planner.words
            )
            + f"SELECT q.line, q.external_id, {severity}, :code, :column, q.masked, :message FROM ("
            + query.format(**planner.words)
            + ") q"
        ),
        {"code": code, "column": column, "message": message},
    )


def _add_people(planner: Planner, code: str, condition: str) -> None:
    column, message = _WARNINGS[code]
    query = f"{_told(planner, column)} FROM {{people}} p JOIN {{rows}} r ON r.line = p.line WHERE "
    _add(planner, query + condition, (_WARNING, code, column, message))


_DIFFERENCES = {
    "Mail": "r.email <> u.email",
    "Name": "r.display_name <> u.display_name",
    "Title": "r.title <> u.title",
    "TelephoneNumber": "r.phone <> u.phone AND NOT (r.phone = '' AND {keep_primary})",
    "SecondaryTelephoneNumber": "r.secondary_phone <> u.secondary_phone "
    "AND NOT (r.secondary_phone = '' AND {keep_secondary})",
}


def _add_differences(planner: Planner) -> None:
    """R41: the first file in position order says what a person is; where this one says otherwise, it is told."""
    for column, differs in _DIFFERENCES.items():
        _add(
            planner,
            f"{_told(planner, column)} FROM {{people}} p JOIN {{rows}} r ON r.line = p.line "
            "JOIN users u ON u.tenant_id = {t} AND u.id = p.user_id "
            f"WHERE NOT p.leads AND p.state <> 'settled' AND {differs}",
            (
                _WARNING,
                f"claim_differs:{column}",
                column,
                "Another file of this customer has this person, too, comes first, and says otherwise; it counts.",
            ),
        )


def _add_no_account(planner: Planner) -> None:
    """R40: whoever lists no known group is in no account; without a Groups column, whoever is in none anyway."""
    _add_people(
        planner,
        "no_account",
        """p.state NOT IN ('deferred', 'settled')
        AND NOT EXISTS (SELECT 1 FROM {listed} l WHERE l.user_id = p.user_id AND l.group_id IS NOT NULL)
        AND (p.has_groups OR NOT EXISTS (
            SELECT 1 FROM memberships m JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
            WHERE m.tenant_id = {t} AND m.user_id = p.user_id AND g.is_main))""",
    )


def _add_unknown_groups(planner: Planner) -> None:
    """R37: an unknown Group ID never rejects; the nearest known one is named. Its code carries the ID.

    One that a SCIM connection syncs, that waits to be released (S8) or that is too long is warned about also where
    unknown groups are created.
    """
    if not planner.count("unknown_groups"):
        return
    creates = planner.given.create_unknown_groups and planner.given.linked_group_id
    planner.run(
        f"""
        INSERT INTO {{findings}} (line, row_key, severity, code, column_name, masked_value, message)
        SELECT l.line, r.external_id, 2, 'unknown_group:' || l.unknown_id, 'Groups', {masked("l.unknown_id")},
               CASE WHEN k.synced_by IS NOT NULL
                   THEN 'The group with this Group ID is synced by "' || k.synced_by || '", and a group has one '
                        || 'syncing source; take it out of the file.'
                   WHEN k.is_reserved
                   THEN 'An administrator deleted the group with this Group ID; take it out of the file, or release '
                        || 'the Group ID (muster group release).'
                   WHEN k.is_too_long
                   THEN 'A Group ID has at most {MOST_CHARACTERS} characters; correct the file, or the group separator '
                        || 'of the source.'
                   ELSE 'No group has this Group ID; '
                        || CASE WHEN s.suggestion IS NULL THEN ''
                                ELSE 'nearest Group ID: ' || s.suggestion || '; ' END
                        || 'correct the file, or give a group this ID.' END
        FROM {{listed}} l JOIN {{rows}} r ON r.line = l.line
        JOIN {{unknown_groups}} k ON k.group_external_id = l.unknown_id
        LEFT JOIN {{suggestions}} s ON s.group_external_id = l.unknown_id
        WHERE l.unknown_id IS NOT NULL
        """
        + ("AND (k.synced_by IS NOT NULL OR k.is_reserved OR k.is_too_long)" if creates else "")
    )


def _add_groups_outside(planner: Planner) -> None:
    """R41: a file touches only groups in its linked account and below. The code carries the ID."""
    planner.run(
        f"""
        INSERT INTO {{findings}} (line, row_key, severity, code, column_name, masked_value, message)
        SELECT l.line, r.external_id, 2, 'group_out_of_scope:' || l.outside_id, 'Groups', {masked("l.outside_id")},
               'The group with this Group ID is not in the account that this file is linked to, nor below it; take it '
               || 'out of the file, or link the file to an account above.'
        FROM {{listed}} l JOIN {{rows}} r ON r.line = l.line WHERE l.outside_id IS NOT NULL
        """
    )
