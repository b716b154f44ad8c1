"""Have the links made that open something, at the moment a mail goes: they are kept nowhere."""

from __future__ import annotations

import grpc
import grpc.aio
from muster.runtime.errors import failure_of

from services.notifier.deliver import LinkLaterError, LinkMissingError, ObsoleteError
from services.notifier.messages import Message, MessageKind

_OBSOLETE = frozenset({"NOT_FOUND", "USER_STATE", "INVITATION_STATE"})
"""Reasons that say that the person, or the invitation, is no longer there to be written to."""
_MISSING = frozenset({"ACCEPT_URL_MISSING"})


class Links:
    """Asks the directory for links."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

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
        if message.kind not in {MessageKind.INVITATION, MessageKind.LOGIN_AGAIN, MessageKind.PASSWORD_RESET}:
            return ""
        raise LinkMissingError("the directory makes no links yet")
