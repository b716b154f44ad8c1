"""A mail server that fails at a step of the conversation, as a test wants it for each mail."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Any

from aiosmtpd.smtp import SMTP, syntax

from tests.stack.smtp import SmtpSink


class Step(enum.Enum):
    """How far a conversation has come."""

    CONNECTED = "connected"
    SENDER = "sender"
    RECIPIENT = "recipient"
    DATA = "data"
    """The client wants to send the mail itself."""
    WHOLE = "whole"
    """The mail has arrived and is kept; the client has not been told."""
    TOLD = "told"
    """The client has been told that the mail is taken."""


DROP = "drop"
"""What to answer at a step to have the connection cut."""

AtStep = Callable[[Step, str], str | None]
"""Is asked at each step, with the recipient as far as it is known: None goes on, DROP cuts, other text is answered."""


class FaultySink(SmtpSink):
    """Asks `at_step` what to do at each step."""

    def __init__(self, at_step: AtStep = lambda _step, _recipient: None) -> None:
        super().__init__()
        self.at_step = at_step

    def protocol(self) -> SMTP:
        """Make what speaks to one client."""
        return _Conversation(self, hostname="sink.test", enable_SMTPUTF8=True)

    async def handle_MAIL(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        """Answer the sender."""
        answer = _said(server, self.at_step(Step.SENDER, ""))
        if answer is None:
            envelope.mail_from, answer = address, "250 OK"
            envelope.mail_options.extend(options)
        return answer

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        """Answer a recipient."""
        answer = _said(server, self.at_step(Step.RECIPIENT, address))
        if answer is None:
            envelope.rcpt_tos.append(address)
            answer = "250 OK"
        return answer

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802
        """Keep one mail."""
        await super().handle_DATA(server, session, envelope)
        return _said(server, self.at_step(Step.WHOLE, envelope.rcpt_tos[0])) or "250 OK"


class _Conversation(SMTP):
    """Asks at the steps that aiosmtpd gives no handler for."""

    @syntax("DATA")
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802
        recipient = self.envelope.rcpt_tos[0] if self.envelope and self.envelope.rcpt_tos else ""
        sink = self.event_handler
        answer = _said(self, sink.at_step(Step.DATA, recipient))
        if answer is not None:
            await self.push(answer)
            return
        await super().smtp_DATA(arg)
        _said(self, sink.at_step(Step.TOLD, recipient))

    async def _handle_client(self) -> None:
        if _said(self, self.event_handler.at_step(Step.CONNECTED, "")) is None:
            await super()._handle_client()


def _said(server: SMTP, answer: str | None) -> str | None:
    if answer == DROP:
        assert isinstance(server.transport, asyncio.WriteTransport)
        server.transport.abort()
    return answer
