"""Forgetting a person: what the rest of the store says of them, and the bytes that deleting leaves behind.

A deleted row's bytes stay in the file until something is written over them, and in the journal until it
is folded in. SQLite is rewritten as a whole (VACUUM) and its journal emptied; on PostgreSQL the tables
are vacuumed, and its own write-ahead log and backups run out as the server is set.

Beside the store, outside of it, a list keeps whom it has forgotten, as HMACs: a backup that is restored
does not bring them back.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, case, delete, func, or_, update
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.durable import keep_name
from digest.models import Delivered, Delivery, Notice, Outgoing, letters_of
from digest.returns.erasing import forget_returns
from digest.sending.spool import beside
from subscribers.address import Address
from subscribers.rights import erase, restored
from subscribers.suppression import suppression_key

#: what stands where a notice to the editors named the person
GONE = "[erased]"
#: the tables in which a person leaves something behind
_TABLES = (
    *("subscriber", "consent", "ticket", "wish", "delivery", "outgoing", "notice"),
    *("received", "report", "provider"),
)


def forget(session: Session, subscriber_id: int | None, traces: frozenset[str]) -> None:
    """Letters, what came back, notices and waiting mails say nothing of this person: no word of *traces*."""
    if subscriber_id is not None:
        # A relay's answer often repeats the address; its code is enough for the ledger's sums.
        state = col(Delivery.state)
        reason = case(
            (state == Delivered.SKIPPED, col(Delivery.reason)), (state == Delivered.HELD, "erased"), else_=""
        )
        session.execute(
            update(Delivery).where(letters_of(subscriber_id)).values(reply_text="", reason=reason)
        )
    mine = or_(col(Outgoing.subscriber_id) == subscriber_id, col(Outgoing.address).in_(traces))
    session.execute(delete(Outgoing).where(mine))
    addresses = [one for one in traces if "@" in one]
    forget_returns(session, subscriber_id, addresses)
    told = or_(*(func.lower(col(Notice.body)).contains(one.lower(), autoescape=True) for one in addresses))
    for notice in session.exec(select(Notice).where(told)):
        notice.body = _without(notice.body, addresses)
        session.add(notice)


def _without(text: str, traces: list[str]) -> str:
    for one in sorted(traces, key=len, reverse=True):
        while (start := text.lower().find(one.lower())) >= 0:
            text = text[:start] + GONE + text[start + len(one) :]
    return text


def erase_person(engine: Engine, address: Address, secret: bytes, now: datetime) -> bool:
    """Nothing of *address* is left in the store's rows, and it is never written to; False: nobody had it.

    Its bytes are gone from the files once `scrub` has run. The list of the erased knows it first: a
    crash in between erases again at the next tick.
    """
    _note(engine, suppression_key(address.key, secret), now)
    with writing(engine) as session:
        known = erase(session, address, secret, now, [forget])
        if engine.dialect.name == "sqlite":
            # A number in the file's head, of the same transaction: there is something to scrub.
            session.connection().exec_driver_sql("PRAGMA user_version = 1")
    return known


def erase_restored(engine: Engine, secret: bytes, now: datetime) -> int:
    """Whoever was erased and came back with a backup is erased again; how many those were."""
    path = list_of_erased(engine)
    if not path.exists():
        return 0
    lines = [line.split() for line in path.read_text(encoding="ascii", errors="replace").splitlines()]
    keys = {line[0]: datetime.fromisoformat(line[1]) for line in lines if len(line) == 2}
    with reading(engine) as session:
        back = restored(session, keys)
    for address in back:
        erase_person(engine, address, secret, now)
    return len(back)


def list_of_erased(engine: Engine) -> Path:
    """Where the list of the erased is."""
    return beside(engine, "erased")


def _note(engine: Engine, key: str, now: datetime) -> None:
    path = list_of_erased(engine)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, f"{key} {now.isoformat()}\n".encode("ascii"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    keep_name(path.parent)


def scrub(engine: Engine, *, always: bool = False) -> bool:
    """No byte of what was erased is left in the store's files; False where others are at work just now.

    Does nothing where nothing was erased since the last time, unless *always*.
    """
    connection = engine.raw_connection()
    try:
        run = connection.cursor().execute
        if engine.dialect.name == "sqlite":
            return _scrubbed(run, always)
        if always:
            _vacuum_postgresql(connection.driver_connection)
        return True
    finally:
        connection.close()


def _scrubbed(run: Callable[[str], object], always: bool) -> bool:
    def ask(statement: str) -> int:
        answer: int = run(statement).fetchone()[0]  # type: ignore[attr-defined]
        return answer

    if not always and not ask("PRAGMA user_version"):
        return True
    run("VACUUM")
    # The first column says whether somebody was in the way.
    if ask("PRAGMA wal_checkpoint(TRUNCATE)"):
        return False
    run("PRAGMA user_version = 0")
    ask("PRAGMA wal_checkpoint(TRUNCATE)")
    return True


def _vacuum_postgresql(connection: object) -> None:
    connection.autocommit = True  # type: ignore[attr-defined]
    try:
        connection.execute(f"VACUUM {', '.join(_TABLES)}")  # type: ignore[attr-defined]
    finally:
        connection.autocommit = False  # type: ignore[attr-defined]
