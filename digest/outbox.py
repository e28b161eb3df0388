"""Mails to the editors, durable: kept with the event they tell of, sent once, tried again until they are.

A notice is written in the transaction of its event, so no crash can lose it; its event's name is
unique, so a tick every five minutes tells it once. A crash between the relay's answer and the mark
can tell an editor twice, which is the safer side.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, make_msgid

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from digest.database import reading, writing
from digest.letter.page import Publication
from digest.models import Notice

#: hands one finished mail to the relay; raises what the wire raises
Hand = Callable[[str, Sequence[str], bytes], None]


def tell(session: Session, event: str, subject: str, body: str, now: datetime) -> bool:
    """The editors will be told of *event*, once; False where they were told, or will be, already."""
    if session.exec(select(Notice).where(col(Notice.event) == event)).first() is not None:
        return False
    session.add(Notice(event=event, subject=subject, body=body, created_at=now))
    return True


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
        hand(publication.sender_address, editors, _mail(notice, publication, editors, now))
        with writing(engine) as session:
            session.get_one(Notice, notice.id).sent_at = now
    return len(waiting)


def _mail(notice: Notice, publication: Publication, editors: Sequence[str], now: datetime) -> bytes:
    """The notice as RFC 5322 bytes; its subject and body are ours, not a visitor's."""
    message = EmailMessage(policy=SMTP.clone(max_line_length=76))
    message["From"] = Address(publication.sender_name, addr_spec=publication.sender_address)
    message["To"] = [Address(addr_spec=one) for one in editors]
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = make_msgid(f"notice-{notice.id}", publication.sender_address.rpartition("@")[2])
    # RFC 3834, section 5: nobody's holiday reply should come back to us.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(notice.body, cte="quoted-printable")
    return message.as_bytes()
