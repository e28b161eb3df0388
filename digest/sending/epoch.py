"""How far this host has seen the ledger: a small file outside the store, which a restore leaves as it is.

For each month its last run and how often letters were marked as sending. The file is written only with what
the store has already committed, so after a crash at any moment it is behind the store or level with it;
where it is ahead, the store was put back to an earlier state. It is replaced as a whole, and on the disk
(file and folder) when `write` returns.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from digest import durable
from digest.errors import DigestError


@dataclass(frozen=True, slots=True)
class Seen:
    """A month's last run, as far as it was seen."""

    run: int
    #: with its number the run's name: a restored store gives the number again
    started_at: datetime
    #: how often letters of the month had been marked as sending; it only ever grows
    marks: int


@dataclass(frozen=True, slots=True)
class Epoch:
    """What the file says."""

    #: the name of the store it is about
    store: str
    months: dict[str, Seen] = field(default_factory=dict)


def read(path: Path) -> Epoch | None:
    """What the file at *path* says; None where there is none. DigestError where it cannot be read."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        months = {month: _seen(one) for month, one in told["months"].items()}
        return Epoch(str(told["store"]), months)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DigestError(
            f"{path} cannot be read, and only it knows whether the store is the newest ({error}):"
            " put back the file; where it is lost and the store is surely not an old backup, remove it"
        ) from error


def _seen(told: dict[str, Any]) -> Seen:
    return Seen(int(told["run"]), datetime.fromisoformat(told["started_at"]), int(told["marks"]))


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Nobody else reads and writes the file at *path* meanwhile: an older state would replace a newer one."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write(path: Path, epoch: Epoch) -> None:
    """The file at *path* says *epoch*, durably; OSError where it cannot, and then it says what it said."""
    months = {
        month: {"run": one.run, "started_at": one.started_at.isoformat(), "marks": one.marks}
        for month, one in epoch.months.items()
    }
    fresh = durable.replacement(path, json.dumps({"store": epoch.store, "months": months}, indent=1))
    fresh.replace(path)
    durable.keep_name(path.parent)
