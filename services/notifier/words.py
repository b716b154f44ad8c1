"""Say things in the reader's language: the texts of templates/en.toml and sv.toml, with plurals and numbers."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

TEMPLATES = Path(__file__).parent / "templates"
LANGUAGES = ("en", "sv")
_THOUSANDS = {"en": ",", "sv": "\N{NO-BREAK SPACE}"}


@dataclass(frozen=True)
class Words:
    """The texts of one language."""

    language: str
    texts: Mapping[str, Any]

    def say(self, key: str, /, **values: object) -> str:
        """Fill the text `key` (dotted) with values; one with `one` and `other` is chosen by the number `n`.

        Values are put in as they are and never read as patterns. KeyError when the text or a value is missing.
        """
        text = self._find(key)
        if isinstance(text, Mapping):
            text = text["one" if values["n"] == 1 else "other"]
        return str(text).format(**{name: self._written(value) for name, value in values.items()})

    def has(self, key: str) -> bool:
        """Say whether there is a text or a part `key`."""
        try:
            self._find(key)
        except KeyError:
            return False
        return True

    def number(self, value: float) -> str:
        """Write a number as the language groups it; no decimals that are zero."""
        figures = f"{value:,}" if isinstance(value, int) else f"{value:,.10g}"
        return figures.replace(",", _THOUSANDS[self.language])

    def moment(self, value: datetime, time_zone: str) -> str:
        """Write a moment in a time zone, which is named; in UTC when the zone is not known here."""
        try:
            zone = ZoneInfo(time_zone or "UTC")
        except (ZoneInfoNotFoundError, ValueError):
            time_zone, zone = "UTC", ZoneInfo("UTC")
        return f"{value.astimezone(zone):%Y-%m-%d %H:%M} ({time_zone or 'UTC'})"

    def _find(self, key: str) -> Any:
        found: Any = self.texts
        for part in key.split("."):
            found = found[part]
        return found

    def _written(self, value: object) -> object:
        return self.number(value) if isinstance(value, int | float) else value


@cache
def words_in(language: str, folder: Path | None = None) -> Words:
    """Read a language's texts, those of `folder` over our own; English for a language that is not spoken here."""
    spoken = language if language in LANGUAGES else LANGUAGES[0]
    texts = _read(TEMPLATES / f"{spoken}.toml")
    own = folder / f"{spoken}.toml" if folder else None
    return Words(spoken, _over(texts, _read(own)) if own and own.exists() else texts)


def _read(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return tomllib.load(file)


def _over(texts: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Put a vendor's texts in the place of ours. A text with `one` and `other` may be replaced by one for both."""
    merged = dict(texts)
    for key, value in own.items():
        old = texts.get(key)
        merged[key] = _over(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
