"""Build test data that reads as what it says: CSV files, staged rows and small registers."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.reference.values import (
    MANUAL,
    Claim,
    Disposition,
    Group,
    Membership,
    Register,
    Source,
    StagedRow,
    User,
)

PAYROLL = "payroll"
IDENTITY_PROVIDER = "identity provider"
"""The file source most tests import from."""

COLUMNS = (
    "UniqueID",
    "Name",
    "FirstName",
    "LastName",
    "Mail",
    "Title",
    "TelephoneNumber",
    "SecondaryTelephoneNumber",
    "TimeStamp",
    "Groups",
    "Skip",
)

_NAMES = ("Anna Berg", "Bo Dahl", "Cia Ek", "Dag Falk", "Eva Gran", "Finn Holm", "Gun Isaksson", "Hans Jern")
_BOMS = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


# --- CSV files ---


def a_row(number: int = 1, /, **cells: str) -> dict[str, str]:
    """One CSV row: person `number` with a UniqueID, a Name and a Mail, and the given canonical columns over them.

    `a_row(7, Groups="Akron", Mail="")`
    """
    standard = {
        "UniqueID": f"EMP-{number:07d}",
        "Name": _NAMES[number % len(_NAMES)],
        "Mail": f"person{number}@example.org",
    }
    return standard | cells


def a_csv(
    *rows: Mapping[str, str] | str,
    columns: Sequence[str] | None = None,
    header: Mapping[str, str] | Sequence[str] | None = None,
    encoding: str = "utf-8",
    bom: bool = False,
    delimiter: str = ",",
    newline: str = "\r\n",
    final_newline: bool = True,
    sep_line: bool = False,
) -> bytes:
    """Write a CSV file as bytes.

    Args:
        *rows: Cells by column, or a `str` that goes in as one raw line.
        columns: Which columns, in which order; by default those that any row has, in canonical order, others last.
        header: How the header spells the columns: {column: spelling}, or all spellings in order.
        encoding: A codec; `utf-16-le` and `utf-16-be` come without a mark unless `bom` says so.
        bom: Put the encoding's byte order mark first.
        delimiter: Between fields.
        newline: After each record.
        final_newline: Whether the last record has one too.
        sep_line: Put `sep=…` above the header.
    """
    mappings = [row for row in rows if not isinstance(row, str)]
    names = list(columns) if columns is not None else _columns_of(mappings)
    spellings = header if header is not None else {}
    first = [spellings.get(name, name) for name in names] if isinstance(spellings, Mapping) else list(spellings)
    lines = [f"sep={delimiter}"] if sep_line else []
    lines.append(_record(first, delimiter))
    lines += [
        row if isinstance(row, str) else _record([row.get(name, "") for name in names], delimiter) for row in rows
    ]
    text = newline.join(lines) + (newline if final_newline else "")
    return (_BOMS[encoding] if bom else b"") + text.encode(encoding)


def _columns_of(rows: Iterable[Mapping[str, str]]) -> list[str]:
    seen = dict.fromkeys(name for row in rows for name in row) or dict.fromkeys(("UniqueID", "Name", "Mail"))
    return [name for name in COLUMNS if name in seen] + [name for name in seen if name not in COLUMNS]


def _record(cells: Sequence[str], delimiter: str) -> str:
    buffer = io.StringIO()
    # The writer quotes a cell with a line end only when that is in its own line end.
    csv.writer(buffer, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return buffer.getvalue().removesuffix("\r\n")


# --- Staged rows ---


def a_staged_row(
    external_id: str = "EMPLOYEE-1",
    *,
    line: int = 2,
    email: str | None = None,
    display_name: str = "Anna Berg",
    title: str | None = "",
    phone: str | None = "",
    secondary_phone: str | None = "",
    groups: Sequence[str] | str | None = "",
    digest: bytes | None = None,
    warnings: Sequence[str] = (),
) -> StagedRow:
    """One accepted row. `groups="A,B"` is the cell, "" an empty one and None an absent column.

    The mail is made from the external id, and the digest from everything but the groups, unless they are given.
    """
    email = f"{external_id.lower()}@example.org" if email is None else email
    row = StagedRow(
        line=line,
        external_id=external_id,
        email=email,
        display_name=display_name,
        title=title,
        phone=phone,
        secondary_phone=secondary_phone,
        groups=_listed(groups),
        warnings=tuple(warnings),
    )
    return replace(row, digest=digest or digest_of(row))


def _listed(groups: Sequence[str] | str | None) -> tuple[str, ...] | None:
    if isinstance(groups, str):
        return tuple(filter(None, groups.split(",")))
    return None if groups is None else tuple(groups)


def a_skipped_row(external_id: str = "EMPLOYEE-1", *, line: int = 2, **cells: str | None) -> StagedRow:
    """A row with Skip=1."""
    row = replace(a_staged_row(external_id, line=line, **cells), disposition=Disposition.SKIPPED)  # type: ignore[arg-type]
    return replace(row, digest=digest_of(row))


def a_rejected_row(
    external_id: str = "EMPLOYEE-1", *, line: int = 2, reason: str = "name_missing", **cells: str | None
) -> StagedRow:
    """A row that the importer has rejected; it still holds its user by id or mail."""
    row = a_staged_row(external_id, line=line, **{"display_name": "", **cells})  # type: ignore[arg-type]
    return replace(row, disposition=Disposition.REJECTED, rejected_for=reason)


def a_row_of(name: str, **cells: str | None) -> StagedRow:
    """The row that leaves `a_person(name)` as it is, but for the given cells."""
    unchanged: dict[str, str | None] = {"email": f"{name}@example.org", "display_name": name.title(), "groups": None}
    return a_staged_row(f"EMPLOYEE-{name}", **{**unchanged, **cells})  # type: ignore[arg-type]


def a_file(*rows: StagedRow) -> list[StagedRow]:
    """The rows with the lines of a file: 2, 3, 4, …"""
    return [replace(row, line=line) for line, row in enumerate(rows, start=2)]


def digest_of(row: StagedRow) -> bytes:
    """A digest as the importer's: the same exactly when all cells but TimeStamp and Groups are the same."""
    is_skipped = row.disposition is Disposition.SKIPPED
    cells = (row.external_id, row.email, row.display_name, row.title, row.phone, row.secondary_phone, is_skipped)
    return hashlib.blake2b(repr(cells).encode(), digest_size=16).digest()


# --- Registers ---


@dataclass(frozen=True)
class Person:
    """A user of a register under construction, with its claim and its memberships."""

    name: str
    user: User
    external_id: str
    groups: tuple[str, ...]
    groups_by_hand: tuple[str, ...]
    claim: Claim


def a_person(
    name: str,
    *,
    external_id: str | None = None,
    source: str = PAYROLL,
    groups: Sequence[str] = ("main",),
    groups_by_hand: Sequence[str] = (),
    missed_files: int = 0,
    deletion_left_out: bool = False,
    email: str | None = None,
    display_name: str | None = None,
    title: str = "",
    phone: str = "",
    secondary_phone: str = "",
) -> Person:
    """A user whom the source owns under `external_id`, by default "EMPLOYEE-" and the name.

    `groups` are the memberships that the source made, `groups_by_hand` those that people made.
    """
    user = User(
        email=f"{name}@example.org" if email is None else email,
        display_name=name.title() if display_name is None else display_name,
        title=title,
        phone=phone,
        secondary_phone=secondary_phone,
        owner=source,
    )
    return Person(
        name=name,
        user=user,
        external_id=f"EMPLOYEE-{name}" if external_id is None else external_id,
        groups=tuple(groups),
        groups_by_hand=tuple(groups_by_hand),
        claim=Claim(name, missed_files=missed_files, deletion_left_out=deletion_left_out),
    )


def a_manual_person(name: str, *, groups: Sequence[str] = ("main",), email: str | None = None) -> Person:
    """A user made by hand, with memberships by hand."""
    return a_person(name, external_id="", source=MANUAL, groups=(), groups_by_hand=groups, email=email)


def people(count: int, *, groups: Sequence[str] = ("main",)) -> list[Person]:
    """As many people of the source: p0, p1, p2, …"""
    return [a_person(f"p{number}", groups=groups) for number in range(count)]


def a_register(
    *people: Person,
    source: Source | None = None,
    accounts: Sequence[str] = ("main",),
    groups: Mapping[str, str | Group] | None = None,
    seats: int = 1_000_000,
) -> Register:
    """A tenant with a main group per account (named as the account), the file source `PAYROLL` and people's others.

    `groups={"akron": "main"}` is a synced group "akron" of the account "main", with the Group ID "akron".
    """
    others = {
        name: group if isinstance(group, Group) else Group(group, group_external_id=name)
        for name, group in (groups or {}).items()
    }
    owners = {person.user.owner for person in people} - {MANUAL}
    memberships = {
        Membership(person.name, group, origin)
        for person in people
        for origin, its in ((person.user.owner, person.groups), (MANUAL, person.groups_by_hand))
        for group in its
    }
    return Register(
        users={person.name: person.user for person in people},
        claims={(person.user.owner, person.external_id): person.claim for person in people if person.external_id},
        accounts={account: account for account in accounts},
        groups={account: Group(account, is_main=True) for account in accounts} | others,
        memberships=frozenset(memberships),
        sources={owner: Source(position=2) for owner in owners}
        | {PAYROLL: source or Source(account="main"), IDENTITY_PROVIDER: Source(is_scim=True)},
        seats_total=seats,
    )
