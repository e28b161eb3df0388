"""`digest run`: what cron calls."""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.cli.opened import Opened, opened, say, warn
from digest.cli.sending import crew_of, interruptible, send_, summary, then, waiting
from digest.errors import DigestError, Stopped, Waiting
from digest.health import beat
from digest.month import Month
from digest.outfit import clock
from digest.sending.dispatch import Progress
from digest.tick import tick
from digest.wiring import fetcher_of, house_of

app = typer.Typer()

#: while `digest run` sends, it says that it is at work
ALIVE_EVERY = timedelta(minutes=1)


@app.command()
def run(ctx: typer.Context) -> None:
    """Do what is due: fetch, build, tell the editors, send, try again. For cron, every five minutes."""
    house = opened(ctx)
    stop = threading.Event()

    def send(month: Month) -> str:
        if stop.is_set():
            return ""  # who ended one month has ended them all
        with interruptible("the next run goes on", stop=stop):
            return send_month(house, month, stop)

    if wrong := tick_once(house, send):
        raise typer.Exit(max(error.exit_code for error in wrong))


def send_month(house: Opened, month: Month, stop: threading.Event) -> str:
    """What a tick does with a month that is due: sent, or handed to workers, and a line if that is news."""
    outcome = send_(house, month, alive(house.engine), stop, crew_of(house), is_watching=False)
    if outcome.is_called_off:
        return ""
    if outcome.stopped:
        raise Stopped(outcome.stopped + then(str(month), outcome))
    if outcome.tally.held and outcome.is_finished:
        raise Waiting(waiting(str(month), outcome.tally.held))
    return summary(str(month), outcome) if outcome.is_finished else ""


def tick_once(house: Opened, send: Callable[[Month], str]) -> list[DigestError]:
    """What is due is done and told; what is wrong that was not before."""
    ticked = tick(house_of(house.settings, house.engine, send), clock())
    beat(house.engine, clock(), good=ticked.is_good)
    if sys.stdout.isatty():
        for line in ticked.done or ["nothing is due"]:
            say(line)
    if house.settings.heartbeat_url and ticked.is_good:
        problem = fetcher_of(house.settings).ping(house.settings.heartbeat_url)
        if problem:
            warn(f"the heartbeat was not heard: {problem}")
    for error in ticked.wrong:
        warn(str(error))
    return ticked.wrong


def alive(engine: Engine) -> Callable[[Progress], None]:
    """What writes down now and then that `digest run` is at work: a month may take hours to send."""
    last = [clock()]

    def tell(_sent: Progress) -> None:
        if clock() - last[0] >= ALIVE_EVERY:
            last[0] = clock()
            # A store that does not answer is the run's to deal with.
            with suppress(SQLAlchemyError):
                beat(engine, last[0])

    return tell
