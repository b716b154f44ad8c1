"""Turn one report's data into a mail: subject, text, HTML and attachment. Pure: nothing is read and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from services.notifier import figures, sections
from services.notifier.attachment import rejected_rows_csv
from services.notifier.footer import why
from services.notifier.mail import STANDARD, Mail, Templates
from services.notifier.marks import STRANGER
from services.notifier.report_data import Invitations, Outcome, ReportData
from services.notifier.safe import neutral, plain
from services.notifier.words import Words

ATTACHMENT_NAME = "rejected-rows.csv"
URGENT_NIGHTS = 2
"""Nights in a row without a file from which on the report is urgent (R5)."""

_TONES = {
    Outcome.APPLIED: "good",
    Outcome.HELD: "wait",
    Outcome.REFUSED: "bad",
    Outcome.NO_FILE: "bad",
    Outcome.PLANNED: "calm",
    Outcome.FAILED: "bad",
    Outcome.UNDONE: "calm",
    Outcome.UNCHANGED: "good",
}
_WITH_CHANGES = (Outcome.APPLIED, Outcome.HELD, Outcome.PLANNED, Outcome.UNDONE)


def render(data: ReportData, templates: Templates = STANDARD) -> Mail:
    """Render the report in its language; without rejected rows nothing is attached."""
    words = templates.words(data.language)
    planned = data.outcome in {Outcome.HELD, Outcome.PLANNED}
    subject = _subject(data, words)
    page = {
        "language": words.language,
        "say": words.say,
        "subject": subject,
        "headline": _headline(data, words),
        "tone": _TONES[data.outcome],
        "lead": list(_lead(data, words)),
        "decisions": list(_decisions(data, words)),
        "link": f"{data.admin_url}/{data.run}" if data.admin_url else "",
        "link_label": words.say("decision.link"),
        "facts_heading": words.say("heading.facts"),
        "facts": list(_facts(data, words)),
        "planned": planned,
        "counts": _counts(data, words),
        "counts_caption": "" if data.outcome is Outcome.UNDONE else words.say("caption.counts"),
        "people": sections.people(data.people, data.counts, words, planned=planned),
        "shape": sections.shape(data.shape, words) if data.shape else [],
        "reach": sections.reach(data.reach, words),
        "rejected": sections.rejected(data.rejected, words),
        "rejected_caption": words.say(f"caption.rejected{'_planned' if planned else ''}"),
        "rejected_notes": list(_rejected_notes(data, words)),
        "warnings": sections.warnings(data.warnings, words, planned=planned),
        "warnings_caption": words.say(_warnings_caption(data, planned=planned)),
        "warnings_note": "" if data.warnings_are_all else words.say("caption.warnings_not_all", n=len(data.warnings)),
        "footer": why(
            words,
            tenant_name=data.tenant_name,
            source_name=data.source_name,
            to_administrators=data.to_administrators,
        ),
    }
    text, html = templates.fill("report", page)
    attached = data.rejected_file
    if data.rejected and not attached:
        attached = rejected_rows_csv(sections.rejected_cells(data.rejected, words))
    return Mail(
        subject=subject,
        text=text,
        html=html,
        attachment_name=ATTACHMENT_NAME if attached else "",
        attachment=attached,
        urgent=_is_urgent(data),
        mentions=_mentions(data),
    )


def _counts(data: ReportData, words: Words) -> list[tuple[str, str]]:
    """Every count of a file that was read; of an undo, which reads none, what there is of changes."""
    if data.outcome is Outcome.UNDONE:
        return [
            (label, number) for label, number in sections.counts(replace(data.counts, rows=0), words) if number != "0"
        ]
    return sections.counts(data.counts, words) if data.counts.rows or data.outcome in _WITH_CHANGES else []


def _warnings_caption(data: ReportData, *, planned: bool) -> str:
    if data.outcome is Outcome.UNDONE:
        return "caption.left_out"
    return "caption.warnings_planned" if planned else "caption.warnings"


def _mentions(data: ReportData) -> tuple[str, ...]:
    """List whom the mail names; whoever has no user yet, or perhaps none, is a stranger."""
    people = data.people
    named = (*people.created, *people.updated, *people.taken_over, *people.restored, *people.rekeyed, *people.deleted)
    rows = [STRANGER] if data.rejected or data.message else []  # a plan that changed names people by their keys
    return tuple(dict.fromkeys([*rows, *(person.user or STRANGER for person in named)]))


def _is_urgent(data: ReportData) -> bool:
    return data.outcome is Outcome.NO_FILE and data.nights_without_file >= URGENT_NIGHTS


def _changed_nothing(data: ReportData) -> bool:
    changes = data.counts.created or data.counts.updated or data.counts.deleted
    return data.outcome is Outcome.APPLIED and not changes


def _subject(data: ReportData, words: Words) -> str:
    """Say tenant, outcome and what wants attention, on one line."""
    key = data.outcome.value
    if _changed_nothing(data):
        key = "nothing"
    elif _is_urgent(data):
        key = "no_file_urgent"
    counts = data.counts
    text = words.say(
        f"subject.{key}",
        source=neutral(data.source_name, longest=60),
        n=data.nights_without_file,
        created=words.say("subject.created", n=counts.created),
        updated=words.say("subject.updated", n=counts.updated),
        deleted=words.say("subject.deleted", n=counts.deleted),
    )
    if data.reason and data.outcome is not Outcome.NO_FILE:
        text += f" ({plain(data.reason, longest=60)})"
    if data.outcome in _WITH_CHANGES and counts.rejected:
        text += f", {words.say('subject.rejected', n=counts.rejected)}"
    if data.outcome is Outcome.APPLIED and data.seats and data.seats.missing:
        text += f", {words.say('subject.deferred', n=data.seats.missing)}"
    return f"[{plain(data.tenant_name, longest=60)}] {text}"


def _headline(data: ReportData, words: Words) -> str:
    if _changed_nothing(data):
        return words.say("headline.nothing")
    if _is_urgent(data):
        return words.say("headline.no_file_urgent", n=data.nights_without_file)
    return words.say(f"headline.{data.outcome.value}")


def _lead(data: ReportData, words: Words) -> Iterator[str]:
    """Say in sentences what happened, why, and what it needs."""
    if data.outcome is Outcome.APPLIED:
        yield from _applied_lead(data, words)
    elif data.outcome is Outcome.UNCHANGED:
        yield words.say("lead.unchanged", path=plain(data.file_path))
    elif data.outcome is Outcome.HELD:
        yield words.say("lead.why_held", text=_what(data, words))
        yield from _plan_lead(data, words)
        yield words.say("lead.cure", text=_cure(data, words))
        decided = plain(data.decided)
        if not decided:
            yield words.say("lead.expires")
        else:
            status = words.say(f"status.{decided}") if words.has(f"status.{decided}") else decided
            yield words.say("lead.decided", status=status)
    elif data.outcome is Outcome.UNDONE:
        if data.warnings:
            yield words.say("lead.undone_without", n=len(data.warnings))
        yield words.say("lead.undone_trial")
    elif data.outcome is Outcome.PLANNED:
        rejected = data.counts.rejected
        yield words.say("lead.trial_rejected", n=rejected) if rejected else words.say("lead.trial_fine")
        if data.reason:
            yield words.say("lead.trial_held", text=_what(data, words))
        yield from _plan_lead(data, words)
        yield words.say("lead.trial_go")
    else:
        yield words.say("lead.wrong", text=_what(data, words))
        yield words.say("lead.cure", text=_cure(data, words))


def _applied_lead(data: ReportData, words: Words) -> Iterator[str]:
    if data.deletions_left_out:
        yield words.say("lead.left_out", n=data.deletions_left_out)
    if data.counts.created and data.invitations is Invitations.MAILED:
        yield words.say("lead.invited", n=data.counts.created)
    if data.counts.created and data.invitations is Invitations.NO_PAGE:
        yield words.say("lead.no_invitations", n=data.counts.created)
    if data.counts.deferred:
        yield words.say("lead.deferred", n=data.counts.deferred)
    if data.seats and data.seats.missing:
        yield words.say("lead.missing_seats", n=data.seats.missing)


def _plan_lead(data: ReportData, words: Words) -> Iterator[str]:
    if data.limit:
        yield words.say("lead.limit", floor=data.limit.floor, percent=data.limit.percent)
    if data.counts.deleted:
        yield words.say("lead.would_delete", n=data.counts.deleted)
    if data.counts.deferred:
        yield words.say("lead.would_defer", n=data.counts.deferred)


def _what(data: ReportData, words: Words) -> str:
    return _reason_text(data, words, "what")


def _cure(data: ReportData, words: Words) -> str:
    return _reason_text(data, words, "cure")


def _reason_text(data: ReportData, words: Words, part: str) -> str:
    word, _, detail = ("no_file" if data.outcome is Outcome.NO_FILE else data.reason).partition(":")
    known = word if word and words.has(f"reason.{word}") else "unknown"
    return words.say(
        f"reason.{known}.{part}",
        detail=plain(detail),
        path=plain(data.file_path),
        message=plain(data.message or data.reason, longest=500),
    )


def _decisions(data: ReportData, words: Words) -> Iterator[tuple[str, str]]:
    """Give the commands that the reader may now want, each with what it does."""
    run, deletes = plain(data.run), data.counts.deleted > 0
    if data.outcome is Outcome.HELD and not data.decided:
        yield f"muster runs show {run} --changes", words.say("decision.show")
        yield f"muster runs approve {run}", words.say("decision.approve" if deletes else "decision.approve_all")
        if deletes:
            yield f"muster runs approve {run} --without-deletions", words.say("decision.without_deletions")
        yield f"muster runs discard {run}", words.say("decision.discard")
    if data.outcome is Outcome.PLANNED:
        yield f"muster runs show {run} --changes", words.say("decision.show")
        yield f"muster source enable {plain(data.source)}", words.say("decision.enable")
    if data.outcome is Outcome.UNDONE:
        yield f"muster runs show {plain(data.undoes)} --changes", words.say("decision.show_undone")
        yield f"muster source enable {plain(data.source)}", words.say("decision.enable")
    if data.outcome is Outcome.APPLIED and data.seats and data.seats.missing:
        seats = data.seats.total + data.seats.missing
        yield f"muster license set --tenant {plain(data.tenant)} --seats {seats}", words.say("decision.seats")
    if data.outcome is Outcome.APPLIED and data.counts.created and data.invitations is Invitations.NO_PAGE:
        yield f"muster tenant update {plain(data.tenant)} --accept-url https://…", words.say("decision.accept_url")
    if data.counts.rejected > len(data.rejected):
        yield f"muster runs show {run} --issues", words.say("decision.issues")


def _facts(data: ReportData, words: Words) -> Iterator[tuple[str, str]]:
    yield words.say("fact.tenant"), plain(data.tenant_name)
    yield words.say("fact.source"), plain(data.source_name)
    if data.file_name:
        yield words.say("fact.file"), neutral(data.file_name)
    yield words.say("fact.status"), words.say(f"status.{data.outcome.value}")
    if data.reason:
        yield words.say("fact.reason"), plain(data.reason)
    if data.reason and (details := figures.said(plain(data.message, longest=2_000), words)):
        yield words.say("fact.details"), details
    if data.dry_run:
        yield words.say("fact.dry_run"), words.say("fact.dry_run_yes")
    if data.seats:
        seats = words.say("fact.seats_value", used=data.seats.used, total=data.seats.total, left=data.seats.left)
        yield words.say("fact.seats"), seats
    ended = {Outcome.HELD: "held", Outcome.PLANNED: "planned"}.get(data.outcome, "ended")
    yield words.say(f"fact.{ended}"), words.moment(data.ended_at, data.time_zone)
    yield words.say("fact.run"), plain(data.run)
    if data.undoes:
        yield words.say("fact.undone_run"), plain(data.undoes)


def _rejected_notes(data: ReportData, words: Words) -> Iterator[str]:
    attached = len(data.rejected)
    if data.rejected_file:
        yield words.say("caption.attachment", name=ATTACHMENT_NAME)
        yield words.say("caption.mend")
        if data.counts.rejected > sections.MOST_REJECTED:
            yield words.say("caption.rejected_more", n=data.counts.rejected - sections.MOST_REJECTED)
        if not data.rejected_file_is_whole:
            yield f"{words.say('caption.rejected_part')} `muster runs rejected {plain(data.run)}`"
        return
    if attached:
        yield words.say("caption.attachment", name=ATTACHMENT_NAME)
    if attached > sections.MOST_REJECTED:
        yield words.say("caption.rejected_more", n=attached - sections.MOST_REJECTED)
    if data.counts.rejected > attached:
        missing = words.say("caption.rejected_not_attached", n=data.counts.rejected - attached)
        yield f"{missing} `muster runs show {plain(data.run)} --issues`"
