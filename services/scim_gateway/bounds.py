"""Refuse what would take long to read before it is read: filters, paths, projections and PATCHes without end.

Reading them is the gateway's own work, in which no other tenant's request gets a turn, so it is counted first: for a
request as a whole, at the cost of looking at its text once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from scim2_models import InvalidFilterException, InvalidPathException, InvalidValueException, SCIMException

from services.scim_gateway.errors import TooManyOperationsException

MOST_TERMS = 200
"""`and`, `or`, `not` and parentheses in all filters and paths of a request."""
MOST_NAMES = 100
"""Attributes that `attributes` and `excludedAttributes` name."""
MOST_OPERATIONS = 200
"""Operations of a PATCH that speak of more than members, more in a bulk request."""
MOST_MEMBER_OPERATIONS = 5_000
"""Operations of a PATCH that speak of members only, each of which costs little."""
IN_A_BULK = 5
"""How many times as many operations a bulk request's PATCHes may have together."""

_QUOTED = re.compile(r'"(?:[^"\\]+|\\.)*+"?', re.DOTALL)
_TERM = re.compile(r"\(|\b(?:and|or|not)\b", re.IGNORECASE)
_OF_MEMBERS = re.compile(r"\s*(?:urn:ietf:params:scim:schemas:core:2\.0:group:)?members\b", re.IGNORECASE)


class Bounds:
    """What one request may still ask for."""

    def __init__(self, *, is_bulk: bool = False) -> None:
        factor = IN_A_BULK if is_bulk else 1
        self._terms = MOST_TERMS
        self._operations = MOST_OPERATIONS * factor
        self._member_operations = MOST_MEMBER_OPERATIONS * factor

    def count_filter(self, text: str) -> None:
        """Count a filter. Errors: InvalidFilterException."""
        self._count_terms(
            text,
            InvalidFilterException(
                detail=f"The filter is too large: it may have at most {MOST_TERMS} of and, or, not and parentheses. "
                "Ask in several requests."
            ),
        )

    def count_operations(self, operations: Iterable[Any]) -> None:
        """Count a PATCH's operations and what their paths select by. Errors: SCIMException, of status 413 or 400."""
        too_large = InvalidPathException(
            detail=f"The paths of this request are too large: all of them together may have at most {MOST_TERMS} of "
            "and, or, not and parentheses. Send several requests."
        )
        for operation in operations:
            if not isinstance(operation, dict):
                continue
            path = next((value for key, value in operation.items() if key.lower() == "path"), None)
            is_of_members = isinstance(path, str) and _OF_MEMBERS.match(path) is not None
            if is_of_members:
                self._member_operations -= 1
            else:
                self._operations -= 1
            if isinstance(path, str):
                self._count_terms(path, too_large)
            value = next((value for key, value in operation.items() if key.lower() == "value"), None)
            for key in value if isinstance(value, dict) else ():
                self._count_terms(key, too_large)
        if self._operations < 0 or self._member_operations < 0:
            raise TooManyOperationsException

    def _count_terms(self, text: str, too_large: SCIMException) -> None:
        bare = _QUOTED.sub("", text)
        self._terms -= len(_TERM.findall(bare)) + max(0, bare.count("[") - 1)
        if self._terms < 0:
            raise too_large


def once_each(query: Mapping[str, str]) -> dict[str, str]:
    """Name each attribute of a projection once. Errors: InvalidValueException when there are too many."""
    bounded = dict(query)
    for name in ("attributes", "excludedAttributes"):
        if name in query:
            bounded[name] = ",".join(bounded_names(query[name].split(",")))
    return bounded


def bounded_names(names: Iterable[str]) -> list[str]:
    """Give each name once. Errors: InvalidValueException when there are too many."""
    each = list(dict.fromkeys(name.strip() for name in names))
    if len(each) > MOST_NAMES:
        raise InvalidValueException(detail=f"At most {MOST_NAMES} attributes can be asked for by name.")
    return each
