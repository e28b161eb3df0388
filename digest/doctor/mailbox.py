"""A mailbox that a letter is read back from: on an IMAP server, a maildir, or files."""

from dataclasses import dataclass
from heapq import nlargest
from pathlib import Path

from digest.mailbox import Account, Shut, fetched
from digest.returns.parts import LONGEST
from digest.returns.places import PROCESSED

#: the newest so many files are looked into
NEWEST = 200


@dataclass(frozen=True, slots=True)
class OnServer:
    """The mailbox of an account."""

    account: Account

    def __str__(self) -> str:
        return str(self.account)

    def count(self) -> int:
        """How many messages lie in it; Shut where it does not open."""
        with self.account.opened() as box:
            return int(box.folder.status()["MESSAGES"])

    def holding(self, mark: str) -> bytes | None:
        """The newest message whose subject holds *mark*, as it lies there; None where there is none."""
        with self.account.opened() as box:
            # A reader of reports may have moved it meanwhile.
            moved = [one.name for one in box.folder.list() if one.name.endswith(PROCESSED)]
            for folder in ("INBOX", *moved):
                box.folder.set(folder, readonly=True)
                # By the subject: some relays give a letter another Message-ID.
                if found := box.uids(f'SUBJECT "{mark}"'):
                    return fetched(box, found[-1])
            return None


@dataclass(frozen=True, slots=True)
class Folder:
    """A maildir, a folder of files with a message in each, or one such file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def holding(self, mark: str) -> bytes | None:
        """The newest message that holds *mark*; None where there is none. Shut where it cannot be read."""
        try:
            for path in nlargest(NEWEST, self._files(), key=lambda one: one.stat().st_mtime):
                raw = read_message(path)
                if mark.encode() in raw:
                    return raw
        except OSError as error:
            raise Shut(f"{error.filename}: {error.strerror}") from error
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
