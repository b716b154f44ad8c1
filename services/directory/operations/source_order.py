"""Keep a tenant's sources in their order: each has a place, 1 is first."""

from __future__ import annotations

from collections.abc import Sequence

from sqlmodel import Session, col, select

from services.directory.store.events import Change
from services.directory.store.tables import Source, Tenant


def place(session: Session, tenant_id: int, source: Source, wanted: int) -> list[Change]:
    """Give the source its place (1 is first, 0 last) and move those behind it; gives the events of those moved."""
    others = _others_in_order(session, tenant_id, source)
    index = min(wanted - 1, len(others)) if wanted else len(others)
    source.position = index + 1
    return _number([*others[:index], source, *others[index:]], besides=source)


def close_up(session: Session, tenant_id: int, source: Source) -> list[Change]:
    """Move those behind a source that goes; gives the events of those moved."""
    return _number(_others_in_order(session, tenant_id, source), besides=source)


def _others_in_order(session: Session, tenant_id: int, source: Source) -> list[Source]:
    take_order(session, tenant_id)
    query = select(Source).where(
        col(Source.tenant_id) == tenant_id, col(Source.id) != source.id, col(Source.delete_time).is_(None)
    )
    return list(session.exec(query.order_by(col(Source.position), col(Source.id)).with_for_update()))


def _number(sources: Sequence[Source], *, besides: Source) -> list[Change]:
    changes = []
    for position, other in enumerate(sources, start=1):
        if other is not besides and other.position != position:
            changes.append(_moved(other, position))
            other.position = position
            other.revision += 1
    return changes


def _moved(source: Source, position: int) -> Change:
    return Change(
        "source.updated", ("src", source.id), before={"position": source.position}, after={"position": position}
    )


def take_order(session: Session, tenant_id: int) -> None:
    """Let one writer at a time give out places in a tenant."""
    session.exec(select(Tenant.id).where(col(Tenant.id) == tenant_id).with_for_update(key_share=True)).one()
