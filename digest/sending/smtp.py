"""The wire: one SMTP connection and the letters over it, with the moment before the final dot in our hand.

The mail transaction is written here, because no library says whether the final dot went out. That is the
one fact a ledger needs: until the dot a letter can be sent again and nobody has it twice; from the dot
until its answer is written down, it is in doubt.

What a relay's EHLO offers decides how often a letter waits for the distance to it:

    nothing          MAIL / RCPT / DATA / the letter and its dot       four times
    PIPELINING       the dot, with MAIL, RCPT and DATA of the next     once (RFC 2920, section 3.1)
    CHUNKING too     `WINDOW` letters whole, then all the answers      a fourth (RFC 3030)
"""

import smtplib
import socket
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import accumulate
from typing import NamedTuple

from digest.sending.connection import Client, opened, what
from digest.sending.parcel import (
    Mail,
    Parcel,
    ends_line,
    faultless,
    mail_command,
    rcpt_command,
    size,
    stuffed,
)
from digest.sending.relay import Relay, RelayUnavailable
from digest.sending.replies import Garbled, Phase, Reply, Verdict, judge

#: letters that travel together where the relay takes them in chunks: as many may be in doubt
WINDOW = 4


class Sent(NamedTuple):
    """What became of one letter on the wire."""

    verdict: Verdict
    #: None where the connection was lost or what came back cannot be read
    reply: Reply | None
    #: one line for a person: what happened instead of a reply
    instead: str = ""
    #: the server ended a connection that had served us, as is its right (421, or a silent close)
    was_let_go: bool = False

    @property
    def why(self) -> str:
        """One line for a person: the reply, or what happened instead."""
        return self.instead if self.reply is None else str(self.reply)

    @property
    def is_before_recipient(self) -> bool:
        """Whether it ended before the recipient was even named."""
        return self.reply is not None and self.reply.phase in (Phase.RSET, Phase.MAIL)


#: what went ahead, in its order: it is said already
_AHEAD = dict.fromkeys((Phase.MAIL, Phase.RCPT, Phase.DATA), b"")


class Lacking(ValueError):
    """A letter needs what this relay does not offer; says what."""


class Wire:
    """One connection, ready for letters. Not for two threads at once, but for `sever`."""

    def __init__(self, client: Client, relay: Relay) -> None:
        self._client = client
        self._relay = relay
        #: a transaction was begun and not ended
        self._unfinished = False
        #: whose MAIL, RCPT and DATA travelled with the last dot, their answers yet to be read
        self._opened: Parcel | None = None
        #: how many letters went over it
        self.letters = 0
        self.is_open = True
        self._offers = frozenset(client.esmtp_features).__contains__
        self._pipelines = self._offers("pipelining")
        self._chunks = self._pipelines and self._offers("chunking")
        #: the last letters that passed `require`
        self._passed: deque[Parcel] = deque(maxlen=WINDOW)
        #: what it said when it closed the connection by its word (421); "" before
        self._farewell = ""
        #: it said so, whatever it did then
        self._is_leaving = False

    def require(self, letter: Parcel) -> None:
        """*letter* can go over this wire as it is: it is `faultless` and `lacks` nothing; else ValueError.

        Where it lacks something, `Lacking`. Once is enough: `send` and `send_all` do so for whatever did not
        pass before.
        """
        if letter in self._passed:
            return
        faultless(letter)
        if missing := self.lacks(letter):
            raise Lacking(f"needs {missing}, which the relay does not offer")
        self._passed.append(letter)

    def lacks(self, letter: Parcel) -> str:
        """The SMTP extension that *letter* needs and the relay does not offer; "" where there is none."""
        if letter.needs_smtputf8 and not self._offers("smtputf8"):
            return "SMTPUTF8"
        if not letter.is_ascii and not self._offers("8bitmime"):
            return "8BITMIME"
        return ""

    @property
    def is_worn(self) -> bool:
        """Whether it has carried as many letters as one connection may."""
        return self.letters >= self._relay.letters_per_connection

    @property
    def window(self) -> int:
        """How many letters `send_all` takes at once; 0: it takes none, `send` is to be used."""
        return min(WINDOW, self._relay.letters_per_connection - self.letters) if self._chunks else 0

    @property
    def takes_ahead(self) -> bool:
        """Whether the next letter's MAIL, RCPT and DATA may travel with the dot of the one being sent."""
        return self._pipelines and self.letters + 1 < self._relay.letters_per_connection

    def has_opened(self, letter: Parcel) -> bool:
        """Whether *letter* is the one whose MAIL, RCPT and DATA went ahead."""
        return self.is_open and self._opened is letter

    def send(
        self,
        letter: Parcel,
        before_dot: Callable[[], Parcel | None],
        at_once: bool = False,
    ) -> Sent:
        """What became of *letter*: never raises for what the other side does.

        *before_dot* is called when all but the final dot is out, or with *at_once* before any of it, so that
        all goes out together. It must return only when it is written down that the dot may go. What it raises
        goes through, and the dot does not go. It returns the letter to be sent next on this connection, or
        None; only where it `takes_ahead`. Raises ValueError for a letter that is not `faultless`, that
        `lacks` something here, or is not the one whose MAIL, RCPT and DATA went ahead.
        """
        self._check(letter)
        pieces = letter.pieces if letter.is_clean else [stuffed(letter.content)]
        sent = self._envelope(letter) or (None if at_once else self._body(pieces))
        if sent is not None:
            return sent
        try:
            following = before_dot()
            if following is not None:
                self._check(following)
        except BaseException:
            self.close()
            raise
        return self._dot(pieces, following, at_once)

    def send_all(self, letters: Sequence[Parcel]) -> list[Sent]:
        """What became of each of *letters*, which travel together: never raises for what the other side does.

        Any of them may be taken from the first byte on: that must be written down before. Raises ValueError,
        before that byte, as `send` does, and for more than `window`.
        """
        for letter in letters:
            self._check(letter)
        if len(letters) > self.window:
            raise ValueError(f"more than {self.window} letters at once")
        if self._client.has_news():
            # Nothing was asked: it says goodbye, or has left.
            return [self._gone(Phase.RSET)] * len(letters)
        chunks = [self._chunk(letter) for letter in letters]
        written, why, is_leave = len(chunks), "", False
        try:
            # In one: written one by one they cost twice as much of the processor, at both ends.
            self._client.write([piece for chunk in chunks for piece in chunk], self._relay.timeouts.block)
        except OSError as error:
            ends = accumulate(sum(map(len, chunk)) for chunk in chunks)
            written = sum(end <= self._client.written for end in ends)
            why = f"lost the connection after {Phase.BODY}: {what(error)}"
            is_leave = self.letters > 0 and written == 0 and isinstance(error, ConnectionError)
        results = [self._taken() if self.is_open else self._unheard() for _ in range(written)]
        for number in range(written, len(letters)):
            # Its last octets did not go out, so nobody can have taken it; the first one may be to blame.
            results.append(Sent(Verdict.UNSENT, None, why, was_let_go=is_leave or number > written))
        # Before the next MAIL there is to be an RSET here, too.
        self._unfinished = True
        is_over = not self.is_open or why or self._farewell
        if not is_over and not b"421".startswith(self._client.received[:3]):
            # More answers than commands, and no goodbye: which one is whose cannot be known.
            results = [Sent(Verdict.IN_DOUBT, None, "more answers than commands")] * len(results)
            self.close()
        if why or self._is_leaving:
            self.close()
        return results

    def _check(self, letter: Parcel) -> None:
        if self._opened not in (None, letter):
            raise ValueError("another letter's envelope is open on this connection")
        self.require(letter)

    def _chunk(self, letter: Parcel) -> list[bytes]:
        """The whole of *letter*, to be joined."""
        # RSET each time: after a refused recipient the state is "indeterminate" (RFC 3030, section 2).
        envelope = mail_command(letter, self._offers), rcpt_command(letter, self._offers)
        return [_joined((b"RSET", *envelope, b"BDAT %d LAST" % size(letter))), *letter.pieces]

    def _taken(self) -> Sent:
        """The answers to the next one of the letters that went out whole; closes where one cannot be read."""
        verdict, judged = None, None
        #: there was no transaction, or no recipient in it: nobody can have taken it, whatever comes after
        is_barred = False
        for phase in (Phase.RSET, Phase.MAIL, Phase.RCPT, Phase.DOT):
            try:
                answer = self._client.answer(phase)
            except (OSError, Garbled) as error:
                # Whatever comes after an answer that is missing is of nobody knows which command.
                self.close()
                if verdict is None or not (is_barred or self._farewell):
                    return self._unheard(what(error))
                break
            is_taken = phase is Phase.DOT and answer.code // 100 == 2 and not is_barred
            if verdict is None or is_taken:
                # Where it takes the letter, what it said to RSET counts for nothing.
                verdict, judged = judge(answer), answer
            is_barred |= phase in (Phase.MAIL, Phase.RCPT) and answer.code // 100 != 2
            if answer.code == 421:
                # By its word it looks at nothing more; if it does, it says so at once.
                self._farewell, self._is_leaving = str(answer), True
                self._client.timeouts = self._relay.timeouts.all(self._relay.timeouts.quit)
            elif self._farewell:
                self._farewell, self._client.timeouts = "", self._relay.timeouts
        assert judged is not None
        let_go = self._is_leave(judged.phase) and judged.code == 421
        self.letters += 1
        return Sent(verdict or Verdict.IN_DOUBT, judged, was_let_go=let_go)

    def _unheard(self, why: str = "the one before cannot be read") -> Sent:
        """A letter that went out whole and has no answer: in doubt, unless the server had said goodbye."""
        if self._farewell:
            return Sent(Verdict.UNSENT, None, self._farewell, was_let_go=True)
        return Sent(Verdict.IN_DOUBT, None, f"no answer to the final dot: {why}")

    def _gone(self, phase: Phase) -> Sent:
        """Nothing was sent to a server that ended the connection."""
        try:
            answer = self._client.answer(phase)
        except (OSError, Garbled) as error:
            return self._lost(phase, error)
        self.close()
        return Sent(Verdict.UNSENT, answer, was_let_go=self._is_leave(phase))

    def quit(self) -> None:
        """It is closed, politely."""
        # Where a letter is asked for, QUIT would be its first line.
        if self.is_open and self._opened is None:
            with suppress(OSError, Garbled):
                self._client.ask(Phase.QUIT, b"QUIT")
        self.close()

    def close(self) -> None:
        """It is closed at once."""
        self.is_open = False
        self._client.close()

    def sever(self) -> None:
        """Whoever waits on it, in another thread, reads its end."""
        connection = self._client.sock
        if connection is not None:
            # Not SSLSocket.shutdown: that would first drop TLS, and a writer could go on in clear.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def _envelope(self, letter: Parcel) -> Sent | None:
        """MAIL, RCPT and DATA are answered; None when the letter is asked for."""
        is_ahead, self._opened = self._opened is not None, None
        commands = _AHEAD if is_ahead else self._commands(letter)
        is_asked = not is_ahead and not self._pipelines
        try:
            if not is_ahead and not is_asked:
                self._client.write([_joined(commands.values())], self._relay.timeouts.command)
        except OSError as error:
            return self._lost(Phase.MAIL, error)
        refused: Sent | None = None
        for phase, command in commands.items():
            try:
                answer = self._client.ask(phase, command) if is_asked else self._client.answer(phase)
            except (OSError, Garbled) as error:
                lost = self._lost(phase, error)
                return refused or lost
            self._unfinished = phase is not Phase.RSET
            verdict = judge(answer)
            if refused is not None:
                if verdict is None and phase is Phase.DATA:
                    # Asked for a letter to nobody. A lone dot would do (RFC 2920, section 3.1); a new
                    # connection leaves no doubt whatsoever.
                    self.close()
            elif verdict is not None:
                refused = self._answered(verdict, answer)
                if is_asked or not self.is_open:
                    return refused
        return refused

    def _commands(self, letter: Parcel) -> dict[Phase, bytes]:
        commands = {Phase.RSET: b"RSET"} if self._unfinished else {}
        return commands | {
            Phase.MAIL: mail_command(letter, self._offers),
            Phase.RCPT: rcpt_command(letter, self._offers),
            Phase.DATA: b"DATA",
        }

    def _body(self, pieces: Sequence[bytes]) -> Sent | None:
        """The letter without the final dot; None when it is out."""
        try:
            self._client.write(pieces, self._relay.timeouts.block)
        except OSError as error:
            return self._lost(Phase.BODY, error)
        return None

    def _dot(
        self,
        pieces: Sequence[bytes],
        following: Parcel | None,
        at_once: bool,
    ) -> Sent:
        """The final dot and its answer. From its first byte on, a loss is a doubt."""
        if self._client.received:
            # Said before anything was asked: it would pass for the answer to the dot, which so must not go.
            return self._lost(Phase.BODY, Garbled("more answers than asked for"))
        end = b".\r\n" if ends_line(pieces) else b"\r\n.\r\n"
        self._unfinished = False
        if following is not None:
            end += _joined(self._commands(following).values())
        try:
            self._client.write([*pieces, end] if at_once else [end], self._relay.timeouts.block)
            answer = self._client.answer(Phase.DOT)
        except (OSError, Garbled) as error:
            if at_once and self._client.written <= sum(map(len, pieces)):
                return self._lost(Phase.BODY, error)
            return self._doubtful(error)
        sent = self._answered(judge(answer) or Verdict.IN_DOUBT, answer)
        self._opened = following if self.is_open else None
        return sent

    def _doubtful(self, error: Exception) -> Sent:
        self.close()
        return Sent(Verdict.IN_DOUBT, None, f"no answer to the final dot: {what(error)}")

    def _answered(self, verdict: Verdict, answer: Reply) -> Sent:
        let_go = self._is_leave(answer.phase) and answer.code == 421
        if answer.code == 421 or verdict in (Verdict.UNSENT, Verdict.IN_DOUBT):
            self.close()
        else:
            self.letters += 1
        return Sent(verdict, answer, was_let_go=let_go)

    def _lost(self, phase: Phase, error: Exception) -> Sent:
        let_go = self._is_leave(phase) and isinstance(error, ConnectionError | smtplib.SMTPServerDisconnected)
        self.close()
        return Sent(Verdict.UNSENT, None, f"lost the connection after {phase}: {what(error)}", let_go)

    def _is_leave(self, phase: Phase) -> bool:
        return self.letters > 0 and phase in (Phase.RSET, Phase.MAIL)


def _joined(commands: Iterable[bytes]) -> bytes:
    return b"\r\n".join([*commands, b""])


def connect(relay: Relay) -> Wire:
    """A connection to *relay*, greeted, private and logged in as its settings ask.

    Raises `RelayUnavailable` where it may work later, `RelayRefused` where it will not.
    """
    return Wire(opened(relay), relay)


def hand_over(relay: Relay, mail: Parcel) -> Sent:
    """What became of the one *mail* that is no letter of an issue; raises what `connect` raises.

    For what needs no ledger: a mail that goes out twice is better than one that never does.
    """
    wire = connect(relay)
    try:
        if lacking := wire.lacks(mail):
            return Sent(Verdict.REJECTED, None, f"the relay lacks {lacking}")
        return wire.send(mail, lambda: None)
    finally:
        wire.quit()


def deliver(relay: Relay, mail_from: str, recipients: Sequence[str], content: bytes) -> None:
    """One mail is handed to *relay* for each of *recipients*; raises DigestError at the first that is not."""
    for one in recipients:
        sent = hand_over(relay, Mail(mail_from, one, content))
        if sent.verdict is not Verdict.ACCEPTED:
            raise RelayUnavailable(f"the relay {relay} did not take the mail to {one}: {sent.why}")
