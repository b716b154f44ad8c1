"""Write the rejected rows as a CSV that is safe to open in a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from services.notifier.safe import neutral

COLUMNS = ("line", "key", "column", "reason", "message")


def rejected_rows_csv(rows: Iterable[tuple[int, str, str, str, str]]) -> bytes:
    """Write rows of COLUMNS as UTF-8 with a BOM, which tells a spreadsheet the encoding; no cell can be a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for line, *cells in rows:
        writer.writerow([line, *(neutral(cell, longest=1_000) for cell in cells)])
    return text.getvalue().encode("utf-8-sig")
