"""A mailbox on an IMAP server, opened over TLS only, with the server's certificate checked.

imap-tools speaks to the server; its parser of messages is not used, for what counts are the bytes.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from imaplib import IMAP4

from imap_tools import BaseMailBox, MailBox
from imap_tools.errors import ImapToolsError, MailboxLoginError

from digest.errors import DigestError
from digest.returns.parts import LONGEST
from digest.sending.connection import what
from digest.sending.replies import printable

#: seconds until a server that says nothing is given up
PATIENCE = 60.0
_TOLD = 120  # characters of what a server said
_TROUBLE = (ImapToolsError, IMAP4.error, OSError)


class Shut(DigestError):
    """The mailbox cannot be looked into; one line, without the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose mailbox, and where, as the DIGEST_IMAP_ settings name it."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    #: whom to trust; certificate and host name are checked against it
    trust: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    def __str__(self) -> str:
        return f"{self.username} at {self.host}:{self.port}"

    @contextmanager
    def opened(self) -> Iterator[BaseMailBox]:
        """The mailbox, logged in, INBOX chosen; Shut where that fails or it breaks off."""
        try:
            box = MailBox(self.host, self.port, timeout=PATIENCE, ssl_context=self.trust)
        except ssl.SSLCertVerificationError as error:
            raise Shut(f"the certificate of {self.host}:{self.port}: {error.verify_message}") from error
        except _TROUBLE as error:
            raise Shut(f"{self.host}:{self.port} cannot be reached: {_said(error)}") from error
        try:
            with self.told():
                is_plain = f"{self.username}{self.password}".isascii()
                (box.login if is_plain else box.login_utf8)(self.username, self.password)
                yield box
        finally:
            with suppress(*_TROUBLE):
                box.logout()
            # After a logout that failed the connection would stay open.
            with suppress(OSError):
                box.client.shutdown()

    @contextmanager
    def told(self) -> Iterator[None]:
        """What goes wrong on the wire meanwhile is Shut."""
        try:
            yield
        except MailboxLoginError as error:
            raise Shut(f"{self} is not let in: {_said(error)}") from None
        except _TROUBLE as error:
            raise Shut(f"{self} broke off: {_said(error)}") from None


def fetched(box: BaseMailBox, uid: str) -> bytes | None:
    """The first mebibyte of the message as it lies there, which is not marked as seen; None: it is gone."""
    status, answer = box.client.uid("FETCH", uid, f"(BODY.PEEK[]<0.{LONGEST}>)")
    if status != "OK":
        raise ImapToolsError(f"message {uid} was not given out: {answer!r}")
    return next((bytes(part[1]) for part in answer if isinstance(part, tuple)), None)


def _said(error: BaseException) -> str:
    return printable(what(error).encode(errors="replace"))[:_TOLD]
