"""A mail server that keeps what it gets, and can refuse, defer or be away."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Self

from aiosmtpd.smtp import SMTP

from tests.stack.loop import LoopThread

ACCEPTED = "250 OK"
REFUSED = "550 5.7.1 refused by the test"
DEFERRED = "451 4.3.0 try again later"


@dataclass(frozen=True)
class ReceivedMail:
    """One mail as it came over the wire, with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    message: EmailMessage

    @property
    def subject(self) -> str:
        """The subject, decoded."""
        return str(self.message["Subject"])

    @property
    def message_id(self) -> str:
        """The Message-ID."""
        return str(self.message["Message-ID"])

    @property
    def text(self) -> str:
        """The plain text part."""
        body = self.message.get_body(preferencelist=("plain",))
        return str(body.get_content()) if body else ""

    @property
    def html(self) -> str:
        """The HTML part."""
        body = self.message.get_body(preferencelist=("html",))
        return str(body.get_content()) if body else ""


class SmtpSink:
    """Takes every mail; tests tell theirs apart by recipient."""

    def __init__(self, *, listen_on: str = "127.0.0.1") -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.answer = ACCEPTED
        self._listen_on = listen_on
        self._mails: list[ReceivedMail] = []
        self._came = threading.Condition()
        self._loop = LoopThread("smtp-sink")
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()
        self._loop.stop()

    def go_away(self) -> None:
        """Stop to listen, as a mail server that is down."""
        if self._server is not None:
            self._loop.run(self._close(self._server))
            self._server = None

    def come_back(self) -> None:
        """Listen again, on the same port."""
        if self._server is None:
            self._server = self._loop.run(self._listen())
            self.port = self._server.sockets[0].getsockname()[1]

    def mails(self, to: str) -> Sequence[ReceivedMail]:
        """Everything that was accepted for this recipient, in order of arrival."""
        with self._came:
            return [mail for mail in self._mails if to in mail.recipients]

    def everything(self) -> Sequence[ReceivedMail]:
        """Everything that was accepted, in order of arrival."""
        with self._came:
            return list(self._mails)

    def wait_for(self, count: int, *, to: str, timeout_s: float = 30.0) -> Sequence[ReceivedMail]:
        """Wait until at least `count` mails have come for `to`, and give them all."""
        deadline = time.monotonic() + timeout_s
        with self._came:
            while len(found := [mail for mail in self._mails if to in mail.recipients]) < count:
                if not self._came.wait(deadline - time.monotonic()):
                    subjects = [mail.subject for mail in found]
                    raise AssertionError(f"{len(found)} of {count} mails within {timeout_s:g} s: {subjects}")
            return found

    def protocol(self) -> SMTP:
        """Make what speaks to one client."""
        return SMTP(self, hostname="sink.test", enable_SMTPUTF8=True)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep one mail, or answer as the test wants."""
        if self.answer == ACCEPTED:
            message = message_from_bytes(envelope.content, policy=policy.default)
            with self._came:
                self._mails.append(ReceivedMail(envelope.mail_from, tuple(envelope.rcpt_tos), message))
                self._came.notify_all()
        return self.answer

    async def _listen(self) -> asyncio.Server:
        return await asyncio.get_running_loop().create_server(self.protocol, self._listen_on, self.port)

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        await server.wait_closed()
