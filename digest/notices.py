"""Mails to the editors: written in the transaction of what they tell of, so no crash can lose one.

Its event's name is unique, so that a tick every five minutes tells it once.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from email import headerregistry
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from sqlalchemy import Engine, or_
from sqlmodel import Session, SQLModel, col, select

from digest.database import reading, writing
from digest.letter.page import Publication
from digest.models import Notice
from subscribers.suppression import new_only

#: hands one finished mail to the relay; raises what the wire raises
Hand = Callable[[str, Sequence[str], bytes], None]


def tell(session: Session, event: str, subject: str, body: str, now: datetime) -> bool:
    """The editors will be told of *event*, once; False where they were told, or will be, already."""
    # Not asked first: another host may tell it at this very moment, and what is told in one transaction with
    # answers of the relay must not take them down with it.
    notice = {"event": event, "subject": subject, "body": body, "created_at": now}
    told = new_only(session, SQLModel.metadata.tables["notice"]).values(notice).returning(col(Notice.id))
    return session.connection().execute(told).first() is not None


def at_desk(publication: Publication, month: str) -> str:
    """Where the desk shows the issue of *month*, written YYYY-MM."""
    return f"{publication.base_url}/desk/issues/{month}"


def was_told(session: Session, *events: str) -> bool:
    """Whether the editors were told of one of *events*, or of one whose name goes on after a colon."""
    names = [col(Notice.event) == one for one in events]
    longer = [col(Notice.event).startswith(f"{one}:", autoescape=True) for one in events]
    return session.exec(select(Notice.id).where(or_(*names, *longer)).limit(1)).first() is not None


def send_notices(
    engine: Engine, publication: Publication, editors: Sequence[str], hand: Hand, now: datetime
) -> int:
    """Every notice not sent yet is handed to the relay; how many. Without *editors* they wait."""
    if not editors:
        return 0
    with reading(engine) as session:
        waiting = list(
            session.exec(select(Notice).where(col(Notice.sent_at).is_(None)).order_by(col(Notice.id)))
        )
    for notice in waiting:
        hand(publication.sender_address, editors, _notice(notice, publication, editors, now))
        with writing(engine) as session:
            session.get_one(Notice, notice.id).sent_at = now
    return len(waiting)


def _notice(notice: Notice, publication: Publication, editors: Sequence[str], now: datetime) -> bytes:
    """The notice as RFC 5322 bytes; its subject and body are ours, not a visitor's."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=76))
    message["From"] = headerregistry.Address(publication.sender_name, addr_spec=publication.sender_address)
    message["To"] = [headerregistry.Address(addr_spec=one) for one in editors]
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(f"notice-{notice.id}", publication.sender_address.rpartition("@")[2])
    # RFC 3834, section 5: nobody's holiday reply should come back to us.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(notice.body, cte="quoted-printable")
    return message.as_bytes()
