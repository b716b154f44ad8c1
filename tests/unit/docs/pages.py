"""Read the documentation as data: sections, tables and fenced blocks of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Fence:
    """A fenced block and its language."""

    language: str
    text: str


def page(name: str) -> str:
    """Read a page by its path from the repository's root."""
    return (ROOT / name).read_text(encoding="utf-8")


def all_pages() -> Iterator[Path]:
    """Every page of the documentation."""
    yield from sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def section(text: str, heading: str) -> str:
    """Cut out what stands under a heading, its subsections included; the heading must be there once."""
    (found,) = re.finditer(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    level = len(found[1])
    following = re.compile(rf"^#{{1,{level}}} ", re.MULTILINE).search(text, found.end())
    return text[found.end() : following.start() if following else len(text)]


def rows(text: str) -> list[list[str]]:
    """Give the cells of all tables in a text, without their headers."""
    found: list[list[str]] = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if not line.startswith("|") or line.startswith("|---"):
            continue
        if number + 1 < len(lines) and lines[number + 1].startswith("|---"):
            continue
        found.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]])
    return found


def codes(cell: str) -> list[str]:
    """Give what stands between backticks."""
    return _CODE.findall(cell)


def fences(text: str) -> list[Fence]:
    """Give the fenced blocks of a text."""
    return [Fence(match[1], match[2]) for match in _FENCE.finditer(text)]


def anchors(text: str) -> set[str]:
    """Give the anchors of a page's headings, as code hosts make them."""
    plain = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
