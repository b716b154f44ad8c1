"""Say at a mail's end why its reader gets it."""

from __future__ import annotations

from services.notifier.safe import plain
from services.notifier.words import Words


def why(words: Words, *, tenant_name: str, source_name: str = "", to_administrators: bool = False) -> str:
    """Say it of a mail about a source, or about what concerns all sources of a tenant."""
    names = {"tenant": plain(tenant_name), "source": plain(source_name)}
    if to_administrators:
        return words.say("footer.administrator" if source_name else "footer.administrator_of_all", **names)
    return words.say("footer.why" if source_name else "footer.tenant", **names)
