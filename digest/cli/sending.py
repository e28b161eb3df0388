"""Sending and what it left behind: dispatch, audit, resolve, trace."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from digest.cli.opened import JSON, Opened, editor, opened, say, say_json, warn
from digest.cli.progress import shown
from digest.database import reading, writing
from digest.errors import DigestError, FaultFound, Stopped, Waiting
from digest.issue.approve import UNSENT
from digest.issue.compose import issue_of
from digest.month import Month
from digest.outfit import clock, means_of, suppression_secret_of
from digest.sending.audit import Decision, Tally, decide, tally
from digest.sending.dispatch import Outcome
from digest.sending.dispatch import Progress as Sent
from digest.sending.handing import Crew
from digest.sending.send import send, take_stock
from digest.sending.survey import those_who_wait
from digest.trace import trace
from subscribers.address import parse
from subscribers.roll import find

app = typer.Typer()

MONTH = typer.Argument(help="The month, as 2015-09.", metavar="YYYY-MM")
SENDING_ENDS = "finishing the letters on the wire, the rest stays queued"
WATCHING_ENDS = "no longer watching, the workers go on"
#: letters in doubt or held that `audit` names
NAMED = 20


@app.command()
def dispatch(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Send what is approved and not yet accepted; safe to run twice, at once, after a crash."""
    house = opened(ctx)
    goes_on = f"`digest dispatch {month}` goes on"
    crew = crew_of(house)
    ending = WATCHING_ENDS if crew is not None and crew.is_there() else SENDING_ENDS
    with interruptible(goes_on, ending) as stop, shown(quiet=as_json) as report:
        outcome = send_(house, house.month(month), report, stop, crew)
    if as_json:
        say_json(outcome.tally.as_json())
    else:
        say(summary(month, outcome))
    if as_json and outcome.is_running_elsewhere:
        warn(summary(month, outcome))
    if outcome.stopped:
        raise Stopped(f"{month} stopped: {outcome.stopped}{then(month, outcome, goes_on)}")
    if stop.is_set() and not (outcome.is_finished or outcome.is_with_workers):
        warn(f"{month} was interrupted, and nothing is lost: {goes_on}")
    if outcome.tally.held:
        raise Waiting(waiting(month, outcome.tally.held))


def then(month: str, outcome: Outcome, goes_on: str = "") -> str:
    """What may be done about a run that stopped; *goes_on* where nobody stopped it."""
    if outcome.is_paused:
        return f"; `digest issue resume {month}` lets it go on"
    return f"; {goes_on}" if goes_on and not outcome.is_called_off else ""


def crew_of(house: Opened) -> Crew | None:
    """The store's workers; None where there can be none."""
    if house.engine.dialect.name != "postgresql":
        return None
    # Only where it is used: it takes a quarter of a second to load.
    from digest.sending.jobs import Queue  # noqa: PLC0415

    return Queue(house.engine)


def send_(
    house: Opened,
    month: Month,
    report: Callable[[Sent], None],
    stop: threading.Event,
    crew: Crew | None,
    is_watching: bool = True,
) -> Outcome:
    """What is approved for *month* is sent, as the settings have it, or handed to *crew*."""
    suppression_secret_of(house.settings)  # nobody is written to who could not say "never again"
    return send(
        house.engine,
        month,
        means_of(house.settings),
        report=report,
        stop=stop,
        crew=crew,
        is_watching=is_watching,
    )


def summary(month: str, outcome: Outcome) -> str:
    """What a run left behind, in a line."""
    if outcome.is_running_elsewhere:
        return f"{month} is being sent by another run: nothing to do here"
    told = [f"{month}: {_counts(outcome.tally)}"]
    if outcome.is_with_workers:
        told.append(f"the workers go on; `digest issue pause {month}` stops them")
    if outcome.is_finished:
        told.append("nothing more of it goes out by itself" if outcome.tally.held else "it is sent")
    elif outcome.next_due_at is not None:
        told.append(f"the next letter is due {outcome.next_due_at:%Y-%m-%d %H:%M} UTC")
    return "; ".join(told)


def waiting(month: str, held: int) -> str:
    """That *held* letters wait for a person, and what to type."""
    return (
        f"letters of {month} that wait for you: {held}; `digest audit {month}` names them,"
        f" `digest resolve {month} --resend` or `--accepted` decides"
    )


def _counts(counted: Tally) -> str:
    shown = {
        "accepted": counted.accepted,
        "on the wire": counted.sending,
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
def interruptible(
    goes_on: str, ending: str = SENDING_ENDS, stop: threading.Event | None = None
) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM say *ending* and set *stop*: the run ends in order, what is on the wire is finished.

    A second Ctrl-C ends it at once. Nothing is lost by that either: letters whose answer was not written
    down are in doubt.
    """
    stop = stop or threading.Event()
    interrupts = 0

    def end(number: int, _frame: object) -> None:
        nonlocal interrupts
        # Only Ctrl-C is counted: a wrapper may pass on SIGTERM for the one that its own terminal sent.
        interrupts += number == signal.SIGINT
        if interrupts == 2:
            _end_at_once(goes_on)
        elif not stop.is_set():
            again = "; once more Ctrl-C ends at once" if number == signal.SIGINT else ""
            stop.set()
            _tell(f"{ending}{again}")

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(line: str) -> None:
    """*line* on standard error, also where the signal came in the middle of another line."""
    try:
        warn(line)
    except RuntimeError:
        # "reentrant call": Python's buffers cannot be written from within their own writing.
        os.write(2, f"\n{line}\n".encode())


def _end_at_once(goes_on: str) -> None:
    """The process is gone, by the signal it was sent, so that a shell's script stops too."""
    _tell(f"ended at once: what was on the wire is in doubt, nothing is lost; {goes_on}")
    if sys.__stderr__ is not None and sys.__stderr__.isatty():
        # The bar hid the cursor; what it put in place of sys.stderr would wait for the end of a line.
        os.write(sys.__stderr__.fileno(), b"\x1b[?25h")
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)


@app.command()
def audit(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Say of every letter of the month where it stands; exit 4 if it does not add up."""
    house = opened(ctx)
    take_stock(house.engine, clock())
    with reading(house.engine) as session:
        issue = issue_of(session, house.month(month))
        assert issue.id is not None
        counted, status = tally(session, issue.id), issue.status
        some = those_who_wait(session, issue.id, NAMED)
    if as_json:
        say_json(counted.as_json())
    else:
        say(f"{month}: {_counts(counted)}")
        for reason, number in counted.skipped.items():
            say(f"  skipped, {reason}: {number}")
        for one in some:
            say(f"  {one.state.value.replace('_', ' ')}, {one.address or 'an erased reader'}: {one.reason}")
        if (more := counted.in_doubt + counted.held - len(some)) > 0:
            say(f"  … and {more} more")
        if status in UNSENT:
            say("nobody is to get it yet: who is on the list when it goes out will")
        say("it adds up" if counted.balanced else "it does NOT add up")
    if not counted.balanced:
        raise FaultFound(f"{month} does not add up: keep the store as it is and look at its deliveries")


@app.command("resolve")
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
        ids = []
        for one in addresses or []:
            known = find(session, parse(one).key)
            if known is None or known.id is None:
                raise DigestError(f"{one} is not a subscriber")
            ids.append(known.id)
        decision = Decision.RESEND if resend else Decision.ACCEPTED
        decided = decide(session, issue, decision, editor(), clock(), ids if addresses else None)
    say(
        f"{decided} letters decided"
        + (f"; `digest dispatch {month}` sends them" if decided and resend else "")
    )


@app.command("trace")
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
