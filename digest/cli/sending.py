"""Sending and what it left behind: dispatch, run, audit, resolve, trace, and the test copy."""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import typer
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.cli.opened import JSON, Opened, opened, say, say_json, warn
from digest.cli.progress import shown
from digest.database import reading, writing
from digest.errors import DigestError, FaultFound, Stopped
from digest.health import beat
from digest.issue.compose import issue_of
from digest.month import Month
from digest.sending.audit import Decision, Tally, resolve, tally
from digest.sending.dispatch import Outcome
from digest.sending.dispatch import Progress as Sent
from digest.sending.handing import Crew
from digest.sending.send import send, send_trial, take_stock
from digest.sending.spool import spool_of
from digest.tick import tick
from digest.trace import trace
from digest.wiring import clock, fetcher_of, house_of, manner_of, relay_of, suppression_secret_of
from subscribers.address import parse
from subscribers.roll import find

MONTH = typer.Argument(help="The month, as 2015-09.", metavar="YYYY-MM")
#: while `digest run` sends, it says that it is at work
ALIVE_EVERY = timedelta(minutes=1)
SENDING_ENDS = "finishing the letters on the wire, the rest stays queued"
WATCHING_ENDS = "no longer watching, the workers go on"


def test(
    ctx: typer.Context,
    month: str = MONTH,
    to: list[str] = typer.Option(help="Who gets the copy; may be given more than once.", metavar="ADDRESS"),
) -> None:
    """Send one marked copy, whose links unsubscribe nobody."""
    house = opened(ctx)
    with reading(house.engine) as session:
        send_trial(
            session,
            house.month(month),
            [parse(one).address for one in to],
            press=house.press,
            relay=relay_of(house.settings),
            now=clock(),
        )
    say(f"a test copy of {month} is on its way to {', '.join(to)}")


def dispatch(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Send what is approved and not yet accepted; safe to run twice, at once, after a crash."""
    house = opened(ctx)
    goes_on = f"`digest dispatch {month}` goes on"
    crew = crew_of(house)
    ending = WATCHING_ENDS if crew is not None and crew.is_there() else SENDING_ENDS
    with _interruptible(goes_on, ending) as stop, shown(quiet=as_json) as report:
        outcome = _send(house, house.month(month), report, stop, crew)
    if as_json:
        say_json(outcome.tally.as_json())
    else:
        say(_line(month, outcome))
    if as_json and outcome.is_running_elsewhere:
        warn(_line(month, outcome))
    if outcome.stopped:
        raise Stopped(f"{month} stopped: {outcome.stopped}; {goes_on}")
    if stop.is_set() and not (outcome.is_finished or outcome.is_with_workers):
        warn(f"{month} was interrupted, and nothing is lost: {goes_on}")
    if outcome.tally.held:
        raise DigestError(waiting(month, outcome.tally.held))


def crew_of(house: Opened) -> Crew | None:
    """The store's workers; None where there can be none."""
    if house.engine.dialect.name != "postgresql":
        return None
    # Only where it is used: it takes a quarter of a second to load.
    from digest.sending.jobs import Queue  # noqa: PLC0415

    return Queue(house.engine)


def _send(
    house: Opened,
    month: Month,
    report: Callable[[Sent], None],
    stop: threading.Event,
    crew: Crew | None,
    is_watching: bool = True,
) -> Outcome:
    suppression_secret_of(house.settings)  # nobody is written to who could not say "never again"
    return send(
        house.engine,
        month,
        press=house.press,
        relay=relay_of(house.settings),
        manner=manner_of(house.settings),
        spool=spool_of(house.engine),
        now=clock,
        jitter=random.SystemRandom().random,
        report=report,
        stop=stop,
        crew=crew,
        is_watching=is_watching,
    )


def _line(month: str, outcome: Outcome) -> str:
    if outcome.is_running_elsewhere:
        return f"{month} is being sent by another run: nothing to do here"
    told = [f"{month}: {_counts(outcome.tally)}"]
    if outcome.is_with_workers:
        told.append(f"the workers go on; `digest issue pause {month}` stops them")
    if outcome.is_finished:
        told.append("it is sent")
    elif outcome.next_due_at is not None:
        told.append(f"the next letter is due {outcome.next_due_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(told)


def waiting(month: str, held: int) -> str:
    """The line about letters that wait for a person."""
    return (
        f"letters of {month} that wait for you: {held}; `digest trace ADDRESS` says why,"
        f" `digest resolve {month} --resend` or `--accepted` decides"
    )


def _counts(counted: Tally) -> str:
    shown = {
        "accepted": counted.accepted,
        "rejected": counted.rejected,
        "deferred": counted.deferred,
        "in doubt": counted.in_doubt,
        "held": counted.held,
        "queued": counted.queued,
        "skipped": sum(counted.skipped.values()),
    }
    parts = [f"{number} {what}" for what, number in shown.items() if number or what == "accepted"]
    return f"{', '.join(parts)} of {counted.frozen}"


@contextmanager
def _interruptible(goes_on: str, ending: str = SENDING_ENDS) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM say *ending* and end the run in order: what is on the wire is finished.

    A second Ctrl-C ends it at once. Nothing is lost by that either: letters whose answer was not written
    down are in doubt.
    """
    stop = threading.Event()
    interrupts = 0

    def end(number: int, _frame: object) -> None:
        nonlocal interrupts
        # Only Ctrl-C is counted: a wrapper may pass on SIGTERM for the one that its own terminal sent.
        interrupts += number == signal.SIGINT
        if interrupts == 2:
            _end_at_once(goes_on)
        elif not stop.is_set():
            again = "; once more Ctrl-C ends at once" if number == signal.SIGINT else ""
            warn(f"{ending}{again}")
            stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at_once(goes_on: str) -> None:
    """The process is gone, by the signal it was sent, so that a shell's script stops too."""
    warn(f"ended at once: what was on the wire is in doubt, nothing is lost; {goes_on}")
    if sys.__stderr__ is not None and sys.__stderr__.isatty():
        # The bar hid the cursor; what it put in place of sys.stderr would wait for the end of a line.
        sys.__stderr__.write("\x1b[?25h")
        sys.__stderr__.flush()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


def run(ctx: typer.Context) -> None:
    """Do what is due: fetch, build, tell the editors, send, try again. For cron, every five minutes."""
    house = opened(ctx)

    def send(month: Month) -> str:
        with _interruptible("the next run goes on") as stop:
            return send_month(house, month, stop)

    if wrong := tick_once(house, send):
        raise typer.Exit(max(error.exit_code for error in wrong))


def send_month(house: Opened, month: Month, stop: threading.Event) -> str:
    """What a tick does with a month that is due: sent, or handed to workers, and a line if that is news."""
    outcome = _send(house, month, alive(house.engine), stop, crew_of(house), is_watching=False)
    if outcome.stopped:
        raise Stopped(outcome.stopped)
    if outcome.tally.held and outcome.is_finished:
        raise DigestError(waiting(str(month), outcome.tally.held))
    return _line(str(month), outcome) if outcome.is_finished else ""


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


def alive(engine: Engine) -> Callable[[Sent], None]:
    """What writes down now and then that `digest run` is at work: a month may take hours to send."""
    last = [clock()]

    def tell(_sent: Sent) -> None:
        if clock() - last[0] >= ALIVE_EVERY:
            last[0] = clock()
            # A store that does not answer is the run's to deal with.
            with suppress(SQLAlchemyError):
                beat(engine, last[0])

    return tell


def audit(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Say of every letter of the month where it stands; exit 4 if it does not add up."""
    house = opened(ctx)
    take_stock(house.engine, clock())
    with reading(house.engine) as session:
        issue = issue_of(session, house.month(month))
        assert issue.id is not None
        counted = tally(session, issue.id)
    if as_json:
        say_json(counted.as_json())
    else:
        say(f"{month}: {_counts(counted)}")
        for reason, number in counted.skipped.items():
            say(f"  skipped, {reason}: {number}")
        say("it adds up" if counted.balanced else "it does NOT add up")
    if not counted.balanced:
        raise FaultFound(f"{month} does not add up: keep the store as it is and look at its deliveries")


def resolve_(
    ctx: typer.Context,
    month: str = MONTH,
    addresses: list[str] = typer.Argument(
        None, help="Only these; else all that wait.", metavar="[ADDRESS]..."
    ),
    resend: bool = typer.Option(False, "--resend", help="Send them again."),
    accepted: bool = typer.Option(False, "--accepted", help="Count them as accepted."),
) -> None:
    """Decide about letters in doubt or held."""
    if resend == accepted:
        raise typer.BadParameter("say either --resend or --accepted")
    house = opened(ctx)
    take_stock(house.engine, clock())
    with writing(house.engine) as session:
        issue = issue_of(session, house.month(month))
        assert issue.id is not None
        ids = []
        for one in addresses or []:
            known = find(session, parse(one).key)
            if known is None or known.id is None:
                raise DigestError(f"{one} is not a subscriber")
            ids.append(known.id)
        decision = Decision.RESEND if resend else Decision.ACCEPTED
        decided = resolve(session, issue.id, decision, clock(), ids if addresses else None)
    say(
        f"{decided} letters decided"
        + (f"; `digest dispatch {month}` sends them" if decided and resend else "")
    )


def trace_(
    ctx: typer.Context,
    address: str = typer.Argument(help="Whom to look for.", metavar="ADDRESS"),
    as_json: bool = JSON,
) -> None:
    """Tell everything that ever happened to an address."""
    house = opened(ctx)
    with reading(house.engine) as session:
        story = trace(session, parse(address), house.suppression_secret)
    if as_json:
        say_json(story.to_json())
        return
    for line in story.lines():
        say(line)


def register(app: typer.Typer, issue_app: typer.Typer) -> None:
    """The commands stand in their trees."""
    issue_app.command(name="test")(test)
    app.command(name="dispatch")(dispatch)
    app.command(name="run")(run)
    app.command(name="audit")(audit)
    app.command(name="resolve")(resolve_)
    app.command(name="trace")(trace_)
