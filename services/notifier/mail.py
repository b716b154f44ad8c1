"""Fill the templates of mails: what every mail is made of, whatever it tells."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from services.notifier.words import TEMPLATES, Words, words_in


@dataclass(frozen=True)
class Mail:
    """A rendered mail, not yet addressed, with its marks; `mentions` are resource names of people whom it names."""

    subject: str
    text: str
    html: str
    attachment_name: str = ""
    attachment: bytes = b""
    urgent: bool = False
    mentions: tuple[str, ...] = ()


class Templates:
    """The templates and texts of mails: those of a vendor's folder where it has some, else our own.

    A missing value is an error and not a blank in a mail; everything in HTML is escaped.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._environment = Environment(
            loader=FileSystemLoader([folder, TEMPLATES] if folder else [TEMPLATES]),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )
        self._environment.filters["wrapped"] = _wrapped
        self._environment.filters["with_code"] = _with_code
        self._environment.filters["command"] = _command

    def words(self, language: str) -> Words:
        """Give a language's texts."""
        return words_in(language, self._folder)

    def fill(self, name: str, page: Mapping[str, object]) -> tuple[str, str]:
        """Fill the templates `name`.txt and `name`.html; a value that they ask for and `page` lacks is an error."""
        get = self._environment.get_template
        return get(f"{name}.txt").render(page), get(f"{name}.html").render(page)


def _wrapped(text: str, indent: int = 0) -> str:
    """Fold a paragraph for a text mail, never inside a command or a name."""
    return textwrap.fill(
        text,
        width=76,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _with_code(text: str) -> Markup:
    """Escape the text, then set what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]{1,200})`", _code, str(escape(text))))  # noqa: S704 - escaped just before


def _command(text: str) -> Markup:
    """Escape a command; its options are not broken at their hyphens, where half of one would be copied."""
    return Markup(_unbroken(str(escape(text))))  # noqa: S704 - escaped just before


def _code(found: re.Match[str]) -> str:
    return f"<code>{_unbroken(found[1])}</code>"


def _unbroken(escaped: str) -> str:
    return re.sub(r"(?<= )--?[a-z][a-z-]*", r'<span style="white-space:nowrap;">\g<0></span>', escaped)


STANDARD = Templates()
"""Our own templates."""
