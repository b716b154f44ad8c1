"""Say what a call changed beside its answer: kinds and how many of each, in the trailing metadata."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

EFFECTS = "muster-effects"
_EFFECT = re.compile(r"([a-z_.]{1,64})=([0-9]{1,9})")


def effects_text(effects: Mapping[str, int]) -> str:
    """Write effects as the metadata has them: `user.dormant=1,membership.removed=3`."""
    return ",".join(f"{kind}={count}" for kind, count in effects.items())


def effects_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, int]:
    """Read a call's effects out of its trailing metadata; what is none is left out."""
    text = next((value for key, value in metadata or () if key == EFFECTS and isinstance(value, str)), "")
    if not text:  # as of everything that is read
        return {}
    found = (_EFFECT.fullmatch(part) for part in text.split(","))
    return {each[1]: int(each[2]) for each in found if each}
