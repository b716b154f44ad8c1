"""`muster source test`: the way to a source's file step by step, and its server's host key to be pinned."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from google.protobuf import field_mask_pb2
from muster.directory.v1 import sources_pb2
from muster.importer.v1 import importer_pb2
from rich.text import Text

from cli import output
from cli.commands.options import SourceArgument, YesOption, ask
from cli.connect import Muster
from cli.documents import moment, word
from cli.errors import CommandError
from cli.session import Session, session_of

_FAILED = importer_pb2.SOURCE_CHECK_OUTCOME_FAILED
_MARKS = {
    importer_pb2.SOURCE_CHECK_OUTCOME_PASSED: ("ok", "green"),
    importer_pb2.SOURCE_CHECK_OUTCOME_ATTENTION: ("look", "yellow"),
    _FAILED: ("fails", "red"),
}
PinOption = Annotated[
    bool, typer.Option("--pin", help="Trust the host key that the server shows, pin it on the source, and go on.")
]


def check_source(
    context: typer.Context, source: SourceArgument, *, pin: PinOption = False, yes: YesOption = False
) -> None:
    """Say step by step whether the source's file can be fetched and read, and what to do where it cannot.

    Nothing is written but the pin. Exit status 1 when a step fails.
    """
    session = session_of(context)
    with session.connect() as muster:
        checks = _tested(muster, session, source)
        key = checks[-1].host_key if checks[-1].outcome == _FAILED and checks[-1].host_key.pinnable else None
        if key is not None and pin:
            _pin(muster, session, source, key, yes=yes)
            checks = _tested(muster, session, source)
    works = all(check.outcome != _FAILED for check in checks)
    pinned = key.fingerprint if key is not None and pin else None
    session.output.show(
        {"source": source, "works": works, "pinned": pinned, "checks": [_document(check) for check in checks]}, []
    )
    if key is not None and not pin:
        session.output.note(f"If that is its owner's key, pin it with `muster source test {source} --pin`.")
    raise typer.Exit(0 if works else 1)


def _tested(muster: Muster, session: Session, source: str) -> list[importer_pb2.SourceCheck]:
    """Have the source tested, and show each step to people once it has been taken."""
    checks = []
    for answer in muster.importer.TestSource(importer_pb2.TestSourceRequest(source=source)):
        checks.append(answer.check)
        if not session.output.as_json:
            session.output.out.print(_line(answer.check), soft_wrap=True)
    if not checks:
        raise CommandError("the importer ended without a step; look at its log")
    return checks


def _pin(muster: Muster, session: Session, source: str, key: importer_pb2.ShownHostKey, *, yes: bool) -> None:
    """Pin exactly the key that was shown."""
    if key.standing == importer_pb2.HOST_KEY_STANDING_CHANGED:
        ask(f"Pin {key.fingerprint} in the place of {key.pinned_fingerprint}?", yes=yes)
    changed = muster.sources.GetSource(sources_pb2.GetSourceRequest(name=source)).source
    changed.sftp.host_key = key.host_key
    muster.sources.UpdateSource(
        sources_pb2.UpdateSourceRequest(
            source=changed,
            update_mask=field_mask_pb2.FieldMask(paths=["sftp.host_key"]),
            request_id=session.new_request_id(),
        )
    )
    session.output.note(f"Pinned {key.fingerprint}.")


def _line(check: importer_pb2.SourceCheck) -> Text:
    mark, style = _MARKS[check.outcome]
    reason = f"{check.reason}: " if check.outcome == _FAILED else ""
    text = f"{reason}{check.message} {check.cure}".strip()
    return Text.assemble((f"{mark:<6}", style), (f"{_step(check):<12}", "bold"), output.clean(text))


def _step(check: importer_pb2.SourceCheck) -> str:
    return word(importer_pb2.SourceCheckStep, check.step).replace("_", " ")


def _document(check: importer_pb2.SourceCheck) -> dict[str, Any]:
    document: dict[str, Any] = {
        "step": word(importer_pb2.SourceCheckStep, check.step),
        "outcome": word(importer_pb2.SourceCheckOutcome, check.outcome),
        "reason": check.reason or None,
        "message": check.message,
        "cure": check.cure or None,
    }
    if check.HasField("host_key"):
        document["host_key"] = {
            "host_key": check.host_key.host_key,
            "fingerprint": check.host_key.fingerprint,
            "standing": word(importer_pb2.HostKeyStanding, check.host_key.standing),
            "pinned_fingerprint": check.host_key.pinned_fingerprint or None,
        }
    if check.HasField("file"):
        document["file"] = {
            "path": check.file.path,
            "bytes": check.file.size_bytes,
            "modified": moment(check.file.modify_time) if check.file.HasField("modify_time") else None,
        }
    if check.HasField("header"):
        document["header"] = {
            "encoding": check.header.encoding,
            "delimiter": check.header.delimiter,
            "columns": list(check.header.columns),
            "unknown_columns": list(check.header.unknown_columns),
        }
    return document
