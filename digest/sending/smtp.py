"""The wire: one SMTP connection, and one letter over it, with the moment before the final dot in our hand.

smtplib reads EHLO and does AUTH; connecting, TLS and the mail transaction are here, because no library
says whether the final dot went out. That is the one fact a ledger needs: until the dot a letter can be
sent again and nobody has it twice; from the dot until its answer is written down, it is in doubt.

No password and no letter leaves in clear: STARTTLS is required where it is asked for, certificates and
host names are checked, and without TLS there is no login but on this machine itself.
"""

import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address

from digest.sending.parcel import Mail, Parcel, faultless, mail_command, rcpt_command, stuffed
from digest.sending.relay import Relay, RelayRefused, RelayUnavailable, Security, Timeouts
from digest.sending.replies import Garbled, Phase, Reply, Verdict, judge, reply, take_reply

_READ = 64 * 1024  # bytes asked of the socket at once
_BLOCK = 64 * 1024  # bytes of a letter written under one time-out


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one letter on the wire."""

    verdict: Verdict
    #: None where the connection was lost or what came back cannot be read
    reply: Reply | None
    #: one line for a person: the reply, or what happened instead
    why: str
    #: the server ended a connection that had served us, as is its right (421, or a silent close)
    was_let_go: bool = False

    @property
    def is_before_recipient(self) -> bool:
        """Whether it ended before the recipient was even named."""
        return self.reply is not None and self.reply.phase in (Phase.RSET, Phase.MAIL)


class Wire:
    """One connection, ready for letters. Not for two threads at once, but for `sever`."""

    def __init__(self, client: "_Client", relay: Relay) -> None:
        self._client = client
        self._relay = relay
        #: a transaction was begun and not ended
        self._unfinished = False
        #: how many letters went over it
        self.letters = 0
        self.is_open = True

    def lacks(self, letter: Parcel) -> str:
        """The SMTP extension that *letter* needs and the relay does not offer; "" where there is none."""
        if letter.needs_smtputf8 and not self._client.has_extn("smtputf8"):
            return "SMTPUTF8"
        if not letter.content.isascii() and not self._client.has_extn("8bitmime"):
            return "8BITMIME"
        return ""

    @property
    def is_worn(self) -> bool:
        """Whether it has carried as many letters as one connection may."""
        return self.letters >= self._relay.letters_per_connection

    def send(self, letter: Parcel, before_dot: Callable[[], None]) -> Sent:
        """What became of *letter*: never raises for what the other side does.

        *before_dot* is called when all but the final dot is out, and must return only when it is
        written down that the dot may go. What it raises goes through, and the dot does not go.
        Raises ValueError for a letter that is not `faultless`, or that `lacks` something here.
        """
        faultless(letter)
        if missing := self.lacks(letter):
            raise ValueError(f"the letter needs {missing}, which the relay does not offer")
        sent = self._envelope(letter) or self._body(letter.content)
        if sent is not None:
            return sent
        try:
            before_dot()
        except BaseException:
            self.close()
            raise
        return self._dot(letter.content)

    def quit(self) -> None:
        """It is closed, politely."""
        if self.is_open:
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
        """MAIL, RCPT and DATA; None when the letter is asked for."""
        offers = self._client.has_extn
        steps = [
            (Phase.MAIL, mail_command(letter, offers)),
            (Phase.RCPT, rcpt_command(letter, offers)),
            (Phase.DATA, b"DATA"),
        ]
        if self._unfinished:
            steps.insert(0, (Phase.RSET, b"RSET"))
        for phase, command in steps:
            try:
                answer = self._client.ask(phase, command)
            except (OSError, Garbled) as error:
                return self._lost(phase, error)
            self._unfinished = phase is not Phase.RSET
            verdict = judge(answer)
            if verdict is not None:
                return self._answered(verdict, answer)
        return None

    def _body(self, content: bytes) -> Sent | None:
        """The letter without the final dot; None when it is out."""
        content = stuffed(content)
        try:
            for start in range(0, len(content), _BLOCK):
                self._client.write(content[start : start + _BLOCK], self._relay.timeouts.block)
        except OSError as error:
            return self._lost(Phase.BODY, error)
        return None

    def _dot(self, content: bytes) -> Sent:
        """The final dot and its answer. From the first byte written here on, a loss is a doubt."""
        end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
        try:
            self._client.write(end, self._relay.timeouts.block)
            answer = self._client.answer(Phase.DOT)
        except (OSError, Garbled) as error:
            self.close()
            return Sent(Verdict.IN_DOUBT, None, f"no answer to the final dot: {_what(error)}")
        self._unfinished = False
        return self._answered(judge(answer) or Verdict.IN_DOUBT, answer)

    def _answered(self, verdict: Verdict, answer: Reply) -> Sent:
        let_go = self._is_leave(answer.phase) and answer.code == 421
        if answer.code == 421 or verdict in (Verdict.UNSENT, Verdict.IN_DOUBT):
            self.close()
        else:
            self.letters += 1
        return Sent(verdict, answer, str(answer), was_let_go=let_go)

    def _lost(self, phase: Phase, error: Exception) -> Sent:
        let_go = self._is_leave(phase) and isinstance(error, ConnectionError | smtplib.SMTPServerDisconnected)
        self.close()
        return Sent(Verdict.UNSENT, None, f"lost the connection after {phase}: {_what(error)}", let_go)

    def _is_leave(self, phase: Phase) -> bool:
        return self.letters > 0 and phase in (Phase.RSET, Phase.MAIL)


class _Client(smtplib.SMTP):
    """smtplib's EHLO and AUTH over our own reading: bounded, and with a time for the whole answer."""

    def __init__(self, connection: socket.socket, hello: str, timeouts: Timeouts) -> None:
        super().__init__(local_hostname=hello)
        self.sock: socket.socket | None = connection
        self.phase = Phase.GREETING
        self.received = b""
        self.timeouts = timeouts

    def ask(self, phase: Phase, command: bytes) -> Reply:
        """The answer to *command*."""
        self.write(command + b"\r\n", self.timeouts.of(phase))
        return self.answer(phase)

    def write(self, octets: bytes, seconds: float) -> None:
        """*octets* are out; OSError where that failed or took longer than *seconds*."""
        connection = self._connected()
        connection.settimeout(seconds)
        connection.sendall(octets)

    def answer(self, phase: Phase) -> Reply:
        """The next reply; OSError where none came in its time, Garbled where it is none."""
        self.phase = phase
        return reply(*self._reply(), phase)

    def getreply(self) -> tuple[int, bytes]:
        """What smtplib asks for, inside EHLO and AUTH."""
        code, texts = self._reply()
        return code, b"\n".join(texts)

    def _reply(self) -> tuple[int, list[bytes]]:
        # A time for the whole answer: a byte a second would never run into a time for each read.
        end = time.monotonic() + self.timeouts.of(self.phase)
        while (found := take_reply(self.received)) is None:
            connection = self._connected()
            connection.settimeout(max(end - time.monotonic(), 0.001))
            octets = connection.recv(_READ)
            if not octets:
                raise ConnectionResetError("the server closed it")
            self.received += octets
        code, texts, self.received = found
        return code, texts

    def _connected(self) -> socket.socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("it is closed")
        return self.sock


def connect(relay: Relay) -> Wire:
    """A connection to *relay*, greeted, private and logged in as its settings ask.

    Raises `RelayUnavailable` where it may work later, `RelayRefused` where it will not.
    """
    try:
        connection = socket.create_connection((relay.host, relay.port), relay.timeouts.connect)
        # The dot follows its letter as a write of its own; Nagle's algorithm would keep it until the other
        # side's delayed acknowledgement, 40 ms for every letter (measured: 42 letters/s instead of 345).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection, relay.hello or _literal(connection), relay.timeouts)
    except OSError as error:
        raise RelayUnavailable(f"cannot reach the relay {relay}: {_what(error)}") from error
    try:
        _prepare(client, relay)
        return Wire(client, relay)
    except (OSError, Garbled, ValueError) as error:
        client.close()
        raise _told(error, client.phase, relay) from error
    except BaseException:
        client.close()
        raise


def hand_over(relay: Relay, mail: Mail) -> Sent:
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


def _prepare(client: _Client, relay: Relay) -> None:
    if relay.security is Security.TLS:
        _encrypt(client, relay)
    _welcome(client.answer(Phase.GREETING), relay)
    _hello(client, relay)
    if relay.security is Security.STARTTLS:
        _start_tls(client, relay)
    if relay.username is not None:
        client.phase = Phase.AUTH
        client.login(relay.username, relay.password or "")


def _welcome(answer: Reply, relay: Relay) -> None:
    if answer.code // 100 == 2:
        return
    kind = RelayRefused if answer.code // 100 == 5 else RelayUnavailable
    raise kind(f"the relay {relay} does not let us in: {answer}")


def _hello(client: _Client, relay: Relay) -> None:
    client.phase = Phase.EHLO
    code, text = client.ehlo()
    _welcome(reply(code, text.split(b"\n"), Phase.EHLO), relay)


def _start_tls(client: _Client, relay: Relay) -> None:
    """The connection is encrypted, or nothing more is said on it (RFC 3207)."""
    if not client.has_extn("starttls"):
        raise RelayRefused(
            f"the relay {relay} does not offer STARTTLS, so nothing was sent:"
            " check DIGEST_SMTP_PORT, or write DIGEST_SMTP_SECURITY=tls if the relay wants TLS at once"
        )
    answer = client.ask(Phase.STARTTLS, b"STARTTLS")
    if answer.code != 220:
        raise RelayRefused(f"the relay {relay} refuses STARTTLS, so nothing was sent: {answer}")
    if client.received:
        # Whoever sits between could have added it; it must not count as said inside TLS.
        raise RelayRefused(f"the relay {relay} said more before TLS than it may; nothing was sent")
    _encrypt(client, relay)
    _hello(client, relay)


def _encrypt(client: _Client, relay: Relay) -> None:
    assert client.sock is not None
    client.phase = Phase.STARTTLS
    client.sock.settimeout(relay.timeouts.command)
    client.sock = relay.context.wrap_socket(client.sock, server_hostname=relay.host)


def _told(error: Exception, phase: Phase, relay: Relay) -> RelayRefused | RelayUnavailable:
    """*error* as a person, and the run, should hear of it."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return RelayUnavailable(f"the relay {relay} broke off TLS: {_what(error)}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return RelayRefused(
            f"the certificate of {relay} is not to be trusted, so nothing was sent: {error.verify_message}"
        )
    if isinstance(error, ssl.SSLError):
        return RelayRefused(f"no TLS with {relay}, so nothing was sent: {_what(error)}")
    if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code != 421:
        answer = reply(error.smtp_code, _lines(error.smtp_error), Phase.AUTH)
        return RelayRefused(f"the relay {relay} does not take our login: {answer}")
    # smtplib raises the bare SMTPException where it knows none of the ways to log in.
    if isinstance(error, smtplib.SMTPNotSupportedError | UnicodeEncodeError) or (
        type(error) is smtplib.SMTPException
    ):
        return RelayRefused(f"no login with {relay} is possible: {error}")
    return RelayUnavailable(f"lost the relay {relay} after {phase}: {_what(error)}")


def _lines(text: bytes | str) -> list[bytes]:
    return (text.encode() if isinstance(text, str) else text).split(b"\n")


def _what(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _literal(connection: socket.socket) -> str:
    """Our end's address as EHLO takes it where a host has no name (RFC 5321, section 4.1.3)."""
    address = ip_address(connection.getsockname()[0].partition("%")[0])
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
