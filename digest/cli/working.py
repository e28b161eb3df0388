"""`digest worker`: one more sending machine."""

import logging
import platform
import threading
from collections.abc import Callable

import typer

from digest.cli.opened import Opened, opened, say
from digest.cli.sending import waiting
from digest.cli.ticking import send_month, tick_once
from digest.database import open_engine
from digest.errors import DigestError
from digest.job import Rest, work_off
from digest.outfit import clock, means_of, suppression_secret_of
from digest.sending.exclusive import require_room
from digest.sending.ranges import Range
from digest.sending.send import send_range

#: seconds; half of what a run's lease lasts
LET_GO = 30


app = typer.Typer()


class _OneLine(logging.Formatter):
    """An error is told in one line: tracebacks are for mistakes of the program, and hold addresses."""

    def formatException(self, ei: object) -> str:
        """The error alone."""
        error = ei[1] if isinstance(ei, tuple) else ei
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


@app.command()
def worker(
    ctx: typer.Context,
    concurrency: int = typer.Option(
        1, min=1, max=32, help="Ranges sent at the same time, each over DIGEST_SMTP_CONNECTIONS."
    ),
    name: str = typer.Option(platform.node(), help="What this worker is called in its log."),
) -> None:
    """Send what is handed out, as one of any number of machines, and run the tick (PostgreSQL)."""
    house = opened(ctx)
    require_room(house.engine)
    suppression_secret_of(house.settings)
    # Only where it is used: it takes a quarter of a second to load.
    from digest.sending.jobs import Duties, install, work  # noqa: PLC0415

    logs = logging.StreamHandler()
    logs.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(handlers=[logs], level=logging.WARNING)
    install(house.engine)
    stop = threading.Event()
    duties = Duties(send=_sender(house, stop), tick=lambda: _tick(house, stop))
    say(f"{name} works: {concurrency} at a time; SIGTERM or Ctrl-C ends it in order")
    if not work(house.engine, duties, name=name, concurrency=concurrency, stop=stop):
        raise DigestError("the queue could not be reached any more: start the worker again")
    say(f"{name} has ended; what it had not begun is handed back")


def _sender(house: Opened, stop: threading.Event) -> Callable[[int, Range], None]:
    """Sends a range, with connections that PostgreSQL lets go when this machine stands still."""
    engine = open_engine(house.settings.database_url, let_go=LET_GO)
    means, rest = means_of(house.settings), Rest()

    def send(issue_id: int, within: Range) -> None:
        line = work_off(
            engine,
            issue_id,
            lambda: send_range(engine, issue_id, within, means, stop=stop),
            rest=rest,
            waiting=waiting,
            now=clock,
            stop=stop,
        )
        if line:
            say(line)

    return send


def _tick(house: Opened, stop: threading.Event) -> None:
    tick_once(house, lambda month: send_month(house, month, stop))
