"""The ledger's statements that are run for every letter; what they mean, `ledger` says.

Words are part of their text: to bind them takes longer than the rest.
"""

from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    String,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    true,
    update,
)
from sqlmodel import SQLModel

from digest.models import Delivered
from subscribers.prepared import Prepared, found_by, given

_delivery = SQLModel.metadata.tables["delivery"]
_issue = SQLModel.metadata.tables["issue"]
_run = SQLModel.metadata.tables["run"]
_d = _delivery.c

_INSTANT = _d.settled_at.type


def _word(state: Delivered) -> ColumnElement[Any]:
    return literal_column(f"'{state.value}'")


def _is(state: Delivered) -> ColumnElement[bool]:
    """Whether a letter is in *state*."""
    return _d.state == _word(state)


_is_ours = _d.run_id == bindparam("run")


def _leasing(which: ColumnElement[bool], has_range: bool, **more: Any) -> Prepared:
    """Takes the first of the letters of an issue that are *which*, in a range or wherever they are."""
    here = _d.id.between(bindparam("first"), bindparam("last")) if has_range else true()
    chosen = (
        select(_d.id)
        .where(_d.issue_id == bindparam("issue"), which, here)
        .order_by(_d.id)
        .limit(bindparam("most", type_=Integer()))
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(_delivery)
        .where(_d.id.in_(chosen))
        .values(run_id=bindparam("run"), **more)
        .returning(_d.id, _d.subscriber_id, _d.dated_at, _d.attempts, _d.doubts)
    )
    return Prepared(lambda _engine: statement)


def _leasings(has_range: bool) -> tuple[Prepared, ...]:
    free = and_(_is(Delivered.QUEUED), _d.run_id.is_(None))
    due = and_(_is(Delivered.DEFERRED), _d.due_at <= bindparam("now"))
    return (
        # Of what is queued only the owner changes: no index has to be written.
        _leasing(and_(free, _d.attempts == 0), has_range),
        _leasing(and_(free, _d.attempts > 0), has_range),
        _leasing(due, has_range, state=_word(Delivered.QUEUED), due_at=null()),
    )


#: what was never tried, what was, what was deferred and is due: in their order
LEASE_ANYWHERE, LEASE_IN_RANGE = _leasings(has_range=False), _leasings(has_range=True)


def _mark(engine: str) -> Update:
    letters = given(engine, id=Integer(), first=_INSTANT).c
    return (
        update(_delivery)
        .where(found_by(engine, _d.id, letters.id), _is_ours, _is(Delivered.QUEUED))
        .values(
            state=_word(Delivered.SENDING),
            attempts=_d.attempts + literal_column("1"),
            marks=_d.marks + literal_column("1"),
            marked_at=bindparam("now"),
            dated_at=func.coalesce(_d.dated_at, letters.first),
        )
    )


#: the rows: id, Date
MARK = Prepared(_mark)


def _accept(engine: str) -> Update:
    answers = given(engine, id=Integer(), at=_INSTANT, code=Integer(), text=String()).c
    return (
        update(_delivery)
        .where(found_by(engine, _d.id, answers.id), _is_ours, _is(Delivered.SENDING))
        .values(
            state=_word(Delivered.ACCEPTED),
            settled_at=answers.at,
            due_at=null(),
            reply_code=answers.code,
            reply_text=answers.text,
            reason=literal_column("''"),
        )
    )


#: what nearly all letters come to, with less to be written: id, when, code and text of the reply
ACCEPT = Prepared(_accept)


def _settle(engine: str) -> Update:
    number, text = Integer(), String()
    answers = given(
        engine, id=number, first=_INSTANT, at=_INSTANT, due=_INSTANT, code=number, text=text, why=text
    ).c
    was_queued = and_(_is(Delivered.QUEUED), bindparam("from_queued", type_=Boolean()))
    tried = case((_is(Delivered.QUEUED), bindparam("if_queued", type_=number)), else_=bindparam("if_marked"))
    return (
        update(_delivery)
        .where(found_by(engine, _d.id, answers.id), _is_ours, or_(_is(Delivered.SENDING), was_queued))
        .values(
            state=bindparam("becomes", type_=_d.state.type),
            run_id=bindparam("owner", type_=number),
            attempts=_d.attempts + tried,
            doubts=_d.doubts + bindparam("doubt", type_=number),
            dated_at=func.coalesce(_d.dated_at, answers.first),
            settled_at=answers.at,
            due_at=answers.due,
            reply_code=answers.code,
            reply_text=answers.text,
            reason=answers.why,
        )
    )


#: what else they come to, and was the same for all of the rows: id, Date, when, due, code, text, reason
SETTLE = Prepared(_settle)


def _shared(column: ColumnElement[Any], which: ColumnElement[bool]) -> Prepared:
    """Finds *column*, which stays so until the transaction ends."""
    # FOR SHARE on PostgreSQL; on SQLite a transaction that writes is alone anyway.
    statement = select(column).where(which).with_for_update(read=True)
    return Prepared(lambda _engine: statement)


STATUS = _shared(_issue.c.status, _issue.c.id == bindparam("issue"))
ENDED = _shared(_run.c.ended_at, _run.c.id == bindparam("run"))
