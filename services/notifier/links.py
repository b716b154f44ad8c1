"""Have the links made that open something, at the moment a mail goes: they are kept nowhere."""

from __future__ import annotations

import grpc
import grpc.aio
from muster.directory.v1 import credentials_pb2, credentials_pb2_grpc, invitations_pb2, invitations_pb2_grpc
from muster.runtime.errors import failure_of

from services.notifier.deliver import LinkLaterError, LinkMissingError, ObsoleteError
from services.notifier.messages import Message, MessageKind

_OBSOLETE = frozenset({"NOT_FOUND", "USER_STATE", "INVITATION_STATE"})
"""Reasons that say that the person, or the invitation, is no longer there to be written to."""
_MISSING = frozenset({"ACCEPT_URL_MISSING"})


class Links:
    """Asks the directory for links."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._credentials = credentials_pb2_grpc.CredentialServiceStub(channel)
        self._invitations = invitations_pb2_grpc.InvitationServiceStub(channel)

    async def link_of(self, message: Message) -> str:
        """Give the message's link. Errors: ObsoleteError, LinkMissingError, LinkLaterError."""
        try:
            return await self._minted(message)
        except grpc.aio.AioRpcError as error:
            reason = failure_of(error).reason
            if reason in _OBSOLETE:
                raise ObsoleteError(f"the directory answered {reason}") from error
            if reason in _MISSING:
                raise LinkMissingError(f"the directory answered {reason}") from error
            raise LinkLaterError(f"the directory answered {reason}") from error

    async def _minted(self, message: Message) -> str:
        if message.kind == MessageKind.INVITATION:
            invitation = invitations_pb2.MintInvitationLinkRequest(name=message.about)
            return (await self._invitations.MintInvitationLink(invitation)).url
        if message.kind in {MessageKind.LOGIN_AGAIN, MessageKind.PASSWORD_RESET}:
            password = credentials_pb2.MintPasswordResetLinkRequest(user=message.about)
            return (await self._credentials.MintPasswordResetLink(password)).url
        return ""
