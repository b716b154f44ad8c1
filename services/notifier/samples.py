"""A sample of every mail, filled with made-up values: for previews, for the check of templates, for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.notifier.failures import Failures, Trouble
from services.notifier.license_mail import render_warning
from services.notifier.license_warning import LicenseWarning
from services.notifier.mail import Mail, Templates
from services.notifier.notice_mail import render_notice
from services.notifier.notices import Notice, Subject
from services.notifier.people import Letter, Occurrence
from services.notifier.person_mail import render_letter
from services.notifier.readers import Readers
from services.notifier.render import render
from services.notifier.report_data import (
    Counts,
    GroupReach,
    Invitations,
    Issue,
    LimitFigures,
    Outcome,
    People,
    Person,
    Reach,
    ReportData,
    Seats,
    Shape,
)
from services.notifier.tables import MessageKind
from services.notifier.words import LANGUAGES

_TENANT = "tenants/ten_000017"
_SOURCE = f"{_TENANT}/sources/src_000012"
_RUN = f"{_TENANT}/importRuns/run_000034"
_UNDONE_RUN = f"{_TENANT}/importRuns/run_000031"
_KEY = f"{_SOURCE}/apiKeys/k7f3q2"
_PANEL = "https://admin.example.org"
_NIGHT = datetime(2026, 3, 1, 1, 2, tzinfo=UTC)
_DAY = datetime(2026, 3, 31, 9, 30, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """One mail as it looks."""

    name: str
    kind: MessageKind
    render: Callable[[Templates], Mail]


def samples(*, language: str, tenant_name: str = "Ingleby Council") -> Iterator[Sample]:
    """Give every sample in a language."""
    yield from _reports(language, tenant_name)
    yield from _seats(language, tenant_name)
    yield from _notices(language, tenant_name)
    yield from _letters(language, tenant_name)


def check(templates: Templates) -> None:
    """Fill every template in every language, so that a mistake in one is found before its night comes."""
    for language in LANGUAGES:
        for sample in samples(language=language):
            sample.render(templates)


def _reports(language: str, tenant_name: str) -> Iterator[Sample]:
    report = ReportData(
        outcome=Outcome.APPLIED,
        tenant=_TENANT,
        tenant_name=tenant_name,
        source=_SOURCE,
        source_name="Staff file",
        run=_RUN,
        language=language,
        time_zone="Europe/Stockholm",
        ended_at=_NIGHT,
        file_name="users.csv",
        file_path="/users.csv",
        seats=Seats(total=2_010, used=2_000),
        admin_url=_PANEL,
    )
    full = replace(
        report,
        counts=Counts(
            rows=1_622,
            created=12,
            updated=32,
            taken_over=2,
            restored=1,
            unchanged=1_564,
            skipped=3,
            rejected=7,
            merged=1,
            deferred=3,
            deleted=412,
        ),
        people=_people(),
        rejected=_rejected(),
        warnings=_warnings(),
        seats=Seats(total=2_000, used=2_000, missing=3),
        reach=Reach(no_phone=4, lost=41, gained=6, groups_below=3, groups=_groups_out_of_reach()),
        invitations=Invitations.MAILED,
    )
    few = Counts(rows=1_210, created=0, updated=4, unchanged=1_206, deleted=412)
    reports = {
        "applied": full,
        "nothing": replace(report, counts=Counts(rows=2_000, unchanged=2_000)),
        "unchanged": replace(report, outcome=Outcome.UNCHANGED, counts=Counts(rows=2_000, unchanged=2_000)),
        "held": replace(
            report,
            outcome=Outcome.HELD,
            reason="delete_limit",
            message="412 of 1622 people would be deleted.",
            counts=few,
            people=_people(leave=True),
            limit=LimitFigures(3, 20.0),
            shape=_another_shape(),
        ),
        "held_shape": replace(
            report,
            outcome=Outcome.HELD,
            reason="shape_alarm",
            message="12 of 2000 people would have a TelephoneNumber, where 1950 usually have one. "
            'The group "Night shift" would shrink from 31 people to 4.',
            counts=Counts(rows=2_000, updated=1_938, unchanged=62),
            limit=LimitFigures(10, 50.0),
            reach=Reach(lost=1_938, groups_below=48, groups=_groups_out_of_reach()),
        ),
        "refused": replace(report, outcome=Outcome.REFUSED, reason="missing_column:Mail"),
        "no_file": replace(report, outcome=Outcome.NO_FILE, file_name="", nights_without_file=1),
        "no_file_urgent": replace(report, outcome=Outcome.NO_FILE, file_name="", nights_without_file=3),
        "trial": replace(full, outcome=Outcome.PLANNED, seats=Seats(2_000, 1_600), invitations=Invitations.BY_HAND),
        "failed": replace(report, outcome=Outcome.FAILED, reason="login_failed"),
        "undone": replace(
            report,
            outcome=Outcome.UNDONE,
            file_name="",
            undoes=_UNDONE_RUN,
            counts=Counts(rows=414, updated=414, restored=412, deleted=12),
            people=_people_put_back(),
            warnings=(
                Issue(0, "EMP-0000017", "changed_since", "", "", ""),
                Issue(0, "EMP-0000023", "changed_since", "Mail", "", ""),
            ),
        ),
    }
    for name, data in reports.items():
        kind = MessageKind.NO_FILE if data.outcome is Outcome.NO_FILE else MessageKind.REPORT
        yield Sample(f"report_{name}", kind, lambda templates, data=data: render(data, templates))  # type: ignore[misc]


def _seats(language: str, tenant_name: str) -> Iterator[Sample]:
    warning = LicenseWarning(
        tenant=_TENANT,
        tenant_name=tenant_name,
        source_name="Entra ID",
        license=f"{_TENANT}/license",
        language=language,
        waiting=12,
        first=tuple(f"user{number}@example.org" for number in range(1, 11)),
        seats=Seats(total=2_000, used=2_000, missing=12),
        admin_url=_PANEL,
    )
    yield Sample("license_refused", MessageKind.LICENSE, lambda templates: render_warning(warning, templates))


def _notices(language: str, tenant_name: str) -> Iterator[Sample]:
    of_tenant = Notice(
        subject=Subject.NEAR_FULL,
        about=f"{_TENANT}/license",
        readers=Readers(),
        tenant=_TENANT,
        tenant_name=tenant_name,
        language=language,
        seats=Seats(total=2_000, used=1_812),
        admin_url=_PANEL,
    )
    of_source = replace(of_tenant, source=_SOURCE, source_name="Entra ID", seats=None, time_zone="Europe/Stockholm")
    notices = {
        "license_near_full": of_tenant,
        "license_full": replace(of_tenant, subject=Subject.FULL, seats=Seats(2_000, 2_000)),
        "connection_paused": replace(
            of_source,
            subject=Subject.PAUSED,
            about=_SOURCE,
            happened_at=_NIGHT,
            by="guard",
            guarded=(120, 400),
            urgent=True,
        ),
        "connection_failing": replace(
            of_source,
            subject=Subject.FAILING,
            about=_SOURCE,
            happened_at=_NIGHT,
            failures=_failures(("license_limit_reached", 61), ("unknown_members", 30), ("register_busy", 1)),
            urgent=True,
        ),
        "connection_locked_out": replace(
            of_source,
            subject=Subject.FAILING,
            about=_SOURCE,
            happened_at=_NIGHT,
            failures=replace(_failures(("key_expired", 3)), is_locked_out=True),
            urgent=True,
        ),
        "key_expires": replace(
            of_source, subject=Subject.KEY_EXPIRES, about=_KEY, key=_KEY, key_id="k7f3q2", key_ends_at=_DAY
        ),
    }
    for name, notice in notices.items():
        yield Sample(name, notice.kind, lambda templates, notice=notice: render_notice(notice, templates))  # type: ignore[misc]


def _failures(*often: tuple[str, int]) -> Failures:
    troubles = tuple(Trouble(problem, "", "", count) for problem, count in often)
    failed = sum(count for _, count in often)
    return Failures(requests=failed + 7, failures=failed, troubles=troubles)


def _letters(language: str, tenant_name: str) -> Iterator[Sample]:
    letter = Letter(
        occurrence=Occurrence.INVITED,
        user=f"{_TENANT}/users/usr_000056",
        recipient="ada.byron@example.org",
        name="Ada Byron",
        tenant_name=tenant_name,
        language=language,
        source_name="Staff file",
        old_email="ada.byron@example.org",
        new_email="ada.lovelace@example.org",
        until=_DAY,
    )
    names = {
        Occurrence.INVITED: "invitation",
        Occurrence.INVITED_AGAIN: "invitation_again",
        Occurrence.TAKEN_OVER: "login_again",
        Occurrence.MAIL_WAS: "mail_changed_old",
        Occurrence.MAIL_IS: "mail_changed_new",
        Occurrence.RESET_ASKED: "password_reset",
    }
    for occurrence, name in names.items():
        data = replace(letter, occurrence=occurrence)
        yield Sample(name, data.kind, lambda templates, data=data: render_letter(data, templates))  # type: ignore[misc]


def _people_put_back() -> People:
    return People(
        updated=(Person("Bo Ek", ("title", "phone"), 2, 1), Person("Siân Ó Briain", ("email",))),
        restored=tuple(Person(f"Leaver {number}") for number in range(1, 11)),
        deleted=tuple(Person(f"Newcomer {number}") for number in range(1, 11)),
    )


def _people(*, leave: bool = False) -> People:
    leavers = tuple(Person(f"Leaver {number}") for number in range(1, 11))
    changed = (Person("Bo Ek", ("title", "phone"), 1, 2), Person("Siân Ó Briain", ("email",)))
    if leave:
        return People(updated=changed, deleted=leavers)
    return People(
        created=(Person("Ada Byron", (), 2), Person("Åsa Öberg")),
        updated=changed,
        taken_over=(Person("Cia Dahl"),),
        restored=(Person("Dag Ek", ("email",)),),
        deleted=leavers,
    )


def _rejected() -> tuple[Issue, ...]:
    return (
        Issue(7, "EMP-0000007", "mail_invalid", "Mail", "a***@e***", "Write one bare address."),
        Issue(19, "1,23E+11", "id_damaged", "UniqueID", "", "Format the column as text."),
        Issue(23, "=EMP-0000023", "duplicate_id", "UniqueID", "", "Keep one row for each person."),
    )


def _warnings() -> tuple[Issue, ...]:
    return (
        Issue(3, "EMP-0000003", "phone_national", "TelephoneNumber", "070***", ""),
        Issue(4, "EMP-0000004", "unknown_group:G-17", "Groups", "", ""),
        Issue(1, "", "header_alias", "Mail", "", ""),
        Issue(1, "", "header_alias", "TelephoneNumber", "", ""),
        Issue(6, "EMP-0000006", "taken_over", "", "", ""),
    )


def _groups_out_of_reach() -> tuple[GroupReach, ...]:
    return (GroupReach("Night shift", 3, 0), GroupReach("Åkervägen 7", 2, 1), GroupReach("Crisis team", 4, 1))


def _another_shape() -> Shape:
    columns = ("UniqueID", "Mail", "Name", "TelephoneNumber")
    return Shape((*columns, "Groups"), columns, "utf-8", "cp1252", ";", ",", 1_622, 1_210)
