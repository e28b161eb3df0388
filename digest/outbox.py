"""Notes to one person about their own subscription, durable: tried until they are out.

A note is written in the transaction that answers its person's wish; its row is gone once the relay has it.
A crash between the relay's answer and that can send it twice, which is the safer side.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, delete, update
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.letter.headers import tags, wire_address
from digest.letter.note import Stationery
from digest.models import Outgoing
from digest.sending.parcel import Mail
from digest.sending.replies import Verdict
from digest.sending.smtp import Sent
from subscribers.address import Address
from subscribers.models import Aim, Subscriber
from subscribers.tickets import mint
from subscribers.tokens import Keyring, Purpose
from subscribers.wishes import Note, NoteKind

#: whoever takes a note up has so long for it, before somebody else does
HELD_FOR = timedelta(minutes=10)
#: a note that could not be handed over is tried again, each time later, and at last is no longer true
GIVEN_UP_AFTER = timedelta(days=3)

#: the link a note carries; MANAGE leads to the preferences, which need no row
_AIMS = {
    NoteKind.CONFIRM: Aim.CONFIRM,
    NoteKind.MOVE: Aim.MOVE,
    NoteKind.MOVED: Aim.UNDO,
    NoteKind.DATA: Aim.DATA,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Postage:
    """What it takes to send a note."""

    stationery: Stationery
    keyring: Keyring
    bounce_domain: str | None
    #: whose webhooks are to name the note
    services: Sequence[str] = ()
    #: hands one mail to the relay; raises what connecting raises
    hand: Callable[[Mail], Sent]
    #: so many random bytes as text
    random: Callable[[int], str]


def keep(session: Session, notes: Iterable[Note]) -> None:
    """*notes* will be sent."""
    for note in notes:
        session.add(
            Outgoing(
                kind=note.kind,
                subscriber_id=note.subscriber_id,
                address=note.address,
                asked_at=note.asked_at,
                due_at=note.asked_at,
            )
        )


def keep_asked(session: Session, asked: Sequence[tuple[int, Address]], now: datetime) -> None:
    """Each of *asked*, who are pending, will get the mail that asks for a yes."""
    keep(session, (Note(NoteKind.CONFIRM, one, address.address, now) for one, address in asked))


def send_notes(engine: Engine, postage: Postage, now: datetime) -> int:
    """Every note that is due is handed to the relay; how many it took. Raises what connecting raises."""
    taken, last = 0, 0
    while (note := _next(engine, last, now)) is not None:
        last = note.id or 0
        if _taken_up(engine, note, now):
            taken += _send_note(engine, postage, note, now)
    return taken


def has_notes(session: Session, now: datetime) -> bool:
    """Whether a note is due."""
    return session.exec(select(Outgoing.id).where(col(Outgoing.due_at) <= now).limit(1)).first() is not None


def _next(engine: Engine, last: int, now: datetime) -> Outgoing | None:
    """The first note after the one with the id *last* that is due."""
    due = select(Outgoing).where(col(Outgoing.id) > last, col(Outgoing.due_at) <= now)
    with reading(engine) as session:
        return session.exec(due.order_by(col(Outgoing.id)).limit(1)).first()


def _taken_up(engine: Engine, note: Outgoing, now: datetime) -> bool:
    """The note is ours for a while; False where another process was quicker."""
    mine = (
        update(Outgoing)
        .where(col(Outgoing.id) == note.id, col(Outgoing.due_at) == note.due_at)
        # The waits grow: ten minutes, twenty, forty, …, half a day.
        .values(due_at=now + HELD_FOR * min(2**note.tried, 72), tried=note.tried + 1)
        .returning(col(Outgoing.id))
    )
    with writing(engine) as session:
        return session.execute(mine).first() is not None


def _send_note(engine: Engine, postage: Postage, note: Outgoing, now: datetime) -> bool:
    """Whether the relay took it. What is refused for good, or waited too long, is gone too."""
    with writing(engine) as session:
        link = _link(session, postage, note, now)
    sent = None
    if link is not None and now - note.asked_at < GIVEN_UP_AFTER:
        sent = postage.hand(_noted(postage, note, link, now))
    if sent is None or sent.verdict in (Verdict.ACCEPTED, Verdict.REJECTED):
        with writing(engine) as session:
            session.execute(delete(Outgoing).where(col(Outgoing.id) == note.id))
    return sent is not None and sent.verdict is Verdict.ACCEPTED


def _link(session: Session, postage: Postage, note: Outgoing, now: datetime) -> str | None:
    """The path the note leads to; None where the person was forgotten meanwhile.

    A token is made only now, so that between asking and sending it is nowhere in the store (T-5).
    """
    whose = session.get(Subscriber, note.subscriber_id)
    if whose is None or not whose.address:
        return None
    if note.kind is NoteKind.MANAGE:
        return f"/p/{postage.keyring.sign(Purpose.PREFERENCES, note.subscriber_id, whose.token_version)}"
    return "/c/" + mint(session, _AIMS[note.kind], note.subscriber_id, note.address, now, postage.random)


def _noted(postage: Postage, note: Outgoing, link: str, now: datetime) -> Mail:
    """The note as it goes over the wire."""
    stationery = postage.stationery
    message_id = stationery.message_id(postage.random(12).lower())
    token = postage.keyring.sign(Purpose.BOUNCE, note.subscriber_id)
    written = stationery.written(note.kind, link, note.asked_at)
    content = stationery.mail(written, note.address, message_id, now, tags(postage.services, token))
    sender = wire_address(stationery.publication.sender_address)
    if postage.bounce_domain:
        sender = f"b+{token}@{postage.bounce_domain}"
    to = wire_address(note.address)
    return Mail(sender, to, content, message_id, needs_smtputf8=not content.isascii() or not to.isascii())
