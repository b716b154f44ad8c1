"""docs/api.md: its tables name every method with its grants, and every reason with its code; nothing else."""

from __future__ import annotations

from muster.directory.v1 import error_reason_pb2
from muster.runtime.errors import code_of

from services.directory.rules.grants import METHOD_RULES
from services.directory.store.event_kinds import EVENT_KINDS
from tests.unit.docs.pages import codes, page, rows, section

PAGE = page("docs/api.md")


def test_every_method_stands_under_its_service_and_no_other():
    shown = {codes(service)[0]: codes(methods) for service, methods in rows(section(PAGE, "Services and methods"))}
    known: dict[str, list[str]] = {}
    for name in METHOD_RULES:
        service, method = name.rsplit("/", 1)
        known.setdefault(service.rsplit(".", 1)[1], []).append(method)
    assert shown == known


def test_every_reason_has_its_code():
    shown = {codes(reason)[0]: codes(code)[0] for reason, code, _ in rows(section(PAGE, "Reasons"))}
    known = [name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()]  # noqa: SIM118
    assert shown == {reason: code_of(reason).name for reason in known if reason != "UNSPECIFIED"}


def test_every_kind_of_event_is_told():
    shown = {codes(kind)[0]: told for kind, told in rows(section(PAGE, "Follow what happens"))}
    assert shown == dict(EVENT_KINDS)
