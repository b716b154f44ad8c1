"""Write down everything that is kept about a person, for the person: by names, without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, Boolean
from sqlalchemy import text as sql_text
from sqlmodel import Session

from services.directory.operations.personal_keys import personal_keys
from services.directory.operations.rejected_rows import rows_naming
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules import names
from services.directory.rules.errors import NotFound
from services.directory.store.events import GROUP_LISTS, MEMORY
from services.directory.store.people_tables import InvitationState
from services.directory.store.provisioning_tables import USER
from services.directory.store.seal import Seal
from services.directory.store.tables import MANUAL, User, UserState, UtcDateTime

_MANUAL_WORD: Final = "manual"
_TYPES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(
        ("time", "create_time", "sent_time", "expire_time", "end_time", "until", "first_time", "last_time"),
        UtcDateTime(),
    ),
    **dict.fromkeys(("before", "after"), JSON()),
    **dict.fromkeys(("is_main", "is_active", "is_gone", "is_set"), Boolean()),
}
"""Columns whose values a plain SELECT would leave in the database's own form."""


def export_user(session: Session, seal: Seal, tenant_id: int, user_id: int, *, now: datetime) -> bytes:
    """Write a person's document as JSON; of an erased person there is little left. Errors: NotFound."""
    user = session.get(User, (tenant_id, user_id))
    if user is None:
        raise NotFound(resource=names.USER.format(tenant_id, user_id))
    sql = TenantSql(session, tenant_id, now)
    register = _Register(sql, user_id)
    document = {
        "user": names.USER.format(tenant_id, user_id),
        "exported": _moment(now),
        "register": _own_row(user, owner=register.source(user.owner_source_id)),
        **register.places(),
        **register.keys(),
        "connections": register.connections(),
        "password": register.password(),
        "invitations": register.invitations(),
        "events": register.events(),
        **register.named_elsewhere(seal),
    }
    return json.dumps(document, ensure_ascii=False, indent=2).encode()


def _own_row(user: User, *, owner: str) -> dict[str, Any]:
    return {
        "name": user.display_name,
        "email": user.email,
        "title": user.title,
        "phone": user.phone,
        "secondary_phone": user.secondary_phone,
        "owner": owner,
        "state": UserState(user.state).name.lower(),
        "password_reset_required": user.password_reset_required,
        "created": _moment(user.create_time),
        "updated": _moment(user.update_time),
        "left": _moment(user.leave_time),
        "erased": _moment(user.erase_time),
    }


class _Register:
    """Reads what the tenant's tables hold of one person."""

    def __init__(self, sql: TenantSql, user_id: int) -> None:
        self._sql = sql
        self._tenant_id, self._user_id = sql.tenant_id, user_id
        found = self._read("SELECT id, display_name FROM sources WHERE tenant_id = :t")
        self._sources = {row["id"]: row["display_name"] for row in found}

    def source(self, source_id: int) -> str:
        """Name a source as people do."""
        return _MANUAL_WORD if source_id == MANUAL else str(self._sources.get(source_id, ""))

    def places(self) -> dict[str, Any]:
        """Groups and accounts, and memberships that wait for the person to wake."""
        columns = "g.display_name AS group_name, g.external_id, g.is_main, a.display_name AS account_name"
        joined = (
            "JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id"
            " JOIN accounts a ON a.tenant_id = g.tenant_id AND a.id = g.account_id"
            " WHERE m.tenant_id = :t AND m.user_id = :u ORDER BY g.id, m.origin_source_id"
        )
        current = self._read(f"SELECT m.origin_source_id, {columns} FROM memberships m {joined}")
        asleep = self._read(f"SELECT m.origin_source_id, m.until, {columns} FROM sleeping_memberships m {joined}")
        return {
            "accounts": [
                {"account": row["account_name"], "by": self.source(row["origin_source_id"])}
                for row in current
                if row["is_main"]
            ],
            "groups": [self._group(row) for row in current if not row["is_main"]],
            "sleeping_memberships": [self._group(row) | {"until": _moment(row["until"])} for row in asleep],
        }

    def keys(self) -> dict[str, Any]:
        """What files call the person, now and formerly."""
        current = self._read("SELECT source_id, external_id FROM claims WHERE tenant_id = :t AND user_id = :u")
        former = self._read(
            "SELECT source_id, external_id, end_time FROM former_claims WHERE tenant_id = :t AND user_id = :u"
        )
        return {
            "keys": [{"source": self.source(row["source_id"]), "key": row["external_id"]} for row in current],
            "former_keys": [
                {
                    "source": self.source(row["source_id"]),
                    "key": row["external_id"],
                    "ended": _moment(row["end_time"]),
                }
                for row in former
            ],
        }

    def connections(self) -> list[dict[str, Any]]:
        """What connections said of the person."""
        rows = self._read(
            "SELECT source_id, is_active, is_gone, document FROM provisioned_resources"
            f" WHERE tenant_id = :t AND kind = {USER} AND resource_id = :u ORDER BY source_id"
        )
        return [
            {
                "source": self.source(row["source_id"]),
                "active": row["is_active"],
                "deleted": row["is_gone"],
                "attributes": json.loads(row["document"]),
            }
            for row in rows
        ]

    def password(self) -> dict[str, Any]:
        """Whether there is a password; nothing of it."""
        rows = self._read(
            "SELECT password_hash <> '' AS is_set, set_time AS time FROM credentials"
            " WHERE tenant_id = :t AND user_id = :u"
        )
        is_set = bool(rows and rows[0]["is_set"])
        return {"is_set": is_set, "set": _moment(rows[0]["time"]) if is_set else None}

    def invitations(self) -> list[dict[str, Any]]:
        """Invitations of the person."""
        rows = self._read(
            "SELECT id, state, create_time, sent_time, expire_time, end_time FROM invitations"
            " WHERE tenant_id = :t AND user_id = :u ORDER BY id"
        )
        return [
            {
                "invitation": names.INVITATION.format(self._tenant_id, row["id"]),
                "state": InvitationState(row["state"]).name.lower(),
                "created": _moment(row["create_time"]),
                "sent": _moment(row["sent_time"]),
                "expires": _moment(row["expire_time"]),
                "ended": _moment(row["end_time"]),
            }
            for row in rows
        ]

    def events(self) -> list[dict[str, Any]]:
        """What happened to the person, oldest first, archived events too."""
        columns = "xid, position, time, kind, actor, actor_source_id, run_id, before, after"
        where = "WHERE tenant_id = :t AND resource_kind = 'usr' AND resource_id = :u"
        rows = [
            *self._read(f"SELECT {columns} FROM archived_events {where} ORDER BY xid, position"),
            *self._read(f"SELECT {columns} FROM events {where} ORDER BY xid, position"),
        ]
        return [
            {
                "time": _moment(row["time"]),
                "kind": row["kind"],
                "actor": self.source(row["actor_source_id"]) if row["actor_source_id"] else row["actor"],
                "import_run": names.format_optional(names.IMPORT_RUN, self._tenant_id, row["run_id"]),
                "before": self._shown(row["before"]),
                "after": self._shown(row["after"]),
            }
            for row in rows
        ]

    def _shown(self, values: dict[str, Any] | None) -> dict[str, Any] | None:
        """Write an event's values as readers of events get them: groups by name."""
        if values and MEMORY in values:
            values = {name: value for name, value in values.items() if name != MEMORY}
        return values and {
            name: [names.GROUP.format(self._tenant_id, int(group_id)) for group_id in value]
            if name in GROUP_LISTS
            else value
            for name, value in values.items()
        }

    def named_elsewhere(self, seal: Seal) -> dict[str, Any]:
        """Issues and rejected rows of runs, and refusals of a seat, by the person's mails, keys and userNames."""
        keys = personal_keys(self._sql, [self._user_id])
        issues = self._read(
            "SELECT run_id, line, row_key, code, column_name, masked_value, message FROM import_issues"
            f" WHERE tenant_id = :t AND {keys.has('row_key')} ORDER BY run_id, number",
            names=keys.bound,
        )
        refusals = self._read(
            "SELECT source_id, user_name, external_id, attempts, first_time, last_time FROM license_refusals"
            f" WHERE tenant_id = :t AND ({keys.has('name_key')} OR {keys.has('external_id')}) ORDER BY number",
            names=keys.bound,
        )
        return {
            "import_issues": [
                {
                    "import_run": names.IMPORT_RUN.format(self._tenant_id, row["run_id"]),
                    "line": row["line"],
                    "key": row["row_key"],
                    "code": row["code"],
                    "column": row["column_name"],
                    "value": row["masked_value"],
                    "message": row["message"],
                }
                for row in issues
            ],
            "rejected_rows": [
                {"import_run": names.IMPORT_RUN.format(self._tenant_id, run_id), "line": line, "cells": cells}
                for run_id, line, cells in rows_naming(self._sql.session, seal, self._tenant_id, keys)
            ],
            "refused_seats": [
                {
                    "source": self.source(row["source_id"]),
                    "user_name": row["user_name"],
                    "external_id": row["external_id"],
                    "attempts": row["attempts"],
                    "first": _moment(row["first_time"]),
                    "last": _moment(row["last_time"]),
                }
                for row in refusals
            ],
        }

    def _group(self, row: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "group": row["group_name"],
            "group_id": row["external_id"] or "",
            "account": row["account_name"],
            "by": self.source(row["origin_source_id"]),
        }

    def _read(self, statement: str, **values: Any) -> list[Mapping[str, Any]]:
        bound = {"t": self._tenant_id, "u": self._user_id, **values}
        clause = sql_text(statement).columns(**_TYPES)
        named = {name: value for name, value in bound.items() if f":{name}" in statement}
        return [dict(row) for row in self._sql.session.connection().execute(clause, named).mappings()]


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
