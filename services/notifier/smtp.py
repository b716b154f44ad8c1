"""Hand a mail over: to a mail server by SMTP, or as an .eml file where no server is configured."""

from __future__ import annotations

import asyncio
import email.policy
import os
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from pathlib import Path
from typing import Protocol

import aiosmtplib

from services.notifier.messages import Message
from services.notifier.safe import plain
from services.notifier.settings import Settings

_TIMEOUT_S = 60.0
_LOGIN_CODES = (530, 534, 535, 538)
"""Answers that speak of our login and not of the message: they end when somebody corrects the settings."""


class DeliveryError(Exception):
    """A message was not handed over; the text is what the other side said."""


class ServerUnreachableError(DeliveryError):
    """Nothing can be handed over now: no connection, no login, no disk."""


class DeferredError(DeliveryError):
    """The server wants this message later (4xx)."""


class RefusedError(DeliveryError):
    """The server never wants this message (5xx), or it cannot be written as a mail."""


class Transport(Protocol):
    """A way out for mails."""

    async def hand_over(self, mail: EmailMessage, *, recipient: str) -> None:
        """Hand one mail over for good; a `DeliveryError` says why that was not possible."""

    async def rest(self) -> None:
        """Give connections back: there is nothing to hand over for now."""


def transport_of(settings: Settings) -> Transport:
    """Choose SMTP where a host is set, else files."""
    if settings.smtp_host:
        return SmtpTransport(settings)
    assert settings.mail_dir is not None  # settings insist on one of the two
    return FileTransport(settings.mail_dir)


def compose(message: Message, sender: str) -> EmailMessage:
    """Write a message as a mail, the same in every repeat. `RefusedError` when it cannot be addressed."""
    mail = EmailMessage(policy=email.policy.SMTP)
    try:
        mail["From"] = sender
        mail["To"] = message.recipient
        mail["Subject"] = message.subject
        mail["Message-ID"] = message.message_id
    except (ValueError, IndexError) as error:  # the parser of addresses raises both for broken ones
        raise RefusedError("this is no mail address") from error
    if [address.addr_spec for address in mail["To"].addresses] != [message.recipient] or "@" not in message.recipient:
        raise RefusedError("this is no mail address")
    mail["Date"] = format_datetime(message.create_time)
    mail["Auto-Submitted"] = "auto-generated"
    if message.urgent:
        mail["Importance"] = "high"
        mail["X-Priority"] = "1"
    mail.set_content(message.text)
    mail.add_alternative(message.html, subtype="html")
    if message.attachment_name:
        mail.add_attachment(
            message.attachment,
            maintype="text",
            subtype="csv",
            filename=message.attachment_name,
            params={"charset": "utf-8"},
        )
    return mail


class FileTransport:
    """Writes `.eml` files, named after their Message-ID: a repeat replaces its file, and no half file is ever seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def hand_over(self, mail: EmailMessage, *, recipient: str) -> None:  # noqa: ARG002 - the mail says to whom
        """Write the file and make it durable. Errors: `ServerUnreachableError` when the disk does not take it."""
        try:
            await asyncio.to_thread(self._write, mail)
        except OSError as error:
            raise ServerUnreachableError(f"cannot write into {self._folder}: {error.strerror}") from error

    async def rest(self) -> None:
        """Nothing is kept open."""

    def _write(self, mail: EmailMessage) -> None:
        name = str(mail["Message-ID"]).strip("<>").partition("@")[0]
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f".{name}.part"
        with part.open("wb") as file:
            file.write(mail.as_bytes())
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._folder / f"{name}.eml")
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class SmtpTransport:
    """Keeps one connection to the mail server while there is something to hand over."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sender = parseaddr(settings.sender)[1]
        self._client: aiosmtplib.SMTP | None = None

    async def hand_over(self, mail: EmailMessage, *, recipient: str) -> None:
        """Send one mail. Errors: `ServerUnreachableError`, `DeferredError`, `RefusedError`."""
        client = await self._connected()
        try:
            await client.send_message(mail, sender=self._sender, recipients=[recipient])
        except aiosmtplib.SMTPRecipientsRefused as error:
            await self._reset(client)
            raise _sorted(error.recipients[0]) from error
        except aiosmtplib.SMTPResponseException as error:
            await self._reset(client)
            raise _sorted(error) from error
        except aiosmtplib.SMTPNotSupported as error:
            raise RefusedError(plain(str(error))) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            self._drop()
            raise ServerUnreachableError(_said(error)) from error
        except ValueError as error:  # an address that cannot be put on the wire
            raise RefusedError(plain(str(error))) from error

    async def rest(self) -> None:
        """Say goodbye to the server."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            await client.quit()
        except (aiosmtplib.SMTPException, OSError):
            client.close()

    async def _connected(self) -> aiosmtplib.SMTP:
        if self._client is not None and self._client.is_connected:
            return self._client
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.smtp_host,
            port=settings.smtp_port_or_usual,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            username=settings.smtp_username or None,
            password=settings.smtp_password.get_secret_value() or None,
            timeout=_TIMEOUT_S,
        )
        try:
            await client.connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            client.close()
            raise ServerUnreachableError(_said(error)) from error
        self._client = client
        return client

    async def _reset(self, client: aiosmtplib.SMTP) -> None:
        """End the refused transaction, so that the next mail begins a new one on the same connection."""
        try:
            await client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _sorted(error: aiosmtplib.SMTPResponseException | aiosmtplib.SMTPRecipientRefused) -> DeliveryError:
    said = _said(error)
    if error.code in _LOGIN_CODES or error.code == 421:  # 421: the server is closing down
        return ServerUnreachableError(said)
    return RefusedError(said) if error.code >= 500 else DeferredError(said)


def _said(error: Exception) -> str:
    """Keep what the other side said, short and on one line."""
    code = getattr(error, "code", None)
    text = str(getattr(error, "message", "") or error or type(error).__name__)
    return plain(f"{code} {text}" if isinstance(code, int) else text, longest=300)
