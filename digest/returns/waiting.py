"""Messages that wait for a person: what they are, why they wait, and that somebody has seen to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, update
from sqlmodel import col, select

from digest.database import reading, writing
from digest.errors import DigestError
from digest.returns.models import Came, Received, Stage
from digest.returns.parts import opened
from digest.sending.replies import printable


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message that waits."""

    id: int
    at: datetime
    came: Came
    why: str
    #: as it says itself, which proves nothing: one printable line each
    sender: str
    subject: str


def waiting(engine: Engine) -> list[Waiting]:
    """What waits for a person, the oldest first."""
    with reading(engine) as session:
        statement = select(Received.id).where(col(Received.stage) == Stage.WAITING)
        ids = list(session.exec(statement.order_by(col(Received.id))))
    found = []
    for one in ids:
        # One at a time: they are up to a mebibyte each.
        with reading(engine) as session:
            message = session.get(Received, one)
            if message is not None and message.id is not None and message.raw is not None:
                headers = opened(message.raw).headers
                said = (printable(headers.first(name).encode())[:200] for name in ("from", "subject"))
                found.append(Waiting(message.id, message.at, message.came, message.outcome, *said))
    return found


def raw_of(engine: Engine, received_id: int) -> bytes:
    """The message as it came; DigestError where it is not there, or not any more."""
    with reading(engine) as session:
        message = session.get(Received, received_id)
        if message is None or message.raw is None:
            raise DigestError(f"there is no message {received_id}, or its text is not kept any more")
        return message.raw


def see_to(engine: Engine, received_ids: Sequence[int], now: datetime) -> int:
    """Somebody has seen to these messages, and they wait no more; how many of them had waited."""
    with writing(engine) as session:
        result = session.connection().execute(
            update(Received)
            .where(col(Received.id).in_(received_ids), col(Received.stage) == Stage.WAITING)
            .values(stage=Stage.DONE, done_at=now)
        )
        return result.rowcount
