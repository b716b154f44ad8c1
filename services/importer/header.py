"""Read the header: which column stands where, under which of its names (R7, R12, R13)."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.importer.errors import DuplicateHeaderError, MissingColumnError, NoHeaderError, TooLargeError

COLUMNS = (
    "UniqueID",
    "Name",
    "FirstName",
    "LastName",
    "Mail",
    "Title",
    "TelephoneNumber",
    "SecondaryTelephoneNumber",
    "TimeStamp",
    "Groups",
    "Skip",
)
REMARKS = "Muster"
"""The column that says what is wrong in a file of rejected rows; nothing is said of it when such a file comes back."""
MAX_COLUMNS = 64
_LONGEST_SHOWN = 64
_ALIASES = {
    "UniqueID": "unique id, user id, employee id, användar-id, anställningsnummer, bruker-id, ansattnummer, bruger-id, "
    "medarbejdernummer, käyttäjätunnus, henkilönumero",
    "Name": "full name, namn, navn, nimi",
    "Mail": "e-mail, email, e-post, epost, mejl, sähköposti",
    "Title": "job title, titel, befattning, tittel, stilling, titteli, tehtävänimike",
    "TelephoneNumber": "phone, mobile, telefon, telefonnummer, mobil, mobiltelefon, puhelin, matkapuhelin",
    "SecondaryTelephoneNumber": "secondary phone, phone 2, telefon 2, puhelin 2",
    "TimeStamp": "tidsstämpel, tidsstempel, aikaleima",
    "Groups": "group ids, grupper, ryhmät",
    "Skip": "hoppa över, hopp over, spring over, ohita",
    "FirstName": "first name, given name, förnamn, fornavn, etunimi",
    "LastName": "last name, surname, efternamn, etternavn, efternavn, sukunimi",
}


@dataclass(frozen=True)
class Header:
    """A header that can be used.

    `positions` says where each known column stands, in the file's order; `names` are all header cells fit to be shown;
    `aliases` are the columns found under another name; `unknown` are the other headers, each once.
    """

    positions: Mapping[str, int]
    names: tuple[str, ...]
    aliases: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many fields a row should have."""
        return len(self.names)


def known_headers(record: Sequence[str]) -> int:
    """Count the cells that name a known column; the delimiter with the highest count is the file's (R11)."""
    return sum(_comparable(cell) in _COLUMN_OF for cell in record)


def read_header(record: Sequence[str]) -> Header:
    """Read the header record.

    NoHeaderError, TooLargeError (columns), DuplicateHeaderError and MissingColumnError, in this order.
    """
    found = [_COLUMN_OF.get(_comparable(cell)) for cell in record]
    names = tuple(_shown(cell) for cell in record)
    if not any(found):
        raise NoHeaderError
    if len(record) > MAX_COLUMNS:
        raise TooLargeError(because="columns")
    positions: dict[str, int] = {}
    for position, column in enumerate(found):
        if column in positions:
            raise DuplicateHeaderError(column)
        if column is not None:
            positions[column] = position
    _require(positions)
    aliases = tuple(
        column for column, position in positions.items() if _comparable(record[position]) != column.casefold()
    )
    unknown = [
        name
        for name, column in zip(names, found, strict=True)
        if column is None and name and _comparable(name) != REMARKS.casefold()
    ]
    return Header(positions, names, aliases, tuple(dict.fromkeys(unknown)))


def _require(positions: Mapping[str, int]) -> None:
    for column in ("UniqueID", "Mail"):
        if column not in positions:
            raise MissingColumnError(column)
    if "Name" not in positions and not ("FirstName" in positions and "LastName" in positions):
        raise MissingColumnError("Name", because="name_absent")


def _comparable(cell: str) -> str:
    """Leave out what headers do not differ by: case, spaces, `_ - .` and invisible characters."""
    text = unicodedata.normalize("NFC", cell).casefold()
    return "".join(
        character for character in text if character not in "_-." and unicodedata.category(character)[0] not in "ZC"
    )


def _shown(cell: str) -> str:
    """Make a header fit to be shown: one line, no control characters, no undecodable bytes, not endless."""
    text = "".join(" " if unicodedata.category(character)[0] in "ZC" else character for character in cell)
    return " ".join(text.split())[:_LONGEST_SHOWN]


_COLUMN_OF = {
    _comparable(name): column for column, aliases in _ALIASES.items() for name in (column, *aliases.split(", "))
}
