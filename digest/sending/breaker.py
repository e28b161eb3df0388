"""When a run must stop, or leave one provider in peace, as the relay's answers add up; pure.

Two things are worse than a letter that comes later. Sending on while policy speaks against us costs the
sender's name: where more than 2 % of the last 200 letters were refused so, the run stops. And a provider
in trouble answers that no mailbox exists; believed, it costs a whole domain's readers their letters:
where more than half of the last 20 letters to one domain were refused at RCPT, those refusals are taken
back, and it is left in peace for some hours. Not for ever: what is refused after three days is refused.
And where readers complain, no later run makes it better: the issue is paused until a person resumes it.
"""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from digest.sending.replies import Phase, Reply, Verdict, is_policy, judge, without_addresses

#: of so many letters that were answered last, no more than this share may be refused by policy …
WINDOW = 200
SHARE = 0.02
#: … and of fewer than so many nothing is said yet
LEAST = 10
#: so many of a domain's last letters are looked at, and no fewer
DOMAIN_WINDOW = 20
REST = timedelta(hours=2)
#: of an issue's letters that arrived, no more than this share may be complained about …
COMPLAINED_SHARE = 0.003
#: … and fewer complaints than so many say nothing: in a small list one is more than the share
FEWEST_COMPLAINTS = 3
#: so long after an issue was frozen every refusal is believed: a domain that is gone ends too
BELIEVED_AFTER = timedelta(hours=72)


#: what the store says of a run that complaints ended begins so
COMPLAINTS = "too many complaints: "


def objection(complaints: int, accepted: int) -> str:
    """Why no letter more may go out where so many readers complained of so many; one line; "": it goes on."""
    if complaints < FEWEST_COMPLAINTS or complaints <= COMPLAINED_SHARE * accepted:
        return ""
    return f"{COMPLAINTS}{complaints} of {accepted} readers, more than {100 * COMPLAINED_SHARE:.1f} %"


class Heard(NamedTuple):
    """What was answered to one letter."""

    delivery_id: int
    #: the recipient's
    domain: str
    reply: Reply


@dataclass(frozen=True, slots=True)
class Lying:
    """A provider that refuses so many is not believed."""

    domain: str
    #: letters that this run settled as rejected: they are deferred
    deliveries: tuple[int, ...]
    #: when they, and all others to the domain, are due
    until: datetime

    @property
    def why(self) -> str:
        """What the ledger says of those letters; one line."""
        return f"{self.domain} refused more than half of its last {DOMAIN_WINDOW} letters: not believed yet"


@dataclass(slots=True)
class _Domain:
    """What one domain answered in this run, from its first refusal on."""

    #: whether each of its last letters was refused at RCPT
    refused: deque[bool] = field(default_factory=lambda: deque(maxlen=DOMAIN_WINDOW))
    rejected: list[int] = field(default_factory=list)
    rests_until: datetime | None = None


class Breaker:
    """What the answers of one run add up to."""

    def __init__(self, frozen_at: datetime) -> None:
        """*frozen_at* is when the issue began to be sent."""
        self._believes_from = frozen_at + BELIEVED_AFTER
        self._policy: deque[bool] = deque(maxlen=WINDOW)
        self._by_policy = 0
        self._domains: dict[str, _Domain] = {}

    def reproach(self, reply: Reply) -> str:
        """Why the run must stop, now that *reply* was heard, one line without an address; "": it goes on."""
        is_refused = is_policy(reply)
        self._by_policy += is_refused - (self._policy[0] if len(self._policy) == WINDOW else 0)
        self._policy.append(is_refused)
        refused, of = self._by_policy, len(self._policy)
        if of < LEAST or refused <= SHARE * of:
            return ""
        said = f"{reply.code} {without_addresses(reply.text)} (after {reply.phase})"
        return f"the relay refused {refused} of the last {of} letters by policy, the last one: {said}"

    def lying(self, heard: Heard, now: datetime) -> Lying | None:
        """Which refusals are not to be believed, now that one more answer was heard; None: they are.

        A domain that rested is judged afresh, from the letters that are tried then.
        """
        if now >= self._believes_from:
            return None
        refused = heard.reply.phase is Phase.RCPT and judge(heard.reply) is Verdict.REJECTED
        known = self._domains.get(heard.domain)
        if known is None:
            if not refused:
                # What came before the first refusal changes no sum, and a list may have 100,000 domains.
                return None
            known = self._domains[heard.domain] = _Domain()
        known.refused.append(refused)
        if refused:
            known.rejected.append(heard.delivery_id)
        if self.resting(heard.domain, now) is None:
            if sum(known.refused) * 2 <= DOMAIN_WINDOW:
                return None
            known.rests_until = now + REST
        elif not known.rejected:
            return None
        # What was on the wire when the rest began is as little believed as the others.
        assert known.rests_until is not None
        taken_back = tuple(known.rejected)
        known.rejected.clear()
        known.refused.clear()
        return Lying(heard.domain, taken_back, known.rests_until)

    @property
    def is_calm(self) -> bool:
        """Whether no domain has refused anybody yet."""
        return not self._domains

    def resting(self, domain: str, now: datetime) -> datetime | None:
        """Until when *domain* is left in peace: its letters are deferred to then; None: it may be tried."""
        known = self._domains.get(domain)
        until = known.rests_until if known else None
        return until if until is not None and now < until else None
