"""The importer and the directory, which trusts nobody, read a mail address alike: the same person here and there."""

import pytest

from services.directory.rules import contact
from services.directory.rules.checks import InvalidValueError
from services.importer import cells

LONG = "a" * 64


def by_the_directory(text):
    try:
        return contact.parse_email(text)
    except InvalidValueError:
        return None


def by_the_importer(text):
    try:
        return cells.canonical_mail(text)
    except (cells.MailInvalidError, cells.MailMixedScriptError):
        return None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("ann@example.org", "ann@example.org"),
        ("Ann.Berg+crisis@Example.ORG", "ann.berg+crisis@example.org"),
        ("ann@sub-domain.example.org", "ann@sub-domain.example.org"),
        ("ann@school.test", "ann@school.test"),
        ("ann@caf\u00e9.example", "ann@xn--caf-dma.example"),
        ("\u00e5sa@example.org", "\u00e5sa@example.org"),
        ("o'hara@example.org", "o'hara@example.org"),
        (f"{LONG}@example.org", f"{LONG}@example.org"),
        (f"{LONG}a@example.org", None),
        (f"ann@{'b' * 64}.org", None),
        (f"ann@{'.'.join(['b' * 60] * 5)}.org", None),
        ("ann@-example.org", None),
        ("ann@example-.org", None),
        ("ann@exa--mple.org", "ann@exa--mple.org"),
        ("ann@example.o2", None),
        ("ann@localhost", None),
        ("ann..berg@example.org", None),
        (".ann@example.org", None),
        ("ann@example.org.", None),
        ("ann@[192.0.2.1]", None),
        ("Ann <ann@example.org>", None),
        ("ann@example.org,bo@example.org", None),
        ("ann@example@org", None),
        ("ann", None),
        ("", None),
    ],
)
def test_r18_both_read_an_address_alike(text, read):
    assert (by_the_importer(text), by_the_directory(text)) == (read, read)


def test_r18_both_have_one_form_that_needs_no_closer_look():
    ours, theirs = cells._PLAIN_MAIL, contact._PLAIN
    assert ours.pattern == theirs.pattern
    assert ours.flags == theirs.flags
