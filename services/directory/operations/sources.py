"""Create, change and read sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from services.directory.operations.groups import lasting_account
from services.directory.operations.schedule import has_nights, reschedule
from services.directory.operations.source_order import place, take_order
from services.directory.operations.source_secrets import (
    Credentials,
    check_credentials,
    keep_credentials,
    make_drop_login,
)
from services.directory.operations.tenants import get_tenant
from services.directory.rules.checks import FieldChecks
from services.directory.rules.drops import drop_username
from services.directory.rules.errors import FailedPrecondition, NotFound, SourceStateError
from services.directory.rules.etags import require_etag
from services.directory.rules.names import ACCOUNT, SOURCE, format_optional
from services.directory.rules.source_settings import END_MARKERS, PARSERS, SCIM_SETTINGS, parse_scim_unknown_groups
from services.directory.store import ids
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.seal import Seal
from services.directory.store.tables import Source, SourceKind, SourceState

Settings = Mapping[str, Any]
"""Settings by path (`sftp.path`), as they were sent or as they are kept."""

_COLUMNS: Final = {
    "account": "account_id",
    "sftp.host": "sftp_host",
    "sftp.port": "sftp_port",
    "sftp.username": "sftp_username",
    "sftp.host_key": "sftp_host_key",
    "sftp.path": "sftp_path",
    "sftp.allowed_networks": "allowed_networks",
    "unknown_groups": "create_unknown_groups",
    "skip_means": "skip_means_freeze",
}
"""Settings whose column has another name than their path."""

_NOT_COLUMNS: Final = frozenset({"position"})
_DESCRIBED_APART: Final = _NOT_COLUMNS | {"guard"}

_TIMES: Final = frozenset({"nightly_time", "time_zone"})


@dataclass(frozen=True)
class CreatedSource:
    """A new source, and the password of its drop login, or "" when it has a host of its own or is a SCIM source."""

    source: Source
    drop_password: str


def create_source(
    session: Session,
    tenant_id: int,
    settings: Settings,
    credentials: Credentials | None,
    *,
    kind: SourceKind = SourceKind.SFTP,
    seal: Seal,
    actor: Actor,
    now: datetime,
) -> CreatedSource:
    """Make a source from all of its settings: a file in trial, a SCIM source enabled, which has no trial.

    Errors: InvalidArgument, NotFound (account).
    """
    tenant = get_tenant(session, tenant_id)
    values = _parsed_scim(settings, credentials) if kind == SourceKind.SCIM else _parsed(settings, credentials)
    _require_account(session, tenant_id, values["account"])
    source = Source(
        tenant_id=tenant_id,
        id=ids.next_id(session, "source"),
        kind=kind,
        state=SourceState.ENABLED if kind == SourceKind.SCIM else SourceState.TRIAL,
        display_name="",
        limits={},
        create_time=now,
    )
    _write(source, values)
    moved = place(session, tenant_id, source, values["position"])
    password = ""
    if kind == SourceKind.SCIM:
        pass  # it logs in with keys, which are made one by one
    elif not source.sftp_host:
        password = make_drop_login(source, drop_username(tenant.display_name, source.id))
    elif credentials is not None:
        keep_credentials(source, credentials, seal=seal)
    reschedule(source, after=now)
    session.add(source)
    session.flush()
    shown = SCIM_SETTINGS if kind == SourceKind.SCIM else PARSERS.keys()
    settled = {
        path: value for path, value in described(source).items() if path in shown and value not in ("", None, [])
    }
    after = {"kind": kind.name.lower()} | settled
    created = Change("source.created", ("src", source.id), after=after)
    append_events(session, tenant_id, [created, *moved], actor=actor, now=now)
    return CreatedSource(source, password)


def update_source(
    session: Session,
    tenant_id: int,
    source_id: int,
    settings: Settings,
    credentials: Credentials | None,
    *,
    etag: str,
    seal: Seal,
    actor: Actor,
    now: datetime,
) -> Source:
    """Change the settings given. Errors: InvalidArgument, NotFound, SourceStateError (path), StaleEtag."""
    if "position" in settings:
        take_order(session, tenant_id)
    source = locked_source(session, tenant_id, source_id)
    require_etag(etag, resource=SOURCE.format(tenant_id, source_id), revision=source.revision)
    is_scim = source.kind == SourceKind.SCIM
    values = (
        _parsed_scim(settings, credentials, source=source) if is_scim else _parsed(settings, credentials, source=source)
    )
    if values.get("sftp.path", source.sftp_path) != source.sftp_path and source.state != SourceState.TRIAL:
        raise SourceStateError("the path is fixed once the source has left trial", state=_word(source.state))
    _require_account(session, tenant_id, values.get("account", 0))
    before = described(source)
    moved = place(session, tenant_id, source, values["position"]) if "position" in values else []
    _write(source, values)
    if credentials is not None:
        keep_credentials(source, credentials, seal=seal)
    after = described(source)
    changed = [path for path, value in after.items() if value != before[path]]
    if not _TIMES.isdisjoint(changed):
        reschedule(source, after=now)
    if changed or credentials is not None:
        source.revision += 1
        news = {path: after[path] for path in changed} | ({"credentials": "new"} if credentials is not None else {})
        change = Change(
            "source.updated", ("src", source_id), before={path: before[path] for path in changed}, after=news
        )
        session.flush()
        append_events(session, tenant_id, [change, *moved], actor=actor, now=now)
    return source


def set_state(
    session: Session,
    tenant_id: int,
    source_id: int,
    state: SourceState,
    *,
    actor: Actor,
    now: datetime,
    event: str = "",
) -> Source:
    """Bring a source into a state; nothing happens when it is in it already.

    `event` is the word of the change, where it is another than the state's.
    Errors: NotFound, FailedPrecondition (a detached source stays disabled).
    """
    source = locked_source(session, tenant_id, source_id)
    if state != SourceState.DISABLED:
        require_attached(source)
    if source.state != state:
        had_nights = has_nights(source)
        before, source.state = _word(source.state), state
        if has_nights(source) != had_nights:  # the go-ahead after a trial leaves tonight as it is
            reschedule(source, after=now)
        _end_guard_pause(session, source)
        source.revision += 1
        session.flush()
        change = Change(
            f"source.{event or _word(state)}",
            ("src", source_id),
            before={"state": before},
            after={"state": _word(state)},
        )
        append_events(session, tenant_id, [change], actor=actor, now=now)
    return source


def require_attached(source: Source) -> None:
    """Refuse what a source could only do if it still kept its users and groups (S12). Errors: FailedPrecondition."""
    if source.detach_time is not None:
        raise FailedPrecondition(
            "the source was detached from its users and groups, and stays disabled: create a new source",
            why="detached",
        )


def _end_guard_pause(session: Session, source: Source) -> None:
    """Let the guard begin anew: an administrator has seen what it stopped, and whoever was to leave then leaves."""
    if source.guard_trip_time is None:
        return
    source.guard_trip_time = None
    those = {"t": source.tenant_id, "s": source.id}
    for statement in (
        "DELETE FROM guard_counts WHERE tenant_id = :t AND source_id = :s",
        "UPDATE pending_departures SET is_agreed = true WHERE tenant_id = :t AND source_id = :s",
    ):
        session.connection().execute(text(statement), those)


def get_source(session: Session, tenant_id: int, source_id: int) -> Source:
    """Read one source. Errors: NotFound, also for a deleted one."""
    source = session.get(Source, (tenant_id, source_id))
    if source is None or source.delete_time is not None:
        raise NotFound(resource=SOURCE.format(tenant_id, source_id))
    return source


def list_sources(session: Session, tenant_id: int, *, after_position: int, limit: int) -> list[Source]:
    """Read a tenant's sources in order of position, past `after_position`."""
    query = select(Source).where(
        col(Source.tenant_id) == tenant_id, col(Source.position) > after_position, col(Source.delete_time).is_(None)
    )
    return list(session.exec(query.order_by(col(Source.position)).limit(limit)))


def described(source: Source) -> dict[str, Any]:
    """Write a source's settings by path, as events show them; no secrets are among them."""
    values = {
        path: getattr(source, _COLUMNS.get(path, path))
        for path in PARSERS
        if path not in _DESCRIBED_APART and not path.startswith("limits.")
    }
    values["account"] = format_optional(ACCOUNT, source.tenant_id, source.account_id)
    values["unknown_groups"] = "create" if source.create_unknown_groups else "ignore"
    if source.kind == SourceKind.SCIM:
        values["guard"] = "on" if source.guard else "off"
    values["skip_means"] = "freeze" if source.skip_means_freeze else "absent"
    values["end_marker"] = END_MARKERS[source.end_marker]
    values["position"] = source.position
    for path in PARSERS:
        if path.startswith("limits."):
            _, name, figure = path.split(".")
            values[path] = source.limits.get(name, {}).get(figure)
    return values


def _parsed(settings: Settings, credentials: Credentials | None, *, source: Source | None = None) -> dict[str, Any]:
    """Parse the settings given, and see whether they go together with those that stay."""
    checks = FieldChecks()
    values = {path: checks.parse(f"source.{path}", PARSERS[path], raw) for path, raw in settings.items()}
    host = values.get("sftp.host", source.sftp_host if source else "")
    if source is not None:
        if bool(host) != bool(source.sftp_host):
            checks.refuse("source.sftp.host", "a hosted drop stays one, and others stay others: create a new source")
        elif host != source.sftp_host and credentials is None:
            checks.refuse("credentials", "a new host needs its credentials")  # the old ones are not for it to see
        elif not host and values.get("sftp.username", source.sftp_username) != source.sftp_username:
            checks.refuse("source.sftp.username", "a hosted drop's login is made with it and stays")
    if host and not values.get("sftp.username", source.sftp_username if source else ""):
        checks.refuse("source.sftp.username", "must not be empty for a host")
    if settings.get("guard"):
        checks.refuse("source.guard", "is a setting of SCIM sources: a file has limits")
    check_credentials(checks, credentials, host=host or "")
    checks.end()
    return values


def _parsed_scim(
    settings: Settings, credentials: Credentials | None, *, source: Source | None = None
) -> dict[str, Any]:
    """Parse the settings given for a SCIM source; those that only a file has may be absent, empty, or as they read."""
    checks = FieldChecks()
    read = described(source) if source is not None else {}
    parsers = {**PARSERS, "unknown_groups": parse_scim_unknown_groups}
    values = {}
    for path, raw in settings.items():
        if path in SCIM_SETTINGS:
            values[path] = checks.parse(f"source.{path}", parsers[path], raw)
        elif (raw is not None if path.startswith("limits.") else raw) and not _is_as_read(path, raw, read):
            checks.refuse(f"source.{path}", "is a setting of files: a SCIM source has none")
    if not values.get("account", 1):
        checks.refuse("source.account", "a SCIM source needs one: the groups that it creates belong there")
    if credentials is not None:
        checks.refuse("credentials", "a SCIM source has keys instead: make one for it")
    checks.end()
    return values


def _is_as_read(path: str, raw: Any, read: Settings) -> bool:
    """Say whether a setting that only a file has came back as it reads of this SCIM source: mask `*` sends them all."""
    if path not in read:
        return False
    numbers = {"skip_means": {"absent": 1, "freeze": 2}, "end_marker": {word: n for n, word in END_MARKERS.items()}}
    return bool(raw == (numbers[path][read[path]] if path in numbers else read[path]))


def _write(source: Source, values: Mapping[str, Any]) -> None:
    limits = {name: dict(figures) for name, figures in source.limits.items()}
    for path, value in values.items():
        if path.startswith("limits."):
            _, name, figure = path.split(".")
            limits.setdefault(name, {})[figure] = value
        elif path not in _NOT_COLUMNS:
            setattr(source, _COLUMNS.get(path, path), value)
    kept = {
        name: {figure: value for figure, value in figures.items() if value is not None}
        for name, figures in limits.items()
    }
    source.limits = {name: figures for name, figures in kept.items() if figures}


def locked_source(session: Session, tenant_id: int, source_id: int) -> Source:
    """Read a source and hold its row to the end. Errors: NotFound, also for a deleted one."""
    source = session.get(Source, (tenant_id, source_id), with_for_update=True)
    if source is None or source.delete_time is not None:
        raise NotFound(resource=SOURCE.format(tenant_id, source_id))
    return source


def _require_account(session: Session, tenant_id: int, account_id: int) -> None:
    if account_id:
        lasting_account(session, tenant_id, account_id)


def _word(state: int) -> str:
    return SourceState(state).name.lower()
