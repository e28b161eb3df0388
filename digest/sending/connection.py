"""A connection to the relay: opened, private, logged in; what is asked on it, and what it answers.

smtplib reads EHLO and does AUTH over our own reading. No password and no letter leaves in clear: STARTTLS
is required where it is asked for, certificates and host names are checked, and without TLS there is no
login but on this machine itself.
"""

import select
import smtplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, TypeVar

from digest.sending.lanes import when_ready
from digest.sending.relay import Relay, RelayRefused, RelayUnavailable, Security, Timeouts
from digest.sending.replies import LONGEST_LINE, Garbled, Phase, Reply, of_one_line, reply, take_reply

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

_READ = 4 * 1024  # bytes asked of the socket at once; answers are short
_BLOCK = 64 * 1024  # bytes written under one time-out
#: … and inside TLS: a write of several records (RFC 8446, section 5.1) that has to wait counts as nothing,
#: though all records but the last are out, and whole letters in them
_RECORD = 16 * 1024
_MOST_PIECES = 1024  # Linux, limits.h: UIO_MAXIOV


class Client(smtplib.SMTP):
    """smtplib's EHLO and AUTH over our own reading: bounded, and with a time for the whole answer."""

    def __init__(self, connection: socket.socket, hello: str, timeouts: Timeouts) -> None:
        super().__init__(local_hostname=hello)
        # Waiting is ours: Python's own time-outs ask before each call whether there is anything to wait for,
        # and each time let go of the interpreter, which others then take.
        connection.settimeout(0)
        self.sock: socket.socket | None = connection
        self.phase = Phase.GREETING
        self.received = b""
        self.timeouts = timeouts
        #: octets of what was written last that are out, as far as we know
        self.written = 0

    def ask(self, phase: Phase, command: bytes) -> Reply:
        """The answer to *command*."""
        self.write([command, b"\r\n"], self.timeouts.of(phase))
        return self.answer(phase)

    def write(self, pieces: Sequence[bytes], seconds: float) -> None:
        """*pieces* are out, one after the other; OSError where that failed or a block took over *seconds*."""
        connection = self._connected()
        self.written = 0
        if not isinstance(connection, ssl.SSLSocket) and len(pieces) <= _MOST_PIECES:
            # Most of a letter is the same for every reader: it stays in the processor's cache, where a copy
            # of 60 KB for each would not.
            with suppress(BlockingIOError):
                self.written = connection.sendmsg(pieces)
            if self.written == sum(map(len, pieces)):
                return
        rest = memoryview(b"".join(pieces))[self.written :]
        block = _RECORD if isinstance(connection, ssl.SSLSocket) else _BLOCK
        for start in range(0, len(rest), block):
            self._write(connection, rest[start : start + block], seconds)

    def _write(self, connection: socket.socket, block: memoryview, seconds: float) -> None:
        until = time.monotonic() + seconds
        while block:
            sent = _tried(connection, partial(connection.send, block), select.POLLOUT, until)
            self.written += sent
            block = block[sent:]

    def send(self, s: "ReadableBuffer | str") -> None:
        """What smtplib says, inside EHLO and AUTH."""
        said = s.encode("ascii") if isinstance(s, str) else bytes(s)
        self.write([said], self.timeouts.of(self.phase))

    def has_news(self) -> bool:
        """Whether there is something to be read that nobody asked for: a goodbye, or the end."""
        try:
            octets = self._connected().recv(_READ)
        except (BlockingIOError, ssl.SSLWantReadError):
            # Also where TLS itself had something to say, which is no word of the server's.
            return bool(self.received)
        except OSError:
            return True
        self.received += octets
        return True

    def answer(self, phase: Phase) -> Reply:
        """The next reply; OSError where none came in its time, Garbled where it is none."""
        self.phase = phase
        line, end, rest = self.received.partition(b"\n")
        if end and len(line) < LONGEST_LINE and line[3:4] != b"-":
            self.received = rest
            return of_one_line(line, phase)
        return reply(*self._reply(), phase)

    def getreply(self) -> tuple[int, bytes]:
        """What smtplib asks for, inside EHLO and AUTH."""
        code, texts = self._reply()
        return code, b"\n".join(texts)

    def _reply(self) -> tuple[int, list[bytes]]:
        found = take_reply(self.received)
        if found is None:
            # A time for the whole answer: a byte a second would never run into a time for each read.
            until = time.monotonic() + self.timeouts.of(self.phase)
            while found is None:
                self.received += self._read(until)
                found = take_reply(self.received)
        code, texts, self.received = found
        return code, texts

    def _read(self, until: float) -> bytes:
        connection = self._connected()
        octets = _tried(connection, partial(connection.recv, _READ), select.POLLIN, until)
        if not octets:
            raise ConnectionResetError("the server closed it")
        return octets

    def _connected(self) -> socket.socket:
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected("it is closed")
        return self.sock


def _tried(connection: socket.socket, action: Callable[[], T], event: int, until: float) -> T:
    """What *action* returns once *connection* lets it; TimeoutError where it does not *until* then."""
    while True:
        try:
            return action()
        except BlockingIOError:
            _wait(connection, event, until)
        except ssl.SSLWantReadError:
            _wait(connection, select.POLLIN, until)
        except ssl.SSLWantWriteError:
            _wait(connection, select.POLLOUT, until)


def _wait(connection: socket.socket, event: int, until: float) -> None:
    if not when_ready(connection, event, until):
        raise TimeoutError("timed out")


def opened(relay: Relay) -> Client:
    """A connection to *relay*, greeted, private and logged in as its settings ask.

    Raises `RelayUnavailable` where it may work later, `RelayRefused` where it will not.
    """
    try:
        connection = socket.create_connection((relay.host, relay.port), relay.timeouts.connect)
        # The dot follows its letter as a write of its own; Nagle's algorithm would keep it until the other
        # side's delayed acknowledgement, 40 ms for every letter (measured: 42 letters/s instead of 345).
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(connection, relay.hello or _literal(connection), relay.timeouts)
    except OSError as error:
        raise RelayUnavailable(f"cannot reach the relay {relay}: {what(error)}") from error
    try:
        _prepare(client, relay)
        return client
    except (OSError, Garbled, ValueError) as error:
        client.close()
        raise _told(error, client.phase, relay) from error
    except BaseException:
        client.close()
        raise


def _prepare(client: Client, relay: Relay) -> None:
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


def _hello(client: Client, relay: Relay) -> None:
    client.phase = Phase.EHLO
    code, text = client.ehlo()
    _welcome(reply(code, text.split(b"\n"), Phase.EHLO), relay)


def _start_tls(client: Client, relay: Relay) -> None:
    """The connection is encrypted, or nothing more is said on it (RFC 3207)."""
    if not client.has_extn("starttls"):
        raise RelayRefused(
            f"the relay {relay} does not offer STARTTLS, so nothing was sent:"
            " check DIGEST_SMTP_PORT, or write DIGEST_SMTP_SECURITY=tls if the relay wants TLS at once"
        )
    answer = client.ask(Phase.STARTTLS, b"STARTTLS")
    if answer.code == 421:
        raise RelayUnavailable(f"the relay {relay} closes instead of STARTTLS: {answer}")
    if answer.code != 220:
        raise RelayRefused(f"the relay {relay} refuses STARTTLS, so nothing was sent: {answer}")
    if client.received:
        # Whoever sits between could have added it; it must not count as said inside TLS.
        raise RelayRefused(f"the relay {relay} said more before TLS than it may; nothing was sent")
    _encrypt(client, relay)
    _hello(client, relay)


def _encrypt(client: Client, relay: Relay) -> None:
    assert client.sock is not None
    client.phase = Phase.STARTTLS
    client.sock.settimeout(relay.timeouts.command)
    client.sock = relay.context.wrap_socket(client.sock, server_hostname=relay.host)
    client.sock.settimeout(0)


def _told(error: Exception, phase: Phase, relay: Relay) -> RelayRefused | RelayUnavailable:
    """*error* as a person, and the run, should hear of it."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return RelayUnavailable(f"the relay {relay} broke off TLS: {what(error)}")
    if isinstance(error, ssl.SSLCertVerificationError):
        return RelayRefused(
            f"the certificate of {relay} is not to be trusted, so nothing was sent: {error.verify_message}"
        )
    if isinstance(error, ssl.SSLError):
        return RelayRefused(
            f"no TLS with {relay}, so nothing was sent: {what(error)};"
            " check DIGEST_SMTP_PORT and DIGEST_SMTP_SECURITY"
        )
    if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code != 421:
        answer = reply(error.smtp_code, _lines(error.smtp_error), Phase.AUTH)
        return RelayRefused(
            f"the relay {relay} does not take our login: {answer};"
            " check DIGEST_SMTP_USERNAME and DIGEST_SMTP_PASSWORD"
        )
    # smtplib raises the bare SMTPException where it knows none of the ways to log in.
    if isinstance(error, smtplib.SMTPNotSupportedError | UnicodeEncodeError) or (
        type(error) is smtplib.SMTPException
    ):
        return RelayRefused(f"no login with {relay} is possible: {error}")
    return RelayUnavailable(f"lost the relay {relay} after {phase}: {what(error)}")


def _lines(text: bytes | str) -> list[bytes]:
    return (text.encode() if isinstance(text, str) else text).split(b"\n")


def what(error: BaseException) -> str:
    """*error* as a person should hear of it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _literal(connection: socket.socket) -> str:
    """Our end's address as EHLO takes it where a host has no name (RFC 5321, section 4.1.3)."""
    address = ip_address(connection.getsockname()[0].partition("%")[0])
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"
