"""One connection's worker.

For every letter the order is

    is it still welcome? -> build -> MAIL, RCPT, DATA, the letter -> still? mark, durably -> the dot -> settle

and where the relay takes letters in chunks (see `smtp`), for some letters together

    build -> still welcome? mark, durably -> MAIL, RCPT, BDAT with the letter -> settle

Letters are built some at a time, and again where their readers have changed since (see `making`). Where an
envelope travels with the dot of the letter before, its letter is marked while that dot's answer is on its
way. So whatever ends the process leaves in doubt at most one letter per connection; or two, or those few.
"""

from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from time import monotonic

from digest.errors import Stopped
from digest.models import Delivered
from digest.sending.breaker import Heard
from digest.sending.commits import Welcome
from digest.sending.lanes import elsewhere, pause, result
from digest.sending.ledger import Settlement
from digest.sending.making import made_for, settle_unsent
from digest.sending.outcome import settlement
from digest.sending.parcel import Parcel
from digest.sending.portion import Letter
from digest.sending.relay import RelayRefused, RelayUnavailable
from digest.sending.replies import Verdict
from digest.sending.round import Over, Round
from digest.sending.smtp import Sent, Wire, connect
from subscribers.audience import Recipient

#: on how many connections one letter may be lost before its dot, until it waits for a later run
TRIES = 3
#: seconds after which a reader is asked for again, where the answer to the dot before took so long
FRESH = 1.0


@dataclass(slots=True)
class _Claim:
    """A letter's mark, asked for, and with it whether the reader of the following one is welcome."""

    welcome: Future[Welcome]
    following: Letter | None
    #: on the monotonic clock
    asked_at: float

    @property
    def is_stale(self) -> bool:
        """Whether its readers are to be asked for again."""
        return monotonic() - self.asked_at > FRESH


class _Changed(Exception):
    """Its recipient has changed, or left, since the letter was made."""

    def __init__(self, found: Recipient | str) -> None:
        super().__init__()
        self.found = found


class Courier:
    """One connection: takes letters as long as there are any, and brings each one to its outcome."""

    def __init__(self, shared: Round, is_first: bool) -> None:
        """*is_first* opens the way: the others wait until it has a connection."""
        self._round = shared
        self._is_first = is_first
        self._wire: Wire | None = None
        #: whose MAIL, RCPT and DATA went ahead with the last dot
        self._ahead: Letter | None = None
        #: that letter's, asked for when it went ahead
        self._claim: _Claim | None = None
        #: the one whose dot has not gone
        self._current: Letter | None = None
        #: to be sent on this connection, perhaps marked already, and surely not sent yet
        self._unsent: list[Letter] = []
        #: the last claim that found the reader of a letter which follows by itself
        self._found: _Claim | None = None
        #: what it died of; None: it ended in order
        self.error: BaseException | None = None

    def run(self) -> None:
        """What the thread does. However it ends, the run hears of it."""
        try:
            self._work()
        except Over:
            pass
        except Stopped as why:
            self._round.end(why)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever joins this thread
            self.error = error
            self._round.end()
        finally:
            with suppress(Stopped):
                self._free()
            self._part()
            self._round.reached.set()

    def sever(self) -> None:
        """The connection is cut: whatever it waits for has failed."""
        wire = self._wire
        if wire is not None:
            wire.sever()

    def _work(self) -> None:
        if not self._is_first:
            pause(inf, self._round.reached)
        while self._ahead is not None or self._unsent or self._round.has_more():
            wire = self._open()
            if wire is None or self._round.is_ending:
                return
            if wire.window and self._round.in_volleys:
                # The connection it had begun on is gone, and this one takes letters together.
                self._call_back()
                self._deliver_together(wire)
            elif letter := self._next():
                self._deliver(wire, letter)

    def _next(self) -> Letter | None:
        """The letter that comes next; None where another courier was quicker."""
        if self._ahead is not None:
            return self._ahead
        return self._unsent.pop(0) if self._unsent else self._round.next()

    # One letter at a time.

    def _deliver(self, wire: Wire, letter: Letter) -> None:
        """The letter comes to its outcome, or is tried again."""
        self._current = letter
        sent = self._send(wire, letter)
        self._current = None
        if self._ahead is None:
            # It never came to its dot.
            self._forget_claim()
        if sent is not None:
            self._take([(letter, sent)])

    def _send(self, wire: Wire, letter: Letter) -> Sent | None:
        """What came of one try; None where there was none to make, which is settled."""
        self._ahead = None
        parcel = letter.parcel
        if parcel is None or not wire.has_opened(parcel):
            self._forget_claim()
            parcel = made_for(self._round, wire, letter, self._reader(letter.leased.subscriber_id))
        if parcel is None:
            return None
        try:
            return wire.send(
                parcel,
                lambda: self._before_dot(wire, letter),
                at_once=self._claim is not None and self._claim.welcome.done(),
            )
        except _Changed as changed:
            self._found = None
            if isinstance(changed.found, str):
                settle_unsent(self._round, letter, Delivered.SKIPPED, changed.found)
                return None
            return Sent(Verdict.UNSENT, None, "the recipient has changed meanwhile", was_let_go=True)

    def _before_dot(self, wire: Wire, letter: Letter) -> Parcel | None:
        """The letter is marked, durably; the one whose envelope travels with its dot."""
        if self._claim is not None and self._claim.is_stale:
            self._forget_claim()
        self._claim = claim = self._claim or self._claimed(letter)
        found = result(claim.welcome)
        if found[letter.leased.subscriber_id] != letter.reader:
            raise _Changed(found[letter.leased.subscriber_id])
        self._claim = None
        following, ahead = claim.following, None
        if following and wire.takes_ahead:
            ahead = made_for(self._round, wire, following, found[following.leased.subscriber_id])
        elif following:
            self._unsent.append(following)
            self._found = claim
        if following and ahead:
            self._ahead = following
            self._claim = self._claimed(following)
        self._current = None
        return ahead

    def _reader(self, subscriber_id: int) -> Recipient | str:
        """Whom the letter goes to as the last claim found it or the store has it now; its own asks again."""
        found = {} if self._found is None or self._found.is_stale else self._found.welcome.result()
        return found.get(subscriber_id) or self._round.recipient(subscriber_id)

    def _claimed(self, letter: Letter) -> _Claim:
        """The letter's claim, on its way."""
        following = None if self._unsent else self._round.next_at_once()
        asked = [following.leased.subscriber_id] if following else []
        found = self._round.committer.claim({letter.leased: letter.dated_at}, asked)
        return _Claim(found, following, monotonic())

    def _call_back(self) -> None:
        """The letter that went ahead is to be sent as any other."""
        self._forget_claim()
        if self._ahead is not None:
            self._unsent.append(self._ahead)
            self._ahead = None

    def _forget_claim(self) -> None:
        """A claim asked for is not waited for; what it marked is marked."""
        if self._claim is not None and self._claim.following is not None:
            self._round.give_back(self._claim.following)
        self._claim = None

    # As many as travel together.

    def _deliver_together(self, wire: Wire) -> None:
        """As many letters as the relay takes at once come to their outcome, or are tried again."""
        letters = self._volley(wire.window)
        if not letters:
            return
        found = result(self._round.committer.claim({one.leased: one.dated_at for one in letters}))
        made = [
            (letter, parcel)
            for letter in letters
            if (parcel := made_for(self._round, wire, letter, found[letter.leased.subscriber_id]))
        ]
        # From here on they may be on the wire: what breaks now leaves them in doubt.
        del self._unsent[: len(letters)]
        results = wire.send_all([parcel for _, parcel in made]) if made else []
        self._take([(letter, sent) for (letter, _), sent in zip(made, results, strict=True)])

    def _volley(self, window: int) -> list[Letter]:
        """The first of what is unsent, which is still there as that: whatever is raised, it is freed."""
        if not self._unsent:
            self._unsent = self._round.next_some(window)
        while len(self._unsent) < window and (another := self._round.next_at_once()):
            self._unsent.append(another)
        return self._unsent[:window]

    # What became of them.

    def _take(self, results: list[tuple[Letter, Sent]]) -> None:
        """Each outcome is written down, or its letter is to be tried again; the run hears how it went."""
        now = self._round.now()
        settled: list[Settlement] = []
        for letter, sent in results:
            if sent.verdict is Verdict.UNSENT:
                letter.lost += not sent.was_let_go
                if letter.lost < TRIES:
                    self._unsent.append(letter)
                    continue
            if sent.verdict is Verdict.REFUSED and sent.is_before_recipient:
                self._unsent.append(letter)
            else:
                made = settlement(letter.leased, letter.dated_at, sent, now, self._round.jitter())
                settled.append(made)
        if settled:
            self._round.settle(settled)
        self._heed(results)

    def _heed(self, results: list[tuple[Letter, Sent]]) -> None:
        """The run hears how it went; raises `Stopped` where that ends it."""
        for _, sent in results:
            if sent.verdict is Verdict.REFUSED:
                raise RelayRefused(f"the relay {self._round.relay} refuses us, not a recipient: {sent.why}")
        self._round.heed(
            [
                Heard(letter.leased.id, letter.domain, sent.reply)
                for letter, sent in results
                if sent.reply is not None and not sent.was_let_go
            ]
        )
        troubles = [
            sent.why
            for _, sent in results
            if sent.verdict is Verdict.IN_DOUBT or (sent.verdict is Verdict.UNSENT and not sent.was_let_go)
        ]
        if troubles:
            self._round.in_volleys = False
            self._round.setback(troubles[0])
        elif any(sent.verdict is not Verdict.UNSENT for _, sent in results):
            self._round.goes_well()

    def _free(self) -> None:
        """Letters that were marked, and surely not sent, are as if they had never been marked."""
        self._call_back()
        if self._current is not None:
            self._unsent.append(self._current)
        now = self._round.now()
        for letter in self._unsent:
            free = Settlement(delivery_id=letter.leased.id, state=Delivered.QUEUED, at=now, was_tried=False)
            self._round.committer.settle(free)

    # The connection.

    def _open(self) -> Wire | None:
        """A connection for the next letter; None: the relay wants no more of them than others have."""
        failures = 0
        while True:
            try:
                return self._connected()
            except RelayUnavailable as error:
                failures += 1
                if failures >= TRIES and self._round.is_connected():
                    self._give_up()
                    return None
                self._round.setback(str(error))

    def _give_up(self) -> None:
        """What this connection still had is the others'."""
        self._call_back()
        for letter in self._unsent:
            self._round.give_back(letter)
        self._unsent = []

    def _connected(self) -> Wire:
        """The connection as it is, or a new one; raises what `connect` raises."""
        if self._wire is not None and self._wire.is_open and not self._wire.is_worn:
            return self._wire
        self._part()
        self._wire = elsewhere(partial(connect, self._round.relay))
        self._round.connected(+1)
        return self._wire

    def _part(self) -> None:
        if self._wire is not None:
            wire, self._wire = self._wire, None
            # Before its goodbye, which may take its time: who counts on this one may leave a letter to it.
            self._round.connected(-1)
            wire.quit()
