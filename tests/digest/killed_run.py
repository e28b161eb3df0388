"""Dispatches in processes of their own, to be killed; forked, so that each is at work at once.

For each line `DATABASE_URL ISSUE PORT SECONDS resend|hold` on standard input it forks a run and prints
its process id, then how it ended (0: in order; 9: killed). SECONDS is how far the clock has gone on since
the audience was frozen.
"""

import os
import random
import sys
import threading
import traceback
from datetime import timedelta

from digest.database import open_engine
from digest.sending.dispatch import dispatch
from digest.sending.round import Manner
from tests.digest.sending import NOW, Plain, relay_at


def run(url: str, issue_id: str, port: str, seconds: str, policy: str) -> None:
    """One dispatch, as the command line would do it."""
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


if __name__ == "__main__":
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
