"""Dispatches in processes of their own, to be killed; forked, so that each is at work at once.

For each line `DATABASE_URL ISSUE PORT SECONDS resend|hold WHEN` on standard input it forks a run and prints
its process id, then how it ended (0: in order; -9: killed). SECONDS is how far the clock has gone on since
the audience was frozen. WHEN is `before_commit:N` or `after_commit:N`, where the run kills itself, or `-`.
"""

import itertools
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.event import listen
from sqlalchemy.orm import configure_mappers
from sqlmodel import Session

from digest.database import open_engine
from digest.sending.dispatch import dispatch
from digest.sending.round import Manner
from tests.digest.sending import NOW, Plain, relay_at


def die(when: str) -> None:
    """The process is killed before or after its Nth commit."""
    event, _, number = when.partition(":")
    commits = itertools.count(1)

    def count(_session: Session) -> None:
        if next(commits) == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    listen(Session, event, count)


def run(url: str, issue_id: str, port: str, seconds: str, policy: str, when: str) -> None:
    """One dispatch, as the command line would do it."""
    if when != "-":
        die(when)
    dispatch(
        open_engine(url),
        int(issue_id),
        relay=relay_at(int(port)),
        stencil=Plain(size=2000),
        manner=Manner(connections=4, resend=policy == "resend", pause=0.01),
        now=lambda: NOW + timedelta(seconds=float(seconds)),
        jitter=random.random,
        report=lambda progress: None,
        stop=threading.Event(),
    )


def tell(number: int) -> None:
    """Whoever started us reads *number*."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def fork_each(run: Callable[..., None]) -> None:
    """For each line on standard input *run* has its words, in a fork: its process id, then how it ended."""
    # Once, and not in each fork: the machine's certificates and the tables.
    relay_at(0)
    configure_mappers()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(*line.split())
            except BaseException:  # noqa: BLE001 - a fork must never go on with its parent's loop
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        tell(child)
        _, status = os.waitpid(child, 0)
        tell(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    fork_each(run)
