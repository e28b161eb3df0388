"""What the ledger is to say of a letter, from what became of it on the wire; pure."""

from datetime import datetime, timedelta

from digest.models import Delivered
from digest.sending.ledger import DOUBT_REST, Leased, Settlement
from digest.sending.replies import Verdict
from digest.sending.smtp import Sent

#: how often a letter may be refused for what is our fault until a person must look at it
REFUSALS = 3
#: how long after each try a deferred letter waits; the last one repeats
RETRY_AFTER = tuple(timedelta(minutes=minutes) for minutes in (15, 30, 60, 120, 240))
#: as RFC 5321, section 4.5.4.1 has it, give up after days, not hours …
GIVE_UP_AFTER = timedelta(hours=72)
#: … but never after a few tries only, for a machine that slept through the days
GIVE_UP_TRIES = 5

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
    state, due_at, reason = _OUTCOMES[sent.verdict], None, sent.instead
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


def retry_at(attempts: int, first_at: datetime, now: datetime, jitter: float) -> datetime | None:
    """When a letter deferred for the *attempts*th time is tried again; None: not any more, a person decides.

    *first_at* is its first try; *jitter*, from 0 to 1, adds up to a tenth, so that what was deferred
    together does not come back together.
    """
    if now - first_at >= GIVE_UP_AFTER and attempts >= GIVE_UP_TRIES:
        return None
    wait = RETRY_AFTER[min(attempts, len(RETRY_AFTER)) - 1]
    return now + wait * (1 + jitter / 10)
