"""The options of `muster source create` and `update`, said once: value, flag, and place in the contract."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer
from muster.directory.v1 import sources_pb2

from cli.commands.options import Language
from cli.errors import CommandError


class UnknownGroups(StrEnum):
    """What to do with a Group ID that no group has."""

    CREATE = "create"
    IGNORE = "ignore"


class Guard(StrEnum):
    """Whether a connection is paused that puts out many people at once."""

    ON = "on"
    OFF = "off"


class SkipMeans(StrEnum):
    """What Skip=1 means for a user whom the source owns."""

    ABSENT = "absent"
    FREEZE = "freeze"


class EndMarker(StrEnum):
    """How the end of a complete file is marked."""

    NONE = "none"
    SHA256 = "sha256"
    DONE = "done"
    EOF = "eof"


# Per cent and floor that a limit has unless said (R8, R9), for the help texts; the directory knows them itself.
DEFAULT_LIMITS: Mapping[str, tuple[float, int]] = {
    "delete": (20, 3),
    "mail_change": (20, 3),
    "takeover": (20, 3),
    "membership": (50, 10),
    "create": (50, 100),
    "reject": (50, 5),
    "rekey": (20, 3),
    "shape": (50, 10),
}


def _percent(limit: str) -> Any:
    return typer.Option(
        min=0, help=f"A limit holds a plan beyond this per cent; {DEFAULT_LIMITS[limit][0]:g} unless said."
    )


def _floor(limit: str) -> Any:
    return typer.Option(
        min=0, max=1_000_000_000, help=f"… and beyond this count; {DEFAULT_LIMITS[limit][1]} unless said."
    )


def _switch(name: str, text: str) -> Any:
    return typer.Option(f"--{name}/--no-{name}", help=text)


@dataclass(frozen=True)
class SourceSettings:
    """Every setting of a source that the command line can say; None leaves it alone."""

    account: Annotated[str | None, typer.Option(help="Linked account of people without groups; SCIM needs one.")] = None
    report_to: Annotated[list[str] | None, typer.Option(help="Who gets the report; may be repeated.")] = None
    report_unchanged: Annotated[
        bool | None, _switch("report-unchanged", "Report also a file that is the last applied one again.")
    ] = None
    language: Annotated[Language | None, typer.Option(help="Language of the report; else the tenant's.")] = None
    path: Annotated[str | None, typer.Option(help="Path of the file on the server; fixed once out of trial.")] = None
    host: Annotated[str | None, typer.Option(help="The customer's own server; without it, the hosted drop.")] = None
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port; 22 unless said.")] = None
    username: Annotated[str | None, typer.Option(help="Login there.")] = None
    password: Annotated[str | None, typer.Option(envvar="MUSTER_SFTP_PASSWORD", help="Password there.")] = None
    key_file: Annotated[Path | None, typer.Option(help="File with the private key for the login there.")] = None
    host_key: Annotated[str | None, typer.Option(help='Pinned host key, "ssh-ed25519 AAAA…".')] = None
    allow_network: Annotated[
        list[str] | None, typer.Option(help="Network (CIDR) the drop's login may come from; may be repeated.")
    ] = None
    region: Annotated[str | None, typer.Option(help="Region of phones in national form, such as SE.")] = None
    separator: Annotated[str | None, typer.Option(help="Separates Group IDs in a cell; a comma unless said.")] = None
    unknown_groups: Annotated[
        UnknownGroups | None,
        typer.Option(help="What to do with unknown Group IDs; unless said, a file's are ignored, SCIM's created."),
    ] = None
    guard: Annotated[
        Guard | None,
        typer.Option(
            help="Pause a SCIM source that puts out over 100 people and over 20 % within an hour; on unless said."
        ),
    ] = None
    auto_invite: Annotated[
        bool | None, _switch("auto-invite", "Invite new users without being asked, if the tenant has an accept URL.")
    ] = None
    keep_primary_phone: Annotated[
        bool | None, _switch("keep-primary-phone", "An empty cell does not clear the primary phone.")
    ] = None
    keep_secondary_phone: Annotated[
        bool | None, _switch("keep-secondary-phone", "A secondary phone that is not in the file stays.")
    ] = None
    delete_after: Annotated[bool | None, _switch("delete-after", "Delete the file once it was applied.")] = None
    strict_encoding: Annotated[
        bool | None, _switch("strict-encoding", "Refuse a file whose encoding would have to be guessed.")
    ] = None
    nightly: Annotated[str | None, typer.Option(help="Local time of the nightly run, HH:MM.")] = None
    time_zone: Annotated[str | None, typer.Option(help="IANA time zone of that time.")] = None
    stable_for: Annotated[
        int | None,
        typer.Option(min=1, max=3_600, help="Seconds that two looks at the file must be apart; 60 unless said."),
    ] = None
    end_marker: Annotated[
        EndMarker | None,
        typer.Option(help="How a complete file ends: NAME.sha256 or NAME.done beside it, or #EOF,ROWS last."),
    ] = None
    skip_means: Annotated[SkipMeans | None, typer.Option(help="What Skip=1 means for a user of this source.")] = None
    grace: Annotated[
        int | None, typer.Option(min=0, max=365, help="Files without a user before the user is deleted.")
    ] = None
    max_file_bytes: Annotated[
        int | None, typer.Option(min=1, max=1_000_000_000_000, help="Refuse larger files; 512 MiB unless said.")
    ] = None
    position: Annotated[
        int | None, typer.Option(min=1, max=1_000_000, help="Place among the tenant's files; 1 is first.")
    ] = None
    delete_limit_percent: Annotated[float | None, _percent("delete")] = None
    delete_limit_floor: Annotated[int | None, _floor("delete")] = None
    mail_change_limit_percent: Annotated[float | None, _percent("mail_change")] = None
    mail_change_limit_floor: Annotated[int | None, _floor("mail_change")] = None
    rekey_limit_percent: Annotated[float | None, _percent("rekey")] = None
    rekey_limit_floor: Annotated[int | None, _floor("rekey")] = None
    takeover_limit_percent: Annotated[float | None, _percent("takeover")] = None
    takeover_limit_floor: Annotated[int | None, _floor("takeover")] = None
    membership_limit_percent: Annotated[float | None, _percent("membership")] = None
    membership_limit_floor: Annotated[int | None, _floor("membership")] = None
    create_limit_percent: Annotated[float | None, _percent("create")] = None
    create_limit_floor: Annotated[int | None, _floor("create")] = None
    shape_limit_percent: Annotated[float | None, _percent("shape")] = None
    shape_limit_floor: Annotated[int | None, _floor("shape")] = None
    reject_limit_percent: Annotated[float | None, _percent("reject")] = None
    reject_limit_floor: Annotated[int | None, _floor("reject")] = None


# Where each setting lives in muster.directory.v1.Source; the path is also the update mask's.
_PATHS: Mapping[str, str] = {
    "account": "account",
    "report_to": "report_to",
    "report_unchanged": "report_unchanged",
    "language": "language",
    "path": "sftp.path",
    "host": "sftp.host",
    "port": "sftp.port",
    "username": "sftp.username",
    "host_key": "sftp.host_key",
    "allow_network": "sftp.allowed_networks",
    "region": "region",
    "separator": "group_separator",
    "unknown_groups": "unknown_groups",
    "guard": "guard",
    "auto_invite": "automatic_invitations",
    "keep_primary_phone": "keep_primary_phone",
    "keep_secondary_phone": "keep_secondary_phone",
    "delete_after": "delete_after_processing",
    "strict_encoding": "strict_encoding",
    "nightly": "nightly_time",
    "time_zone": "time_zone",
    "stable_for": "stable_for_seconds",
    "end_marker": "end_marker",
    "skip_means": "skip_means",
    "grace": "grace_nights",
    "max_file_bytes": "max_file_bytes",
    "position": "position",
    **{f"{limit}_limit_{half}": f"limits.{limit}.{half}" for limit in DEFAULT_LIMITS for half in ("percent", "floor")},
}
_ENUMS: Mapping[str, Any] = {
    "unknown_groups": sources_pb2.UnknownGroups,
    "end_marker": sources_pb2.EndMarker,
    "guard": sources_pb2.Guard,
    "skip_means": sources_pb2.SkipMeans,
}


def write_into(source: sources_pb2.Source, settings: SourceSettings) -> list[str]:
    """Write the settings that were said into `source`; return their paths, as an update mask names them."""
    written = []
    for name, path in _PATHS.items():
        value = getattr(settings, name)
        if value is not None:
            _assign(source, path, value)
            written.append(path)
    return written


def credentials_of(settings: SourceSettings) -> sources_pb2.SftpCredentials | None:
    """Read how to log in on the customer's server; None when nothing was said."""
    if settings.password is None and settings.key_file is None:
        return None
    try:
        private_key = settings.key_file.read_text() if settings.key_file is not None else ""
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read the key file {settings.key_file}: {error}") from error
    return sources_pb2.SftpCredentials(password=settings.password or "", private_key=private_key)


def takes_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command declare `settings: SourceSettings` and have one option for each of its fields."""
    hints = get_type_hints(SourceSettings, include_extras=True)
    names = [each.name for each in dataclasses.fields(SourceSettings)]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[name]) for name in names
    ]
    own = [each for each in inspect.signature(command, eval_str=True).parameters.values() if each.name != "settings"]

    @functools.wraps(command)
    def called(**values: Any) -> None:
        settings = SourceSettings(**{name: values.pop(name) for name in names})
        command(**values, settings=settings)

    parameters = [*own, *options]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
    called.__annotations__ = {each.name: each.annotation for each in parameters}
    del called.__wrapped__  # its signature is not the one to read
    return called


def _assign(source: sources_pb2.Source, path: str, value: Any) -> None:
    *folders, field = path.split(".")
    holder: Any = source
    for folder in folders:
        holder = getattr(holder, folder)
    if isinstance(value, list):
        holder.ClearField(field)
        getattr(holder, field).extend(each for each in value if each)  # an empty text clears the list
    elif field in _ENUMS:
        setattr(holder, field, _ENUMS[field].Value(f"{field.upper()}_{value.value.upper()}"))
    else:
        setattr(holder, field, value.value if isinstance(value, StrEnum) else value)
