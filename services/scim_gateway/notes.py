"""What is to be said of one request on its log line: never a name, a value or a key."""

from __future__ import annotations

from dataclasses import dataclass, field

from muster.directory.v1 import scim_activity_pb2 as pb

from services.scim_gateway.problems import PROBLEMS
from services.scim_gateway.quirks import QUIRKS


@dataclass
class Notes:
    """Filled while a request is served."""

    quirks: dict[str, None] = field(default_factory=dict)
    """Names of the rewrites that the request needed (`entra.QUIRKS`), in order."""
    owned_by_file: bool = False
    """The request spoke of a user whom a file owns: nothing was changed (S14)."""
    reason: str = ""
    """Why it was refused: scimType, where there is one."""

    problem: str = ""
    """The same as a word of `problems.PROBLEMS`."""
    effects: dict[str, int] = field(default_factory=dict)
    """What changed in the register: kinds of events, and how many of each."""

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

    def request(self) -> pb.ScimRequest:
        """What the activity log is told of it."""
        problem = PROBLEMS.get(self.problem)
        effects = {**self.effects, **({"owned_by_file": 1} if self.owned_by_file else {})}
        return pb.ScimRequest(
            scim_type=self.reason,
            problem=self.problem,
            detail=problem.detail if problem else "",
            cure=problem.cure if problem else "",
            quirks=[pb.ScimQuirk(name=name, cure=QUIRKS[name]) for name in self.quirks],
            effects=[pb.ScimEffect(kind=kind, count=count) for kind, count in effects.items()],
        )
