"""What doctor is given, as values: the installation, what else was asked, and what it works with."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from digest.database import sqlite_file
from digest.doctor.choices import Choices
from digest.doctor.names import Names
from digest.issue.due import Schedule
from digest.letter.headers import ascii_domain, wire_address
from digest.mailbox import Account
from subscribers.tokens import NOBODY, Keyring, Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What is examined: an installation's settings as values, and its store."""

    env_file: Path
    choices: Choices
    keyring: Keyring
    secret_keys: Sequence[str] = field(repr=False)
    suppression_key: str | None = field(repr=False)
    schedule: Schedule
    engine: Engine
    account: Account | None = None
    #: what is trusted of the pages' certificate
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    @property
    def author(self) -> str:
        """The domain that readers see."""
        return ascii_domain(self.choices.publication.sender_address.rpartition("@")[2])

    @property
    def envelope(self) -> str:
        """An envelope's sender of the shape that letters have; it is nobody's."""
        domain = self.choices.bounce_domain
        if not domain:
            return wire_address(self.choices.publication.sender_address)
        return f"b+{self.keyring.sign(Purpose.BOUNCE, NOBODY)}@{ascii_domain(domain)}"

    @property
    def envelope_domain(self) -> str:
        """The domain that reports go to."""
        return ascii_domain(self.choices.bounce_domain or self.author)

    @property
    def database(self) -> Path | None:
        """The store's file; None where it is on a server."""
        return sqlite_file(self.engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What else doctor was asked to do or told."""

    #: an address a seed letter is sent to; None: none is sent
    seed: str | None = None
    #: where it is read back, instead of the mailbox of the settings
    folder: Path | None = None
    #: a letter that arrived somewhere before, instead of a seed letter
    letter: Path | None = None
    #: seconds it may take to arrive
    wait: float = 120.0
    #: the DKIM key's selector, where no letter tells
    selector: str | None = None
    #: addresses that letters leave from, where no letter tells
    outgoing: Sequence[str] = ()
    #: servers whose Authentication-Results are believed
    trusted: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What doctor works with."""

    now: Callable[[], datetime]
    #: random hex digits, twice as many as asked for
    token: Callable[[int], str]
    names: Names = field(default_factory=Names)
    #: where the pages are connected to; None: where their name leads
    pages_at: tuple[str, int] | None = None
