"""The ledger: for every letter of an issue one row, and the only ways in which it may change.

::

    freeze      the audience becomes rows, in one transaction with the issue's status
    lease       queued and free -> queued, this run's        may be lost: it is simply free again
    mark        queued -> sending                            durable before the final dot goes out
    settle      sending -> accepted, rejected, …             what the relay answered
    take_back   rejected -> deferred                         by a provider that is not believed
    take_over   sending of a run that is gone -> in doubt    the dot may have gone out, or not
    reconsider  in doubt -> queued once, 15 minutes later, else held for a person

`mark` and `settle` carry the run's id as a fencing number and say whether they took effect: what a run
that was taken over still wants to write changes nothing. A row says "sending" before anything final is
on the wire and until its answer is written down, so a crash leaves in doubt at most what one connection
has at once (see `courier`), and loses none. Counting and what a person decides is in `audit`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, func, insert, literal, or_, select, update
from sqlmodel import Session, SQLModel

from digest.errors import DigestError
from digest.models import Delivered, Issue, Run, Status
from digest.sending import statements
from digest.sending.ranges import Range
from subscribers.prepared import Transaction, as_instant, as_rows, as_text

# Core statements throughout: the ORM, row by row, writes a sixth of the rows a second.
_delivery = SQLModel.metadata.tables["delivery"]
_issue = SQLModel.metadata.tables["issue"]
_run = SQLModel.metadata.tables["run"]
_d = _delivery.c

#: a letter in doubt is sent again only when the relay has surely made up its mind about the first one
DOUBT_REST = timedelta(minutes=15)
#: how often a letter may be in doubt and be sent again by itself: at most two copies
DOUBTS = 1

HELD_BY_POLICY = "in doubt: the relay may have it; letters in doubt are held (DIGEST_IN_DOUBT=hold)"
HELD_AFTER_RESEND = "in doubt for the second time: the relay may have both copies or none"
HELD_RESTORED = "in doubt: the store was restored from a backup, and the letter may have gone out since"


class Leased(NamedTuple):
    """A letter that this run may send."""

    id: int
    subscriber_id: int
    #: its Date where it was tried before; None: not yet
    dated_at: datetime | None
    attempts: int
    doubts: int


class Settlement(NamedTuple):
    """What became of a leased or marked letter; *state* QUEUED frees it again."""

    delivery_id: int
    state: Delivered
    at: datetime
    #: kept where the letter was answered before it was marked, as `mark` would keep it
    dated_at: datetime | None = None
    due_at: datetime | None = None
    reply_code: int | None = None
    reply_text: str = ""
    #: why it is held, skipped, in doubt or free again
    reason: str = ""
    #: False for one that was marked and never begun: it is free as if it had not been
    was_tried: bool = True


@dataclass(frozen=True, slots=True)
class Takeover:
    """What a run found of runs that are gone."""

    in_doubt: int
    freed: int


def freeze(session: Session, issue_id: int, audience: Select[Any], now: datetime) -> int:
    """The approved issue is sending to exactly those *audience* selects now; returns how many.

    *audience* selects subscriber ids. Again for an issue that is sending: changes nothing, returns
    how many it was. DigestError for any other issue.
    """
    row = session.connection().execute(
        update(_issue)
        .where(_issue.c.id == issue_id, _issue.c.status == Status.APPROVED)
        .values(status=Status.SENDING, frozen_at=now)
    )
    if row.rowcount == 0:
        return _frozen_before(session, issue_id)
    chosen = audience.subquery()
    names = ["issue_id", "subscriber_id", "state", "attempts", "doubts", "reply_text", "reason"]
    values = select(literal(issue_id), chosen.c[0], literal("queued"), *(literal(v) for v in (0, 0, "", "")))
    session.connection().execute(
        insert(_delivery).from_select(names, values.order_by(chosen.c[0]), include_defaults=False)
    )
    # Counted: SQLAlchemy keeps no rowcount of an INSERT.
    counted = select(func.count()).where(_d.issue_id == issue_id)
    count: int = session.connection().execute(counted).scalar_one()
    session.connection().execute(update(_issue).where(_issue.c.id == issue_id).values(frozen_count=count))
    return count


def _frozen_before(session: Session, issue_id: int) -> int:
    issue = session.get_one(Issue, issue_id)
    if issue.status not in (Status.SENDING, Status.SENT) or issue.frozen_count is None:
        raise DigestError(f"{issue.month} is {issue.status}: only an approved issue can be sent")
    return issue.frozen_count


def begin_run(session: Session, issue_id: int, host: str, pid: int, now: datetime) -> int:
    """A new run; its id is the fencing number of all it writes."""
    run = Run(issue_id=issue_id, host=host, pid=pid, started_at=now)
    session.add(run)
    session.flush()
    assert run.id is not None
    return run.id


def end_run(session: Session, run_id: int, now: datetime, stopped: str = "") -> None:
    """The run is over, *stopped* says why if it stopped itself; what it leased and never marked is free."""
    _free(session, _d.run_id == run_id)
    values = {"ended_at": now, "stopped": stopped}
    session.connection().execute(update(_run).where(_run.c.id == run_id).values(values))


def lease(
    store: Transaction, issue_id: int, run_id: int, now: datetime, limit: int, within: Range | None = None
) -> list[Leased]:
    """Up to *limit* letters are this run's: never tried ones first, then tried ones, then deferred and due.

    [] too where the issue is not sending (any more), or another run has taken this one over. What was
    refused for our own fault comes after the untried, so that it cannot stand in everybody's way.
    """
    if not is_sending(store, issue_id) or not _is_at_work(store, run_id):
        return []
    which = {"issue": issue_id, "run": run_id, "now": as_text(store.connection().dialect.name, now)}
    if within is not None:
        which |= {"first": within.first, "last": within.last}
    leased: list[Leased] = []
    for leasing in statements.LEASE_ANYWHERE if within is None else statements.LEASE_IN_RANGE:
        if len(leased) < limit:
            rows = leasing.rows(store, most=limit - len(leased), **which)
            leased += sorted(Leased(one, who, as_instant(dated), *rest) for one, who, dated, *rest in rows)
    return leased


def _is_at_work(store: Transaction, run_id: int) -> bool:
    """Whether the run is not over; until the transaction ends nobody can take it over."""
    [(ended_at,)] = statements.ENDED.rows(store, run=run_id)
    return ended_at is None


def mark(store: Transaction, run_id: int, letters: Mapping[int, datetime], now: datetime) -> set[int]:
    """Those of *letters*, id and Date, whose final dot may go once this is committed.

    The others are not this run's to send (any more). A Date is kept unless the letter has one.
    """
    if not letters:
        return set()
    engine = store.connection().dialect.name
    rows = as_rows((one, as_text(engine, date)) for one, date in letters.items())
    if statements.MARK.changes(store, rows=rows, run=run_id, now=as_text(engine, now)) == len(letters):
        return set(letters)
    return {one for one, state in _standing(store, run_id, letters).items() if state is Delivered.SENDING}


def settle(store: Transaction, run_id: int, settled: Sequence[Settlement]) -> bool:
    """What became of the letters is written down; False: of one at least it is not this run's to say."""
    engine = store.connection().dialect.name
    alike: dict[tuple[Delivered, bool], list[Settlement]] = {}
    for one in settled:
        alike.setdefault((one.state, one.was_tried), []).append(one)
    changed = 0
    for (state, was_tried), ones in alike.items():
        if state is Delivered.ACCEPTED:
            rows = as_rows(_acceptance(engine, one) for one in ones)
            changed += statements.ACCEPT.changes(store, rows=rows, run=run_id)
        else:
            rows = as_rows(_answer(engine, one) for one in ones)
            changed += statements.SETTLE.changes(store, rows=rows, **_change(state, was_tried, run_id))
    if changed == len(settled):
        return True
    standing = _standing(store, run_id, [one.delivery_id for one in settled])
    return all(standing.get(one.delivery_id) is one.state for one in settled)


def _change(state: Delivered, was_tried: bool, run_id: int) -> dict[str, Any]:
    return {
        "run": run_id,
        "becomes": state.value,
        "owner": None if state is Delivered.QUEUED else run_id,
        # Only a marked letter can be in doubt; any other answer may come before the mark, and one to RCPT is
        # a try like an answer to the dot.
        "from_queued": state is not Delivered.IN_DOUBT,
        "if_queued": int(was_tried and state in (Delivered.REJECTED, Delivered.DEFERRED, Delivered.QUEUED)),
        "if_marked": 0 if was_tried else -1,
        "doubt": int(state is Delivered.IN_DOUBT),
    }


def _acceptance(engine: str, one: Settlement) -> tuple[Any, ...]:
    return one.delivery_id, as_text(engine, one.at), one.reply_code, one.reply_text


def _answer(engine: str, one: Settlement) -> tuple[Any, ...]:
    return (
        one.delivery_id,
        one.dated_at and as_text(engine, one.dated_at),
        as_text(engine, one.at),
        one.due_at and as_text(engine, one.due_at),
        one.reply_code,
        one.reply_text,
        one.reason,
    )


def _standing(store: Transaction, run_id: int, ids: Collection[int]) -> dict[int, Delivered]:
    """The states of those of *ids* that are this run's.

    This very run may have written what it wants to write: a commit that broke off may have been one.
    """
    statement = select(_d.id, _d.state).where(_d.id.in_(ids), _d.run_id == run_id)
    return {row[0]: row[1] for row in store.connection().execute(statement)}


def take_back(
    store: Transaction, run_id: int, delivery_ids: Collection[int], due_at: datetime, reason: str
) -> int:
    """Those of the letters that this run settled as rejected are deferred until *due_at*; how many."""
    result = store.connection().execute(
        update(_delivery)
        .where(_d.id.in_(delivery_ids), _d.run_id == run_id, _d.state == Delivered.REJECTED)
        .values(state=Delivered.DEFERRED, due_at=due_at, reason=reason)
    )
    return result.rowcount


def lock(store: Transaction, issue_id: int) -> None:
    """Until the transaction ends nobody else calls the issue sent, or decides about its letters in doubt.

    To be had before its letters are looked at: what a statement of PostgreSQL's sees is what was there
    when it began, not when it was let in.
    """
    # Beside rows that refer to the issue, which share its key: who writes down what came back does so with a
    # letter in hand that we may want next.
    mine = select(_issue.c.id).where(_issue.c.id == issue_id).with_for_update(key_share=True)
    store.connection().execute(mine)


def is_sending(store: Transaction, issue_id: int) -> bool:
    """Whether the issue is sending; until the transaction ends nobody can pause or cancel it."""
    [(status,)] = statements.STATUS.rows(store, issue=issue_id)
    return bool(status == Status.SENDING)


def take_over(
    session: Session, living: Collection[int], now: datetime, issue_id: int | None = None
) -> Takeover:
    """What runs that are not *living* left behind: marked letters are in doubt, leased ones are free.

    Of one issue, or of all. Only who knows which runs live may say so: with one dispatcher per store its
    own, with many `runs.living`.
    """
    gone = or_(_d.run_id.is_(None), _d.run_id.not_in(living))
    if issue_id is not None:
        gone = and_(gone, _d.issue_id == issue_id)
    marked = session.connection().execute(
        select(_d.id, _d.marked_at).where(_d.state == Delivered.SENDING, gone)
    )
    taken = 0
    for row in marked.all():
        # Asked again: where others write at the same time, a run that is late may have settled it just now.
        result = session.connection().execute(
            update(_delivery)
            .where(_d.id == row.id, _d.state == Delivered.SENDING, gone)
            .values(
                state=Delivered.IN_DOUBT,
                doubts=_d.doubts + 1,
                settled_at=now,
                due_at=row.marked_at + DOUBT_REST,
                reason="the run that sent it ended before an answer was written down",
            )
        )
        taken += result.rowcount
    return Takeover(in_doubt=taken, freed=_free(session, gone))


def reconsider(session: Session, issue_id: int, resend: bool, now: datetime) -> None:
    """Letters in doubt go on: queued again once, when due, with *resend*; else held for a person."""
    lock(session, issue_id)
    # A run that comes back late may have letters in hand, and want the issue: those are for the next time.
    doubtful = _at_hand(and_(_d.issue_id == issue_id, _d.state == Delivered.IN_DOUBT))
    if not resend:
        _hold(session, doubtful, HELD_BY_POLICY)
        return
    _hold(session, and_(doubtful, _d.doubts > DOUBTS), HELD_AFTER_RESEND)
    session.connection().execute(
        update(_delivery)
        .where(doubtful, _d.due_at <= now, _d.state == Delivered.IN_DOUBT)
        .values(state=Delivered.QUEUED, run_id=None, due_at=None, reason="")
    )


def _at_hand(which: ColumnElement[bool]) -> ColumnElement[bool]:
    """Those letters of *which* that nobody else is about to change."""
    return _d.id.in_(select(_d.id).where(which).with_for_update(skip_locked=True, key_share=True))


def hold_restored(session: Session, issue_id: int) -> int:
    """Every letter that would go out by itself is held, in doubt: it may have gone out already; how many."""
    open_ = (Delivered.QUEUED, Delivered.SENDING, Delivered.DEFERRED, Delivered.IN_DOUBT)
    values = {"state": Delivered.HELD, "doubts": _d.doubts + 1, "due_at": None, "reason": HELD_RESTORED}
    which = and_(_d.issue_id == issue_id, _d.state.in_(open_))
    return session.connection().execute(update(_delivery).where(which).values(values)).rowcount


def _hold(session: Session, which: ColumnElement[bool], reason: str) -> None:
    values = {"state": Delivered.HELD, "due_at": None, "reason": reason}
    session.connection().execute(update(_delivery).where(which).values(values))


def _free(session: Session, which: ColumnElement[bool]) -> int:
    result = session.connection().execute(
        update(_delivery)
        .where(_d.state == Delivered.QUEUED, _d.run_id.is_not(None), which)
        .values(run_id=None)
    )
    return result.rowcount
