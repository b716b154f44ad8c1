"""What leaving does: product.md's table of that name, as data that single writes and the import engine read."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from services.directory.rules.ownership import Party

SLEEP_OF_A_DAY: Final = timedelta(hours=24)
"""How long manual memberships wait for somebody who lost the last SCIM group (S7)."""

RESTORABLE_FOR: Final = timedelta(days=90)
"""How long a deleted user can come back, and is then erased (R34)."""

DORMANT_FOR: Final = timedelta(days=90)
"""How long a user sleeps before it is deleted (S7)."""


class WayOut(enum.IntEnum):
    """How a user left; `users.way_out` keeps it."""

    NONE = 0
    NOT_IN_FILE = 1
    DEACTIVATED = 2
    LAST_GROUP_GONE = 3
    SCIM_DELETED = 4
    BY_HAND = 5
    DETACHED = 6
    LONG_DORMANT = 7


class StateAfter(enum.IntEnum):
    """What a user is after leaving; the numbers are those of the contract's UserState."""

    DELETED = 2
    DORMANT = 3


class Fate(enum.Enum):
    """What becomes of a membership when its user leaves."""

    END = "end"
    SLEEP = "sleep"
    SLEEP_A_DAY = "sleep_a_day"


class Return(enum.Enum):
    """What brings a user back."""

    FILE = "file"
    """The file has the id again (R34)."""
    ACTIVATION = "activation"
    """`active: true` (S6)."""
    SCIM_GROUP = "scim_group"
    """The next add to a SCIM group (S7)."""
    SCIM_POST = "scim_post"
    """The connection creates the user again (S6)."""
    BY_HAND = "by_hand"
    """`user restore`."""


@dataclass(frozen=True)
class Leaving:
    """One row of the table."""

    state: StateAfter
    fates: Mapping[Party, Fate]
    """What becomes of memberships, by who made them."""
    returns: frozenset[Return]

    @property
    def is_deletion(self) -> bool:
        """Whether the user is gone for every source: keys end, and nothing sleeps."""
        return self.state is StateAfter.DELETED


def _fates(*, scim: Fate = Fate.END, file: Fate = Fate.END, manual: Fate = Fate.END) -> Mapping[Party, Fate]:
    return MappingProxyType({Party.SCIM: scim, Party.FILE: file, Party.MANUAL: manual})


_EVERYTHING_ENDS: Final = _fates()
_DELETED_BY_SOMEBODY: Final = Leaving(
    StateAfter.DELETED, _EVERYTHING_ENDS, frozenset({Return.FILE, Return.SCIM_POST, Return.BY_HAND})
)

LEAVING: Final[Mapping[WayOut, Leaving]] = MappingProxyType(
    {
        WayOut.NOT_IN_FILE: Leaving(StateAfter.DELETED, _EVERYTHING_ENDS, frozenset({Return.FILE, Return.BY_HAND})),
        WayOut.DEACTIVATED: Leaving(StateAfter.DORMANT, _fates(scim=Fate.SLEEP), frozenset({Return.ACTIVATION})),
        WayOut.LAST_GROUP_GONE: Leaving(
            StateAfter.DORMANT, _fates(manual=Fate.SLEEP_A_DAY), frozenset({Return.SCIM_GROUP})
        ),
        WayOut.SCIM_DELETED: _DELETED_BY_SOMEBODY,
        WayOut.BY_HAND: _DELETED_BY_SOMEBODY,
        WayOut.DETACHED: _DELETED_BY_SOMEBODY,
        WayOut.LONG_DORMANT: _DELETED_BY_SOMEBODY,
    }
)
"""Way out → what it does. S6, S7, S8, R32, R34."""
