"""Turn the warning of missing seats into a mail. Pure: nothing is read and nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator

from services.notifier.footer import why
from services.notifier.license_warning import LicenseWarning
from services.notifier.mail import STANDARD, Mail, Templates
from services.notifier.marks import STRANGER, named
from services.notifier.safe import neutral, plain
from services.notifier.words import Words

QUARANTINE_FAILURES = 5_000
"""Failures after which Entra ID stops a job."""
URGENT_WAITING = 1_000
"""People without a seat from whom on the warning is urgent."""


def render_warning(warning: LicenseWarning, templates: Templates = STANDARD) -> Mail:
    """Render the warning in its language."""
    words = templates.words(warning.language)
    seats, waiting = warning.seats, warning.waiting
    wrong = words.say("license.subject", n=waiting, used=seats.used, total=seats.total)
    subject = f"[{plain(warning.tenant_name, longest=60)}] {wrong}"
    rest = waiting - len(warning.first)
    page = {
        "language": words.language,
        "say": words.say,
        "subject": subject,
        "headline": words.say("license.headline", n=waiting),
        "tone": "bad",
        "lead": list(_lead(warning, words)),
        "decisions": list(_decisions(warning, words)),
        "link": f"{warning.admin_url}/{warning.license}" if warning.admin_url else "",
        "link_label": words.say("license.link"),
        "facts_heading": words.say("heading.seats"),
        "facts": list(_facts(warning, words)),
        "waiting": [named(neutral(user_name)) or words.say("people.nameless") for user_name in warning.first],
        "more": words.say("people.more", n=rest) if rest > 0 else "",
        "footer": why(
            words,
            tenant_name=warning.tenant_name,
            source_name=warning.source_name,
            to_administrators=warning.to_administrators,
        ),
    }
    text, html = templates.fill("license", page)
    return Mail(subject=subject, text=text, html=html, urgent=waiting >= URGENT_WAITING, mentions=(STRANGER,))


def _lead(warning: LicenseWarning, words: Words) -> Iterator[str]:
    """Say in sentences what is wrong, what to do, and why it should be soon."""
    missing = warning.seats.missing
    yield words.say("license.what", n=warning.waiting)
    yield words.say("license.missing", n=missing) if missing else words.say("license.enough")
    yield words.say("license.next_cycle", n=warning.waiting)
    if missing:
        yield words.say("license.quarantine", failures=QUARANTINE_FAILURES)


def _decisions(warning: LicenseWarning, words: Words) -> Iterator[tuple[str, str]]:
    """Give the commands that the reader may now want, each with what it does."""
    tenant, seats = plain(warning.tenant), warning.seats
    if seats.missing:
        enough = seats.total + seats.missing
        yield f"muster license set --tenant {tenant} --seats {enough}", words.say("decision.seats")
    yield f"muster license refused --tenant {tenant}", words.say("license.list")


def _facts(warning: LicenseWarning, words: Words) -> Iterator[tuple[str, str]]:
    seats = warning.seats
    yield words.say("fact.tenant"), plain(warning.tenant_name)
    yield words.say("fact.source"), plain(warning.source_name)
    yield words.say("license.waiting"), words.number(warning.waiting)
    yield (
        words.say("fact.seats"),
        words.say("fact.seats_value", used=seats.used, total=seats.total, left=seats.left),
    )
