"""A letter and whom it goes to become a parcel for one connection, or are settled without one."""

from datetime import datetime

from digest.models import Delivered
from digest.sending.ledger import Settlement
from digest.sending.parcel import Parcel
from digest.sending.portion import Letter
from digest.sending.round import Round
from digest.sending.smtp import Lacking, Wire
from subscribers.audience import Recipient


def made_for(shared: Round, wire: Wire, letter: Letter, reader: Recipient | str) -> Parcel | None:
    """The finished letter to *reader*, as the store has them now; None where there can be none.

    That is settled. `Stopped` as `settle` has it.
    """
    if letter.reader != reader:
        letter.reader, letter.parcel = reader, None
    if isinstance(reader, str):
        settle_unsent(shared, letter, Delivered.SKIPPED, reader)
        return None
    if until := shared.rests_until(letter):
        settle_unsent(shared, letter, Delivered.DEFERRED, f"{letter.domain} is left in peace", until)
        return None
    try:
        if letter.parcel is None:
            [letter.parcel] = shared.stencil.letters([(reader, letter.dated_at)])
        wire.require(letter.parcel)
    except Lacking as lacking:
        settle_unsent(shared, letter, Delivered.HELD, str(lacking))
        return None
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one letter, the others go on (R-6)
        reason = f"the letter cannot be made: {type(error).__name__}: {error}"
        settle_unsent(shared, letter, Delivered.HELD, reason)
        return None
    return letter.parcel


def settle_unsent(
    shared: Round, letter: Letter, state: Delivered, reason: str, due_at: datetime | None = None
) -> None:
    """*letter*, which was not begun, is written down as *state*."""
    settled = Settlement(
        delivery_id=letter.leased.id,
        state=state,
        at=shared.now(),
        due_at=due_at,
        reason=reason,
        was_tried=False,
    )
    shared.settle([settled])
