"""Readings of a maildir in processes of their own, to be killed; forked, so that each is at work at once.

For each line `DATABASE_URL MAILDIR WHEN` on standard input it forks a reading and prints its process id, then
how it ended (0: in order; -9: killed). WHEN is `before_commit:N`, `after_commit:N`, `before_move:N` or
`after_move:N`, where the reading kills itself, or `-`.
"""

import os
import signal
from pathlib import Path

from digest.database import open_engine
from digest.returns.keeping import collect
from digest.returns.places import arrived_at
from digest.returns.working import work_off
from tests.digest.killed_run import die, fork_each
from tests.digest.returning import NEXT, office_of


def die_moving(when: str) -> None:
    """The process is killed before or after it has moved its Nth file."""
    event, _, number = when.partition(":")
    left, move = int(number), Path.rename

    def rename(path: Path, target: Path) -> Path:
        nonlocal left
        left -= 1
        if left == 0 and event == "before_move":
            os.kill(os.getpid(), signal.SIGKILL)
        moved = move(path, target)
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return moved

    Path.rename = rename  # type: ignore[method-assign, assignment]


def run(url: str, maildir: str, when: str) -> None:
    """One `digest bounces read`, as the command line would do it."""
    if when != "-":
        (die_moving if "move" in when else die)(when)
    engine = open_engine(url)
    collect(engine, arrived_at(Path(maildir)), lambda: NEXT)
    work_off(office_of(engine), NEXT)


if __name__ == "__main__":
    fork_each(run)
