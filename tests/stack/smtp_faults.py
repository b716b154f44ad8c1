"""Mail servers that fail at a step of the conversation, as a test wants it, or insist on TLS and a login."""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, syntax
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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


@dataclass(frozen=True)
class Authority:
    """A self-signed certificate of `localhost`."""

    certificate: Path
    key: Path


def self_signed(folder: Path) -> Authority:
    """Make a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = Authority(folder / "certificate.pem", folder / "key.pem")
    files.certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


class SecureSink(SmtpSink):
    """Takes mails by TLS alone, and from one login alone; `way` is `tls` or `starttls`."""

    def __init__(self, authority: Authority, *, way: str, username: str, password: str) -> None:
        super().__init__()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(authority.certificate, authority.key)
        self._way = way
        self._login = (username.encode(), password.encode())

    def protocol(self) -> SMTP:
        """Make what speaks to one client."""
        starttls = self._way == "starttls"
        return SMTP(
            self,
            hostname="sink.test",
            tls_context=self._context if starttls else None,
            require_starttls=starttls,
            auth_required=starttls,  # aiosmtpd warns of a required login without STARTTLS, also where all is TLS
            auth_require_tls=starttls,
            authenticator=self._authenticate,
        )

    def _authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, login: Any) -> AuthResult:
        return AuthResult(success=(login.login, login.password) == self._login)

    async def _listen(self) -> asyncio.Server:
        context = self._context if self._way == "tls" else None
        return await asyncio.get_running_loop().create_server(self.protocol, "localhost", self.port, ssl=context)
