"""Put what the libraries say of a request into the words of whoever reads it in the identity provider's log."""

from __future__ import annotations

import re

from pydantic import ValidationError

_REWORDED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"Input should be (?:an object|a valid dictionary.*)"), "The body must be a JSON object."),
    (re.compile(r"Invalid JSON: (.+)|(?=.* at line [0-9]+ column [0-9]+)(.+)"), r"The body is no JSON: \1\2."),
    (
        re.compile(r"No (?:SCIM endpoint|resource type found) at '/*(.*?)/*'", re.DOTALL),
        r"Nothing is served at /\1. Check the base URL, which ends with /scim/v2.",
    ),
    (
        re.compile(r"Field '([^']+)' is required but value is missing, null or empty"),
        r"\1: is required, and missing, null or empty.",
    ),
    (re.compile(r"operations attribute is required"), "Operations: is required, and missing, null or empty."),
    (
        re.compile(r"Field not found: (.+)"),
        r"No attribute of this kind of resource is called \1: correct the attribute mapping.",
    ),
)
_REWORDED += (
    (
        re.compile(r"Field '([^']+)' has ([0-9]+) items marked as primary, .+"),
        r"\1: \2 of the values are primary, and one at most may be: correct the attribute mapping.",
    ),
    (re.compile(r"the value written to '' must be an object"), "value: without a path it must be an object."),
    (
        re.compile(r"required attribute cannot be removed"),
        "A required attribute, such as userName, cannot be removed: correct the attribute mapping.",
    ),
    (
        re.compile(r"the value of a remove must be non-empty objects, on a path without a filter"),
        "A removal says in its path alone what goes, or by value which of several: correct the attribute mapping.",
    ),
    (
        re.compile(r"'([^']+)' is (?:read-only|immutable)"),
        r"\1: cannot be changed: take it out of the attribute mapping.",
    ),
    (re.compile(r"schemas must contain the base schema '([^']+)'"), r"schemas: must name \1."),
    (re.compile(r"Cannot sort on '(.+)'", re.DOTALL), r"sortBy: \1 is nothing to sort by."),
    (
        re.compile(r"Failed to update\. Resource has changed on the server"),
        "The resource has changed since this version was read. Read it again and repeat the change.",
    ),
)
_PREFIXES = {"invalidFilter": "The filter cannot be answered", "invalidPath": "A path cannot be read"}
_ABOUT = re.compile(r"(?P<said>.+): (?P<path>[A-Za-z$][\w$.\[\]:]*)", re.DOTALL)
_LONGEST = 1_000


def in_words_of_scim(invalid: ValidationError) -> str:
    """Say the first thing that is wrong with a value: the attribute, and what it should be."""
    first = invalid.errors(include_url=False)[0]
    name = re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), ".".join(map(str, first["loc"])))
    return f"{name}: {_plain(first['msg'])}"


def worded(detail: str, scim_type: str | None = None) -> str:
    """Reword what a library said; what is a sentence already is ours, and stays."""
    text = detail.strip()[:_LONGEST]
    for pattern, plain in _REWORDED:
        if found := pattern.fullmatch(text):
            return found.expand(plain)
    if not text or text.endswith("."):
        return text
    if scim_type in _PREFIXES:
        return f"{_PREFIXES[scim_type]}: {_plain(text)}"
    if found := _ABOUT.fullmatch(text):
        return f"{found['path']}: {_plain(found['said'])}"
    return _plain(text)


def _plain(said: str) -> str:
    said = said.removeprefix("Value error, ").replace("excluded_attributes", "excludedAttributes")
    said = re.sub(r"^Input should be a valid integer\b.*", "must be a whole number", said)
    said = re.sub(r"^Input should be ", "must be ", said)
    said = re.sub(r"^must be (?:an object|a valid dictionary)\b.*", "must be an object", said)
    said = re.sub(r"^must be a valid (?:array|list)\b.*", "must be a list", said)
    return said if said.endswith((".", "!", "?")) else f"{said}."
