"""How often an address, a network and everybody may cause a mail by asking for it (U-8).

Forms that send mail are used to bury a mailbox under confirmations (Spamhaus, 2016). What counts is the
mail a page causes, not the visit. Addresses and networks are kept as HMACs, for thirty days.
"""

import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import IPv6Address, ip_address, ip_network

from sqlalchemy import delete, func, select
from sqlmodel import Session, col

from subscribers.address import Address
from subscribers.models import Asked, Tried

HOUR, DAY, MONTH = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
PER_ADDRESS = ((DAY, 1), (MONTH, 3))
PER_NETWORK = ((HOUR, 5),)
#: two names of one mailbox, in which dots do not count (support.google.com, "Dots don't matter in Gmail
#: addresses" and "Use gmail.com or googlemail.com")
_GMAIL = frozenset({"gmail.com", "googlemail.com"})


class Breach(StrEnum):
    """Which limit lets no more mail go out just now."""

    #: this mailbox was written to already: asking again later does not help
    ADDRESS = "address"
    #: one network asks for many
    NETWORK = "network"
    #: more people ask than DIGEST_SUBSCRIBE_RATE lets through in an hour
    ALL = "all"


def breach(
    session: Session,
    asked: Asked,
    address: Address,
    ip: str | None,
    hourly: int,
    secret: bytes,
    now: datetime,
) -> Breach | None:
    """The limit that one more mail would break; None: it may go. *hourly* is the limit over all."""
    mailbox, network, everybody = _keys(asked, address, ip, secret)
    if _is_over(session, mailbox, PER_ADDRESS, now):
        return Breach.ADDRESS
    if network and _is_over(session, network, PER_NETWORK, now):
        return Breach.NETWORK
    return Breach.ALL if _is_over(session, everybody, ((HOUR, hourly),), now) else None


def count(
    session: Session, asked: Asked, address: Address, ip: str | None, secret: bytes, now: datetime
) -> None:
    """One more mail is counted."""
    session.add_all([Tried(key=key, at=now) for key in _keys(asked, address, ip, secret) if key])


def forget_old(session: Session, now: datetime) -> None:
    """What no limit looks at any more is gone."""
    session.execute(delete(Tried).where(col(Tried.at) < now - MONTH))


def mailbox_of(address: Address) -> str:
    """The mailbox that *address* leads to, for counting only: without a plus tag, and Gmail's dots."""
    local_part, _, domain = address.key.rpartition("@")
    local_part = local_part.partition("+")[0] or local_part
    if domain in _GMAIL:
        local_part, domain = local_part.replace(".", ""), "gmail.com"
    return f"{local_part}@{domain}"


def network_of(ip: str) -> str:
    """The network a visitor comes from: of IPv4 the /24, of IPv6 the /64; "" for what is no address."""
    try:
        found = ip_address(ip)
    except ValueError:
        return ""
    if isinstance(found, IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(ip_network((found.packed, 24 if found.version == 4 else 64), strict=False))


def _keys(asked: Asked, address: Address, ip: str | None, secret: bytes) -> tuple[str, str, str]:
    """What the mail is counted under: its mailbox, the visitor's network ("": not known), everybody."""
    # Asking for a move is asking an address for a yes, as asking for letters is.
    kind = Asked.DATA if asked == Asked.DATA else Asked.SUBSCRIBE
    network = network_of(ip) if ip else ""
    return (
        _key(secret, f"{kind} {mailbox_of(address)}"),
        _key(secret, network) if network else "",
        _key(secret, "everybody"),
    )


def _key(secret: bytes, what: str) -> str:
    return hmac.digest(secret, b"limits\0" + what.encode(), "sha256").hex()


def _is_over(session: Session, key: str, rules: Iterable[tuple[timedelta, int]], now: datetime) -> bool:
    return any(
        session.execute(
            select(func.count()).where(col(Tried.key) == key, col(Tried.at) > now - within)
        ).scalar_one()
        >= most
        for within, most in rules
    )
