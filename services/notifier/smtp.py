"""Hand a mail over: to a mail server by SMTP, or as an .eml file where no server is configured."""

from __future__ import annotations

import asyncio
import os
import ssl
from email.utils import parseaddr
from pathlib import Path
from typing import Any, Protocol

import aiosmtplib
import stamina

from services.notifier.compose import WrittenMail
from services.notifier.safe import plain
from services.notifier.settings import Settings

_CONNECT_TRIES = 3
_LOGIN_CODES = (530, 534, 535, 538)
"""Answers that speak of our login and not of the message: they end when somebody corrects the settings."""


class DeliveryError(Exception):
    """A message was not handed over; the text is what the other side said."""


class ServerUnreachableError(DeliveryError):
    """Nothing can be handed over now: no connection, no login, no disk."""


class ConnectionLostError(DeliveryError):
    """The connection broke, or went silent, while this message was handed over; `in_doubt`: it may have been taken."""

    def __init__(self, said: str, *, in_doubt: bool) -> None:
        super().__init__(said)
        self.in_doubt = in_doubt


class DeferredError(DeliveryError):
    """The server wants this message later (4xx)."""


class RefusedError(DeliveryError):
    """The server never wants this message (5xx), or it cannot be written as a mail."""


class Transport(Protocol):
    """A way out for mails."""

    async def hand_over(self, mail: WrittenMail, *, recipient: str) -> None:
        """Hand one mail over for good; a `DeliveryError` says why that was not possible."""

    async def rest(self) -> None:
        """Give connections back: there is nothing to hand over for now."""


def transport_of(settings: Settings) -> Transport:
    """Choose SMTP where a host is set, else files."""
    if settings.smtp_host:
        return SmtpTransport(settings)
    assert settings.mail_dir is not None  # settings insist on one of the two
    return FileTransport(settings.mail_dir)


class FileTransport:
    """Writes `.eml` files, named after their Message-ID: a repeat replaces its file, and no half file is ever seen."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def hand_over(self, mail: WrittenMail, *, recipient: str) -> None:  # noqa: ARG002 - the mail says to whom
        """Write the file and make it durable. Errors: `ServerUnreachableError` when the disk does not take it."""
        try:
            await asyncio.to_thread(self._write, mail)
        except OSError as error:
            raise ServerUnreachableError(f"cannot write into {self._folder}: {error.strerror}") from error

    async def rest(self) -> None:
        """Nothing is kept open."""

    def _write(self, mail: WrittenMail) -> None:
        name = mail.message_id.strip("<>").partition("@")[0]
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f".{name}.part"
        with part.open("wb") as file:
            file.write(mail.content)
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
        self._sender = settings.bounce_address or parseaddr(settings.sender)[1]
        self._client: _Client | None = None

    async def hand_over(self, mail: WrittenMail, *, recipient: str) -> None:
        """Send one mail. Errors: `ServerUnreachableError`, `ConnectionLostError`, `DeferredError`, `RefusedError`."""
        client = await self._connected()
        try:
            async with asyncio.timeout(self._settings.smtp_timeout_s):
                options = ["SMTPUTF8"] if mail.is_utf8 or not self._sender.isascii() else []
                await client.sendmail(self._sender, [recipient], mail.content, mail_options=options)
        except aiosmtplib.SMTPRecipientsRefused as error:
            await self._reset(client)
            raise _sorted(error.recipients[0]) from error
        except aiosmtplib.SMTPResponseException as error:
            await self._reset(client)
            raise _sorted(error) from error
        except aiosmtplib.SMTPNotSupported as error:
            raise RefusedError(plain(str(error))) from error
        except (aiosmtplib.SMTPException, OSError) as error:  # a TimeoutError is an OSError
            self._drop()
            raise ConnectionLostError(_said(error), in_doubt=client.is_in_data) from error
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

    async def _connected(self) -> _Client:
        if self._client is not None and self._client.is_connected:
            return self._client
        try:
            async with asyncio.timeout(self._settings.smtp_timeout_s):
                # A server that restarts refuses connections for an instant; the outbox waits for longer troubles.
                async for attempt in stamina.retry_context(
                    on=ConnectionError, attempts=_CONNECT_TRIES, timeout=None, wait_initial=0.1, wait_max=1.0
                ):
                    with attempt:
                        self._client = await self._connect()
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise ServerUnreachableError(_said(error)) from error
        assert self._client is not None
        return self._client

    async def _connect(self) -> _Client:
        settings = self._settings
        client = _Client(
            hostname=settings.smtp_host,
            port=settings.smtp_port_or_usual,
            use_tls=settings.smtp_tls == "tls",
            start_tls=settings.smtp_tls == "starttls",
            tls_context=_tls_context(settings),
            username=settings.smtp_username or None,
            password=settings.smtp_password.get_secret_value() or None,
            timeout=settings.smtp_timeout_s,
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPConnectError as error:
            client.close()
            raise ConnectionError(_said(error)) from error
        except BaseException:
            client.close()
            raise
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


class _Client(aiosmtplib.SMTP):
    """Knows whether it is in the midst of DATA: a connection lost there leaves open whether the mail was taken."""

    is_in_data = False

    async def data(self, *args: Any, **kwargs: Any) -> aiosmtplib.SMTPResponse:
        """Send the mail itself."""
        self.is_in_data = True
        try:
            answer = await super().data(*args, **kwargs)
        except aiosmtplib.SMTPResponseException:
            self.is_in_data = False
            raise
        self.is_in_data = False
        return answer


def _tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Trust the system's authorities, or those of the file alone where one is set."""
    if settings.smtp_tls == "none" or settings.smtp_ca_file is None:
        return None
    return ssl.create_default_context(cafile=str(settings.smtp_ca_file))


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
