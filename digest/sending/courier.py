"""One connection's worker.

For every letter the order is

    is it still welcome? -> build -> MAIL, RCPT, DATA, the letter -> still? mark, durably -> the dot -> settle

and where the relay takes letters in chunks (see `smtp`), for some letters together

    build, while the answers before are on their way -> still? mark, durably -> MAIL, RCPT, BDAT with the
    letter -> settle

Where an envelope travels with the dot of the letter before, its letter is marked while that dot's answer
is on its way. So whatever ends the process leaves in doubt at most one letter per connection; or two, or
those few.
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
from digest.sending.ledger import Leased, Settlement
from digest.sending.making import Letter, Made, begun, made_of, settle_unsent
from digest.sending.outcome import settlement
from digest.sending.parcel import Parcel
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
    following: Leased | None
    #: on the monotonic clock
    asked_at: float
    #: the following one, once it is made
    made: Made | None = None

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
        self._ahead: Made | None = None
        #: that letter's, asked for when it went ahead
        self._claim: _Claim | None = None
        #: the one whose dot has not gone
        self._current: Letter | None = None
        #: to be sent on this connection, perhaps marked already, and surely not sent yet
        self._unsent: list[Letter] = []
        #: the last claim that found the reader of a letter which follows by itself
        self._found: _Claim | None = None
        #: of the unsent, by id, what was made for this connection already
        self._ready: dict[int, Made] = {}
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
            return self._ahead.letter
        if self._unsent:
            return self._unsent.pop(0)
        leased = self._round.next()
        return begun(self._round, [leased])[0] if leased else None

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
        made, self._ahead = self._ahead, None
        if made is None or not wire.has_opened(made.parcel):
            self._forget_claim()
            made = made_of(self._round, wire, letter, self._reader(letter.leased.subscriber_id))
        if made is None:
            return None
        try:
            return wire.send(
                made.parcel,
                lambda: self._before_dot(wire, made),
                at_once=self._claim is not None and self._claim.welcome.done(),
                meanwhile=lambda: self._prepare(wire),
            )
        except _Changed as changed:
            self._found = None
            if isinstance(changed.found, str):
                settle_unsent(self._round, letter, Delivered.SKIPPED, changed.found)
                return None
            return Sent(Verdict.UNSENT, None, "the recipient has changed meanwhile", was_let_go=True)

    def _before_dot(self, wire: Wire, made: Made) -> Parcel | None:
        """The letter is marked, durably; the one whose envelope travels with its dot."""
        if self._claim is not None and self._claim.is_stale:
            self._forget_claim()
        self._claim = claim = self._claim or self._claimed(made.letter)
        found = result(claim.welcome)
        if found[made.recipient.subscriber_id] != made.recipient:
            raise _Changed(found[made.recipient.subscriber_id])
        self._claim = None
        following = claim.following
        if following and wire.takes_ahead:
            self._ahead = claim.made or self._make(wire, following, found)
        elif following:
            self._unsent += begun(self._round, [following])
            self._found = claim
        if self._ahead:
            self._claim = self._claimed(self._ahead.letter)
        self._current = None
        return self._ahead.parcel if self._ahead else None

    def _prepare(self, wire: Wire) -> None:
        """While an answer is on its way, the letter whose envelope travels with the next dot is made."""
        claim = self._claim
        if claim is None or claim.following is None:
            return
        # It is not waited for long, for what is answered is to be read; why it failed is told before the dot.
        with suppress(TimeoutError, Stopped):
            claim.made = self._make(wire, claim.following, result(claim.welcome, FRESH))
            if claim.made is None:
                claim.following = None

    def _make(self, wire: Wire, following: Leased, found: Welcome) -> Made | None:
        return made_of(self._round, wire, begun(self._round, [following])[0], found[following.subscriber_id])

    def _reader(self, subscriber_id: int) -> Recipient | str:
        """Whom the letter goes to as the last claim found it or the store has it now; its own asks again."""
        found = {} if self._found is None or self._found.is_stale else self._found.welcome.result()
        return found.get(subscriber_id) or self._round.recipient(subscriber_id)

    def _claimed(self, letter: Letter) -> _Claim:
        """The letter's claim, on its way."""
        following = None if self._unsent else self._round.next_at_once()
        asked = [following.subscriber_id] if following else []
        found = self._round.committer.claim({letter.leased: letter.dated_at}, asked)
        return _Claim(found, following, monotonic())

    def _call_back(self) -> None:
        """The letter that went ahead is to be sent as any other."""
        self._forget_claim()
        if self._ahead is not None:
            self._unsent.append(self._ahead.letter)
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
        following = [one.leased.subscriber_id for one in self._unsent[len(letters) :]]
        claim = self._round.committer.claim({one.leased: one.dated_at for one in letters}, following)
        found = result(claim)
        made = [one for letter in letters if (one := self._made_for(wire, letter, found))]
        # From here on they may be on the wire: what breaks now leaves them in doubt.
        del self._unsent[: len(letters)]
        parcels = [one.parcel for one in made]
        results = wire.send_all(parcels, meanwhile=lambda: self._make_ready(wire, found)) if made else []
        self._take([(one.letter, sent) for one, sent in zip(made, results, strict=True)])

    def _volley(self, window: int) -> list[Letter]:
        """The first of what is unsent, which is still there as that: whatever is raised, it is freed.

        As many again follow there, where they are at hand.
        """
        if not self._unsent:
            self._unsent = begun(self._round, self._round.next_some(window))
        while len(self._unsent) < 2 * window and (another := self._round.next_at_once()):
            self._unsent += begun(self._round, [another])
        return self._unsent[:window]

    def _made_for(self, wire: Wire, letter: Letter, found: Welcome) -> Made | None:
        """As `_made` has it; what was made before counts where nothing has changed since."""
        recipient = found[letter.leased.subscriber_id]
        ready = self._ready.pop(letter.leased.id, None)
        is_same = ready is not None and ready.letter is letter and ready.recipient == recipient
        if is_same and not self._round.rests_until(letter.domain):
            return ready
        return made_of(self._round, wire, letter, recipient)

    def _make_ready(self, wire: Wire, found: Welcome) -> None:
        """While answers are on their way, the letters that follow are made."""
        # Why the writing stopped is told by the next claim.
        with suppress(Stopped):
            for letter in self._unsent.copy():
                made = made_of(self._round, wire, letter, found[letter.leased.subscriber_id])
                if made is None:
                    self._unsent.remove(letter)
                else:
                    self._ready[letter.leased.id] = made

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

    def _give_back(self, letter: Letter) -> None:
        """Another connection has it; with its Date, which may be written down already."""
        self._round.give_back(letter.leased._replace(dated_at=letter.dated_at))

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
            self._give_back(letter)
        self._unsent = []

    def _connected(self) -> Wire:
        """The connection as it is, or a new one; raises what `connect` raises."""
        if self._wire is not None and self._wire.is_open and not self._wire.is_worn:
            return self._wire
        self._part()
        self._ready.clear()
        self._wire = elsewhere(partial(connect, self._round.relay))
        self._round.connected(+1)
        return self._wire

    def _part(self) -> None:
        if self._wire is not None:
            self._wire.quit()
            self._wire = None
            self._round.connected(-1)
