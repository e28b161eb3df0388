"""What visitors asked for on the pages is answered by mail: looked at, decided, sent, tidied up.

The web server does it a moment after its answer, the tick every five minutes; both at once do no harm.
"""

import time
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine

from digest.database import reading, writing
from digest.notices import tell
from digest.outbox import Postage, has_notes, keep, send_notes
from subscribers.limits import Breach
from subscribers.wishes import Granted, grant, is_waiting, tidy

#: so many refused wishes for one address in a row are more than somebody who presses twice
BOMBING = 10
#: seconds between two parts of the wishes, in which the pages, which give up soon, get at the store
BREATH = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Postroom:
    """What it takes to answer."""

    engine: Engine
    postage: Postage
    #: mails an hour over all visitors
    hourly: int
    #: the key of the suppression list
    secret: bytes

    def work(self, now: datetime) -> int:
        """All that is due is answered; how many mails the relay took. Raises what connecting raises."""
        while self._is_asked(now):
            with writing(self.engine) as session:
                granted = grant(session, self.hourly, self.secret, now)
                keep(session, granted.notes)
                for event, subject, body in _alerts(granted, self.hourly, now):
                    tell(session, event, subject, body, now)
            time.sleep(BREATH)
        with reading(self.engine) as session:
            if not has_notes(session, now):
                return 0
        return send_notes(self.engine, self.postage, now)

    def tidy(self, now: datetime) -> None:
        """Who never said yes, old links and old counts are gone."""
        with writing(self.engine) as session:
            tidy(session, now)

    def _is_asked(self, now: datetime) -> bool:
        with reading(self.engine) as session:
            return is_waiting(session, now)


def _alerts(granted: Granted, hourly: int, now: datetime) -> list[tuple[str, str, str]]:
    """What the editors are told of, once a day each: event, subject, body."""
    told = {
        Breach.ALL: f"More people ask for the letter than the {hourly} mails an hour of"
        " DIGEST_SUBSCRIBE_RATE allow. They wait, a day at most. If they are real, raise it.",
        Breach.NETWORK: "One network asks for the letter for many addresses. Its wishes wait, a day at most,"
        " and five an hour are answered. Nobody has to do anything.",
        Breach.ADDRESS: "Somebody asks for the letter again and again for one address. It gets one mail a day"
        " and three a month. Nobody has to do anything.",
    }
    least = {Breach.ADDRESS: BOMBING}
    return [
        (f"form:{breach}:{now:%Y-%m-%d}", "The subscribe form is busy", f"{told[breach]}\n")
        for breach, count in granted.breaches.items()
        if count >= least.get(breach, 1)
    ]
