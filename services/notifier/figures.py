"""Say a run's message in the reader's language: which limits a plan passes, by the directory's own sentences (R8)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.notifier import causes
from services.notifier.safe import neutral
from services.notifier.words import Words

_FORMS = {
    "older_than_last": r"The file's newest TimeStamp, (?P<moment>[\d: -]+ UTC), is older than that of the last applied"
    r" file\.",
    "left_out": r"(?P<n>\d+) people whose deletion was left out before would be deleted\.",
    "deleted": r"(?P<n>\d+) of (?P<of>\d+) people would be deleted\.",
    "mail_changed": r"(?P<n>\d+) of (?P<of>\d+) people would get another mail address\.",
    "rekeyed": r"(?P<n>\d+) of (?P<of>\d+) people would get another UniqueID\.",
    "taken_over": r"(?P<n>\d+) people made by hand would be taken over\.",
    "leave_group": r'(?P<n>\d+) of (?P<of>\d+) people would leave the group "(?P<group>.+?)"\.(?= |$)',
    "created": r"(?P<n>\d+) people would be added to (?P<of>\d+)\.",
    "administrators": r"(?P<n>\d+) administrators? would be taken over\.",
    "column": r"(?P<n>\d+) of (?P<of>\d+) people would have a (?P<column>\w+), where (?P<usual>\d+) usually have one\.",
    "domain": r"(?P<n>\d+) of (?P<of>\d+) people would have a mail address at (?P<domain>\S+), where (?P<usual>\d+)"
    r" usually do\.",
    "group": r'The group "(?P<group>.+?)" would shrink from (?P<before>\d+) people to (?P<after>\d+)\.',
    "groups_more": r"So would (?P<n>\d+) more groups\.",
    "rejects": r"(?P<n>\d+) of (?P<of>\d+) rows cannot be used; the file was refused as a whole\.",
}
_SENTENCES = [(name, re.compile(form)) for name, form in _FORMS.items()]


def said(message: str, words: Words) -> str:
    """Say each sentence of a run's message; what is none of them stays as the directory wrote it.

    A message that says no more than a report says anyhow of the run's reason gives nothing.
    """
    message = message.strip()
    if causes.is_said_anyhow(message):
        return ""
    return causes.said(message, words) or " ".join(_sentences(message, words))


def _sentences(message: str, words: Words) -> Iterator[str]:
    while message:
        found = next(((name, match) for name, form in _SENTENCES if (match := form.match(message))), None)
        if found is None:
            yield message
            return
        name, match = found
        yield words.say(f"figures.{name}", **{key: _value(value) for key, value in match.groupdict().items()})
        message = message[match.end() :].lstrip()


def _value(text: str) -> object:
    return int(text) if text.isdecimal() else neutral(text, longest=100)
