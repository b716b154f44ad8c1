"""What is to be said of one request on its log line: never a name, a value or a key."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Notes:
    """Filled while a request is served."""

    quirks: dict[str, None] = field(default_factory=dict)
    """Names of the rewrites that the request needed (`entra.QUIRKS`), in order."""
    owned_by_file: bool = False
    """The request spoke of a user whom a file owns: nothing was changed (S14)."""
    reason: str = ""
    """Why it was refused: scimType, where there is one."""

    def quirk(self, name: str) -> None:
        """Remember that this rewrite was needed."""
        self.quirks[name] = None

    def fields(self) -> dict[str, object]:
        """What goes onto the log line."""
        found: dict[str, object] = {}
        if self.quirks:
            found["quirks"] = list(self.quirks)
        if self.owned_by_file:
            found["owned_by_file"] = True
        if self.reason:
            found["reason"] = self.reason
        return found
