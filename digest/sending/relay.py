"""The relay that takes our letters: where it is, how privately we talk to it, how long we wait for it.

Values only; the wire itself is `smtp`.
"""

import ssl
from dataclasses import dataclass, field, fields
from enum import StrEnum

from digest.errors import DigestError, Stopped, UsageError
from digest.sending.replies import Phase
from digest.settings import is_loopback


class RelayUnavailable(DigestError):
    """The relay cannot be reached or is closing: the same may well work later."""


class RelayRefused(Stopped):
    """The relay will not talk to us like this: trying again would change nothing."""


class Security(StrEnum):
    """How a connection is kept private."""

    #: plain at first; nothing but EHLO is said before STARTTLS
    STARTTLS = "starttls"
    #: TLS from the first byte
    TLS = "tls"
    #: for a relay on this machine
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long each answer may take, in seconds: RFC 5321, section 4.5.3.2.

    Ten minutes after the dot: whoever hangs up earlier makes letters in doubt of accepted ones.
    """

    connect: float = 60
    greeting: float = 300
    command: float = 300
    data: float = 120
    #: for each block of the letter
    block: float = 180
    dot: float = 600
    #: nothing depends on the goodbye
    quit: float = 5

    def of(self, phase: Phase) -> float:
        """The seconds the answer in *phase* may take."""
        special = {
            Phase.GREETING: self.greeting,
            Phase.DATA: self.data,
            Phase.DOT: self.dot,
            Phase.QUIT: self.quit,
        }
        return special.get(phase, self.command)

    def all(self, seconds: float) -> "Timeouts":
        """The same for everything."""
        return Timeouts(**{one.name: seconds for one in fields(self)})

    def scaled(self, by: float) -> "Timeouts":
        """All of them times *by*."""
        return Timeouts(**{one.name: getattr(self, one.name) * by for one in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Where letters are handed over, and how. UsageError where that would be in clear."""

    host: str
    port: int
    security: Security = Security.STARTTLS
    #: letters may go to another machine in clear; a password may not even then
    insecure: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    letters_per_connection: int = 100
    #: the name we say in EHLO; None: the address of our end of the connection
    hello: str | None = None
    timeouts: Timeouts = Timeouts()
    #: what is trusted; checks certificate and host name, TLS 1.2 and above
    context: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    def __post_init__(self) -> None:
        if self.security is not Security.NONE or is_loopback(self.host):
            return
        if not self.insecure:
            raise UsageError(
                f"DIGEST_SMTP_SECURITY=none is for a relay on this machine, and {self.host} is not:"
                " write starttls or tls"
            )
        if self.username is not None:
            raise UsageError(
                f"the password for {self.host} would travel in clear:"
                " write DIGEST_SMTP_SECURITY=starttls or tls, or leave DIGEST_SMTP_USERNAME empty"
            )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"
