"""Forgetting a person: what came back says nothing of them any more."""

from sqlalchemy import ColumnElement, delete, update
from sqlmodel import Session, col, select

from digest.returns.models import Provider, Received, Report, Stage
from digest.returns.parts import opened
from digest.returns.strikes import FEWEST


def forget_returns(session: Session, subscriber_id: int | None, addresses: list[str]) -> None:
    """No report and no kept message names the person: not one of their *addresses* is left in them.

    A report keeps its class and its issue. A message that named them is done, and its text gone.
    """
    if subscriber_id is not None:
        mine = col(Report.subscriber_id) == subscriber_id
        about = select(Report.received_id).where(mine, col(Report.received_id).is_not(None))
        _empty(session, col(Received.id).in_(about))
        session.execute(update(Report).where(mine).values(domain="", diagnostic=""))
    traces = [one.lower() for one in addresses]
    kept = session.exec(select(Received.id).where(col(Received.raw).is_not(None)))
    naming = [one for one in kept.all() if one is not None and _names(session, one, traces)]
    if naming:
        _empty(session, col(Received.id).in_(naming))
    # A domain may be one person's own; what so few letters say of it decides nothing yet.
    domains = [one.rpartition("@")[2] for one in traces]
    few = (col(Provider.domain).in_(domains), col(Provider.hard) < FEWEST)
    session.execute(delete(Provider).where(*few))


def _empty(session: Session, which: ColumnElement[bool]) -> None:
    done = {"raw": None, "stage": Stage.DONE, "outcome": "its reader was erased"}
    session.execute(update(Received).where(which, col(Received.raw).is_not(None)).values(done))


def _names(session: Session, received_id: int, traces: list[str]) -> bool:
    # One at a time: they are up to a mebibyte each.
    raw = session.exec(select(Received.raw).where(col(Received.id) == received_id)).one()
    if raw is None:
        return False
    message = opened(raw)
    texts = [
        raw.decode(errors="replace"),
        *(value for _, value in message.headers.fields),
        *(part.text for part in message.parts),
    ]
    return any(trace in text.lower() for text in texts for trace in traces)
