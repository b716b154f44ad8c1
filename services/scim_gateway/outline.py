"""Write a request's outline: ids, operators and names of attributes that a schema has; never a value (S13).

Each word of an outline comes out of a list, so that it holds for any input: what is in none of the lists becomes `?`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import islice
from typing import Any

import orjson
from scim2_server.utils import load_json_resource

from services.scim_gateway.entra import MISSPELT_ENTERPRISE_SCHEMA
from services.scim_gateway.schemas import ENTERPRISE_SCHEMA, GROUP_SCHEMA, USER_SCHEMA

_LONGEST = 900
_LARGEST_BODY = 256 * 1024
_MOST_PARTS = 10
_MOST_WORDS = 60
_ID = re.compile(r"(?:usr|grp)_[0-9a-z]{4,24}")
_COUNT = re.compile(r"[0-9]{1,6}")
_WORDS = re.compile(r'"(?:[^"\\]|\\.)*"?|[()\[\]]|[^\s()\[\]"]+')
_OPERATORS = frozenset(
    ("eq", "ne", "co", "sw", "ew", "pr", "gt", "ge", "lt", "le", "and", "or", "not", "true", "false", "null")
)
_OPS = frozenset(("add", "remove", "replace"))
_METHODS = frozenset(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"))
_PLACES = {
    name.lower(): name
    for name in ("Users", "Groups", "Bulk", "Me", "Schemas", "ResourceTypes", "ServiceProviderConfig", ".search")
}
_PARAMETERS = {
    name.lower(): name
    for name in (
        *("filter", "attributes", "excludedAttributes", "sortBy", "sortOrder", "startIndex", "count", "cursor"),
        *("aadOptscim062020", "AzureAdScimPatch2017"),
    )
}
_PREFIXES = {
    f"{USER_SCHEMA}:": "",
    f"{GROUP_SCHEMA}:": "",
    f"{ENTERPRISE_SCHEMA}:": "enterprise:",
    f"{MISSPELT_ENTERPRISE_SCHEMA}:": "enterprise:",
}
_COMMON = (
    *("id", "externalId", "schemas", "$ref"),
    *("meta", "resourceType", "created", "lastModified", "location", "version"),
)


def method_outline(method: str) -> str:
    """Write the method, if it is one."""
    return method.upper() if method.upper() in _METHODS else "OTHER"


def path_outline(path: str, query: Mapping[str, str]) -> str:
    """Write path and query: `/Users?filter=userName eq ?&startIndex=1`."""
    parts = [_place(part) for part in path.strip("/").split("/") if part]
    said = [_parameter(name, value) for name, value in islice(query.items(), _MOST_PARTS)]
    return _cut("/" + "/".join(parts[:4]) + ("?" + "&".join(said) if said else ""))


def body_outline(body: bytes) -> str:
    """Write what a body speaks of: `userName, emails x2`, or `replace active; add members x3`."""
    if len(body) > _LARGEST_BODY:
        return f"a body of {len(body) // 1024} KiB"
    try:
        said = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        return "no JSON"
    return _cut(_object(said)) if isinstance(said, dict) else "no object"


def filter_outline(text: str) -> str:
    """Write a filter or a path with its attributes and operators: `emails[type eq ?].value`; it need not be valid."""
    words = [_word(match[0]) for match in islice(_WORDS.finditer(text), _MOST_WORDS)]
    joined = " ".join(words)
    for apart, together in ((" [", "["), ("[ ", "["), (" ]", "]"), ("( ", "("), (" )", ")"), ("] .", "].")):
        joined = joined.replace(apart, together)
    return joined


def _object(said: Mapping[str, Any]) -> str:
    named = {key.lower(): value for key, value in said.items()}
    operations = named.get("operations")
    if isinstance(operations, list):
        write = _bulk if any(isinstance(each, dict) and "method" in each for each in operations) else _patch
        return write([each for each in operations if isinstance(each, dict)])
    if isinstance(named.get("filter"), str):
        return f"filter {filter_outline(named['filter'])}"
    return _names(said)


def _word(text: str) -> str:
    if text in "()[]":
        return text
    if text.startswith('"'):
        return text.strip('"') if _ID.fullmatch(text.strip('"')) else "?"
    return text.lower() if text.lower() in _OPERATORS else attribute_outline(text)


def attribute_outline(text: str) -> str:
    """Write an attribute's name as its schema has it; `?` for what is none."""
    prefix = ""
    for urn, short in _PREFIXES.items():
        if f"{text.lower()}:" == urn.lower():
            return short.strip(":") or "?"
        if text.lower().startswith(urn.lower()):
            prefix, text = short, text[len(urn) :]
            break
    lead = "." if text.startswith(".") else ""
    names = [_attributes().get(part.lower()) for part in text.removeprefix(".").split(".")]
    return f"{prefix}{lead}{'.'.join(map(str, names))}" if len(names) <= 2 and all(names) else "?"


@cache
def _attributes() -> dict[str, str]:
    """Every name of an attribute or a part of one, by its lower case."""
    names = set(_COMMON)
    for document in load_json_resource("default-schemas.json"):
        for attribute in document["attributes"]:
            names |= {attribute["name"], *(part["name"] for part in attribute.get("subAttributes", ()))}
    return {name.lower(): name for name in names}


def _place(text: str) -> str:
    return text if _ID.fullmatch(text) else _PLACES.get(text.lower(), "?")


def _parameter(name: str, value: str) -> str:
    known = _PARAMETERS.get(name.lower(), "")
    if known in {"attributes", "excludedAttributes", "sortBy"}:
        return f"{known}={','.join(attribute_outline(each.strip()) for each in value.split(',')[:20])}"
    if known == "filter":
        return f"filter={filter_outline(value)}"
    if known in {"startIndex", "count"}:
        return f"{known}={value if _COUNT.fullmatch(value) else '?'}"
    return known or "?"


def _patch(operations: list[dict[str, Any]]) -> str:
    parts = [_operation({key.lower(): value for key, value in each.items()}) for each in operations[:_MOST_PARTS]]
    return "; ".join(parts) + _more(len(operations))


def _operation(said: Mapping[str, Any]) -> str:
    op, path, value = str(said.get("op", "")).lower(), said.get("path"), said.get("value")
    what = op if op in _OPS else "?"
    if isinstance(path, str) and path.strip():
        what += f" {filter_outline(path)}"
    elif isinstance(value, dict):
        what += f" {{{_names(value)}}}"
    return f"{what} x{len(value)}" if isinstance(value, list) else what


def _bulk(operations: list[dict[str, Any]]) -> str:
    counts = Counter(_bulk_operation(each) for each in operations)
    return ", ".join(f"{what} x{count}" for what, count in list(counts.items())[:_MOST_PARTS]) + _more(len(counts))


def _bulk_operation(said: Mapping[str, Any]) -> str:
    place = str(said.get("path", "")).strip("/").partition("/")[0]
    return f"{method_outline(str(said.get('method', '')))} {_PLACES.get(place.lower(), '?')}"


def _names(said: Mapping[str, Any]) -> str:
    """Write which attributes an object has, how many values those have, and how many more there are."""
    parts: list[str] = []
    unknown = 0
    for key, value in islice(said.items(), 100):
        name = filter_outline(key) if "[" in key else attribute_outline(key)
        if name == "?":
            unknown += 1
        elif isinstance(value, list) and name != "schemas":
            parts.append(f"{name} x{len(value)}")
        elif name == "enterprise" and isinstance(value, dict):
            parts.append(f"enterprise {{{_listed(attribute_outline(each) for each in islice(value, 20))}}}")
        elif name != "schemas":
            parts.append(name)
    return _listed([*parts, *([f"? x{unknown}"] if unknown else [])])


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _more(number: int) -> str:
    return f" and {number - _MOST_PARTS} more" if number > _MOST_PARTS else ""


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} and more"
