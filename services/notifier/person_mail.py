"""Word a letter to a person: an invitation, a lost password, a changed address. Pure: nothing is read or sent."""

from __future__ import annotations

from collections.abc import Iterator

from services.notifier.mail import STANDARD, Mail, Templates
from services.notifier.marks import LINK
from services.notifier.people import RESET_HOURS, Letter, Occurrence
from services.notifier.safe import neutral, plain
from services.notifier.words import Words

_TONES = {Occurrence.MAIL_WAS: "wait", Occurrence.MAIL_IS: "wait", Occurrence.TAKEN_OVER: "wait"}
_WITHOUT_LINK = (Occurrence.MAIL_WAS, Occurrence.MAIL_IS)


def render_letter(letter: Letter, templates: Templates = STANDARD) -> Mail:
    """Render the letter in its language; where a link belongs stands `LINK`."""
    words = templates.words(letter.language)
    tenant, about = plain(letter.tenant_name, longest=60), f"person.{letter.occurrence.value}"
    subject = f"[{tenant}] {words.say(f'{about}.subject')}"
    page = {
        "language": words.language,
        "say": words.say,
        "subject": subject,
        "headline": words.say(f"{about}.headline"),
        "tone": _TONES.get(letter.occurrence, "calm"),
        "lead": list(_lead(letter, words)),
        "decisions": [],
        "link": "" if letter.occurrence in _WITHOUT_LINK else LINK,
        "link_label": "" if letter.occurrence in _WITHOUT_LINK else words.say(f"{about}.link"),
        "link_notes": list(_link_notes(letter, words)),
        "facts_heading": words.say("heading.about"),
        "facts": list(_facts(letter, words)),
        "footer": words.say("footer.person", tenant=plain(letter.tenant_name)),
    }
    text, html = templates.fill("letter", page)
    return Mail(subject=subject, text=text, html=html)


def _lead(letter: Letter, words: Words) -> Iterator[str]:
    name = neutral(letter.name, longest=100)
    yield words.say("person.greeting", name=name) if name else words.say("person.greeting_nameless")
    values = {"tenant": plain(letter.tenant_name), "source": plain(letter.source_name) or plain(letter.tenant_name)}
    yield words.say(f"person.{letter.occurrence.value}.lead", **values)


def _link_notes(letter: Letter, words: Words) -> Iterator[str]:
    """Say how long the link lives and what to do with a mail that one did not expect."""
    if letter.occurrence in {Occurrence.INVITED, Occurrence.INVITED_AGAIN} and letter.until:
        yield words.say("person.until", date=f"{letter.until:%Y-%m-%d}")
    elif letter.occurrence not in _WITHOUT_LINK:
        yield words.say("person.hours", n=RESET_HOURS)
    yield words.say(f"person.{letter.occurrence.value}.otherwise", tenant=plain(letter.tenant_name))


def _facts(letter: Letter, words: Words) -> Iterator[tuple[str, str]]:
    """Show the reader's own address whole, and the other one so that only who knows it knows it again."""
    yield words.say("fact.tenant"), plain(letter.tenant_name)
    if letter.occurrence not in _WITHOUT_LINK:
        yield words.say("fact.mail"), plain(letter.recipient)
        return
    was, now = letter.old_email, letter.new_email
    of_old = letter.occurrence is Occurrence.MAIL_WAS
    yield words.say("fact.old_mail"), plain(was) if of_old else masked(was)
    yield words.say("fact.new_mail"), masked(now) if of_old else plain(now)


def masked(address: str) -> str:
    """Hide an address from who does not know it: `a***@e***.org`."""
    local, _, domain = plain(address).rpartition("@")
    name, dot, top = domain.rpartition(".")
    return f"{local[:1]}***@{name[:1] or top[:1]}***{dot}{top if dot else ''}"
