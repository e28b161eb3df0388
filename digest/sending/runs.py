"""Which runs live, where many send at once: the statements, by the database's clock alone.

A run is alive while its last heartbeat is younger than its lease. Once another run found it to be gone it
is over for good, whatever its process does later: it leases nothing more, and what it held is no longer its.
Hosts' clocks may differ by hours; none of them is asked. PostgreSQL only.
"""

from datetime import datetime

from sqlalchemy import func, or_, select, text, update
from sqlmodel import Session, SQLModel

from digest.sending.exclusive import ADVISORY_LOCK

_run = SQLModel.metadata.tables["run"]


def beat(session: Session, run_id: int) -> bool:
    """The run was alive just now; False: it is over."""
    at_work = (_run.c.id == run_id, _run.c.ended_at.is_(None))
    statement = update(_run).where(*at_work).values(seen_at=func.clock_timestamp())
    return session.connection().execute(statement).rowcount == 1


def living(session: Session, lease: float) -> list[int]:
    """The ids of the runs that were seen within *lease* seconds; all others are over now."""
    limit = func.clock_timestamp() - text(":lease * interval '1 second'").bindparams(lease=lease)
    late = or_(_run.c.seen_at.is_(None), _run.c.seen_at < limit)
    session.connection().execute(
        update(_run).where(_run.c.ended_at.is_(None), late).values(ended_at=func.clock_timestamp())
    )
    return list(session.connection().execute(select(_run.c.id).where(_run.c.ended_at.is_(None))).scalars())


def one_at_a_time(session: Session) -> None:
    """Until the transaction ends nobody else takes over or hands out."""
    # Beside the lock of the same number that is held by sessions: another one, of two numbers.
    statement = text("SELECT pg_advisory_xact_lock(:space, 1)")
    session.connection().execute(statement, {"space": ADVISORY_LOCK & 0x7FFFFFFF})


def last_ended(session: Session, issue_id: int) -> int:
    """The id of the issue's newest run that is over; 0 where there is none."""
    over = (_run.c.issue_id == issue_id, _run.c.ended_at.is_not(None))
    statement = select(func.coalesce(func.max(_run.c.id), 0)).where(*over)
    found: int = session.connection().execute(statement).scalar_one()
    return found


def is_at_work(session: Session, issue_id: int) -> bool:
    """Whether a run of the issue is not over, as far as is known."""
    statement = select(_run.c.id).where(_run.c.issue_id == issue_id, _run.c.ended_at.is_(None)).limit(1)
    return session.connection().execute(statement).first() is not None


def why_stopped(session: Session, issue_id: int, since: int) -> str:
    """Why the newest of the issue's runs after the run *since* that stopped itself did; "" if none did."""
    which = (_run.c.issue_id == issue_id, _run.c.id > since, _run.c.stopped != "")
    statement = select(_run.c.stopped).where(*which).order_by(_run.c.id.desc()).limit(1)
    return session.connection().execute(statement).scalar() or ""


def clock(session: Session) -> datetime:
    """The database's own time."""
    found: datetime = session.connection().execute(select(func.clock_timestamp())).scalar_one()
    return found
