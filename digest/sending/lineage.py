"""Whether this is the store that letters last went out from: no earlier state of it, no copy elsewhere.

A run asks before it touches anything (`require`), and writes down how far it sees the ledger (`note`): when
it begins, every few seconds, when it ends.
"""

import hashlib
import os
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlmodel import Session, SQLModel

from digest import disk
from digest.database import reading, sqlite_file, writing
from digest.errors import DigestError, Stopped
from digest.models import Status, Store
from digest.sending import epoch
from digest.sending.epoch import Epoch, Seen
from digest.sending.ledger import hold_restored
from digest.sending.spool import beside

_tables = SQLModel.metadata.tables
_d, _issue, _run = (_tables[name].c for name in ("delivery", "issue", "run"))
#: runs, with the month each was of
_dispatched = _tables["run"].join(_tables["issue"], _issue.id == _run.issue_id)

MACHINE_ID = Path("/etc/machine-id")
#: how far the clock may be behind the ledger: two machines differ by seconds, daylight saving not at all
BEHIND = timedelta(hours=1)
#: seconds between two notes of one run; longer where counting takes more than a fiftieth of them
EVERY = 5.0
SHARE = 50
#: letters of such an issue may go out, or may have a moment ago
GOING_OUT = (Status.SENDING, Status.PAUSED)


def file_of(engine: Engine) -> Path:
    """Where this host keeps how far it has seen the store of *engine*."""
    return beside(engine, "sent")


def require(engine: Engine, now: datetime) -> None:
    """DigestError where letters must not go out from this store, on this machine, at *now*.

    Nothing is changed by it but that a store without a name has one.
    """
    _require_disk(engine)
    require_own(engine, now)


def require_own(engine: Engine, now: datetime) -> None:
    """As `require`, whatever the disk is like."""
    ensure_named(engine)
    path = file_of(engine)
    seen = epoch.read(path)
    with reading(engine) as session:
        store = session.get_one(Store, 1)
        home = home_of(engine, store.name)
        if seen is not None:
            _require_newest(session, store, seen, path)
        if store.home and home and home != store.home:
            raise DigestError(_elsewhere(engine))
        last = _last_event(session, store)
    if last is not None and now < last - BEHIND:
        raise DigestError(
            f"this machine's clock says {_shown(now)}, and the ledger's last event is of {_shown(last)}:"
            " set the clock; if it is the ledger that is wrong, `digest store accept-clock`"
        )


def settle_in(engine: Engine, session: Session, month: str, issue_id: int, *, is_new: bool) -> None:
    """The store knows from where letters go out; a just frozen month that may have gone out before is held.

    *is_new*: the audience of *month* was frozen in this very transaction.
    """
    store = session.get_one(Store, 1)
    if not store.home:
        store.home = home_of(engine, store.name)
        session.add(store)
    if is_new and month in store.restored:
        hold_restored(session, issue_id)


def note(engine: Engine) -> None:
    """The file says how far the ledger has come; what it knew beyond that, it still knows.

    OSError where it cannot be written. DigestError where the store is not the one it is about, or behind it.
    """
    path = file_of(engine)
    with epoch.alone(path), reading(engine) as session:
        store = session.get_one(Store, 1)
        before = epoch.read(path)
        if before is not None:
            _require_newest(session, store, before, path)
        months = dict(before.months) if before else {}
        months |= _seen_now(session, store, months)
        fresh = Epoch(store.name, months)
        if fresh != before:
            epoch.write(path, fresh)


class Watch:
    """Notes how far a run has come, as often as is cheap."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._due = 0.0

    def look(self) -> None:
        """It is noted if it is time; the first time, always. `Stopped` where the file cannot be written."""
        began = time.monotonic()
        if began < self._due:
            return
        try:
            note(self._engine)
        except OSError as error:
            raise Stopped(_unwritable(self._engine, error)) from error
        ended = time.monotonic()
        self._due = ended + max(EVERY, SHARE * (ended - began))

    def pass_by(self) -> None:
        """As `look`, but a store that does not answer just now is asked again later."""
        with suppress(SQLAlchemyError):
            self.look()

    def close(self) -> None:
        """It is noted how far the run came, if that is possible: that it began is noted already."""
        with suppress(SQLAlchemyError, OSError, DigestError):
            note(self._engine)


def begin(engine: Engine, now: datetime) -> None:
    """As `require`; and the file is there, level with the store. DigestError where it cannot be written."""
    require(engine, now)
    try:
        note(engine)
    except OSError as error:
        raise DigestError(_unwritable(engine, error)) from error


def ensure_named(engine: Engine) -> None:
    """The store has a name: it is given one when it is made, and here only where it was made otherwise."""
    with reading(engine) as session:
        if session.get(Store, 1) is not None:
            return
    with writing(engine) as session:
        session.add(Store())


def _require_disk(engine: Engine) -> None:
    if (path := sqlite_file(engine)) is not None:
        disk.require_local(path, disk.mounts())
        disk.require_room(path)


def _require_newest(session: Session, store: Store, seen: Epoch, path: Path) -> None:
    lost = lost_months(session, store, seen)
    if not lost:
        return
    mend = "`digest store accept-restored` holds what may have gone out, so that nobody gets it twice"
    if seen.store != store.name:
        raise DigestError(
            f"letters of {', '.join(sorted(lost))} went out from another store that was in this place ({path}"
            f" remembers it): see DIGEST_DATABASE_URL; if this one is to go on, {mend}"
        )
    since = _last_event(session, store) or min(seen.months[month].started_at for month in lost)
    told = ", ".join(f"{month} ({_count(number)})" for month, number in sorted(lost.items()))
    raise DigestError(
        f"the store was put back to an earlier state and does not know all that went out since"
        f" {_shown(since)}: {told}; {mend}"
    )


def _count(number: int) -> str:
    return f"{number} letters or more" if number else "how many letters is not known"


def lost_months(session: Session, store: Store, seen: Epoch) -> dict[str, int]:
    """The months of *seen* that the store knows less of, and by how many marks at least."""
    pending = {
        month: one
        for month, one in seen.months.items()
        if month not in store.restored or one.started_at > datetime.fromisoformat(store.restored[month])
    }
    if not pending:
        return {}
    runs = _named_runs(session, [one.run for one in pending.values()])
    gone = {month for month, one in pending.items() if runs.get(one.run) != (month, one.started_at)}
    if seen.store != store.name:
        gone = set(pending)
    # Several may go out at once.
    out = select(_issue.month).where(_issue.month.in_(pending), _issue.status.in_(GOING_OUT))
    counted = {max(pending, key=lambda month: pending[month].run)}
    counted.update(session.connection().execute(out).scalars())
    if not gone and all(_marks(session, month) >= pending[month].marks for month in counted):
        return {}
    # Only where something is lost is every month counted.
    missing = {month: one.marks - _marks(session, month) for month, one in pending.items()}
    return {month: max(number, 0) for month, number in missing.items() if month in gone or number > 0}


def _seen_now(session: Session, store: Store, known: dict[str, Seen]) -> dict[str, Seen]:
    """The last run of each month as it stands; without those that were lost and accepted as that.

    Marks are counted for the newest, for what was not known, and for what was at work beside the newest.
    """
    newest = select(func.max(_run.id)).group_by(_run.issue_id)
    rows = session.connection().execute(
        select(_run.id, _run.started_at, _issue.month, _issue.status, _issue.sent_at)
        .select_from(_dispatched)
        .where(_run.id.in_(newest))
        .order_by(_run.id.desc())
    )
    seen: dict[str, Seen] = {}
    since: datetime | None = None
    for run, started_at, month, status, sent_at in rows.all():
        since = since or started_at - BEHIND
        before = known.get(month)
        accepted = store.restored.get(month)
        if before and accepted and started_at <= datetime.fromisoformat(accepted):
            continue  # the file goes on knowing the run that was lost: the backup may be put back once more
        is_new = before is None or before.run != run
        if not seen or is_new or status in GOING_OUT or (sent_at and sent_at >= since):
            seen[month] = Seen(run, started_at, _marks(session, month))
    return seen


def _named_runs(session: Session, numbers: Collection[int]) -> dict[int, tuple[str, datetime]]:
    rows = session.connection().execute(
        select(_run.id, _issue.month, _run.started_at).select_from(_dispatched).where(_run.id.in_(numbers))
    )
    return {number: (month, started_at) for number, month, started_at in rows}


def _marks(session: Session, month: str) -> int:
    issue = select(_issue.id).where(_issue.month == month).scalar_subquery()
    statement = select(func.coalesce(func.sum(_d.marks), 0)).where(_d.issue_id == issue)
    return int(session.connection().execute(statement).scalar_one())


def _last_event(session: Session, store: Store) -> datetime | None:
    """The latest instant of the ledger that counts; what earlier runs did lies before the last one began."""
    rows = session.connection().execute(
        select(_run.id, _run.issue_id, _run.started_at, _run.ended_at)
        .where(_run.id > store.misdated_run)
        .order_by(_run.id.desc())
        .limit(1)
    )
    run = rows.first()
    if run is None:
        return None
    counted = _d.run_id > store.misdated_run
    times = session.connection().execute(
        select(func.max(_d.marked_at), func.max(_d.settled_at)).where(_d.issue_id == run.issue_id, counted)
    )
    found: list[datetime] = [at for at in (run.started_at, run.ended_at, *times.one()) if at is not None]
    return max(found)


def home_of(engine: Engine, name: str) -> str:
    """A hash that says where letters of the store *name* go out from; "" where that cannot be known."""
    place = _machine() if engine.dialect.name == "sqlite" else _cluster(engine)
    if not place:
        return ""
    # Hashed: the machine's own id is not to leave it, and backups do (machine-id(5)).
    return hashlib.sha256(f"{name}:{place}".encode()).hexdigest()


def _machine() -> str:
    """This machine's own id (machine-id(5)), else its host name."""
    with suppress(OSError):
        if found := MACHINE_ID.read_text(encoding="ascii", errors="replace").strip():
            return found
    return os.uname().nodename


def _cluster(engine: Engine) -> str:
    """The database server's own id and the database's number in it; "" for whoever may not ask."""
    statement = (
        "SELECT c.system_identifier, d.oid FROM pg_control_system() c, pg_database d"
        " WHERE d.datname = current_database()"
    )
    try:
        with engine.connect() as connection:
            system, database = connection.execute(text(statement)).one()
    except DBAPIError:
        return ""
    return f"{system}:{database}"


def _elsewhere(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return (
            "letters of this store went out from another machine: if that one still has a copy that sends,"
            " everybody would get two; if it sends no more, `digest store move-here`"
        )
    return (
        "letters of this store went out from another database, of which this is a copy: if that one still"
        " sends, everybody would get two; if it sends no more, `digest store move-here`"
    )


def _unwritable(engine: Engine, error: OSError) -> str:
    return (
        f"{file_of(engine)} cannot be written ({error.strerror or error}): it remembers what went out, should"
        " the store be restored; make room, or let its folder be written to"
    )


def _shown(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
