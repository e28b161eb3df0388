"""Leased letters, some of which are made together before their turn comes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from digest.sending.ledger import Leased
from digest.sending.parcel import Parcel
from subscribers.audience import Recipient


class Stencil(Protocol):
    """Makes letters of recipients; the same recipient and instant give the same bytes."""

    def letters(self, wanted: Sequence[tuple[Recipient, datetime]]) -> Sequence[Parcel]:
        """The finished letter for each, in their order; raises where there can be none for one of them."""


@dataclass(slots=True)
class Letter:
    """A letter that a connection has to bring to its outcome."""

    leased: Leased
    dated_at: datetime
    #: whom it goes to as far as was seen last, or why it is not welcome any more
    reader: Recipient | str
    #: made for that reader; None: not yet
    parcel: Parcel | None = None
    #: how many connections were lost with it, before its dot
    lost: int = 0

    @property
    def domain(self) -> str:
        """Its reader's, in lower case; "" where it is not welcome."""
        return "" if isinstance(self.reader, str) else self.reader.address.rpartition("@")[2].lower()


def portion(
    stencil: Stencil, leased: Iterable[tuple[Leased, Recipient | str]], now: datetime
) -> list[Letter]:
    """*leased*, each with its reader, as letters, with their Dates where they have one, else with *now*.

    All of them are made, or none: where one cannot be, that is for its own turn to tell.
    """
    letters = [Letter(one, one.dated_at or now, reader) for one, reader in leased]
    wanted = [(one, one.reader) for one in letters if isinstance(one.reader, Recipient)]
    try:
        parcels = stencil.letters([(reader, letter.dated_at) for letter, reader in wanted])
    except Exception:  # noqa: BLE001 - whatever is wrong with one letter, the others go on (R-6)
        return letters
    for (letter, _), parcel in zip(wanted, parcels, strict=True):
        letter.parcel = parcel
    return letters
