"""A leased letter and whom it goes to become a parcel for one connection, or are settled without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from digest.models import Delivered
from digest.sending.ledger import Leased, Settlement
from digest.sending.parcel import Parcel
from digest.sending.round import Round
from digest.sending.smtp import Lacking, Wire
from subscribers.audience import Recipient


@dataclass(slots=True)
class Letter:
    """A letter that a connection has to bring to its outcome."""

    leased: Leased
    dated_at: datetime
    #: how many connections were lost with it, before its dot
    lost: int = 0
    #: its recipient's, in lower case, as it was last made
    domain: str = ""


class Made(NamedTuple):
    """The same, made for a recipient as the store had them."""

    letter: Letter
    recipient: Recipient
    parcel: Parcel


def begun(shared: Round, leased: Sequence[Leased]) -> list[Letter]:
    """*leased*, to be sent: each with its Date where it has one, else with the present one."""
    now = shared.now().astimezone(UTC)
    return [Letter(one, one.dated_at or now) for one in leased]


def made_of(shared: Round, wire: Wire, letter: Letter, recipient: Recipient | str) -> Made | None:
    """The finished letter; None where there can be none, which is settled. `Stopped` as `settle` has it."""
    if isinstance(recipient, str):
        settle_unsent(shared, letter, Delivered.SKIPPED, recipient)
        return None
    letter.domain = recipient.address.rpartition("@")[2].lower()
    if until := shared.rests_until(letter.domain):
        settle_unsent(shared, letter, Delivered.DEFERRED, f"{letter.domain} is left in peace", until)
        return None
    try:
        parcel = shared.stencil.letter(recipient, letter.dated_at)
        wire.require(parcel)
    except Lacking as lacking:
        settle_unsent(shared, letter, Delivered.HELD, str(lacking))
        return None
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one letter, the others go on (R-6)
        reason = f"the letter cannot be made: {type(error).__name__}: {error}"
        settle_unsent(shared, letter, Delivered.HELD, reason)
        return None
    return Made(letter, recipient, parcel)


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
