"""A mailbox that a letter is read back from: over IMAP with TLS, a maildir, or files."""

import imaplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path

from imap_tools.errors import ImapToolsError, MailboxLoginError
from imap_tools.mailbox import MailBox

from digest.errors import DigestError
from digest.sending.connection import what

PATIENCE = 20.0  # seconds for each answer of the server
#: the newest so many files are looked into
NEWEST = 200
LONGEST = 1024 * 1024  # bytes of a message
_TOLD = 120  # characters of what a server said
#: the folder that a reader of reports may have moved it to meanwhile
MOVED = "Processed"


class Closed(DigestError):
    """The mailbox cannot be looked into."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A mailbox on a server, as the DIGEST_IMAP_ settings name it."""

    host: str
    port: int
    username: str
    password: str = field(repr=False)
    #: what is trusted; certificate and host name are checked
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False)

    def __str__(self) -> str:
        return f"{self.username} at {self.host}:{self.port}"

    def count(self) -> int:
        """How many messages lie in it; Closed where it does not open."""
        with self._opened() as box:
            return int(box.folder.status()["MESSAGES"])

    def holding(self, mark: str) -> bytes | None:
        """The newest message whose subject holds *mark*, as it lies there; None where there is none."""
        with self._opened() as box:
            moved = [one.name for one in box.folder.list() if one.name.endswith(MOVED)]
            for folder in ("INBOX", *moved):
                box.folder.set(folder, readonly=True)
                # By the subject: some relays give a letter another Message-ID.
                if found := box.uids(f'SUBJECT "{mark}"'):
                    return _bytes(box, found[-1])
            return None

    @contextmanager
    def _opened(self) -> Iterator[MailBox]:
        try:
            box = MailBox(self.host, self.port, timeout=PATIENCE, ssl_context=self.tls)
        except ssl.SSLCertVerificationError as error:
            raise Closed(f"the certificate of {self.host}:{self.port}: {error.verify_message}") from error
        except (OSError, imaplib.IMAP4.error) as error:
            raise Closed(f"{self.host}:{self.port} cannot be reached: {what(error)[:_TOLD]}") from error
        try:
            is_plain = f"{self.username}{self.password}".isascii()
            (box.login if is_plain else box.login_utf8)(self.username, self.password)
            yield box
        except MailboxLoginError as error:
            raise Closed(f"{self} is not let in") from error
        except (OSError, imaplib.IMAP4.error, ImapToolsError) as error:
            raise Closed(f"{self} broke off: {what(error)[:_TOLD]}") from error
        finally:
            with suppress(OSError, imaplib.IMAP4.error, ImapToolsError):
                box.logout()


def _bytes(box: MailBox, uid: str) -> bytes | None:
    """The message as it lies there, unseen still; None where it is gone."""
    # imap-tools hands on what the standard library makes of a message; a signature wants the bytes.
    _status, parts = box.client.uid("fetch", uid, f"(BODY.PEEK[]<0.{LONGEST}>)")
    return next((bytes(part[1]) for part in parts if isinstance(part, tuple)), None)


@dataclass(frozen=True, slots=True)
class Folder:
    """A maildir, a folder of files with a message in each, or one such file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def holding(self, mark: str) -> bytes | None:
        """The newest message that holds *mark*; None where there is none. Closed where it cannot be read."""
        try:
            for path in nlargest(NEWEST, self._files(), key=lambda one: one.stat().st_mtime):
                raw = read_message(path)
                if mark.encode() in raw:
                    return raw
        except OSError as error:
            raise Closed(f"{error.filename}: {error.strerror}") from error
        return None

    def _files(self) -> list[Path]:
        if self.path.is_file():
            return [self.path]
        # What is in tmp/ is not whole yet (maildir(5)).
        folders = [self.path / one for one in ("new", "cur") if (self.path / one).is_dir()] or [self.path]
        return [one for folder in folders for one in folder.iterdir() if one.is_file()]


def read_message(path: Path) -> bytes:
    """The message in the file at *path*, at most a mebibyte of it; OSError where it cannot be read."""
    with path.open("rb") as file:
        raw = file.read(LONGEST)
    # A single message of an mbox begins with a line of its own.
    return raw.partition(b"\n")[2] if raw.startswith(b"From ") else raw
