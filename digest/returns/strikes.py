"""What all that came back costs a reader: a history of issues -> a decision; pure.

A monthly list counts issues, not days: a reader whose mailbox is full for one long weekend has one
strike, however many reports it brings (B-5), and a limit in days would never be reached (B-7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from digest.returns.classes import Class

#: issues in a row that could not be delivered for a while, after which a reader is paused
SOFT_IN_A_ROW = 3
#: an accepted letter that nothing came back for by then has arrived
QUIET = timedelta(days=7)

#: of fewer hard reports from one domain in one issue nothing is said …
FEWEST = 10
#: … and this share of its letters is more than a list ages by in a month
_SHARE = 0.05


class Decision(StrEnum):
    """What becomes of a reader."""

    STAYS = "stays"
    #: the mailbox has been full, or its server away, for too long
    PAUSED = "paused"
    #: the mailbox does not exist
    BOUNCED = "bounced"
    #: called a letter spam: out at once, and no mail says goodbye
    COMPLAINED = "complained"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one issue's letter to one reader."""

    #: when the relay accepted it; None where it did not
    accepted_at: datetime | None
    #: what reports, and the relay's own refusal, said of it
    classes: tuple[Class, ...] = ()
    #: False where the reader's provider is not believed, as `is_outage` says: those reports cost nothing
    believed: bool = True


def decide(history: Sequence[Outcome], now: datetime) -> Decision:
    """What *history*, the issues since the reader last came to the list, in order, has come to at *now*."""
    if any(Class.COMPLAINT in outcome.classes for outcome in history):
        return Decision.COMPLAINED
    if any(outcome.believed and Class.HARD in outcome.classes for outcome in history):
        return Decision.BOUNCED
    in_a_row = 0
    for outcome in history:
        if outcome.believed and Class.SOFT in outcome.classes:
            in_a_row += 1
        elif _arrived(outcome, now):
            in_a_row = 0
        if in_a_row >= SOFT_IN_A_ROW:
            return Decision.PAUSED
    return Decision.STAYS


def is_outage(hard: int, letters: int) -> bool:
    """Whether a provider that calls *hard* of an issue's *letters* to it dead is not believed (B-6)."""
    return hard >= FEWEST and hard > _SHARE * letters


def _arrived(outcome: Outcome, now: datetime) -> bool:
    """Whether the letter is believed to have arrived: neither policy nor an outage speaks for it."""
    if outcome.accepted_at is None or now - outcome.accepted_at < QUIET:
        return False
    return all(one in (Class.NONE, Class.DELAYED) for one in outcome.classes)
