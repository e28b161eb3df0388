"""A list of people as a file: rows read one by one from any CSV another program wrote.

What the file's bytes are is known by `files`, what its columns mean by `headings`.
"""

import csv
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TextIO

from subscribers.files import HEAD, File, Sheet, Unreadable, opened
from subscribers.headings import PLAIN, Columns, Row, address_column, normal, program_of

LONGEST_ROW = 1_000_000  # characters


def rows(file: File) -> Iterator[Row]:
    """The rows of all its sheets in their order, without empty ones; Unreadable where it is no such list."""
    filled = 0
    for sheet in file.sheets:
        with _as_csv(sheet):
            filled += yield from _rows(file, sheet)
    if not filled:
        raise Unreadable(f"{file.path.name} is empty")


def program(file: File) -> str:
    """The program whose export the file looks like; `PLAIN` where it looks like nobody's."""
    for sheet in file.sheets:
        with _as_csv(sheet), opened(file, sheet) as text:
            head = text.read(HEAD)
            found = program_of(normal(_first(head, _delimiter(head))))
        if found != PLAIN:
            return found
    return PLAIN


@contextmanager
def _as_csv(sheet: Sheet) -> Iterator[None]:
    """What keeps *sheet* from being a CSV is said in one line."""
    try:
        yield
    except csv.Error as error:
        raise Unreadable(f"{sheet.name} is no clean CSV: {error}") from None
    except UnicodeError:
        raise Unreadable(f"{sheet.name} is not text: save it as CSV in UTF-8") from None


def _rows(file: File, sheet: Sheet) -> Generator[Row, None, bool]:
    """The rows of one sheet; whether it has anything in it."""
    with opened(file, sheet) as text:
        delimiter = _delimiter(text.read(HEAD))
    with opened(file, sheet) as text:
        lines = _Lines(text, sheet.name)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        start, columns, header = 1, None, [""]
        for cells in reader:
            line, start = start, reader.line_num + 1
            lines.taken = 0
            if not any(cell.strip() for cell in cells) or (columns is None and cells[0].startswith("sep=")):
                continue
            if columns is None:
                columns, header = Columns.of(cells, sheet.name), cells
                if columns is None:
                    raise Unreadable(f"{sheet.name} has no column of addresses: give it the heading email")
                if columns.named:
                    continue
                header = [""]
            yield columns.row(line, cells, is_header=cells == header)
    return columns is not None


class _Lines:
    """The lines of a text, of which no row may take too many: its memory is ours."""

    def __init__(self, text: TextIO, name: str) -> None:
        self._text, self._name = text, name
        #: characters since the row began
        self.taken = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(LONGEST_ROW + 1)
        self.taken += len(line)
        if self.taken > LONGEST_ROW:
            raise Unreadable(f"{self._name} is no list: a row is longer than {LONGEST_ROW:,} characters")
        if not line:
            raise StopIteration
        return line


def _delimiter(head: str) -> str:
    """The delimiter under which the first row has an address column and most cells."""
    found = re.match(r"\s*sep=(.)[\r\n]", head)  # Excel
    if found:
        return found[1]

    def merit(delimiter: str) -> tuple[bool, int]:
        cells = _first(head, delimiter)
        return address_column(normal(cells)) is not None, len(cells)

    return max(",;\t|", key=merit)


def _first(head: str, delimiter: str) -> list[str]:
    """The cells of the first row that says something."""
    lines = (line for line in head.splitlines() if line.strip() and not line.startswith("sep="))
    return next(csv.reader(islice(lines, 20), delimiter=delimiter), [])
