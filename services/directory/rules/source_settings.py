"""The settings of a source: their defaults, and a parser for each that says what is wrong with a value."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import struct
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import phonenumbers

from services.directory.rules import contact, text
from services.directory.rules.checks import InvalidValueError

DEFAULT_PATH: Final = "/users.csv"
MOST_FILE_BYTES: Final = 512 * 1024 * 1024
END_MARKERS: Final = {1: "none", 2: "sha256", 3: "done", 4: "eof"}
"""Ways to mark a complete file's end, by the contract's numbers (R2)."""
LIMIT_NAMES: Final = ("delete", "mail_change", "takeover", "membership", "create", "reject", "rekey", "shape")
_HOST = re.compile(r"[0-9A-Za-z._:-]{1,253}")
_HOST_KEY_TYPES = re.compile(r"ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


def parse_account_id(account_id: int) -> int:
    """Take the linked account's id as it is; that it exists is looked up later."""
    return account_id


def parse_host(host: str) -> str:
    """Read a host name or address; "" for the hosted drop."""
    host = host.strip()
    if host and not _HOST.fullmatch(host):
        raise InvalidValueError("must be a host name or an address")
    return host


def parse_port(port: int) -> int:
    """Read a TCP port; 0 is 22."""
    if not 0 <= port <= 65535:
        raise InvalidValueError("must be a port from 1 to 65535")
    return port or 22


def parse_username(username: str) -> str:
    """Read a login name."""
    return _plain(username.strip(), most=256)


def parse_host_key(host_key: str) -> str:
    """Read "ssh-ed25519 AAAA… comment" as type and base64, without the comment; "" while none is pinned."""
    words = host_key.split()
    if not words:
        return ""
    if len(words) < 2 or not _HOST_KEY_TYPES.fullmatch(words[0]) or _key_type(words[1]) != words[0]:
        raise InvalidValueError('must be a public host key such as "ssh-ed25519 AAAA…"')
    return f"{words[0]} {words[1]}"


def parse_path(path: str) -> str:
    """Read the absolute path of a file."""
    path = _plain(path or DEFAULT_PATH, most=1024)
    if not path.startswith("/") or path.endswith("/") or ".." in path.split("/"):
        raise InvalidValueError("must be the absolute path of a file such as /users.csv")
    return path


def parse_networks(networks: Sequence[str]) -> list[str]:
    """Read networks in CIDR form; a lone address is a network of one."""
    try:
        return [str(ipaddress.ip_network(network.strip())) for network in networks]
    except ValueError:
        raise InvalidValueError("must be networks such as 192.0.2.0/24") from None


def parse_group_separator(separator: str) -> str:
    """Read what separates Group IDs; empty is the default."""
    if len(separator) > 8 or any(character in '"\r\n' for character in separator):
        raise InvalidValueError("must be at most 8 characters, without quotes and line breaks")
    if separator and not separator.strip(" "):
        raise InvalidValueError("must not be blank")
    return separator or ","


def parse_region(region: str) -> str:
    """Read an ISO 3166 region for which phone numbers are known; "" for none (R21)."""
    region = region.strip().upper()
    if region and region not in phonenumbers.SUPPORTED_REGIONS:
        raise InvalidValueError("must be a region such as SE")
    return region


def parse_nightly_time(time: str) -> str:
    """Read HH:MM; empty is 02:00."""
    time = time or "02:00"
    if not _TIME.fullmatch(time):
        raise InvalidValueError("must be a time such as 02:00")
    return time


def parse_time_zone(name: str) -> str:
    """Read an IANA time zone; empty is UTC."""
    name = name or "UTC"
    if name not in zoneinfo.available_timezones():
        raise InvalidValueError("must be an IANA time zone such as Europe/Stockholm")
    return name


def parse_stable_for_seconds(seconds: int) -> int:
    """Read 1 to 3600 seconds; 0 is 60."""
    if not 0 <= seconds <= 3600:
        raise InvalidValueError("must be from 1 to 3600 seconds")
    return seconds or 60


def parse_end_marker(marker: int) -> int:
    """Read how a complete file ends (R2); 0 is 1, none."""
    if marker not in END_MARKERS.keys() | {0}:
        raise InvalidValueError("must be one of its enumeration's values")
    return marker or 1


def parse_grace_nights(nights: int) -> int:
    """Read 0 to 365 nights."""
    if not 0 <= nights <= 365:
        raise InvalidValueError("must be from 0 to 365")
    return nights


def parse_max_file_bytes(size: int) -> int:
    """Read 1 byte to 512 MiB; 0 is 512 MiB (R7)."""
    if not 0 <= size <= MOST_FILE_BYTES:
        raise InvalidValueError(f"must be from 1 to {MOST_FILE_BYTES}")
    return size or MOST_FILE_BYTES


def parse_figure(figure: float | None) -> float | None:
    """Read one figure of a limit; None: the rule's default (R8, R9)."""
    if figure is not None and not 0 <= figure < float("inf"):  # NaN fails too
        raise InvalidValueError("must be at least 0")
    return figure


def parse_position(position: int) -> int:
    """Read a place among the tenant's files; 1 is first, 0 is last."""
    if position < 0:
        raise InvalidValueError("must be at least 1")
    return position


def parse_report_to(addresses: Sequence[str]) -> list[str]:
    """Read the mail addresses that get the report, each once."""
    if len(addresses) > 50:
        raise InvalidValueError("must be at most 50 addresses")
    return list(dict.fromkeys(contact.parse_email(address) for address in addresses))


def parse_unknown_groups(choice: int) -> bool:
    """Read whether unknown groups are created (2) or ignored (1; 0 is the default)."""
    return _choice(choice) == 2


def parse_skip_means(choice: int) -> bool:
    """Read whether Skip=1 freezes (2) or means absent (1; 0 is the default)."""
    return _choice(choice) == 2


def parse_guard(choice: int) -> bool:
    """Read whether the guard of S13 is on (1; 0 is the default) or off (2)."""
    return _choice(choice) != 2


def _choice(value: int) -> int:
    if value not in {0, 1, 2}:
        raise InvalidValueError("must be one of its enumeration's values")
    return value


def _flag(value: object) -> bool:
    return bool(value)


PARSERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "display_name": text.parse_display_name,
    "account": parse_account_id,
    "sftp.host": parse_host,
    "sftp.port": parse_port,
    "sftp.username": parse_username,
    "sftp.host_key": parse_host_key,
    "sftp.path": parse_path,
    "sftp.allowed_networks": parse_networks,
    "group_separator": parse_group_separator,
    "automatic_invitations": _flag,
    "region": parse_region,
    "unknown_groups": parse_unknown_groups,
    "keep_primary_phone": _flag,
    "keep_secondary_phone": _flag,
    "delete_after_processing": _flag,
    "nightly_time": parse_nightly_time,
    "time_zone": parse_time_zone,
    "stable_for_seconds": parse_stable_for_seconds,
    "end_marker": parse_end_marker,
    "skip_means": parse_skip_means,
    "grace_nights": parse_grace_nights,
    "strict_encoding": _flag,
    **{f"limits.{name}.{figure}": parse_figure for name in LIMIT_NAMES for figure in ("percent", "floor")},
    "position": parse_position,
    "report_to": parse_report_to,
    "report_unchanged": _flag,
    "language": text.parse_language,
    "max_file_bytes": parse_max_file_bytes,
    "guard": parse_guard,
}
"""Path of a setting, as an update mask names it → its parser."""

SCIM_SETTINGS: Final = frozenset(
    {"display_name", "account", "region", "unknown_groups", "position", "report_to", "language", "guard"}
)
"""What there is to set of a SCIM source: it fetches nothing, has no nights and no limits of R8."""


def parse_scim_unknown_groups(choice: int) -> bool:
    """Read whether unknown groups are created (2; 0 is the default) or refused (1)."""
    return _choice(choice) != 1


def expand(path: str) -> list[str]:
    """Give the settings that a path of an update mask names: `limits`, `limits.delete` and `sftp` name several."""
    if path == "*":
        return list(PARSERS)
    return [name for name in PARSERS if name == path or name.startswith(f"{path}.")]


def _plain(value: str, *, most: int) -> str:
    if len(value) > most or not value.isprintable():
        raise InvalidValueError(f"must be at most {most} printable characters")
    return value


def _key_type(encoded: str) -> str:
    """Read the type that a key in base64 itself says it is of; "" when it is damaged."""
    try:
        raw = base64.b64decode(encoded, validate=True)
        (length,) = struct.unpack(">I", raw[:4])
        return raw[4 : 4 + length].decode("ascii") if len(raw) > 4 + length else ""
    except (binascii.Error, struct.error, UnicodeDecodeError):
        return ""
