"""What the ledger is to say of a letter, from what became of it on the wire; pure."""

from datetime import datetime

from digest.models import Delivered
from digest.sending.ledger import DOUBT_REST, Leased, Settlement, retry_at
from digest.sending.replies import Verdict
from digest.sending.smtp import Sent

#: how often a letter may be refused for what is our fault until a person must look at it
REFUSALS = 3

_OUTCOMES = {
    Verdict.ACCEPTED: Delivered.ACCEPTED,
    Verdict.REJECTED: Delivered.REJECTED,
    Verdict.DEFERRED: Delivered.DEFERRED,
    Verdict.UNSENT: Delivered.DEFERRED,
    Verdict.IN_DOUBT: Delivered.IN_DOUBT,
    # Not the letter's fault, and not the recipient's: it is free for the next run.
    Verdict.REFUSED: Delivered.QUEUED,
}


def settlement(leased: Leased, dated_at: datetime, sent: Sent, now: datetime, jitter: float) -> Settlement:
    """What the ledger is to say of a letter the wire was tried for."""
    attempts = leased.attempts + 1
    state, due_at, reason = _OUTCOMES[sent.verdict], None, "" if sent.reply else sent.why
    if state is Delivered.DEFERRED:
        due_at = retry_at(attempts, dated_at, now, jitter)
        if due_at is None:
            state, reason = Delivered.HELD, f"deferred for days, {attempts} times; the last time: {sent.why}"
    elif state is Delivered.IN_DOUBT:
        due_at = now + DOUBT_REST
    elif state is Delivered.QUEUED and attempts >= REFUSALS:
        state, reason = Delivered.HELD, f"refused by the relay {attempts} times; the last time: {sent.why}"
    return Settlement(
        delivery_id=leased.id,
        state=state,
        at=now,
        dated_at=dated_at,
        due_at=due_at,
        reply_code=sent.reply.code if sent.reply else None,
        reply_text=sent.reply.text if sent.reply else "",
        reason=reason,
    )
