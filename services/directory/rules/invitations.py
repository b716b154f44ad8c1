"""The figures of invitations (R36)."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

VALID_FOR: Final = timedelta(days=30)
"""How long an invitation is valid after it was made, or made again."""
