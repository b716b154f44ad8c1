"""Rewrite what identity providers send beside the standard into what they mean; each rewrite has a name, a quirk.

Most of it is Entra ID's. Rewriting happens before a request is read, so that everything behind it speaks plain SCIM.
"""

from __future__ import annotations

import re
from typing import Any

from scim2_models import SCIMException, ScimFilter
from scim2_models.path import AttrPath, Comparison, FilterNode, LogicalExpr, Not, Present, ValuePath

from services.scim_gateway.names import KNOWN_SCHEMAS, binding_of, note_name
from services.scim_gateway.quirks import Note
from services.scim_gateway.removals import tolerated_removal, without_stale_removals
from services.scim_gateway.schemas import ENTERPRISE_SCHEMA, GROUP_SCHEMA, USER, USER_SCHEMA
from services.scim_gateway.values import tolerated_boolean, tolerated_extension, tolerated_value

MISSPELT_ENTERPRISE_SCHEMA = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"
_MISSPELT = re.compile(r"urn:ietf:params:scim:schemas:extension:enterprise:2\.0User(?![A-Za-z0-9])", re.IGNORECASE)
_ENTERPRISE_NAMES = {
    name.lower(): name for name in ("employeeNumber", "costCenter", "organization", "division", "department", "manager")
}
_BOOLEAN_IN_BRACKETS = re.compile(r'\b(primary)(\s+(?:eq|ne)\s+)"(\w+)"', re.IGNORECASE)
_PLAIN_NAME = re.compile(r"[A-Za-z$][\w$-]*")
_OPS = ("add", "remove", "replace")
_PARTS = frozenset({"op", "path", "value"})

Json = dict[str, Any]


def tolerate_resource(kind: str, body: Any, note: Note) -> Any:
    """Rewrite the body of a POST or PUT."""
    if not isinstance(body, dict):
        return body
    resource = {_corrected_urn(key, note): value for key, value in body.items()}
    _correct_schemas(resource, note)
    if kind == USER:
        _qualify(resource, note)
    else:
        _name(resource)
    for key in resource:
        if _PLAIN_NAME.fullmatch(key) or key.lower() in KNOWN_SCHEMAS:
            note_name(kind, key, note)
        else:
            note("unknown_attribute")  # a path is no name, and what it says is not kept
    return {key: tolerated_value(kind, key, value, note) for key, value in resource.items()}


def note_missing_schemas(body: Json, note: Note) -> None:
    """Say so where a body does not say what it is."""
    if not any(value for key, value in body.items() if key.lower() == "schemas"):
        note("missing_schema")


def tolerate_patch(kind: str, body: Any, note: Note) -> Any:
    """Rewrite the body of a PATCH, operation by operation."""
    if not isinstance(body, dict):
        return body
    note_missing_schemas(body, note)
    key = next((key for key in body if key.lower() == "operations"), "")
    operations = body.get(key)
    if not isinstance(operations, list):
        return body
    rewritten = [
        _tolerated_operation(kind, part, note) if isinstance(part, dict) else part
        for each in operations
        for part in _by_path(each, note)
    ]
    return {**body, key: without_stale_removals(rewritten) if kind == USER else rewritten}


def _by_path(operation: Any, note: Note) -> list[Any]:
    """Part an operation without path: keys that select among values, `emails[type eq "work"].value`, become paths.

    As a key such a one would name no attribute, and what it says would be lost.
    """
    if not isinstance(operation, dict):
        return [operation]
    named = {key.lower(): key for key in operation}
    values = operation.get(named.get("value", ""))
    if str(operation.get(named.get("path", "")) or "").strip() or not isinstance(values, dict):
        return [operation]
    selecting = {key: value for key, value in values.items() if "[" in key}
    if not selecting:
        return [operation]
    note("dotted_keys")
    rest = {key: value for key, value in values.items() if key not in selecting}
    parts: list[Any] = [{**operation, named["value"]: rest}] if rest else []
    return parts + [
        {"op": operation.get(named.get("op", "")), "path": key, "value": selecting[key]} for key in selecting
    ]


def tolerate_filter(kind: str, text: str, note: Note) -> str:
    """Rewrite a filter; one that cannot be read stays, to be refused where filters are read."""
    if kind != USER:
        return text
    try:
        tree = ScimFilter[Any](text).ast
    except SCIMException:
        return text
    rewritten = _tolerated_tree(tree, note)
    return text if str(rewritten) == str(tree) else str(rewritten)  # to Python, 1 is True


def _tolerated_operation(kind: str, operation: Json, note: Note) -> Json:
    result = {key.lower(): value for key, value in operation.items()}
    if any(key.lower() in _PARTS and key not in _PARTS for key in operation):
        note("attribute_case")
    op = result.get("op")
    if isinstance(op, str) and op not in _OPS and op.lower() in _OPS:
        result["op"] = op.lower()
        note("op_case")
    path = result.get("path")
    if not path or (isinstance(path, str) and not path.strip()):
        result.pop("path", None)
        if isinstance(result.get("value"), dict):
            result["value"] = _tolerated_keys(kind, result["value"], note)
        return result
    if result.get("op") == "remove" and result.get("value"):
        note("remove_by_value")
    if isinstance(path, str):
        result["path"] = path = _tolerated_path(kind, path, note)
        if "value" in result:
            result["value"] = tolerated_value(kind, path, result["value"], note)
            _unassign(kind, result)
        if kind == USER and result.get("op") == "remove":
            return tolerated_removal(result, note)
    return result


def _unassign(kind: str, operation: Json) -> None:
    """Turn "set to nothing" into a removal, where nothing is not a value of the attribute's type."""
    if operation.get("op") == "remove" or operation["value"] is not None:
        return
    if operation["path"].lower().endswith("].value"):
        operation["value"] = ""  # an entry goes with its value; a removal would leave its labels behind
        return
    binding = binding_of(kind, operation["path"])
    if binding is not None:
        operation["op"] = "remove"
        del operation["value"]


def _tolerated_keys(kind: str, values: Json, note: Note) -> Json:
    """Rewrite the value of an operation without path."""
    if any("." in key.rpartition(":")[2] or key.lower().startswith(_PREFIXES) for key in values):
        note("dotted_keys")
    result: Json = {}
    for key, value in values.items():
        path = _tolerated_path(kind, key, note)
        if path.lower() == ENTERPRISE_SCHEMA.lower() and isinstance(value, dict):
            result[path] = tolerated_extension(value, note)
        else:
            result[path] = tolerated_value(kind, path, value, note)
    return result


_PREFIXES = (f"{ENTERPRISE_SCHEMA}:".lower(), f"{USER_SCHEMA}:".lower(), f"{GROUP_SCHEMA}:".lower())


def _tolerated_path(kind: str, path: str, note: Note) -> str:
    path = _corrected_urn(path.strip(), note)

    def plain(found: re.Match[str]) -> str:
        value = tolerated_boolean(found[3], note)
        return f"{found[1]}{found[2]}{str(value).lower()}" if isinstance(value, bool) else found[0]

    rewritten = _BOOLEAN_IN_BRACKETS.sub(plain, path)
    head = re.match(r"[A-Za-z]+", rewritten)
    if kind == USER and head and head[0].lower() in _ENTERPRISE_NAMES:
        note("unqualified_enterprise")
        rewritten = f"{ENTERPRISE_SCHEMA}:{rewritten}"
    note_name(kind, rewritten, note)
    return rewritten


def _correct_schemas(resource: Json, note: Note) -> None:
    note_missing_schemas(resource, note)
    key = next((key for key in resource if key.lower() == "schemas"), "")
    schemas = resource.get(key)
    if not isinstance(schemas, list):
        return
    corrected = [_corrected_urn(each, note) if isinstance(each, str) else each for each in schemas]
    known = [each for each in corrected if not isinstance(each, str) or each.lower() in KNOWN_SCHEMAS]
    if len(known) < len(corrected) and known:
        note("foreign_schema")
        corrected = known
    if resource.get(ENTERPRISE_SCHEMA) and known and ENTERPRISE_SCHEMA not in corrected:
        note("missing_schema")
    resource[key] = list(dict.fromkeys(corrected)) if all(isinstance(each, str) for each in corrected) else corrected


def _qualify(resource: Json, note: Note) -> None:
    """Put enterprise attributes that stand among the core ones where they belong."""
    loose = [key for key in resource if key.lower() in _ENTERPRISE_NAMES]
    moved = {_ENTERPRISE_NAMES[key.lower()]: value for key in loose if (value := resource.pop(key))}
    if moved:
        note("unqualified_enterprise")
        extension = resource.get(ENTERPRISE_SCHEMA)
        resource[ENTERPRISE_SCHEMA] = {**moved, **extension} if isinstance(extension, dict) else moved


def _name(group: Json) -> None:
    """Call a group without displayName by its Group ID (S3)."""
    names = {key.lower(): key for key in group}
    external_id = group.get(names.get("externalid", ""))
    if external_id and not group.get(names.get("displayname", "")):
        group.pop(names.get("displayname", ""), None)
        group["displayName"] = external_id


def _corrected_urn(text: str, note: Note) -> str:
    corrected = _MISSPELT.sub(ENTERPRISE_SCHEMA, text)
    if corrected != text:
        note("misspelt_enterprise_urn")
    return corrected


def _tolerated_tree(node: FilterNode, note: Note) -> FilterNode:
    if isinstance(node, Comparison):
        name = _tolerated_name(node.attr_path, note, compared=True)
        return Comparison(name, node.op, _tolerated_operand(name, node.value, note))
    if isinstance(node, Present):
        return Present(_tolerated_name(node.attr_path, note, compared=False))
    if isinstance(node, Not):
        return Not(_tolerated_tree(node.expr, note))
    if isinstance(node, LogicalExpr):
        return LogicalExpr(node.op, tuple(_tolerated_tree(term, note) for term in node.terms))
    assert isinstance(node, ValuePath)
    return node


def _tolerated_operand(name: AttrPath, value: Any, note: Note) -> Any:
    """Rewrite what an attribute is compared with, where it is true or false."""
    binding = binding_of(USER, str(name))
    is_flag = binding is not None and isinstance(binding.target_type, type) and issubclass(binding.target_type, bool)
    return tolerated_boolean(value, note) if is_flag and value is not None else value


def _tolerated_name(name: AttrPath, note: Note, *, compared: bool) -> AttrPath:
    uri, attr, sub = name.uri, name.attr, name.sub_attr
    if uri is None and attr.lower() in _ENTERPRISE_NAMES:
        note("unqualified_enterprise")
        uri = ENTERPRISE_SCHEMA
    if uri is not None and uri.lower() == MISSPELT_ENTERPRISE_SCHEMA.lower():
        note("misspelt_enterprise_urn")
        uri = ENTERPRISE_SCHEMA
    if compared and attr.lower() == "manager" and sub is None:
        note("manager_as_id")
        sub = "value"
    return AttrPath(attr, sub, uri)
