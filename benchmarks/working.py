"""Letters per second of many workers on one PostgreSQL, beside one worker on the same.

`python -m benchmarks.working URL PORT` is one worker, in a process of its own, until it is told to end.
"""

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from sqlalchemy import Engine, text

from benchmarks.personalising import LATIN, of_60_kb
from benchmarks.sink import CHUNKING, HOST, compiled, running
from benchmarks.stores import AT, add_issue, add_people, stores
from benchmarks.turns import Contender, rates
from digest.database import open_engine, reading, writing
from digest.models import Issue, Status
from digest.sending.dispatch import Outcome, dispatch
from digest.sending.handing import hand_out
from digest.sending.jobs import Duties, Queue, Rhythm, install, work
from digest.sending.ledger import freeze
from digest.sending.ranges import Range
from digest.sending.relay import Relay, Security
from digest.sending.round import Manner
from subscribers.audience import audience

LETTERS = 4_000
ROUNDS = 5
WORKERS = 4
#: what so many workers make of one's letters per second, at least
BAR = 0.9


def measure(letters: int = LETTERS, rounds: int = ROUNDS, workers: int = WORKERS) -> tuple[float, float]:
    """Letters per second of one worker and of *workers*; the medians of rounds in turn."""
    with stores() as engines, compiled() as program, running(program, CHUNKING) as sink:
        port, engine = sink.port, engines["PostgreSQL"]
        install(engine)
        add_people(engine, letters)
        with _crew(engine, port, 1) as one, _crew(engine, port, workers) as many:
            found = rates({"one": one, "many": many}, rounds)
    return found["one"], found["many"]


@contextmanager
def _crew(engine: Engine, port: int, count: int) -> Iterator[Contender]:
    """*count* workers, which are started anew for each turn: the others are gone meanwhile."""
    alive: list[subprocess.Popen[bytes]] = []

    def prepare() -> None:
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM procrastinate_workers"))
        url = engine.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "benchmarks.working", url, str(port)]
        alive.extend(subprocess.Popen(command) for _ in range(count))
        _wait_for(engine, "SELECT count(*) FROM procrastinate_workers", 2 * count)

    def turn() -> float:
        done = _sent(engine)
        for process in alive:
            process.kill()
        alive.clear()
        return done

    try:
        yield Contender(turn, prepare)
    finally:
        for process in alive:
            process.kill()


def _sent(engine: Engine) -> float:
    """An issue is frozen, handed out and sent."""
    issue_id = add_issue(engine)
    with writing(engine) as session:
        count = freeze(session, issue_id, audience(), AT)
    hand_out(engine, issue_id, Queue(engine), manner=Manner(), now=AT)
    while True:
        with reading(engine) as session:
            if session.get_one(Issue, issue_id).status is Status.SENT:
                return count
        time.sleep(0.05)


def _wait_for(engine: Engine, statement: str, number: int) -> None:
    while True:
        with engine.connect() as connection:
            if connection.execute(text(statement)).scalar_one() >= number:
                return
        time.sleep(0.05)


def main() -> None:
    """One worker."""
    logging.basicConfig(level=logging.ERROR)
    engine, stop = open_engine(sys.argv[1]), threading.Event()
    _, stencil = of_60_kb(LATIN)
    sends = partial(
        dispatch,
        engine,
        relay=Relay(host=HOST, port=int(sys.argv[2]), security=Security.NONE),
        stencil=stencil,
        manner=Manner(),
        now=lambda: AT,
        jitter=lambda: 0.5,
        report=lambda progress: None,
        stop=stop,
    )

    def send(issue_id: int, within: Range) -> None:
        outcome: Outcome = sends(issue_id, within=within)
        if outcome.stopped:
            raise AssertionError(f"not everything was sent: {outcome}")

    never = Rhythm(tick="0 0 1 1 *", look="0 0 1 1 *")
    duties = Duties(send=send, tick=lambda: None)
    work(engine, duties, name="bench", concurrency=1, stop=stop, rhythm=never)


if __name__ == "__main__":
    main()
