"""Where mail that came back lies on this machine: a maildir, an mbox, one file, what a pipe brings.

Each message is handed out with what puts it away, to be called once it is kept in the store. Nothing is
deleted: a maildir's go to its folder .Processed, an mbox's to a file beside it.
"""

import mailbox
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from digest.errors import DigestError, UsageError
from digest.returns.parts import LONGEST

PROCESSED = "Processed"
#: messages of one call (B-4); the others come the next time
MOST = 10_000
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message, and what is to be done once it is kept."""

    raw: bytes
    put_away: Callable[[], None]


def arrived_at(path: Path) -> Iterator[Arrived]:
    """The messages of the maildir, the mbox or the file at *path*, at most a mebibyte of each.

    UsageError where there is none. DigestError, after the others, where one could not be read.
    """
    if (path / "new").is_dir() and (path / "cur").is_dir():
        return _maildir(path)
    if path.is_file():
        return _mbox(path) if _begins(path, b"From ") else _file(path)
    what = "is a folder and no maildir" if path.is_dir() else "is not there"
    raise UsageError(f"{path} {what}: name a maildir, an mbox, the file of one message, or - for a pipe")


def piped(stream: BinaryIO) -> Arrived:
    """The first mebibyte of what *stream* brings, which is read to its end: else its writer fails."""
    raw = stream.read(LONGEST)
    while stream.read(_CHUNK):
        pass
    return Arrived(raw, lambda: None)


def _maildir(path: Path) -> Iterator[Arrived]:
    files = [one for folder in ("new", "cur") for one in _files(path / folder)]
    problems: list[str] = []
    for file in files[:MOST]:
        try:
            raw = _first(file)
        except FileNotFoundError:
            continue  # another reader was faster
        except OSError as error:
            problems.append(f"{file} cannot be read: {error.strerror}")
            continue
        yield Arrived(raw, partial(_put_away, file, path))
    if problems:
        raise DigestError(f"{problems[0]}; it was left where it is, {len(problems)} in all")


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = [one.name for one in entries if one.is_file(follow_symlinks=False) and one.name[0] != "."]
    return [folder / name for name in sorted(names)]


def _put_away(file: Path, maildir: Path) -> None:
    processed = maildir / f".{PROCESSED}"
    for name in ("cur", "new", "tmp"):
        (processed / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    # Maildir++: a subfolder is marked as one.
    (processed / "maildirfolder").touch()
    name = file.name if ":2," in file.name else f"{file.name}:2,"
    try:
        file.rename(processed / "cur" / name)
    except FileNotFoundError:
        return  # another reader was faster


def _mbox(path: Path) -> Iterator[Arrived]:
    """Its messages; when all are kept it is emptied, and what was in it is at the end of the file beside."""
    with _locked(path) as box:
        for key in box.iterkeys():
            yield Arrived(box.get_file(key).read(LONGEST), lambda: None)
        with path.open("rb+") as file, path.with_name(f"{path.name}.{PROCESSED}").open("ab") as processed:
            while chunk := file.read(_CHUNK):
                processed.write(chunk)
            processed.flush()
            os.fsync(processed.fileno())
            file.truncate(0)


@contextmanager
def _locked(path: Path) -> Iterator[mailbox.mbox]:
    box = mailbox.mbox(path, create=False)
    try:
        box.lock()
        yield box
    except (mailbox.Error, OSError) as error:
        raise DigestError(f"{path} is in use just now, or cannot be read: {error}; try again") from None
    finally:
        box.unlock()
        # Not close(), which would write it anew.
        box._file.close()  # type: ignore[attr-defined]


def _file(path: Path) -> Iterator[Arrived]:
    """The one message, which stays where it is."""
    yield Arrived(_first(path), lambda: None)


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LONGEST)


def _begins(path: Path, mark: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(mark)) == mark
