"""Small random tenants and files in which everything collides: few ids, few mails, few groups."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from tests.builders import PAYROLL, a_file, digest_of
from tests.reference.values import (
    MANUAL,
    Claim,
    Deletions,
    Disposition,
    FileFacts,
    FormerClaim,
    Group,
    Limit,
    Limits,
    Membership,
    Register,
    Source,
    StagedRow,
    User,
)

_SCHOOL = "school"
_PROVIDER = "identity provider"
_IDS = [f"EMPLOYEE-{number}" for number in range(7)]
_OTHER_IDS = ["EMPLOYEE-7", "employee -1", "0EMPLOYEE-2", "EMPLOYEE-8"]
_MAILS = [f"m{number}@example.org" for number in range(12)]
_PHONES = ["", "+46701234567", "+4740612345"]
_ACCOUNTS = ["main", "north", "south"]
_GROUPS = {
    "g1": Group("main", "g1"),
    "g2": Group("north", "g2", PAYROLL),
    "g3": Group("south", "g3", _SCHOOL),
    "g4": Group("north", "g4", _PROVIDER),
    "choir": Group("north"),
    "band": Group("main"),
}
_MAIN_GROUPS = {account: Group(account, is_main=True) for account in _ACCOUNTS}
_NAMES = st.sampled_from(["Anna", "Anna", "ANNA", "Bo"])
_GROUP_CELLS = st.lists(st.sampled_from(["g1", "g2", "g3", "g4", "g9"]), unique=True, max_size=3).map(tuple)
_TIMES = st.sampled_from([None, datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC)])
_NO_LIMIT = Limit(1_000_000, 100)
_ANY_LIMIT = st.just(_NO_LIMIT) | st.builds(Limit, st.integers(0, 2), st.sampled_from([0, 20, 50]))
_LIMITS = st.just(Limits(*[_NO_LIMIT] * 7)) | st.builds(
    Limits, _ANY_LIMIT, _ANY_LIMIT, _ANY_LIMIT, _ANY_LIMIT, _ANY_LIMIT, _ANY_LIMIT, _ANY_LIMIT
)


@dataclass(frozen=True)
class Night:
    """One file of one source, and what is decided about its deletions."""

    source: str
    rows: tuple[StagedRow, ...]
    file: FileFacts
    deletions: Deletions
    block_rows: int


@dataclass(frozen=True)
class World:
    """A tenant and the files of some nights."""

    register: Register
    nights: tuple[Night, ...]


def _sources() -> st.SearchStrategy[Source]:
    return st.builds(
        Source,
        account=st.sampled_from([None, *_ACCOUNTS]),
        position=st.integers(1, 2),
        creates_unknown_groups=st.booleans(),
        keep_primary_phone=st.booleans(),
        keep_secondary_phone=st.booleans(),
        skip_freezes=st.booleans(),
        grace_nights=st.integers(0, 2),
        limits=_LIMITS,
        applied_runs=st.integers(0, 1),
        last_timestamp=_TIMES,
    )


def _users(email: str) -> st.SearchStrategy[User]:
    return st.builds(
        User,
        email=st.just(email),
        display_name=_NAMES,
        title=st.sampled_from(["", "Boss"]),
        phone=st.sampled_from(_PHONES),
        secondary_phone=st.sampled_from(_PHONES),
        owner=st.sampled_from([PAYROLL, PAYROLL, PAYROLL, MANUAL, _SCHOOL]),
        active=st.sampled_from([True, True, True, False]),
        password_reset_required=st.booleans(),
    ) | st.sampled_from(
        [
            User(email, "Anna", owner=_PROVIDER),
            *[User(email, "Anna", owner=PAYROLL)] * 2,
            User(email, "Bo", owner=_PROVIDER, active=False, dormant=True),
        ]
    )


@st.composite
def registers(draw: st.DrawFn) -> Register:
    """Up to eight people, each with a mail of its own."""
    mails = draw(st.lists(st.sampled_from(_MAILS), unique=True, min_size=draw(st.sampled_from([0, 4])), max_size=8))
    users = {f"u{number}": draw(_users(email)) for number, email in enumerate(mails)}
    groups = _MAIN_GROUPS | {
        name: _GROUPS[name] for name in draw(st.lists(st.sampled_from(list(_GROUPS)), unique=True))
    }
    ids = draw(st.permutations([*_IDS, *_OTHER_IDS]))
    spare_ids = iter(ids[len(users) :])
    claims, former_claims, memberships = {}, {}, set()
    for number, (name, user) in enumerate(users.items()):
        if not user.active:
            if user.owner in {PAYROLL, _SCHOOL}:
                former_claims[user.owner, ids[number]] = FormerClaim(name, draw(st.sampled_from([0, 89, 90])))
            continue
        claimed_as = {user.owner: ids[number]} if user.owner in {PAYROLL, _SCHOOL} else {}
        if claimed_as and (second := draw(st.sampled_from(["", "same id", "same id", "other id"]))):
            other = _SCHOOL if user.owner == PAYROLL else PAYROLL
            claimed_as[other] = ids[number] if second == "same id" else next(spare_ids, ids[number])
        for source, external_id in claimed_as.items():
            missed, left_out = draw(st.integers(0, 2)), draw(st.booleans())
            claims[source, external_id] = Claim(name, missed_files=missed, deletion_left_out=left_out)
        origins = st.sampled_from(sorted({MANUAL, user.owner, *claimed_as}))
        entries = draw(st.lists(st.tuples(st.sampled_from(sorted(groups)), origins), min_size=2, max_size=5))
        memberships |= {Membership(name, group, origin) for group, origin in entries}
    return Register(
        users=users,
        claims=claims,
        former_claims=former_claims,
        accounts={account: account for account in _ACCOUNTS},
        parents=draw(st.sampled_from([{}, {"south": "north"}])),
        groups=groups,
        memberships=frozenset(memberships),
        reserved_group_ids=draw(st.sampled_from([frozenset(), frozenset({"g9"})])),
        administrators=draw(st.sampled_from([frozenset(), frozenset(), frozenset(_MAILS[:6])])),
        sources={PAYROLL: draw(_sources()), _SCHOOL: draw(_sources()), _PROVIDER: Source(is_scim=True)},
        seats_total=draw(st.sampled_from([0, 3, 6, 100, 100])),
    )


@st.composite
def _rows(draw: st.DrawFn, *, external_id: str, email: str) -> StagedRow:
    """One row of an id; more often than not with this mail."""
    disposition = draw(st.sampled_from([Disposition.ACCEPTED] * 8 + [Disposition.SKIPPED, Disposition.REJECTED]))
    is_rejected = disposition is Disposition.REJECTED
    row = StagedRow(
        line=0,
        external_id=draw(st.sampled_from([external_id, external_id, ""])) if is_rejected else external_id,
        email=draw(st.sampled_from([email] * 6 + [draw(st.sampled_from(_MAILS))] + [""] * is_rejected)),
        display_name=draw(_NAMES),
        title=draw(st.sampled_from([None, "", "Boss"])),
        phone=draw(st.sampled_from([None, *_PHONES])),
        secondary_phone=draw(st.sampled_from([None, *_PHONES])),
        groups=draw(st.none() | _GROUP_CELLS),
        warnings=draw(st.sampled_from([(), (), ("phone_national",)])),
        rejected_for="name_missing" if is_rejected else "",
    )
    return replace(row, disposition=disposition, digest=digest_of(row))


@st.composite
def _files(draw: st.DrawFn, register: Register, its_source: str) -> tuple[StagedRow, ...]:
    """A few rows, most of them of different ids and mails; mails move about, and some rows stand twice."""
    all_ids = st.sampled_from([*_IDS, *_IDS, *_OTHER_IDS])
    ids = draw(st.lists(all_ids, unique=True, min_size=draw(st.sampled_from([0, 3, 5])), max_size=9))
    claims = sorted(register.claims.items(), key=lambda item: item[0][0] == its_source)
    mails_today = {external_id: register.users[claim.user].email for (_, external_id), claim in claims}
    known_mails = [mails_today[external_id] for external_id in ids if external_id in mails_today]
    other_mails = iter(draw(st.permutations([mail for mail in _MAILS if mail not in known_mails])))
    mails = [mails_today.get(external_id) or next(other_mails, _MAILS[0]) for external_id in ids]
    mails = draw(st.just(mails) | st.permutations(mails))
    rows = [draw(_rows(external_id=external_id, email=email)) for external_id, email in zip(ids, mails, strict=True)]
    repeated = st.lists(st.sampled_from(rows), max_size=2) if rows else st.just([])
    for row in draw(st.just([]) | repeated):
        copy = replace(row, groups=draw(st.sampled_from([row.groups, None]) | _GROUP_CELLS))
        rows.insert(draw(st.integers(0, len(rows))), copy)
    if draw(st.sampled_from([False, False, True])):
        rows.append(draw(_rows(external_id=draw(st.sampled_from(_IDS)), email=draw(st.sampled_from(_MAILS)))))
    return tuple(rows)


@st.composite
def nights(draw: st.DrawFn, register: Register) -> Night:
    """One file, under any facts and decision."""
    has_secondary_phone_column = draw(st.sampled_from([True, True, False]))
    source = draw(st.sampled_from([PAYROLL, PAYROLL, _SCHOOL]))
    rows = draw(_files(register, source))
    if not has_secondary_phone_column:
        rows = tuple(replace(row, secondary_phone=None) for row in rows)
    return Night(
        source=source,
        rows=tuple(a_file(*rows)),
        file=FileFacts(
            has_secondary_phone_column=has_secondary_phone_column,
            newest_timestamp=draw(_TIMES),
        ),
        deletions=draw(st.sampled_from([Deletions.APPLY, Deletions.APPLY, Deletions.LEAVE_OUT])),
        block_rows=draw(st.sampled_from([1, 2, 3, 5_000])),
    )


@st.composite
def _next_nights(draw: st.DrawFn, first: Night, register: Register) -> Night:
    """The night after: most rows as they were, some changed, some gone, some of another file."""
    fresh = draw(nights(register))
    kept = [row for row in first.rows if draw(st.sampled_from([True, True, True, False]))]
    changed = [
        replace(row, display_name="Somebody Else") if draw(st.sampled_from([False] * 4 + [True])) else row
        for row in kept
    ]
    added = draw(st.lists(st.sampled_from(fresh.rows), max_size=3)) if fresh.rows else []
    if not first.file.has_secondary_phone_column:
        added = [replace(row, secondary_phone=None) for row in added]
    rows = a_file(*draw(st.permutations([*changed, *added])))
    return replace(first, rows=tuple(rows), block_rows=fresh.block_rows, deletions=fresh.deletions)


@st.composite
def worlds(draw: st.DrawFn, *, follow_up: bool = False) -> World:
    """A tenant and one or two nights; the second file may be the first one again, or with `follow_up` much like it."""
    register = draw(registers())
    first = draw(nights(register))
    if follow_up:
        return World(register, (replace(first, deletions=Deletions.APPLY), draw(_next_nights(first, register))))
    second = draw(st.none() | st.just(first) | nights(register))
    return World(register, (first, second) if second is not None else (first,))
