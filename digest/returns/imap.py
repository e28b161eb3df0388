"""A mailbox on an IMAP server: read message by message, and moved to a folder once the store has them.

Only with TLS, the server's certificate checked. imap-tools speaks to the server; its parser of messages
is not used, for what is kept are the bytes.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from imaplib import IMAP4

from imap_tools import BaseMailBox, MailBox
from imap_tools.errors import ImapToolsError

from digest.errors import DigestError
from digest.returns.parts import LONGEST
from digest.returns.places import MOST, PROCESSED, Arrived
from digest.sending.replies import printable

#: seconds until a server that says nothing is given up
TIMEOUT = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose mailbox, and where."""

    host: str
    port: int
    username: str
    password: str
    #: whom to trust; None: the machine's own authorities
    trust: ssl.SSLContext | None = None


def arrived_by_imap(account: Account) -> Iterator[Arrived]:
    """The first `MOST` messages of the account's INBOX, at most a mebibyte of each.

    DigestError where the server is out of reach, not to be trusted, or cannot do what is needed.
    """
    with _told(account), _opened(account) as box:
        folder = _processed(box)
        for uid in box.uids("ALL", None)[:MOST]:
            raw = _fetched(box, uid)
            if raw is not None:
                yield Arrived(raw, partial(_move, account, box, uid, folder))


@contextmanager
def _told(account: Account) -> Iterator[None]:
    """What goes wrong on the wire is told in one line, without the password."""
    try:
        yield
    except (ImapToolsError, IMAP4.error, OSError) as error:
        why = printable(str(error).encode(errors="replace"))[:300]
        raise DigestError(
            f"the mailbox of {account.username} on {account.host}:{account.port} cannot be read: {why};"
            " see the DIGEST_IMAP settings; what was read is kept, the rest waits there"
        ) from None


@contextmanager
def _opened(account: Account) -> Iterator[BaseMailBox]:
    # The library's own default asks for no certificate.
    trust = account.trust or ssl.create_default_context()
    box = MailBox(account.host, account.port, timeout=TIMEOUT, ssl_context=trust)
    try:
        credentials = account.username, account.password
        plain = all(one.isascii() for one in credentials)
        (box.login if plain else box.login_utf8)(*credentials)
        yield box
    finally:
        with suppress(ImapToolsError, IMAP4.error, OSError):
            box.logout()
        # After a logout that failed the connection would stay open.
        with suppress(OSError):
            box.client.shutdown()


def _processed(box: BaseMailBox) -> str:
    """The folder of what was read; it is there. ImapToolsError where the server cannot move to it."""
    # What a server can do it often says only to whom it knows, and the library asked before.
    told = b" ".join(box.client.capability()[1] or []).decode(errors="replace").upper().split()
    box.client.capabilities = tuple(told)
    if "MOVE" not in told:
        # Without it imap-tools expunges, and with it what others have marked as deleted.
        raise ImapToolsError("its server does not offer MOVE (RFC 6851)")
    folders = box.folder.list()
    delimiter = next((one.delim for one in folders if one.delim not in ("", "NIL")), "")
    names = [PROCESSED, f"INBOX{delimiter}{PROCESSED}"]
    there = [one.name for one in folders if one.name in names]
    if there:
        return there[0]
    try:
        box.folder.create(names[0])
    except ImapToolsError:
        # Some servers have every folder below INBOX (RFC 2342).
        box.folder.create(names[1])
        return names[1]
    return names[0]


def _fetched(box: BaseMailBox, uid: str) -> bytes | None:
    """The first mebibyte of the message, which is not marked as seen; None: somebody else took it."""
    status, answer = box.client.uid("FETCH", uid, f"(BODY.PEEK[]<0.{LONGEST}>)")
    if status != "OK":
        raise ImapToolsError(f"message {uid} was not given out: {answer!r}")
    return next((part[1] for part in answer if isinstance(part, tuple)), None)


def _move(account: Account, box: BaseMailBox, uid: str, folder: str) -> None:
    with _told(account):
        box.move(uid, folder)
