"""What only some of a user's states allow."""

from __future__ import annotations

from services.directory.rules.errors import UserStateError
from services.directory.store.tables import UserState


def require_active(state: int) -> None:
    """Refuse for somebody who is out. Errors: UserStateError."""
    if state != UserState.ACTIVE:
        raise UserStateError(state=UserState(state).name.lower(), needed="active")
