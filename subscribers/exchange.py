"""People in and out as CSV: a dry run and its report, the import it promised, and the export of all.

An import brings in only whom nobody knew. It never brings back who left, bounced, complained or is
suppressed (I-4), and who left elsewhere is kept off the list here. What is imported is what the report
said: it is applied only with the hash that stands in it.

::

    departures   every row that says "gone", whatever stands above or below it
    arrivals     then all others

A file is done in parts, each a transaction of its own: a long one would keep the pages and a dispatch
from writing. Once more on the same file an import does only what is left to do, so that one that was
killed is run again.
"""

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TextIO

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from subscribers.address import Address, BadAddress, is_role, mixes_scripts, parse, suggestion
from subscribers.arrivals import add_all, ask_all
from subscribers.departures import bar_all
from subscribers.evidence import Evidence, Newcomer, Origin
from subscribers.files import File, Unreadable, examine, fingerprint
from subscribers.headings import GONE, Row, Says
from subscribers.imports import keep_report
from subscribers.models import Cause, Consent, State, Subscriber, Suppression
from subscribers.report import Report, Terms, Verdict, report_on
from subscribers.roll import states_of
from subscribers.sheet import program, rows
from subscribers.suppression import AT_ONCE, RANK, in_parts, suppressed_among, suppression_key

#: begins one transaction on the store
Opening = Callable[[], AbstractContextManager[Session]]
#: is told of the people who became pending, within the transaction that made them so
Asked = Callable[[Session, Sequence[tuple[int, Address]]], None]
#: is told how many rows are read, and of how many; None while that is not known
Watch = Callable[[int, int | None], None]

#: what a spreadsheet takes for the beginning of a formula (S-14)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Stale(ValueError):
    """What is to be applied is not what the report was about; the message is one line."""


#: what an arriving row means for somebody who is here
_HERE = {
    State.PENDING: Verdict.ALREADY_PENDING,
    State.ACTIVE: Verdict.ALREADY_ACTIVE,
    State.PAUSED: Verdict.ALREADY_PAUSED,
    State.UNSUBSCRIBED: Verdict.WAS_UNSUBSCRIBED,
    State.BOUNCED: Verdict.WAS_BOUNCED,
    State.COMPLAINED: Verdict.WAS_COMPLAINED,
}
_CAUSES = {
    Says.LEFT: Cause.LEFT,
    Says.BOUNCED: Cause.BOUNCED,
    Says.COMPLAINED: Cause.COMPLAINED,
    Says.SUPPRESSED: Cause.MANUAL,
}


def _unseen(_rows: int, _of: int | None) -> None:
    """Nobody watches."""


def _unasked(_session: Session, _asked: Sequence[tuple[int, Address]]) -> None:
    """Nobody writes to who was asked."""


def dry_run(reading: Opening, path: Path, terms: Terms, secret: bytes, watch: Watch = _unseen) -> Report:
    """What `apply` would do with the file at *path*; nothing is changed.

    Raises Unreadable where the file is no list, Stale where it changes meanwhile.
    """
    file = examine(path)
    visit = _Visit(reading, file, terms, secret, report_on(file, program(file), terms), watch)
    _make(visit, f"{path.name} changed while it was read: run the import again")
    return visit.report


def apply(
    writing: Opening,
    path: Path,
    terms: Terms,
    hash: str,
    secret: bytes,
    now: datetime,
    *,
    asked: Asked = _unasked,
    watch: Watch = _unseen,
) -> Report:
    """The import, in many short transactions; once more on the same file it changes nothing.

    Raises Stale where *hash* is not that of the file and terms as they are now, and ValueError where
    no ground is stated.
    """
    if not terms.ground.strip():
        raise ValueError("nobody is imported without a stated ground")
    file = examine(path)
    report = report_on(file, program(file), terms)
    if hash != report.hash:
        raise Stale(
            f"{path.name} or its terms are not what the report {hash} was about:"
            " run the import again without --apply and read the new report"
        )
    evidence = Evidence(
        origin=Origin.IMPORT, at=now, wording=f"{terms.ground} ({path.name}, {file.fingerprint[:16]})"
    )
    _make(
        _Visit(writing, file, terms, secret, report, watch, evidence, asked),
        f"{path.name} changed while it was imported, and some of it is in:"
        " run the import again without --apply and read the new report",
    )
    report.applied = True
    with writing() as session:
        keep_report(session, report, terms.ground, now)
    return report


def _make(visit: "_Visit", changed: str) -> None:
    """The visit is made; Stale, saying *changed*, where the file is another one by then."""
    try:
        visit.make()
    except Unreadable:
        if fingerprint(visit.file.path) == visit.file.fingerprint:
            raise
    if fingerprint(visit.file.path) != visit.file.fingerprint:
        raise Stale(changed)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row whose own words are in order; what becomes of it hangs on the store."""

    row: Row
    address: Address
    #: what the suppression list knows the address by
    key: str
    #: a row above says, too, that this person is gone
    again: bool = False

    def newcomer(self, told: str = "") -> Newcomer:
        """The person, as they are added; what was *told* of them stands before what the file says."""
        return Newcomer(self.address, self.row.name, ", ".join(filter(None, (told, self.row.proof))))


@dataclass(slots=True)
class _Visit:
    """One way through a file, twice from end to end: first who goes, then who comes."""

    opening: Opening
    file: File
    terms: Terms
    secret: bytes
    report: Report
    watch: Watch
    #: what the deed is proven by; None: nothing is done
    evidence: Evidence | None = None
    asked: Asked = _unasked
    #: rows in all, once they are known
    total: int | None = None
    #: of whom a row says that they are gone: no other row brings them in
    gone: set[int] = field(default_factory=set)

    def make(self) -> None:
        """Every row is in the report, and done where there is evidence."""
        with self.opening() as session:
            active = select(func.count()).where(col(Subscriber.state) == State.ACTIVE)
            self.report.active_before = session.exec(active).one()
        for part in in_parts(self._departing()):
            with self.opening() as session:
                judged = _departures(session, part)
                if self.evidence:
                    self._depart(session, judged, self.evidence)
            self._note(judged)
        for part in in_parts(self._arriving()):
            with self.opening() as session:
                judged = self._arrivals(session, part)
                if self.evidence:
                    judged = self._arrive(session, judged, self.evidence)
            self._note(judged)

    def _rows(self) -> Iterator[Row]:
        number = 0
        for number, row in enumerate(rows(self.file), 1):
            yield row
            if number % AT_ONCE == 0:
                self.watch(number, self.total)
        self.total = number
        self.watch(number, number)

    def _note(self, judged: "Iterable[tuple[_Candidate, Verdict]]") -> None:
        for one, verdict in judged:
            self.report.note(one.row, verdict, one.address.address)

    def _parsed(self, row: Row) -> _Candidate | None:
        """The row with its address; None, and noted, where that is none."""
        try:
            address = parse(row.address)
        except BadAddress as error:
            verdict = Verdict.SYNTAX if row.address else Verdict.NO_ADDRESS
            self.report.note(row, verdict, f"{row.address[:80]}: {error}" if row.address else "")
            return None
        return _Candidate(row, address, suppression_key(address.key, self.secret))

    def _departing(self) -> Iterator[_Candidate]:
        """The rows that say the person is gone."""
        for row in self._rows():
            if row.says in GONE and not row.is_header and (one := self._parsed(row)):
                again = _short(one.key) in self.gone
                self.gone.add(_short(one.key))
                yield replace(one, again=True) if again else one

    def _depart(self, session: Session, judged: "_Judged", evidence: Evidence) -> None:
        # Duplicates, too: of two causes the graver one counts.
        for cause in Cause:
            some = [
                one.address
                for one, verdict in judged
                if verdict != Verdict.ALREADY_GONE and _CAUSES[one.row.says] == cause
            ]
            if some:
                bar_all(session, some, cause, evidence, self.secret)

    def _arriving(self) -> Iterator[_Candidate]:
        """The other rows that the store must judge; the rest is noted."""
        seen: set[int] = set()
        for row in self._rows():
            if row.is_header:
                self.report.note(row, Verdict.REPEATED_HEADER, "")
            elif row.says not in GONE and (one := self._parsed(row)):
                if verdict := self._of_itself(one, seen):
                    self.report.note(row, verdict, _why(one.address, verdict))
                else:
                    seen.add(_short(one.key))
                    yield one

    def _of_itself(self, one: _Candidate, seen: set[int]) -> Verdict | None:
        """What becomes of a row whatever the store says; None where the store decides."""
        short, says, terms = _short(one.key), one.row.says, self.terms
        found = (
            (Verdict.CONTRADICTED, short in self.gone),
            (Verdict.UNKNOWN_STATUS, says == Says.UNKNOWN),
            (Verdict.PAUSED_THERE, says == Says.PAUSED),
            (Verdict.NOT_CONFIRMED, says == Says.UNCONFIRMED and not terms.ask),
            (Verdict.CONSENT_UNKNOWN, says == Says.UNPROVEN and not (terms.ask or terms.vouch)),
            (Verdict.DUPLICATE, short in seen),
            # ASCII knows one alphabet, and asking for each letter's takes long.
            (Verdict.MIXED_ALPHABETS, not one.address.address.isascii() and mixes_scripts(one.address)),
            (Verdict.ROLE, is_role(one.address) and not terms.roles),
            (Verdict.TYPO_SUSPECT, not terms.typos and suggestion(one.address) is not None),
        )
        return next((verdict for verdict, holds in found if holds), None)

    def _arrivals(self, session: Session, part: list[_Candidate]) -> "_Judged":
        """What becomes of those who would come in, as the store stands."""
        states = states_of(session, (one.address.key for one in part))
        barred = suppressed_among(session, (one.key for one in part))

        def verdict(one: _Candidate) -> Verdict:
            if one.key in barred:
                return Verdict.SUPPRESSED
            if state := states.get(one.address.key):
                return _HERE[state]
            is_sure = one.row.says == Says.ACTIVE or (one.row.says == Says.UNPROVEN and self.terms.vouch)
            return Verdict.ACCEPTED if is_sure else Verdict.ASKED

        return [(one, verdict(one)) for one in part]

    def _arrive(self, session: Session, judged: "_Judged", evidence: Evidence) -> "_Judged":
        """*judged*, done; with the new verdict of those another process was faster with."""
        accepted = [one for one, verdict in judged if verdict == Verdict.ACCEPTED]
        asked = [one for one, verdict in judged if verdict == Verdict.ASKED]
        vouched = {Says.UNPROVEN: "vouched for by the operator"}
        sure = [one.newcomer(vouched.get(one.row.says, "")) for one in accepted]
        entered = add_all(session, sure, evidence, self.secret)
        pending = ask_all(session, [one.newcomer() for one in asked], evidence, self.secret)
        if pending:
            ids = [(pending[one.address.key], one.address) for one in asked if one.address.key in pending]
            self.asked(session, ids)
        late = [one for one in (*accepted, *asked) if one.address.key not in entered | pending.keys()]
        again = dict(self._arrivals(session, late)) if late else {}
        return [(one, again.get(one, verdict)) for one, verdict in judged]


_Judged = list[tuple[_Candidate, Verdict]]


def _short(key: str) -> int:
    """Enough of the HMAC *key* to know an address by within one file, in little memory."""
    # 64 bits: among 500,000 addresses two are taken for one in one file of a hundred million.
    return int(key[:16], 16)


def _why(address: Address, verdict: Verdict) -> str:
    meant = suggestion(address) if verdict == Verdict.TYPO_SUSPECT else None
    return f"{address.address}, probably {meant}" if meant else address.address


def _departures(session: Session, part: list[_Candidate]) -> _Judged:
    """What becomes of those of whom the file says that they are gone, as the store stands."""
    states = states_of(session, (one.address.key for one in part))
    barred = _causes_of(session, [one.key for one in part])

    def verdict(one: _Candidate) -> Verdict:
        if one.again:
            return Verdict.DUPLICATE
        cause, state, known = _CAUSES[one.row.says], states.get(one.address.key), barred.get(one.key)
        if cause != Cause.LEFT:
            return Verdict.BARRED if known is None or RANK[known] < RANK[cause] else Verdict.ALREADY_GONE
        # Who bounced here and left there has left: an undone bounce must not bring them back.
        is_gone = state in (State.UNSUBSCRIBED, State.COMPLAINED) or (known is not None and state is None)
        return Verdict.ALREADY_GONE if is_gone else Verdict.LEFT

    return [(one, verdict(one)) for one in part]


def _causes_of(session: Session, keys: list[str]) -> dict[str, Cause]:
    """Why those of *keys* that are on the suppression list are there."""
    statement = select(Suppression.key, Suppression.cause).where(col(Suppression.key).in_(keys))
    return {key: Cause(cause) for key, cause in session.exec(statement)}


HEADER = (
    "address", "name", "state", "created_at", "changed_at", "suppressed", "suppressed_at",
    "consent_act", "consent_at", "consent_origin", "consent_wording",
)  # fmt: skip


def export(session: Session, out: TextIO, *, raw: bool = False) -> int:
    """Everybody in every state, with reasons and instants, written to *out* as CSV; answers how many.

    A cell that a spreadsheet would take for a formula gets a quote in front, unless *raw*; the address
    is left as it is, for `=x@example.org` is one. Each has their newest line of consent. Not in it are
    the erased, of whom nothing is left, and suppressed strangers, of whom only an HMAC is known.
    """
    line = aliased(Consent)
    newest = select(func.max(line.id)).where(col(line.subscriber_id) == Subscriber.id).scalar_subquery()
    statement = (
        select(Subscriber, Suppression, Consent)
        .join(Suppression, col(Suppression.key) == Subscriber.suppression_key, isouter=True)
        .join(Consent, col(Consent.id) == newest, isouter=True)
        .where(col(Subscriber.address) != "")
        .order_by(col(Subscriber.id))
        .execution_options(yield_per=AT_ONCE)
    )
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(HEADER)
    written = 0
    for subscriber, suppression, consent in session.exec(statement):
        cells = _cells(subscriber, suppression, consent)
        writer.writerow([subscriber.address, *(cells if raw else map(_harmless, cells))])
        written += 1
    return written


def _cells(subscriber: Subscriber, suppression: Suppression | None, consent: Consent | None) -> list[str]:
    cells = [
        subscriber.name,
        subscriber.state,
        subscriber.created_at.isoformat(),
        subscriber.changed_at.isoformat(),
    ]
    cells += [_cause(suppression), suppression.at.isoformat()] if suppression else ["", ""]
    return cells + (
        [consent.act, consent.at.isoformat(), consent.origin, consent.wording] if consent else [""] * 4
    )


def _cause(suppression: Suppression) -> str:
    """The cause, which `headings` reads back, and the reason."""
    return ": ".join(part for part in (suppression.cause, suppression.reason) if part)


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
