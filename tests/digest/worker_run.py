"""Workers in processes of their own, forked so that each is at work at once, or in this one.

For each line `start URL PORT NAME SECONDS RATE BEAT POLICY` on standard input it forks a worker and prints
its process id; for `wait PID` how that one ended. SECONDS is how far the clock has gone on since the
audience was frozen, BEAT how many pass between two heartbeats of a run; POLICY is for letters in doubt.
`python worker_run.py URL HOST:PORT NAME SECONDS RATE BEAT POLICY` is one worker, without a fork.
"""

import logging
import os
import random
import sys
import threading
import traceback
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Engine
from sqlalchemy.orm import configure_mappers
from sqlmodel import col, select

from digest.database import CUT_OFF, open_engine, reading
from digest.job import Rest, work_off
from digest.models import Issue, Status
from digest.sending.dispatch import Outcome, dispatch
from digest.sending.handing import hand_out
from digest.sending.heartbeat import Pulse
from digest.sending.jobs import Duties, Queue, Rhythm, work
from digest.sending.ranges import Range
from digest.sending.round import Manner
from tests.digest.sending import NOW, Plain, relay_at

#: as at work, some fifteen times as quick
PULSE = Pulse(every=0.4, limit=2.5, lease=4)
RHYTHM = Rhythm(tick="* * * * * */3", look="* * * * * */2", beat=0.5, dead=5, reach=2)
RANGE = 50  # letters
CUT_OFF.update(
    keepalives_idle=1, keepalives_interval=1, keepalives_count=2, tcp_user_timeout=2000, connect_timeout=2
)


def run(url: str, port: str, name: str, seconds: str, rate: str, beat: str, policy: str) -> bool:
    """One worker, until it is told to end."""
    pulse = replace(PULSE, every=float(beat), limit=max(PULSE.limit, float(beat)))
    engine, stop = open_engine(url, let_go=2), threading.Event()
    host, _, number = port.rpartition(":")
    relay = relay_at(int(number))
    if host:
        relay = replace(relay, host=host, insecure=True)
    manner = Manner(
        connections=2, rate=float(rate), resend=policy == "resend", pause=0.01, patience=5, grace=1
    )

    def now() -> object:
        return NOW + timedelta(seconds=float(seconds))

    rest = Rest(5)

    def send(issue_id: int, within: Range) -> None:
        def sends() -> Outcome:
            return dispatch(
                engine,
                issue_id,
                relay=relay,
                stencil=Plain(size=200),
                manner=manner,
                now=now,
                jitter=random.random,
                report=lambda progress: None,
                stop=stop,
                within=within,
                pulse=pulse,
            )

        work_off(
            engine, issue_id, sends, rest=rest, waiting=lambda month, held: f"{held} wait", now=now, stop=stop
        )

    duties = Duties(send=send, tick=lambda: hand_out_all(engine, manner, seconds))
    return work(engine, duties, name=name, concurrency=1, stop=stop, rhythm=RHYTHM)


def hand_out_all(engine: Engine, manner: Manner, seconds: str) -> None:
    """What the tick does: the ranges of whatever is sending are handed out."""
    with reading(engine) as session:
        ids = session.exec(select(col(Issue.id)).where(col(Issue.status) == Status.SENDING)).all()
    for number in ids:
        assert number is not None
        now = NOW + timedelta(seconds=float(seconds))
        hand_out(engine, number, Queue(engine, RHYTHM), manner=manner, now=now, size=RANGE, pulse=PULSE)


def tell(number: int) -> None:
    """Whoever started us reads *number*."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def start(arguments: list[str]) -> None:
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run(*arguments) else 1)
        except BaseException:  # noqa: BLE001 - a fork must never go on with its parent's loop
            traceback.print_exc()
            os._exit(2)
    tell(child)


if __name__ == "__main__":
    logging.basicConfig(level=os.environ.get("LOG", "WARNING"))
    if sys.argv[1:]:
        sys.exit(0 if run(*sys.argv[1:]) else 1)
    # Once, and not in each fork: the machine's certificates and the tables.
    relay_at(0)
    configure_mappers()
    for line in sys.stdin:
        what, *rest = line.split()
        if what == "start":
            start(rest)
        else:
            tell(os.waitstatus_to_exitcode(os.waitpid(int(rest[0]), 0)[1]))
