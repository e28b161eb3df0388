"""`digest run`: what cron calls."""

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.cli.opened import opened, say, warn
from digest.cli.sending import interruptible, send_, summary, waiting
from digest.errors import DigestError, Stopped
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

    def send_month(month: Month) -> str:
        with interruptible("the next run goes on") as stop:
            outcome = send_(house, month, alive(house.engine), stop)
        if outcome.stopped:
            raise Stopped(outcome.stopped)
        if outcome.tally.held and outcome.is_finished:
            raise DigestError(waiting(str(month), outcome.tally.held))
        return summary(str(month), outcome) if outcome.is_finished else ""

    ticked = tick(house_of(house.settings, house.engine, send_month), clock())
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
    if ticked.wrong:
        raise typer.Exit(max(error.exit_code for error in ticked.wrong))


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
