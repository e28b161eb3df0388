"""How often somebody may try to log in: whoever guesses waits longer and longer, and nobody is locked out.

What is counted is an account from a network: strangers elsewhere do not make its editor wait. A network is
counted over all accounts, too, so that neither spraying nor filling the table is of use.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlmodel import Session, col

from digest.accounts.models import Attempt

#: tries that cost no waiting, by account and network, and by network
FREE, FREE_FOR_NETWORK = 5, 50
#: after those, and after each further one twice as long …
FIRST_WAIT = timedelta(minutes=1)
#: … but never longer
LONGEST_WAIT = timedelta(minutes=15)
#: a try older than this counts no more
REMEMBERED = timedelta(days=1)


def wait(tries: Sequence[datetime], free: int, now: datetime) -> timedelta:
    """How long whoever made *tries* has still to wait for the next one; zero or less: not at all."""
    recent = [at for at in tries if at > now - REMEMBERED]
    beyond = len(recent) - free
    if beyond < 0:
        return timedelta(0)
    # 2 ** 4 minutes are longer than the longest wait.
    pause = min(FIRST_WAIT * int(2 ** min(beyond, 4)), LONGEST_WAIT)
    return max(recent) + pause - now


def try_once(session: Session, address_key: str, network: str, secret: bytes, now: datetime) -> timedelta:
    """One more try is counted; or how long to wait, and then it is not counted and may not be made.

    It is written down before anything is checked, so that many at once are many.
    """
    session.execute(delete(Attempt).where(col(Attempt.at) <= now - REMEMBERED))
    keys = _keys(address_key, network, secret)
    longest = max(
        wait(_tries(session, key), free, now)
        for key, free in zip(keys, (FREE, FREE_FOR_NETWORK), strict=True)
    )
    if longest > timedelta(0):
        return longest
    session.add_all([Attempt(key=key, at=now) for key in keys])
    return timedelta(0)


def forget_tries(session: Session, address_key: str, network: str, secret: bytes) -> None:
    """The account may be tried from the network as if nobody had: its editor has just logged in there."""
    session.execute(delete(Attempt).where(col(Attempt.key) == _keys(address_key, network, secret)[0]))


def _tries(session: Session, key: str) -> list[datetime]:
    return list(session.execute(select(col(Attempt.at)).where(col(Attempt.key) == key)).scalars())


def _keys(address_key: str, network: str, secret: bytes) -> tuple[str, str]:
    return _key(secret, f"{address_key} {network}"), _key(secret, network)


def _key(secret: bytes, what: str) -> str:
    return hmac.digest(secret, b"attempts\0" + what.encode(), "sha256").hex()
