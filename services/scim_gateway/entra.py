"""Rewrite what identity providers send beside the standard into what they mean; each rewrite has a name, a quirk.

Most of it is Entra ID's. Rewriting happens before a request is read, so that everything behind it speaks plain SCIM.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
from scim2_models import AttributeBinding, Path, SCIMException, ScimFilter
from scim2_models.path import AttrPath, Comparison, FilterNode, LogicalExpr, Not, Present, ValuePath

from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import ENTERPRISE_SCHEMA, GROUP_SCHEMA, USER, USER_SCHEMA, model

MISSPELT_ENTERPRISE_SCHEMA = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"
_MISSPELT = re.compile(r"urn:ietf:params:scim:schemas:extension:enterprise:2\.0User(?![A-Za-z0-9])", re.IGNORECASE)
_ENTERPRISE_NAMES = {
    name.lower(): name for name in ("employeeNumber", "costCenter", "organization", "division", "department", "manager")
}
_MANAGER = f"{ENTERPRISE_SCHEMA}:manager"
_BOOLEAN_IN_BRACKETS = re.compile(r'\b(primary)(\s+(?:eq|ne)\s+)"(true|false)"', re.IGNORECASE)
_BOOLEANS = {"true": True, "false": False}
_OPS = ("add", "remove", "replace")
_KNOWN_SCHEMAS = {each.lower() for each in (USER_SCHEMA, GROUP_SCHEMA, ENTERPRISE_SCHEMA)}

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
    if any(_is_unknown(kind, key) for key in resource):
        note("unknown_attribute")
    return {key: _tolerated_value(kind, key, value, note) for key, value in resource.items()}


def tolerate_patch(kind: str, body: Any, note: Note) -> Any:
    """Rewrite the body of a PATCH, operation by operation."""
    if not isinstance(body, dict):
        return body
    key = next((key for key in body if key.lower() == "operations"), "")
    operations = body.get(key)
    if not isinstance(operations, list):
        return body
    rewritten = [
        _tolerated_operation(kind, part, note) if isinstance(part, dict) else part
        for each in operations
        for part in _by_path(each, note)
    ]
    return {**body, key: rewritten}


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
    return text if rewritten == tree else str(rewritten)


def _tolerated_operation(kind: str, operation: Json, note: Note) -> Json:
    result = {key.lower(): value for key, value in operation.items()}
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
            result["value"] = _tolerated_value(kind, path, result["value"], note)
            _unassign(kind, result)
    return result


def _unassign(kind: str, operation: Json) -> None:
    """Turn "set to nothing" into a removal, where nothing is not a value of the attribute's type."""
    if operation.get("op") == "remove" or operation["value"] is not None:
        return
    binding = _binding(kind, operation["path"])
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
            result[path] = _tolerated_extension(value, note)
        else:
            result[path] = _tolerated_value(kind, path, value, note)
    return result


_PREFIXES = (f"{ENTERPRISE_SCHEMA}:".lower(), f"{USER_SCHEMA}:".lower(), f"{GROUP_SCHEMA}:".lower())


def _tolerated_path(kind: str, path: str, note: Note) -> str:
    path = _corrected_urn(path.strip(), note)
    rewritten = _BOOLEAN_IN_BRACKETS.sub(lambda found: f"{found[1]}{found[2]}{found[3].lower()}", path)
    if rewritten != path:
        note("boolean_as_text")
    head = re.match(r"[A-Za-z]+", rewritten)
    if kind == USER and head and head[0].lower() in _ENTERPRISE_NAMES:
        note("unqualified_enterprise")
        rewritten = f"{ENTERPRISE_SCHEMA}:{rewritten}"
    _note_name(kind, rewritten, note)
    return rewritten


def _note_name(kind: str, path: str, note: Note) -> None:
    binding = _binding(kind, path)
    if binding is None and _is_unknown(kind, path):
        note("unknown_attribute")
    if binding is not None and binding.urn.rpartition(":")[2].rpartition(".")[2] not in path:
        note("attribute_case")


def _tolerated_value(kind: str, path: str, value: Any, note: Note) -> Any:
    """Rewrite the value that is written at a path."""
    lower = path.lower()
    if kind == USER and lower == _MANAGER.lower():
        return _tolerated_manager(value, note)
    if kind == USER and lower == ENTERPRISE_SCHEMA.lower() and isinstance(value, dict):
        return _tolerated_extension(value, note)
    if kind == USER and lower == "roles" and isinstance(value, list):
        value = [_tolerated_role(each, note) for each in value]
    if isinstance(value, list) and lower != "members":
        return [_with_booleans(each, note) if isinstance(each, dict) else each for each in value]
    if isinstance(value, dict):
        return _with_booleans(value, note)
    return _tolerated_scalar(kind, path, value, note) if isinstance(value, str) else value


def _tolerated_scalar(kind: str, path: str, value: str, note: Note) -> Any:
    binding = _binding(kind, path)
    target = binding.target_type if binding else None
    if not isinstance(target, type):
        return value
    if issubclass(target, bool) and value.strip().lower() in _BOOLEANS:
        note("boolean_as_text")
        return _BOOLEANS[value.strip().lower()]
    if not value.strip() and not issubclass(target, str):
        note("empty_object")
        return None
    return value


def _with_booleans(entry: Json, note: Note) -> Json:
    """Rewrite `primary` of one of several values."""
    rewritten = dict(entry)
    for key, value in entry.items():
        if key.lower() == "primary" and isinstance(value, str) and value.lower() in _BOOLEANS:
            note("boolean_as_text")
            rewritten[key] = _BOOLEANS[value.lower()]
    return rewritten


def _tolerated_manager(value: Any, note: Note) -> Any:
    """Give manager the one form it has, an object with value; nothing in any form is null."""
    while isinstance(value, list):
        note("manager_as_id")
        value = value[0] if value else None
    if isinstance(value, str):
        note("manager_as_id")
        value = {"value": value}
    if isinstance(value, dict) and not any(item for key, item in value.items() if key.lower() == "value"):
        return None
    return value


def _tolerated_extension(extension: Json, note: Note) -> Json:
    return {
        key: _tolerated_manager(value, note) if key.lower() == "manager" else value for key, value in extension.items()
    }


def _tolerated_role(role: Any, note: Note) -> Any:
    """Take a role out of the text that it was put into as JSON."""
    text = role.get("value") if isinstance(role, dict) else role
    if not isinstance(text, str):
        return role
    outer = role if isinstance(role, dict) else {"value": role}
    if not text.lstrip().startswith("{"):
        return outer
    try:
        inner = orjson.loads(text)
    except orjson.JSONDecodeError:
        return outer
    if not isinstance(inner, dict) or not inner.get("value"):
        return outer
    note("json_in_text")
    taken = {"value": inner["value"], "display": inner.get("display") or inner.get("displayName")}
    labels = {key: item for key, item in {**inner, **outer}.items() if key in {"type", "primary"}}
    return {**{key: item for key, item in taken.items() if item}, **labels}


def _correct_schemas(resource: Json, note: Note) -> None:
    key = next((key for key in resource if key.lower() == "schemas"), "")
    schemas = resource.get(key)
    if not isinstance(schemas, list):
        return
    corrected = [_corrected_urn(each, note) if isinstance(each, str) else each for each in schemas]
    known = [each for each in corrected if not isinstance(each, str) or each.lower() in _KNOWN_SCHEMAS]
    if len(known) < len(corrected) and known:
        note("foreign_schema")
        corrected = known
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


def _binding(kind: str, path: str) -> AttributeBinding | None:
    bound: Any = Path[model(kind)]  # type: ignore[misc]  # known at run time only
    try:
        found: AttributeBinding | None = bound(path).resolve()
    except SCIMException:
        return None
    return found


def _is_unknown(kind: str, path: str) -> bool:
    return path.lower() not in _KNOWN_SCHEMAS and _binding(kind, path) is None


def _tolerated_tree(node: FilterNode, note: Note) -> FilterNode:
    if isinstance(node, Comparison):
        return Comparison(_tolerated_name(node.attr_path, note, compared=True), node.op, node.value)
    if isinstance(node, Present):
        return Present(_tolerated_name(node.attr_path, note, compared=False))
    if isinstance(node, Not):
        return Not(_tolerated_tree(node.expr, note))
    if isinstance(node, LogicalExpr):
        return LogicalExpr(node.op, tuple(_tolerated_tree(term, note) for term in node.terms))
    assert isinstance(node, ValuePath)
    return node


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
