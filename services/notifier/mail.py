"""Fill the templates of mails: what every mail is made of, whatever it tells."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from services.notifier.words import TEMPLATES


@dataclass(frozen=True)
class Mail:
    """A rendered mail, not yet addressed."""

    subject: str
    text: str
    html: str
    attachment_name: str = ""
    attachment: bytes = b""
    urgent: bool = False


def fill(name: str, page: Mapping[str, object]) -> tuple[str, str]:
    """Fill the templates `name`.txt and `name`.html; a value that they ask for and `page` lacks is an error."""
    templates = _templates()
    return templates.get_template(f"{name}.txt").render(page), templates.get_template(f"{name}.html").render(page)


@cache
def _templates() -> Environment:
    """A missing value is an error here and not a blank in a mail; everything in HTML is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["wrapped"] = _wrapped
    environment.filters["with_code"] = _with_code
    return environment


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
    return Markup(re.sub(r"`([^`]{1,200})`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped just before
