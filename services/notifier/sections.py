"""The tables of a report: counts, people, rejected rows and warnings, in words and harmless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from services.notifier.marks import named
from services.notifier.report_data import Counts, Issue, People, Person, Reach, Shape
from services.notifier.safe import neutral, plain
from services.notifier.words import Words

MOST_REJECTED = 50
"""Rejected rows shown in the mail itself; the attachment has the rest."""

MOST_GROUPS = 5
"""Groups out of reach that are named in the mail; `muster runs show` has more."""

FEW_ROWS, LESS, MORE = 10, 0.2, 0.5
"""A file has fewer rows than usual, or more, by over this many and this share of what it had."""

_MOST_EXAMPLES = 5
_RARE_COUNTS = frozenset({"rekeyed", "claims_dropped"})
_KINDS_OF_CHANGE = ("created", "updated", "taken_over", "restored", "rekeyed", "deleted")


@dataclass(frozen=True)
class PeopleSection:
    """The first people of one kind of change; `more` says how many others there are, or is empty."""

    title: str
    note: str
    lines: tuple[tuple[str, str], ...]
    more: str


@dataclass(frozen=True)
class RejectedRow:
    """One rejected row as people read it."""

    line: str
    key: str
    where: str
    code: str
    wrong: str
    cure: str


@dataclass(frozen=True)
class WarningSection:
    """All warnings of one word."""

    code: str
    wrong: str
    count: str
    examples: str
    cure: str


def counts(numbers: Counts, words: Words) -> list[tuple[str, str]]:
    """Name every count (R46), the rare ones where there is something to count."""
    return [
        (words.say(f"count.{part.name}"), words.number(getattr(numbers, part.name)))
        for part in fields(numbers)
        if part.name not in _RARE_COUNTS or getattr(numbers, part.name)
    ]


def people(first: People, numbers: Counts, words: Words, *, planned: bool) -> list[PeopleSection]:
    """Name the first people of each kind of change and count the others."""
    totals = {
        "created": numbers.created,
        "updated": numbers.updated - numbers.taken_over - numbers.restored - numbers.rekeyed,
        "taken_over": numbers.taken_over,
        "restored": numbers.restored,
        "rekeyed": numbers.rekeyed,
        "deleted": numbers.deleted,
    }
    found = []
    for kind in _KINDS_OF_CHANGE:
        named: tuple[Person, ...] = getattr(first, kind)
        if not named:
            continue
        rest = totals[kind] - len(named)
        title = words.say(_people(kind, words, planned=planned))
        found.append(
            PeopleSection(
                title=f"{title} ({words.number(max(totals[kind], len(named)))})",
                note=words.say(_people("taken_over_note", words, planned=planned)) if kind == "taken_over" else "",
                lines=tuple((_name(person, words), _details(person, words)) for person in named),
                more=words.say("people.more", n=rest) if rest > 0 else "",
            )
        )
    return found


def _people(key: str, words: Words, *, planned: bool) -> str:
    """Give the text that speaks of what would be, where there is one and nothing has happened yet."""
    would = f"people.{key}_planned"
    return would if planned and words.has(would) else f"people.{key}"


def _name(person: Person, words: Words) -> str:
    return named(neutral(person.name), person.user) or words.say("people.nameless")


def _details(person: Person, words: Words) -> str:
    """Say which fields changed; the contract's name stands for a field that has no word here."""
    said = [words.say(f"field.{name}") if words.has(f"field.{name}") else plain(name) for name in person.fields]
    if person.groups_joined:
        said.append(words.say("people.groups_joined", n=person.groups_joined))
    if person.groups_left:
        said.append(words.say("people.groups_left", n=person.groups_left))
    if person.groups_kept:
        said.append(words.say("people.groups_kept", n=person.groups_kept))
    return ", ".join(said)


def shape(seen: Shape, words: Words) -> list[str]:
    """Say what about the file is not as it was: a changed export is the usual beginning of a bad night."""
    said = [
        words.say("shape.column_gone", column=plain(name)) for name in _only(seen.columns_before, seen.columns_after)
    ]
    said += [
        words.say("shape.column_new", column=plain(name)) for name in _only(seen.columns_after, seen.columns_before)
    ]
    if seen.encoding_before != seen.encoding_after:
        said.append(words.say("shape.encoding", before=plain(seen.encoding_before), after=plain(seen.encoding_after)))
    if seen.delimiter_before != seen.delimiter_after:
        before, after = (_delimiter(value, words) for value in (seen.delimiter_before, seen.delimiter_after))
        said.append(words.say("shape.delimiter", before=before, after=after))
    rows, change = seen.rows_before, seen.rows_after - seen.rows_before
    if abs(change) > FEW_ROWS and rows and (change < -LESS * rows or change > MORE * rows):
        key, percent = "shape.fewer_rows" if change < 0 else "shape.more_rows", round(100 * abs(change) / rows)
        said.append(words.say(key, before=rows, after=seen.rows_after, percent=percent))
    return said


def reach(seen: Reach, words: Words) -> list[str]:
    """Say how the run changes who can be reached by phone."""
    figures = {"no_phone": seen.no_phone, "lost": seen.lost, "gained": seen.gained}
    said = [words.say(f"reach.{key}", n=number) for key, number in figures.items() if number]
    if not seen.groups_below:
        return said
    named = seen.groups[:MOST_GROUPS]
    said.append(words.say("reach.groups_below", n=seen.groups_below))
    said += (
        words.say("reach.group", group=neutral(group.name), before=group.before, after=group.after) for group in named
    )
    if seen.groups_below > len(named):
        said.append(words.say("reach.groups_more", n=seen.groups_below - len(named)))
    return said


def _only(here: Sequence[str], there: Sequence[str]) -> list[str]:
    return [name for name in here if name not in there]


def _delimiter(value: str, words: Words) -> str:
    return words.say("shape.tab") if value == "\t" else plain(value)


def rejected(issues: Sequence[Issue], words: Words) -> list[RejectedRow]:
    """Put the first rejected rows in words."""
    return [
        RejectedRow(
            line=str(issue.line),
            key=named(neutral(issue.key)),
            where=": ".join(filter(None, (plain(issue.column), neutral(issue.masked_value)))),
            code=plain(issue.code),
            wrong=_wrong("rejected", issue, words),
            cure=_cure("rejected", issue, words),
        )
        for issue in issues[:MOST_REJECTED]
    ]


def rejected_cells(issues: Iterable[Issue], words: Words) -> Iterator[tuple[int, str, str, str, str]]:
    """Give line, key, column, reason and message of every rejected row, for the attachment."""
    for issue in issues:
        message = f"{_wrong('rejected', issue, words)} {_cure('rejected', issue, words)}"
        yield issue.line, issue.key, issue.column, issue.code, message


def warnings(issues: Sequence[Issue], words: Words, *, planned: bool) -> list[WarningSection]:
    """Sum warnings up by their word, the most frequent first, with the first lines and details as examples."""
    by_word: dict[str, list[Issue]] = {}
    for issue in issues:
        by_word.setdefault(issue.code.partition(":")[0], []).append(issue)
    return [
        WarningSection(
            code=plain(word),
            wrong=_warned(same[0], words, planned=planned),
            count=words.number(len(same)),
            examples=_examples(same, words),
            cure=_cure_of_all(same, words),
        )
        for word, same in sorted(by_word.items(), key=lambda item: (-len(item[1]), item[0]))
    ]


def _warned(issue: Issue, words: Words, *, planned: bool) -> str:
    """Say what it is, or of a plan what it would be."""
    would = f"warning_planned.{issue.code.partition(':')[0]}"
    return words.say(would) if planned and words.has(would) else _wrong("warning", issue, words)


def _examples(same: Sequence[Issue], words: Words) -> str:
    details = Counter(neutral(_detail(issue), longest=60) for issue in same)
    most = [(detail, n) for detail, n in details.most_common(_MOST_EXAMPLES) if detail]
    said = [f"{detail} ({words.number(n)})" if n > 1 else detail for detail, n in most]
    lines = list(dict.fromkeys(str(issue.line) for issue in same if issue.line))
    if lines:
        more = ", …" if len(lines) > _MOST_EXAMPLES else ""
        said.append(words.say("column.lines", lines=", ".join(lines[:_MOST_EXAMPLES]) + more))
    return "; ".join(said)


def _detail(issue: Issue) -> str:
    """Give the word's detail; of a column that goes by another name, which column it is."""
    word, _, detail = issue.code.partition(":")
    return detail or (issue.column if word == "header_alias" else "")


def _wrong(role: str, issue: Issue, words: Words) -> str:
    return _catalogued(role, issue, words, "what")


def _cure(role: str, issue: Issue, words: Words) -> str:
    """Say what to do by the word; the issue's own English sentence stands for a word that is not known here."""
    if issue.message and _known(role, issue, words) == "unknown":
        return plain(issue.message, longest=500)
    return _catalogued(role, issue, words, "cure")


def _cure_of_all(same: Sequence[Issue], words: Words) -> str:
    """Say what to do about all warnings of a word; the nearest Group ID is good advice only for one unknown one."""
    sentences = {issue.message for issue in same}
    if same[0].code.startswith("unknown_group") and words.language == "en" and len(sentences) == 1 and all(sentences):
        return plain(same[0].message, longest=500)
    return _cure("warning", same[0], words)


def _catalogued(role: str, issue: Issue, words: Words, part: str) -> str:
    detail = neutral(issue.code.partition(":")[2]) or plain(issue.column)
    key = f"{role}.{_known(role, issue, words)}.{part}"
    return words.say(key, detail=detail, message=plain(issue.code))


def _known(role: str, issue: Issue, words: Words) -> str:
    word = issue.code.partition(":")[0]
    return word if word and words.has(f"{role}.{word}") else "unknown"
