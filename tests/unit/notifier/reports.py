"""Build report data: `a_report(Outcome.HELD, reason="delete_limit")`, with values that a test need not care about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.notifier.mail import Mail
from services.notifier.marks import unmarked
from services.notifier.report_data import Counts, Issue, Outcome, People, Person, ReportData, Seats

RUN = "tenants/ten_000017/importRuns/run_000034"


def as_mailed(mail: Mail) -> Mail:
    """Give a mail as its reader gets it, without the marks that it has in the store."""
    return replace(mail, text=unmarked(mail.text), html=unmarked(mail.html))


def a_report(outcome: Outcome = Outcome.APPLIED, **changes: Any) -> ReportData:
    report = ReportData(
        outcome=outcome,
        tenant="tenants/ten_000017",
        tenant_name="Ingleby Council",
        source="tenants/ten_000017/sources/src_000012",
        source_name="Staff file",
        run=RUN,
        language="en",
        time_zone="Europe/Stockholm",
        ended_at=datetime(2026, 3, 1, 1, 2, tzinfo=UTC),
        file_name="users.csv",
        file_path="/users.csv",
        seats=Seats(total=2_010, used=2_000),
    )
    return replace(report, **changes)


def a_full_report(outcome: Outcome, **changes: Any) -> ReportData:
    """One with something in every section."""
    counts = Counts(
        rows=1_622, created=12, updated=32, taken_over=2, restored=1, unchanged=1_564, skipped=3, rejected=7, merged=1,
        deferred=3, deleted=412,
    )  # fmt: skip
    values: dict[str, Any] = {
        "reason": "delete_limit" if outcome is Outcome.HELD else "",
        "counts": counts,
        "people": People(
            created=(Person("Ada Byron", (), 2),),
            updated=(Person("Bo Ek", ("title", "phone"), 1, 2),),
            taken_over=(Person("Cia Dahl"),),
            restored=(Person("Dag Ek", ("email",)),),
            deleted=tuple(Person(f"Leaver {number}") for number in range(10)),
        ),
        "rejected": tuple(an_issue(line=line) for line in range(2, 9)),
        "warnings": (an_issue("phone_national", line=3), an_issue("unknown_group:G-17", line=4)),
        "seats": Seats(total=2_000, used=2_000, missing=3),
    }
    return a_report(outcome, **(values | changes))


def an_issue(code: str = "mail_invalid", *, line: int = 2, **changes: Any) -> Issue:
    issue = Issue(line, f"EMP-{line:07}", code, "Mail", "a***@e***", "Write one bare address.")
    return replace(issue, **changes)
