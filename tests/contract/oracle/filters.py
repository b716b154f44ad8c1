"""Filters about people and groups that are there, with every operator."""

from __future__ import annotations

import json

from hypothesis import strategies as st

from tests.contract.oracle.dialects import ENTERPRISE

_NAMES = st.sampled_from(
    [
        *("userName", "displayName", "title", "nickName", "name.givenName", "name.familyName", "externalId", "id"),
        *("emails.value", "emails.type", "phoneNumbers.value", "meta.resourceType", "locale"),
        *(f"{ENTERPRISE}:department", f"{ENTERPRISE}:employeeNumber", f"{ENTERPRISE}:manager.value"),
    ]
)
_WORDS = st.sampled_from(
    [
        *(
            "p1@example.org",
            "P2@EXAMPLE.ORG",
            "p",
            "example",
            "m1@mail.example.org",
            "ann",
            "Ann",
            "ß",
            "SS",
            "%_",
            "%",
        ),
        *('say "hi"', "group-1", "Group 1", "work", "fax", "User", "ext-1", "é", "", "usr_00001r", "Doctor", "e"),
    ]
)
_OPERATORS = st.sampled_from(["eq", "ne", "co", "sw", "ew", "gt", "ge", "lt", "le"])


def _compared(name: str, operator: str, word: str) -> str:
    return f"{name} {operator} {json.dumps(word)}"


_comparisons = st.builds(_compared, _NAMES, _OPERATORS, _WORDS)
_references = st.builds(  # rule `references`: by these two operators alone
    _compared, st.sampled_from(["groups.value", "members.value", "members"]), st.sampled_from(["eq", "ne"]), _WORDS
)
_presences = st.builds("{} pr".format, _NAMES | st.sampled_from(["groups", "members"]))
_truths = st.builds("active {} {}".format, st.sampled_from(["eq", "ne"]), st.sampled_from(["true", "false"]))
_inside = st.builds(_compared, st.sampled_from(["type", "value"]), _OPERATORS, _WORDS)
_selections = st.builds("{}[{}]".format, st.sampled_from(["emails", "phoneNumbers"]), _inside)


def _joined(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    both = st.builds("({}) {} ({})".format, children, st.sampled_from(["and", "or"]), children)
    return both | st.builds("not ({})".format, children)


filters = st.recursive(_comparisons | _references | _presences | _truths | _selections, _joined, max_leaves=3)
"""Texts of filters."""
