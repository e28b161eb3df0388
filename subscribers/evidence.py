"""What is known of an act beside the act itself: by whose hand, when, from where, to which words."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from subscribers.address import Address
from subscribers.models import Act


class NotAllowed(ValueError):
    """No such step leads on from where the subscriber stands; the message is one line."""


class Origin(StrEnum):
    """By whose hand something happened."""

    #: the person, on one of the public pages
    PAGE = "page"
    #: the person, by the button of their mail program (RFC 8058)
    ONE_CLICK = "one-click"
    #: the person, by a mail to the address that their mail program shows as "Unsubscribe" (RFC 2369)
    MAIL = "mail"
    EDITOR = "editor"
    IMPORT = "import"
    #: a report that came back
    BOUNCE = "bounce"
    #: such reports were wrong, and what they had cost is given back
    UNDO = "undo"
    #: a program that holds a token of the API
    API = "api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a line of Consent keeps beside the act: by whose hand, when, and to which words."""

    origin: Origin
    at: datetime
    #: what the person read, or the ground an editor stated
    wording: str = ""
    #: kept of who joins, as proof; not of who leaves
    ip: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody to be added."""

    address: Address
    name: str = ""
    #: what another system recorded of their consent; follows the ground in the line of Consent
    proof: str = ""


def consent_line(subscriber_id: int, act: Act, evidence: Evidence, proof: str = "") -> dict[str, Any]:
    """The columns of the line of Consent that proves *act*."""
    return {
        "subscriber_id": subscriber_id,
        "act": act,
        "at": evidence.at,
        "origin": evidence.origin,
        "wording": "; ".join(part for part in (evidence.wording, proof) if part),
        "address": "",
        "ip": evidence.ip,
        "user_agent": evidence.user_agent,
    }
