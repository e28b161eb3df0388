"""People in and out as CSV: a dry run and its report, the import it promised, and the export of all.

An import brings in only whom nobody knew. It never brings back who left, bounced, complained or is
suppressed (I-4), and who left elsewhere is kept here as having left. What is imported is what the
report said: it is applied only with the hash that stands in it.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import TextIO

from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select

from subscribers.address import Address, BadAddress, is_role, mixes_scripts, parse, suggestion
from subscribers.lifecycle import (
    Cause,
    Evidence,
    Newcomer,
    Origin,
    add_all,
    add_departed,
    find,
    states_of,
    suppress,
    unsubscribe,
)
from subscribers.models import Consent, State, Subscriber, Suppression
from subscribers.sheet import GONE, Row, Says, Sheet, examine, rows
from subscribers.suppression import AT_ONCE, suppressed_among, suppression_key

LISTED = 20  # lines a report names of each kind

#: what a spreadsheet takes for the beginning of a formula (S-14)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Stale(ValueError):
    """What is to be applied is not what the report was about; the message is one line."""


class Verdict(StrEnum):
    """What becomes of a row. The numbers of a report add up to the rows of the file."""

    #: new here: active
    ACCEPTED = "accepted"
    #: it says the person left: kept as unsubscribed, whoever they were here
    LEFT = "left"
    #: it says the mailbox is dead, complained or is suppressed: never written to again
    BARRED = "barred"
    #: it says the person is gone, which is known here
    ALREADY_GONE = "already_gone"
    ALREADY_ACTIVE = "already_active"
    ALREADY_PENDING = "already_pending"
    ALREADY_PAUSED = "already_paused"
    WAS_UNSUBSCRIBED = "was_unsubscribed"
    WAS_BOUNCED = "was_bounced"
    WAS_COMPLAINED = "was_complained"
    SUPPRESSED = "suppressed"
    #: another row of the file stands for the same mailbox
    DUPLICATE = "duplicate"
    #: another row of the file says that the person is gone
    CONTRADICTED = "contradicted"
    #: it says the person never confirmed, or paused
    NOT_CONFIRMED = "not_confirmed"
    PAUSED_THERE = "paused_there"
    UNKNOWN_STATUS = "unknown_status"
    ROLE = "role"
    MIXED_ALPHABETS = "mixed_alphabets"
    SYNTAX = "syntax"
    NO_ADDRESS = "no_address"
    REPEATED_HEADER = "repeated_header"


#: what an active row means for somebody who is here
_HERE = {
    State.PENDING: Verdict.ALREADY_PENDING,
    State.ACTIVE: Verdict.ALREADY_ACTIVE,
    State.PAUSED: Verdict.ALREADY_PAUSED,
    State.UNSUBSCRIBED: Verdict.WAS_UNSUBSCRIBED,
    State.BOUNCED: Verdict.WAS_BOUNCED,
    State.COMPLAINED: Verdict.WAS_COMPLAINED,
}
_CAUSES = {
    Says.SUPPRESSED: Cause.MANUAL,
    Says.BOUNCED: Cause.BOUNCED,
    Says.COMPLAINED: Cause.COMPLAINED,
}
_NOT_ACTIVE = {
    Says.UNKNOWN: Verdict.UNKNOWN_STATUS,
    Says.UNCONFIRMED: Verdict.NOT_CONFIRMED,
    Says.PAUSED: Verdict.PAUSED_THERE,
}
#: rows whose lines a report names
_NAMED = frozenset(Verdict) - {Verdict.ACCEPTED, Verdict.ALREADY_ACTIVE, Verdict.ALREADY_GONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a file is imported."""

    #: the operator's statement of why these people may be written to
    ground: str
    #: functions' mailboxes (abuse@, noreply@) come in too
    roles: bool = False


@dataclass(slots=True, kw_only=True)
class Report:
    """What an import would do, or did."""

    file: str
    #: stands for the file's bytes and the terms; `apply` wants it
    hash: str
    encoding: str
    applied: bool = False
    rows: int = 0
    counts: Counter[Verdict] = field(default_factory=Counter)
    #: per verdict the first of its lines: number, and the reason or the address
    lines: dict[Verdict, list[tuple[int, str]]] = field(default_factory=dict)
    #: accepted addresses that look like slips of the hand: line, typed, probably meant
    slips: list[tuple[int, str, str]] = field(default_factory=list)

    def note(self, row: Row, verdict: Verdict, why: str) -> None:
        """Counts *row*, and names its line where that helps a person."""
        self.rows += 1
        self.counts[verdict] += 1
        named = self.lines.setdefault(verdict, []) if verdict in _NAMED else None
        if named is not None and len(named) < LISTED:
            named.append((row.line, why[:200]))

    def to_json(self) -> str:
        """The one JSON text of it; every verdict has its number, also where it is 0."""
        counts = {str(verdict): self.counts[verdict] for verdict in Verdict}
        return json.dumps({**asdict(self), "counts": counts}, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A row whose own words are in order; what becomes of it hangs on the store."""

    row: Row
    address: Address
    key: str


def dry_run(session: Session, path: Path, terms: Terms, secret: bytes) -> Report:
    """What `apply` would do with the file at *path*; nothing is changed. Raises `sheet.Unreadable`."""
    sheet = examine(path)
    report = _report(sheet, terms)
    for part in _candidates(sheet, terms, secret, report):
        for one, verdict in _judged(session, part):
            _note(report, one, verdict)
    return report


def apply(session: Session, path: Path, terms: Terms, hash: str, secret: bytes, now: datetime) -> Report:
    """The import, in the caller's one transaction; once more on the same file it changes nothing.

    Raises Stale where *hash* is not that of the file and terms as they are now, and ValueError where
    no ground is stated.
    """
    if not terms.ground.strip():
        raise ValueError("nobody is imported without a stated ground")
    sheet = examine(path)
    report = _report(sheet, terms)
    if hash != report.hash:
        raise Stale(
            f"{path.name} or its terms are not what the report {hash} was about:"
            " run the import again without --apply and read the new report"
        )
    evidence = Evidence(
        origin=Origin.IMPORT, at=now, wording=f"{terms.ground} ({path.name}, {sheet.fingerprint[:16]})"
    )
    for part in _candidates(sheet, terms, secret, report):
        for one, verdict in _settled(session, _judged(session, part), evidence, secret):
            _note(report, one, verdict)
    if examine(path) != sheet:
        raise Stale(f"{path.name} changed while it was read; nothing was imported")
    report.applied = True
    return report


def _report(sheet: Sheet, terms: Terms) -> Report:
    told = json.dumps([sheet.fingerprint, terms.ground.strip(), terms.roles])
    # 16 digits are enough to know a file by, and few enough to type.
    return Report(
        file=sheet.path.name,
        hash=hashlib.sha256(told.encode()).hexdigest()[:16],
        encoding=sheet.encoding,
    )


def _note(report: Report, one: _Candidate, verdict: Verdict) -> None:
    report.note(one.row, verdict, one.address.address)
    meant = suggestion(one.address) if verdict == Verdict.ACCEPTED else None
    if meant and len(report.slips) < LISTED:
        report.slips.append((one.row.line, one.address.address, meant))


def _candidates(sheet: Sheet, terms: Terms, secret: bytes, report: Report) -> Iterator[list[_Candidate]]:
    """The rows that the store must judge, in parts; all others are noted in *report* at once."""
    gone = _gone(sheet)
    seen: set[str] = set()

    def sound() -> Iterator[_Candidate]:
        for row in rows(sheet):
            try:
                address = None if row.is_header else parse(row.address)
            except BadAddress as error:
                empty = not row.address
                report.note(
                    row, Verdict.NO_ADDRESS if empty else Verdict.SYNTAX, f"{row.address[:80]}: {error}"
                )
                continue
            if address is None:
                report.note(row, Verdict.REPEATED_HEADER, "")
            elif verdict := _of_itself(row, address, terms, gone, seen):
                report.note(row, verdict, address.address)
            else:
                seen.add(address.key)
                yield _Candidate(row, address, suppression_key(address.key, secret))

    people = sound()
    while part := list(islice(people, AT_ONCE)):
        yield part


def _gone(sheet: Sheet) -> set[str]:
    """The keys of those of whom a row says that they are gone: no other row brings them in."""
    keys = set()
    for row in rows(sheet):
        if row.says in GONE and not row.is_header:
            try:
                keys.add(parse(row.address).key)
            except BadAddress:
                continue
    return keys


def _of_itself(row: Row, address: Address, terms: Terms, gone: set[str], seen: set[str]) -> Verdict | None:
    """What becomes of a row whatever the store says; None where the store decides."""
    if row.says in _NOT_ACTIVE:
        return _NOT_ACTIVE[row.says]
    if row.says not in GONE and address.key in gone:
        return Verdict.CONTRADICTED
    if address.key in seen:
        return Verdict.DUPLICATE
    if row.says in GONE:
        return None
    if mixes_scripts(address):
        return Verdict.MIXED_ALPHABETS
    return Verdict.ROLE if is_role(address) and not terms.roles else None


def _judged(session: Session, part: list[_Candidate]) -> list[tuple[_Candidate, Verdict]]:
    """What becomes of each, as the store stands."""
    states = states_of(session, (one.address.key for one in part))
    barred = suppressed_among(session, (one.key for one in part))
    return [(one, _verdict(one.row.says, states.get(one.address.key), one.key in barred)) for one in part]


def _verdict(says: Says, state: State | None, suppressed: bool) -> Verdict:
    if says == Says.ACTIVE:
        return Verdict.SUPPRESSED if suppressed else _HERE[state] if state else Verdict.ACCEPTED
    if says != Says.LEFT:
        return Verdict.ALREADY_GONE if suppressed else Verdict.BARRED
    gone = state in (State.UNSUBSCRIBED, State.COMPLAINED) or (suppressed and state is None)
    return Verdict.ALREADY_GONE if gone else Verdict.LEFT


def _settled(
    session: Session, judged: list[tuple[_Candidate, Verdict]], evidence: Evidence, secret: bytes
) -> Iterable[tuple[_Candidate, Verdict]]:
    """*judged*, done; with the new verdict of those another process was faster with."""
    accepted = [one for one, verdict in judged if verdict == Verdict.ACCEPTED]
    entered = add_all(session, [_newcomer(one) for one in accepted], evidence, secret)
    late = [one for one in accepted if one.address.key not in entered]
    left = [one for one, verdict in judged if verdict == Verdict.LEFT]
    departed = add_departed(session, [_newcomer(one) for one in left], evidence, secret)
    for one in left:
        known = None if one.address.key in departed else find(session, one.address.key)
        if known and known.id:
            unsubscribe(session, known.id, evidence)
    for one, verdict in judged:
        if verdict == Verdict.BARRED:
            suppress(session, one.address, _CAUSES[one.row.says], evidence, secret)
    again = dict(_judged(session, late)) if late else {}
    return [(one, again.get(one, verdict)) for one, verdict in judged]


def _newcomer(one: _Candidate) -> Newcomer:
    return Newcomer(one.address, one.row.name, one.row.proof)


HEADER = (
    "address", "name", "state", "created_at", "changed_at", "suppressed", "suppressed_at",
    "consent_act", "consent_at", "consent_origin", "consent_wording",
)  # fmt: skip


def export(session: Session, out: TextIO, *, raw: bool = False) -> int:
    """Everybody in every state, with reasons and instants, written to *out* as CSV; answers how many.

    A cell that a spreadsheet would take for a formula gets a quote in front, unless *raw*; the address
    is left as it is, for `=x@example.org` is one. Each has their newest line of consent.
    """
    line = aliased(Consent)
    newest = select(func.max(line.id)).where(col(line.subscriber_id) == Subscriber.id).scalar_subquery()
    statement = (
        select(Subscriber, Suppression, Consent)
        .join(Suppression, col(Suppression.key) == Subscriber.suppression_key, isouter=True)
        .join(Consent, col(Consent.id) == newest, isouter=True)
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
    cells += [suppression.reason, suppression.at.isoformat()] if suppression else ["", ""]
    return cells + (
        [consent.act, consent.at.isoformat(), consent.origin, consent.wording] if consent else [""] * 4
    )


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
