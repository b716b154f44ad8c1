"""Write a stored message as the bytes of a mail, the same in every repeat."""

from __future__ import annotations

import base64
import binascii
import email.policy
import hashlib
import html
import re
from codecs import BOM_UTF8
from dataclasses import dataclass
from email.headerregistry import AddressHeader, BaseHeader, HeaderRegistry
from email.utils import format_datetime, parseaddr
from functools import lru_cache
from typing import cast

from services.notifier.marks import LINK, unmarked
from services.notifier.messages import Message

_PARSE = HeaderRegistry()
_POLICY = email.policy.SMTP
_PLAIN_ADDRESS = re.compile(r"[A-Za-z0-9_+-]+(\.[A-Za-z0-9_+-]+)*@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
"""What needs no parser of addresses to be known as one: nearly all."""


class NoAddressError(Exception):
    """What the message is to be sent to, or by, is no mail address."""


@dataclass(frozen=True)
class WrittenMail:
    """A mail as it is handed over, lines ended by CRLF; `is_utf8`: only to servers that take SMTPUTF8 (RFC 6531)."""

    message_id: str
    content: bytes
    is_utf8: bool = False


def compose(message: Message, sender: str, *, link: str = "") -> WrittenMail:
    """Write a message as a mail, its link put in. Errors: NoAddressError.

    The bytes are put together here and not by `email.message`, which took half of a processor's time for a mail.
    """
    is_utf8 = not (message.recipient.isascii() and _address(sender).isascii())
    head = [
        _header("From", sender, is_utf8=is_utf8),
        _recipient(message.recipient, is_utf8=is_utf8),
        _header("Subject", message.subject, is_utf8=is_utf8),
        _header("Message-ID", message.message_id, is_utf8=is_utf8),
        f"Date: {format_datetime(message.create_time)}\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "Importance: high\r\nX-Priority: 1\r\n" if message.urgent else "",
        "MIME-Version: 1.0\r\n",
    ]
    words = [
        _text_part(unmarked(message.text).replace(LINK, link), "plain"),
        _text_part(unmarked(message.html).replace(LINK, html.escape(link)), "html"),
    ]
    mark = f"=_{hashlib.blake2b(message.message_id.encode(), digest_size=10).hexdigest()}"
    body = _several("alternative", words, f"{mark}_0")
    if message.attachment_name:
        body = _several("mixed", [body, _csv_part(message.attachment, message.attachment_name)], f"{mark}_1")
    return WrittenMail(message.message_id, "".join(head).encode() + body, is_utf8)


@lru_cache(maxsize=8)
def _address(sender: str) -> str:
    return parseaddr(sender)[1]


def _several(kind: str, parts: list[bytes], boundary: str) -> bytes:
    """Put parts together. No line of one is the boundary: quoted-printable and base64 write no `=_`."""
    mark = f"--{boundary}".encode()
    head = f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode()
    return head + b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _text_part(text: str, kind: str) -> bytes:
    lines = "\r\n".join(text.splitlines()) + "\r\n"
    head = f'Content-Type: text/{kind}; charset="utf-8"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n'
    return head.encode() + binascii.b2a_qp(lines.encode())


def _csv_part(content: bytes, name: str) -> bytes:
    charset = '; charset="utf-8"' if content.startswith(BOM_UTF8) else ""  # else it is the customer's own encoding
    disposition = _header("Content-Disposition", f'attachment; filename="{name}"')
    head = f"Content-Type: text/csv{charset}\r\nContent-Transfer-Encoding: base64\r\n{disposition}\r\n"
    return head.encode() + base64.encodebytes(content).replace(b"\n", b"\r\n")


def _recipient(recipient: str, *, is_utf8: bool) -> str:
    """Write to whom: one bare address."""
    if _PLAIN_ADDRESS.fullmatch(recipient) and len(recipient) < 70:
        return f"To: {recipient}\r\n"
    try:
        to = _PARSE("To", recipient)
    except (ValueError, IndexError) as error:  # the parser of addresses raises both for broken ones
        raise NoAddressError from error
    addresses = cast("AddressHeader", to).addresses
    if [address.addr_spec for address in addresses] != [recipient] or "@" not in recipient:
        raise NoAddressError
    return _folded(to, is_utf8=is_utf8)


@lru_cache(maxsize=256)
def _header(name: str, value: str, *, is_utf8: bool = False) -> str:
    """Write a header, folded and encoded; most of a mail's are those of the mail before. Errors: NoAddressError."""
    try:
        return _folded(_PARSE(name, value), is_utf8=is_utf8)
    except (ValueError, IndexError) as error:
        raise NoAddressError from error


def _folded(header: BaseHeader, *, is_utf8: bool) -> str:
    return str(header.fold(policy=_POLICY.clone(utf8=is_utf8)))
