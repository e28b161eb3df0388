"""The bounce mailbox on an IMAP server: each message is moved to a folder once the store has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from imap_tools import BaseMailBox
from imap_tools.errors import ImapToolsError

from digest.errors import DigestError
from digest.mailbox import Account, Shut, fetched
from digest.returns.places import MOST, PROCESSED, Arrived


def arrived_by_imap(account: Account) -> Iterator[Arrived]:
    """The first `MOST` messages of the account's INBOX, at most a mebibyte of each.

    DigestError where the server is out of reach, not to be trusted, or cannot do what is needed.
    """
    with _told(), account.opened() as box:
        folder = _processed(box)
        for uid in box.uids("ALL", None)[:MOST]:
            raw = fetched(box, uid)
            if raw is not None:
                yield Arrived(raw, partial(_move, account, box, uid, folder))


@contextmanager
def _told() -> Iterator[None]:
    """Who reads is told that nothing is lost."""
    try:
        yield
    except Shut as error:
        raise DigestError(
            f"the bounce mailbox cannot be read: {error}; see the DIGEST_IMAP settings; what was read is"
            " kept, the rest waits there"
        ) from None


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


def _move(account: Account, box: BaseMailBox, uid: str, folder: str) -> None:
    # The reader of the mailbox stands still meanwhile, so what goes wrong here does not pass through it.
    with _told(), account.told():
        box.move(uid, folder)
