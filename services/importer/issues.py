"""Write issues of rows and of the file: the word, the cure, and a masked value that names nobody."""

from __future__ import annotations

import re

from muster.directory.v1 import imports_pb2

from services.importer import vocabulary

REJECTED = imports_pb2.ISSUE_SEVERITY_REJECTED
WARNING = imports_pb2.ISSUE_SEVERITY_WARNING
_LONGEST_KEY = 256
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_MAIL = re.compile(r"([^@\s])[^@]*@([^@\s])[^@]*?(\.[^.@\s]{1,24})?")


def rejection(line: int, key: str, code: str, *, column: str = "", value: str = "") -> imports_pb2.ImportIssue:
    """Say why a row is not used."""
    return _issue(REJECTED, line, key, code, column=column, value=value)


def warning(line: int, key: str, code: str, *, column: str = "", value: str = "") -> imports_pb2.ImportIssue:
    """Say what is wrong with a row, or with the file, that is used all the same."""
    return _issue(WARNING, line, key, code, column=column, value=value)


def masked(value: str) -> str:
    """Hide a value but for its first character; of a mail also the domain's first and its ending: `a***@e***.org`."""
    text = showable(value).strip()
    if not text:
        return ""
    mail = _MAIL.fullmatch(text)
    return f"{mail[1]}***@{mail[2]}***{mail[3] or ''}" if mail else f"{text[0]}***"


def showable(text: str) -> str:
    """Replace what cannot be shown or sent as UTF-8, and cut what is too long for a key."""
    return _UNSHOWABLE.sub("\ufffd", text[:_LONGEST_KEY])


def _issue(
    severity: imports_pb2.IssueSeverity.ValueType, line: int, key: str, code: str, *, column: str, value: str
) -> imports_pb2.ImportIssue:
    return imports_pb2.ImportIssue(
        line=line,
        key=key,
        severity=severity,
        code=code,
        column=column,
        masked_value=masked(value),
        message=vocabulary.sentence(code, column),
    )
