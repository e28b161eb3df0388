"""An issue's letters by domain and over time, counted piece by piece.

To count 100,000 letters by domain takes a third of a second, for it reads their rows. So they are counted in
cells, a state's letters among some thousands of ids, and of an earlier count is kept what has not moved: each
cell has a mark, read off an index alone, which is another number where any letter came or went.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, String, case, cast, column, func, select, values
from sqlmodel import Session, SQLModel

from digest.models import Delivered

_tables = SQLModel.metadata.tables
_delivery, _subscriber = _tables["delivery"], _tables["subscriber"]
_d, _s = _delivery.c, _subscriber.c

#: domains that are named; all others are one line
NAMED = 20
#: the fewest ids of a cell, and how many cells of a state there are at most
FEWEST, CELLS = 4096, 200
#: a mark is a sum over its letters, of this and of a number that tells the letter's place in the cell: how
#: many, and which
_EACH = 1 << 40
#: the largest of such numbers: places themselves would not do, for 1 and 4 add up to what 2 and 3 do
_PRIME = (1 << 31) - 1

#: a state, and the first id
Place = tuple[Delivered, int]


@dataclass(frozen=True, slots=True)
class Domain:
    """The letters to one receiving domain, or to several; their states add up to *letters*."""

    #: "" of those whose address has been erased
    name: str
    states: Mapping[Delivered, int]

    @property
    def letters(self) -> int:
        """How many there are."""
        return sum(self.states.values())


@dataclass(frozen=True, slots=True)
class Cell:
    """Some letters in one state."""

    mark: int
    #: those that are named one by one, all others as None
    domains: Mapping[str | None, int]
    #: of the accepted, by the second in which the ledger wrote it down
    seconds: Mapping[datetime, int]


@dataclass(frozen=True, slots=True)
class Spread:
    """All letters of an issue."""

    issue_id: int
    cells: Mapping[Place, Cell]
    #: the domains with most letters, most first
    named: Sequence[str]
    #: how many other domains there are
    unnamed: int

    def domains(self) -> list[Domain]:
        """The named ones."""
        return [Domain(name, self._states(name)) for name in self.named]

    def others(self) -> Domain | None:
        """All other domains taken together; None where all are named."""
        return Domain("", self._states(None)) if self.unnamed else None

    def seconds(self) -> list[tuple[datetime, int]]:
        """The accepted by the second, in that order."""
        found: Counter[datetime] = Counter()
        for cell in self.cells.values():
            found.update(cell.seconds)
        return sorted(found.items())

    def _states(self, name: str | None) -> dict[Delivered, int]:
        found: Counter[Delivered] = Counter()
        for (state, _first), cell in self.cells.items():
            found[state] += cell.domains.get(name, 0)
        return {state: number for state, number in found.items() if number}


def spread(session: Session, issue_id: int, known: Spread | None = None) -> Spread:
    """The letters of the issue as they are now; what of *known* has not moved is not counted again."""
    first, last = (
        session.connection()
        .execute(select(func.min(_d.id), func.max(_d.id)).where(_d.issue_id == issue_id))
        .one()
    )
    if first is None:
        return Spread(issue_id, {}, [], 0)
    size = max(FEWEST, -(-(last + 1 - first) // CELLS))
    kept = known.cells if known and known.issue_id == issue_id else {}
    cells = {}
    for place, mark in _marks(session, issue_id, range(first, last + 1, size), size).items():
        cell = kept.get(place)
        cells[place] = cell if cell and cell.mark == mark else _cell(session, issue_id, place, size, mark)
    if known and kept and (known.unnamed or _are_named(cells.values(), known.named)):
        named, unnamed = known.named, known.unnamed
    else:
        named, unnamed = ranked(cells.values())
    return Spread(issue_id, {place: _folded(cell, named) for place, cell in cells.items()}, named, unnamed)


def _are_named(cells: Iterable[Cell], named: Sequence[str]) -> bool:
    """Whether *cells* have no other domain: one that was erased meanwhile has none, which is new."""
    return set().union(*(cell.domains for cell in cells)) <= set(named)


def ranked(cells: Any) -> tuple[list[str], int]:
    """The domains of *cells* with most letters, and how many others there are; pure."""
    counts: Counter[str] = Counter()
    for cell in cells:
        counts.update(cell.domains)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    # One that is left over can as well be named.
    most = NAMED if len(names) > NAMED + 1 else len(names)
    return names[:most], len(names) - most


def _folded(cell: Cell, named: Sequence[str]) -> Cell:
    """*cell* with all domains but *named* as one."""
    if cell.domains.keys() <= {*named, None}:
        return cell
    domains: Counter[str | None] = Counter()
    for name, number in cell.domains.items():
        domains[name if name in named else None] += number
    return Cell(cell.mark, domains, cell.seconds)


def _marks(session: Session, issue_id: int, firsts: range, size: int) -> dict[Place, int]:
    """The marks of the cells in which there is any letter."""
    places = [(str(state), first, first + size - 1) for state in Delivered for first in firsts]
    columns = (column("state", String), column("first", BigInteger), column("last", BigInteger))
    place = values(*columns, name="place", literal_binds=True).data(places).cte("place")
    here = (_d.issue_id == issue_id, _d.state == place.c.state, _d.id.between(place.c.first, place.c.last))
    # A subquery for each: as one GROUP BY the letters would be sorted first, which takes three times as long.
    # PostgreSQL's ids have 32 bits, and so would have their cubes.
    inside = cast(_d.id - place.c.first, BigInteger)
    each = inside * inside * inside % _PRIME + _EACH
    mark = select(func.sum(each)).where(*here).correlate(place).scalar_subquery()
    rows = session.connection().execute(select(place.c.state, place.c.first, mark))
    return {(Delivered(state), first): int(sum_) for state, first, sum_ in rows if sum_}


def _cell(session: Session, issue_id: int, place: Place, size: int, mark: int) -> Cell:
    state, first = place
    here = (_d.issue_id == issue_id, _d.state == state, _d.id.between(first, first + size - 1))
    is_lite = session.get_bind().dialect.name == "sqlite"
    name, second = _domain(is_lite), _second(is_lite)
    joined = _delivery.outerjoin(_subscriber, _s.id == _d.subscriber_id)
    by_domain = select(name, func.count()).select_from(joined).where(*here).group_by(name)
    domains = {row[0]: row[1] for row in session.connection().execute(by_domain)}
    if state is not Delivered.ACCEPTED:
        return Cell(mark, domains, {})
    rows = session.connection().execute(select(second, func.count()).where(*here).group_by(second))
    return Cell(mark, domains, {_instant(at): number for at, number in rows})


def _domain(is_lite: bool) -> Any:
    # An address has one @ (`address.parse` takes no quoted local part); the key of an erased one has none.
    key = _s.address_key
    if not is_lite:
        return func.coalesce(func.split_part(key, "@", 2), "")
    at = func.instr(key, "@")
    return func.coalesce(case((at > 0, func.substr(key, at + 1)), else_=""), "")


def _second(is_lite: bool) -> Any:
    return func.substr(_d.settled_at, 1, 19) if is_lite else func.date_trunc("second", _d.settled_at)


def _instant(second: datetime | str) -> datetime:
    found = datetime.fromisoformat(str(second))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
