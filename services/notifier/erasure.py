"""Take a person out of the messages that are kept, and out of those that wait to be sent."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, delete, update
from sqlmodel import Session, col, select

from services.notifier.marks import STRANGER, without_person
from services.notifier.tables import PERSONAL, Mention, Message, MessageState

NO_BODIES: dict[str, Any] = {"text": "", "html": "", "attachment_name": "", "attachment": b""}
_NOWHERE: dict[str, Any] = {"recipient": "", "subject": "", "last_error": "", "claim": ""}


def erase(session: Session, tenant: str, user: str) -> None:
    """Take a person out; the rows stay. What was to be written to the person is not sent any more.

    A report that names the person loses the name and is sent all the same. So does one that names strangers, such as
    those of rejected rows: one of them may be the person. What is attached of the tenant's goes for the same reason.
    """
    mentioned = select(Mention.message).where(Mention.tenant == tenant, Mention.user == user)
    written_to = update(Message).where(col(Message.key).in_(mentioned), col(Message.kind).in_(PERSONAL))
    run = session.connection().execute
    run(written_to.where(col(Message.state) == MessageState.QUEUED).values({"state": MessageState.OBSOLETE}))
    run(written_to.values({**NO_BODIES, **_NOWHERE}))
    _take_out(session, tenant, user)
    run(delete(Mention).where(col(Mention.tenant) == tenant, col(Mention.user) == STRANGER))
    with_rows = update(Message).where(col(Message.tenant) == tenant, col(Message.attachment_name) != "")
    run(with_rows.values({"attachment_name": "", "attachment": b""}))


def _take_out(session: Session, tenant: str, user: str) -> None:
    """Write the reports anew that name the person, or strangers.

    One that should name the person and has no mark of it was stored by an older version: it is not kept, nor sent.
    """
    mentioned = select(Mention.message).where(Mention.tenant == tenant, col(Mention.user).in_((user, STRANGER)))
    by_name = select(Mention.message).where(Mention.tenant == tenant, Mention.user == user)
    reports = select(Message.key, Message.text, Message.html, col(Message.key).in_(by_name)).where(
        col(Message.key).in_(mentioned), col(Message.kind).not_in(PERSONAL), Message.text != ""
    )
    anew, unmarked = list[dict[str, Any]](), list[int]()
    run = session.connection().execute
    for key, text, html, names_person in run(reports):
        now = {"of": key, "text": without_person(text, user), "html": without_person(html, user)}
        if (now["text"], now["html"]) != (text, html):
            anew.append(now)
        elif names_person:
            unmarked.append(key)
    if anew:
        one = update(Message).where(col(Message.key) == bindparam("of"))
        run(one.values(text=bindparam("text"), html=bindparam("html")), anew)
    if unmarked:
        old = update(Message).where(col(Message.key).in_(unmarked))
        waits = col(Message.state) == MessageState.QUEUED
        run(old.where(waits).values({"state": MessageState.OBSOLETE, "claim": ""}))
        run(old.values(NO_BODIES))
