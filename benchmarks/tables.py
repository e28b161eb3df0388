"""Figures as a page of Markdown: what was measured, where, when, and the tables."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from benchmarks.machine import Machine

DOCS = Path(__file__).parent.parent / "docs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table and what a reader must know to read it."""

    title: str
    #: before the table: what was done
    told: str
    headings: Sequence[str]
    rows: Sequence[Sequence[object]]
    #: below it: what follows from it, and what does not
    remark: str = ""

    def __str__(self) -> str:
        """The section in Markdown."""
        parts = [f"## {self.title}", self.told, markdown(self.headings, self.rows), self.remark]
        return "\n\n".join(part for part in parts if part)


def markdown(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; whatever looks like a number stands to the right."""
    written = [[cell(value) for value in row] for row in rows]
    rules = [
        "---:" if written and all(_is_number(row[place]) for row in written) else "---"
        for place in range(len(headings))
    ]
    lines = [[cell(heading) for heading in headings], rules, *written]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(value: object) -> str:
    """*value* as a table's cell: numbers with three significant digits at least, text on one line."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return " ".join(str(value).split()).replace("|", "\\|")
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _is_number(text: str) -> bool:
    return text[:1].isdigit() and text.replace(",", "").replace(".", "").isdigit()


def write_page(path: Path, title: str, on: date, where: Machine, parts: Iterable[object]) -> None:
    """The page at *path* says all of it, date and machine first."""
    measured = f"{on:%Y-%m-%d} · {where}."
    page = "\n\n".join([f"# {title}", measured, *(str(part) for part in parts)])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{page}\n", encoding="utf-8")
