"""Where leaving is written down while the store is locked, full or away; read before anybody is sent to.

One line of JSON for each who left: their id, the instant, by whose hand. No address and no token. A
line is on the disk before the person is told that they left (U-3), and a file set aside beforehand
makes room for it where the disk is full.
"""

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine

from digest.database import sqlite_file, writing
from digest.durable import keep_name
from subscribers.evidence import Evidence, Origin
from subscribers.lifecycle import unsubscribe

RESERVE = 262_144  # bytes: room for some 2,000 lines
TRIES = 20  # to get hold of the file, 25 ms apart: it is held for one short transaction


def spool_of(engine: Engine) -> Path:
    """Where the spool of this store is."""
    return beside(engine, "spool")


def beside(engine: Engine, name: str) -> Path:
    """The file *name* of this store: beside an SQLite file, else in the user's own state folder."""
    if (path := sqlite_file(engine)) is not None:
        return Path(f"{path}-{name}")
    url = engine.url
    return Path.home() / ".local/state/monthly-digest" / f"{url.host or 'local'}-{url.database}.{name}"


def set_aside(path: Path) -> None:
    """A file beside *path* holds room that is given back when the disk is full. OSError if it cannot be."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(_reserve(path), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, RESERVE)
    finally:
        os.close(descriptor)


def append(path: Path, subscriber_id: int, evidence: Evidence) -> None:
    """It is on the disk that the subscriber left; OSError where even that fails."""
    told = {
        "subscriber": subscriber_id,
        "at": evidence.at.isoformat(),
        "origin": evidence.origin,
        "wording": evidence.wording,
    }
    # A line torn by a power cut must not take the next one with it: each begins on a new one.
    line = f"\n{json.dumps(told)}\n".encode()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        _write(path, line)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _reserve(path).unlink(missing_ok=True)
        _write(path, line)


def apply_spool(engine: Engine, path: Path) -> int:
    """Whoever left while the store did not answer has left in the store too; answers how many.

    Nothing happens where there is no spool. A line is gone from the file only once it is in the
    store; one that is read twice changes nothing, nor does one older than the person's return.
    """
    if not path.exists() or path.stat().st_size == 0:
        return 0
    with ExitStack() as held:
        with writing(engine) as session:
            # Once before the file is held: whoever appends must not wait while this waits for the store.
            left = [unsubscribe(session, *line) for line in _lines(path)]
            descriptor = held.enter_context(_held(path))
            left += [unsubscribe(session, *line) for line in _lines(path)]
        # Committed; only now may the lines go.
        os.ftruncate(descriptor, 0)
        os.fsync(descriptor)
    return sum(left)


def waiting(path: Path) -> frozenset[int]:
    """The ids of those who left and whose leaving is not in the store yet."""
    return frozenset(one for one, _ in _lines(path)) if path.exists() else frozenset()


def _lines(path: Path) -> Iterator[tuple[int, Evidence]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            told = json.loads(line)
        except json.JSONDecodeError:
            continue  # an empty line, or one that was torn before anybody was told
        yield (
            int(told["subscriber"]),
            Evidence(
                origin=Origin(told["origin"]),
                at=datetime.fromisoformat(told["at"]),
                wording=told["wording"],
            ),
        )


def _reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}-reserve")


def _write(path: Path, line: bytes) -> None:
    with _held(path) as descriptor:
        before = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, line) != len(line):
                raise OSError(errno.ENOSPC, "only a part of the line was written")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    keep_name(path.parent)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    """The file at *path*, made where there is none, open for appending and nobody else's meanwhile."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    try:
        _lock(descriptor)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    for _ in range(TRIES - 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.025)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
