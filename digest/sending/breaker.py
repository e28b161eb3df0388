"""When a run must stop, or leave one provider in peace, as its answers add up; pure.

Two things are worse than a letter that comes later. Sending on while policy speaks against us costs the
sender's name (R-9): where more than 2 % of the last 200 letters were refused so, the run stops. And a
provider in trouble answers that no mailbox exists; believed, it costs a whole domain's readers their
letters: where more than half of the last 20 letters to one domain were refused at RCPT, its refusals of
this run are taken back, and it is left in peace for an hour.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from digest.models import Delivered
from digest.sending.replies import Phase, Reply

#: R-9: of so many letters that were answered last, no more than this share may be refused by policy …
WINDOW = 200
SHARE = 0.02
#: … and of fewer than so many nothing is said yet
LEAST = 10
#: so many of a domain's last letters are looked at, and no fewer
DOMAIN_WINDOW = 20
REST = timedelta(hours=1)

#: security, policy and throttling; the sender's address is wrong (RFC 3463, sections 3.2 and 3.8)
_POLICY = re.compile(r"[45]\.7\.\d+|[45]\.1\.[78]")
#: a server that knows no enhanced codes says it in words
_WORDS = re.compile(
    r"\b(?:spf|dkim|dmarc|rbl|dnsbl|spamhaus|black-?list\w*|block-?list\w*|spam\w*|reputation|policy"
    r"|frequency limited|relay\w*(?: access)? (?:denied|not permitted))\b",
    re.IGNORECASE,
)
#: a stranger is asked to come again, which is no reproach: 450 or 451 4.7.1, or in words
_GREYLISTED = re.compile(r"gr[ea]y-?list", re.IGNORECASE)
#: an answer in one of these states is one of the relay's; the others never came so far
_ANSWERED = (Delivered.ACCEPTED, Delivered.REJECTED, Delivered.DEFERRED, Delivered.QUEUED)


@dataclass(frozen=True, slots=True)
class Heard:
    """One letter's settlement, as far as it tells something of the relay."""

    delivery_id: int
    #: the recipient's, as in RCPT TO
    domain: str
    #: QUEUED: refused for what is our fault
    state: Delivered
    #: None: nothing was answered
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Stop:
    """The run must end."""

    #: one line, without an address
    why: str


@dataclass(frozen=True, slots=True)
class Lying:
    """A provider refuses so many that it is not to be believed; told once for each rest."""

    domain: str
    #: its readers' letters that this run settled as rejected: they are deferred
    deliveries: tuple[int, ...]
    #: when they, and all others to the domain, are due
    until: datetime

    @property
    def why(self) -> str:
        """What the ledger says of those letters; one line."""
        return f"{self.domain} refused more than half of its last {DOMAIN_WINDOW} letters: not believed"

    def notice(self, month: str) -> tuple[str, str, str]:
        """The event's name, the subject and the body of the mail that tells the editors, once per issue."""
        body = (
            f"{self.why}.\n"
            f"{len(self.deliveries)} letters of {month} that it refused, and all others to it, are tried"
            f" again after {self.until:%Y-%m-%d %H:%M} UTC.\n"
            "If that goes on, ask the provider; `digest trace ADDRESS` shows what it said.\n"
        )
        return f"lying:{month}:{self.domain}", f"{self.domain} refuses nearly everybody", body


@dataclass(slots=True)
class _Domain:
    """What one domain answered in this run."""

    #: whether each of its last letters was refused at RCPT
    refused: deque[bool] = field(default_factory=lambda: deque(maxlen=DOMAIN_WINDOW))
    rejected: list[int] = field(default_factory=list)
    rests_until: datetime | None = None


class Breaker:
    """What the answers of one run add up to. One thread at a time: whoever feeds it holds a lock."""

    def __init__(self) -> None:
        self._policy: deque[bool] = deque(maxlen=WINDOW)
        self._domains: dict[str, _Domain] = {}
        self._reproach = ""

    def hear(self, heard: Heard, now: datetime) -> list[Stop | Lying]:
        """What follows from one more settlement; []: the run goes on as it is.

        To be told of every settlement, in the order of the answers. After a `Lying` the same domain is
        judged afresh, from the letters that are tried when it has rested.
        """
        if heard.reply is None or heard.state not in _ANSWERED:
            return []
        return [*self._hear_policy(heard.reply), *self._hear_domain(heard, heard.reply, now)]

    def resting(self, domain: str, now: datetime) -> datetime | None:
        """Until when *domain* is left in peace: its letters are deferred to then; None: it may be tried."""
        known = self._domains.get(domain.lower())
        until = known.rests_until if known else None
        return until if until is not None and now < until else None

    @property
    def reproach(self) -> str:
        """What policy refused, and how often, for the end of a run too short to stop; "" where nothing."""
        return self._reproach

    def _hear_policy(self, reply: Reply) -> Iterator[Stop]:
        self._policy.append(is_policy(reply))
        refused, of = sum(self._policy), len(self._policy)
        if self._policy[-1]:
            self._reproach = f"the relay refused {refused} of the last {of} letters by policy: {_said(reply)}"
        if of >= LEAST and refused > SHARE * of:
            yield Stop(self._reproach)

    def _hear_domain(self, heard: Heard, reply: Reply, now: datetime) -> Iterator[Lying]:
        domain = heard.domain.lower()
        known = self._domains.setdefault(domain, _Domain())
        refused = reply.phase is Phase.RCPT and reply.code // 100 == 5
        known.refused.append(refused)
        if refused and heard.state is Delivered.REJECTED:
            known.rejected.append(heard.delivery_id)
        if self.resting(domain, now):
            # On the wire when the rest began: as little believed as the others.
            if known.rejected:
                yield self._lying(domain, known)
        elif len(known.refused) == DOMAIN_WINDOW and sum(known.refused) * 2 > DOMAIN_WINDOW:
            known.rests_until = now + REST
            yield self._lying(domain, known)

    @staticmethod
    def _lying(domain: str, known: _Domain) -> Lying:
        assert known.rests_until is not None
        taken_back = tuple(known.rejected)
        known.rejected.clear()
        known.refused.clear()
        return Lying(domain, taken_back, known.rests_until)


def is_policy(reply: Reply) -> bool:
    """Whether *reply* refuses the sender, by policy: nothing that a reader could help."""
    if reply.code // 100 not in (4, 5) or _is_greylisting(reply):
        return False
    if reply.code // 100 == 5 and reply.phase in (Phase.MAIL, Phase.AUTH, Phase.EHLO):
        return True
    if reply.enhanced:
        return _POLICY.fullmatch(reply.enhanced) is not None
    return _WORDS.search(reply.text) is not None


def _is_greylisting(reply: Reply) -> bool:
    if reply.code not in (450, 451):
        return False
    return reply.enhanced == "4.7.1" or _GREYLISTED.search(reply.text) is not None


def _said(reply: Reply) -> str:
    """The reply without addresses: the line ends up in logs."""
    return f"{reply.code} {without_addresses(reply.text)} (after {reply.phase})"


def without_addresses(text: str) -> str:
    """*text* with every address's local part left out."""
    return re.sub(r"[^\s<>@:;,]+@", "…@", text)
