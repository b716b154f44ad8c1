"""Word a notice to those who look after sources. Pure: nothing is read and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

from services.notifier.failures import explained
from services.notifier.footer import why
from services.notifier.mail import STANDARD, Mail, Templates
from services.notifier.notices import Notice, Subject
from services.notifier.safe import plain
from services.notifier.words import Words


def render_notice(notice: Notice, templates: Templates = STANDARD) -> Mail:
    """Render the notice in its language."""
    words = templates.words(notice.language)
    about = f"notice.{notice.subject.value}"
    values = _values(notice)
    subject = f"[{plain(notice.tenant_name, longest=60)}] {words.say(f'{about}.subject', **values)}"
    page = {
        "language": words.language,
        "say": words.say,
        "subject": subject,
        "headline": words.say(f"{about}.headline", **values),
        "tone": "wait" if notice.subject in {Subject.NEAR_FULL, Subject.KEY_EXPIRES} and not notice.urgent else "bad",
        "lead": list(_lead(notice, words, values)),
        "decisions": list(_decisions(notice, words)),
        "link": f"{notice.admin_url}/{plain(notice.about)}" if notice.admin_url else "",
        "link_label": words.say("decision.panel"),
        "problems": list(explained(notice.failures, words)) if notice.failures else [],
        "facts_heading": words.say("heading.about"),
        "facts": list(_facts(notice, words)),
        "footer": why(
            words,
            tenant_name=notice.tenant_name,
            source_name=notice.source_name,
            to_administrators=notice.readers.are_administrators,
        ),
    }
    text, html = templates.fill("notice", page)
    return Mail(subject=subject, text=text, html=html, urgent=notice.urgent)


def _values(notice: Notice) -> dict[str, object]:
    seats = notice.seats
    return {
        "source": plain(notice.source_name, longest=60),
        "used": seats.used if seats else 0,
        "total": seats.total if seats else 0,
        "n": seats.left if seats else 0,
        "key_id": plain(notice.key_id),
        "requests": notice.failures.requests if notice.failures else 0,
        "failures": notice.failures.failures if notice.failures else 0,
        "date": f"{notice.key_ends_at:%Y-%m-%d}" if notice.key_ends_at else "",
    }


def _lead(notice: Notice, words: Words, values: dict[str, object]) -> Iterator[str]:
    """Say in sentences what it means, and what to do."""
    about = f"notice.{notice.subject.value}"
    if notice.failures and notice.failures.is_locked_out:
        about = f"{about}_key"
    yield words.say(f"{about}.lead_file" if notice.is_file else f"{about}.lead", **values)
    yield words.say(f"{about}.cure", **values)


def _decisions(notice: Notice, words: Words) -> Iterator[tuple[str, str]]:
    """Give the commands that the reader may now want, each with what it does."""
    tenant, source = plain(notice.tenant), plain(notice.source)
    if notice.subject is Subject.PAUSED:
        yield f"muster source resume {source}", words.say("decision.resume")
    elif notice.subject is Subject.FAILING:
        if notice.failures and notice.failures.is_locked_out:
            yield f"muster scim-key create --source {source}", words.say("decision.new_key")
        yield f"muster scim activity --source {source} --errors", words.say("decision.activity")
    elif notice.subject is Subject.KEY_EXPIRES:
        yield f"muster scim-key rotate {plain(notice.key)}", words.say("decision.rotate")
    else:
        yield f"muster license show --tenant {tenant}", words.say("decision.license")


def _facts(notice: Notice, words: Words) -> Iterator[tuple[str, str]]:
    yield words.say("fact.tenant"), plain(notice.tenant_name)
    if notice.source_name:
        yield words.say("fact.source"), plain(notice.source_name)
    if notice.happened_at:
        yield words.say("fact.since"), words.moment(notice.happened_at, notice.time_zone)
    if notice.by:
        yield words.say("fact.by"), words.say("fact.by_guard") if notice.guarded else plain(notice.by)
    if notice.guarded:
        people, active = notice.guarded
        yield words.say("fact.guard"), words.say("fact.guard_value", people=people, active=active)
    if notice.key_ends_at:
        yield words.say("fact.key"), plain(notice.key_id)
        yield words.say("fact.ends"), words.moment(notice.key_ends_at, notice.time_zone)
    if notice.seats:
        used, total, left = notice.seats.used, notice.seats.total, notice.seats.left
        yield words.say("fact.seats"), words.say("fact.seats_value", used=used, total=total, left=left)
