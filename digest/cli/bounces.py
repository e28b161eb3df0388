"""`digest bounces …`: what came back is read, and what waits for a person is shown and settled."""

import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import typer
from sqlalchemy.exc import SQLAlchemyError

from digest.cli.ending import ending
from digest.cli.opened import JSON, Opened, opened, printable, say, say_json, say_table, warn
from digest.errors import DigestError, UsageError
from digest.outfit import clock
from digest.returns.imap import arrived_by_imap
from digest.returns.keeping import Collected, collect
from digest.returns.places import Arrived, arrived_at, piped
from digest.returns.undoing import believe, doubted, undo
from digest.returns.waiting import raw_of, see_to, waiting
from digest.returns.working import Worked, work_off
from digest.sorting import account_of, office_of

app = typer.Typer(
    no_args_is_help=True, help="What came back: bounces, complaints, wishes to leave; read and counted."
)

#: what stands for standard input
STDIN = "-"
#: to a mail server: keep it, and try again later (sysexits.h)
TRY_AGAIN = 75
_SHOWN_LINES = 400

NUMBER = typer.Argument(help="As `digest bounces list` says.", metavar="NUMBER")


@app.command()
def read(
    ctx: typer.Context,
    place: str | None = typer.Argument(
        None, help="A maildir, an mbox, the file of one message, or - for a pipe.", metavar="PATH|-"
    ),
    imap: bool = typer.Option(False, "--imap", help="The mailbox of the DIGEST_IMAP settings instead."),
    as_json: bool = JSON,
) -> None:
    """Keep what came back, then count it: each message once, however often it is read."""
    if (place is None) != imap:
        raise typer.BadParameter("say either where it lies, or --imap")
    if place == STDIN:
        _read_pipe(ctx)
        return
    house = opened(ctx)
    collected = collect(house.engine, _arrived(house, place), clock)
    worked = work_off(office_of(house.settings, house.engine), clock())
    if as_json:
        say_json(_document(collected, worked))
        return
    for line in _told(collected, worked):
        say(line)


def _read_pipe(ctx: typer.Context) -> None:
    """One message is kept, or its mail server is told to keep it: any other failure would lose it."""
    try:
        house = opened(ctx)
        collect(house.engine, [piped(sys.stdin.buffer)], clock)
    except Exception as error:
        told = ending(error)
        warn(told.line if told else f"not kept: {type(error).__name__}")
        raise typer.Exit(TRY_AGAIN) from error
    try:
        work_off(office_of(house.settings, house.engine), clock())
    except (DigestError, SQLAlchemyError) as error:
        warn(f"kept; it is counted by the next `digest run` ({type(error).__name__})")


def _arrived(house: Opened, place: str | None) -> Iterator[Arrived]:
    return arrived_by_imap(account_of(house.settings)) if place is None else arrived_at(Path(place))


def _document(collected: Collected, worked: Worked) -> dict[str, int]:
    return {
        "new": collected.new,
        "known": collected.known,
        "counted": worked.done,
        "waiting": worked.waiting,
    }


def _told(collected: Collected, worked: Worked) -> list[str]:
    if not (collected.new or collected.known or worked.done or worked.waiting):
        return ["nothing came back"]
    known = f", {collected.known} known already" if collected.known else ""
    messages = "1 message" if collected.new == 1 else f"{collected.new} messages"
    lines = [f"{messages} kept{known}; {worked.done} counted"]
    if worked.waiting:
        lines.append(f"{worked.waiting} wait for a person: `digest bounces list`")
    return lines


@app.command(name="list")
def list_(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List what waits for a person: messages, and providers that are not believed."""
    house = opened(ctx)
    messages, providers = waiting(house.engine), doubted(house.engine)
    if as_json:
        say_json(
            {
                "messages": [
                    {
                        "id": one.id,
                        "at": one.at.isoformat(),
                        "came": one.came.value,
                        "why": one.why,
                        "from": one.sender,
                        "subject": one.subject,
                    }
                    for one in messages
                ],
                "doubted": [
                    {
                        "issue": one.month,
                        "domain": one.domain,
                        "hard": one.hard,
                        "letters": one.letters,
                        "since": one.since.isoformat(),
                    }
                    for one in providers
                ],
            }
        )
        return
    for one in providers:
        say(
            f"{one.domain} is not believed: it called {one.hard} of {one.letters} letters of {one.month}"
            f" dead. If that is true: digest bounces believe {one.month} {one.domain}"
        )
    say_table(
        ["number", "came", "from", "subject", "waits because"],
        [[str(one.id), f"{one.at:%Y-%m-%d %H:%M}", one.sender, one.subject, one.why] for one in messages],
    )
    if messages:
        say("`digest bounces show NUMBER` shows one; `digest bounces done NUMBER` takes it off this list")
    elif not providers:
        say("nothing waits")


@app.command()
def show(
    ctx: typer.Context,
    number: int = NUMBER,
    raw: bool = typer.Option(False, "--raw", help="Its very bytes, for a file: they may harm a terminal."),
) -> None:
    """Show a message that came back, without anything that would act on a terminal."""
    message = raw_of(opened(ctx).engine, number)
    if raw:
        sys.stdout.buffer.write(message)
        return
    lines = message.decode(errors="replace").splitlines()
    for line in lines[:_SHOWN_LINES]:
        say(printable(line))
    if len(lines) > _SHOWN_LINES:
        say(f"… and {len(lines) - _SHOWN_LINES} more lines; --raw gives all")


@app.command()
def done(
    ctx: typer.Context,
    numbers: list[int] = typer.Argument(help="As `digest bounces list` says.", metavar="NUMBER..."),
) -> None:
    """Say that somebody has seen to messages: they wait no more."""
    say(f"{see_to(opened(ctx).engine, numbers, clock())} wait no more")


@app.command(name="undo")
def undo_(
    ctx: typer.Context,
    since: str = typer.Option(help="From here on, as in 2015-10-01T09:00.", metavar="WHEN"),
    until: str | None = typer.Option(None, help="To before this; default: now.", metavar="WHEN"),
    domain: str | None = typer.Option(None, help="Only what was said of its addresses."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be given back."),
    as_json: bool = JSON,
) -> None:
    """Take back what bounces of a window of time have cost: whoever they paused or bounced is back."""
    house, now = opened(ctx), clock()
    undone = undo(
        house.engine,
        _instant(since, house.settings.zone),
        _instant(until, house.settings.zone) if until else now,
        domain.lower() if domain else None,
        secret=house.suppression_secret,
        now=now,
        dry_run=dry_run,
    )
    if as_json:
        say_json(
            {
                "dry_run": dry_run,
                "reports": undone.reports,
                "readers": [
                    {"address": one.address, "was": one.was.value, "is": one.now.value}
                    for one in undone.given_back
                ],
            }
        )
        return
    for one in undone.given_back:
        say(f"{one.address}: {one.was} -> {one.now}")
    would = "would count" if dry_run else "count"
    say(f"{undone.reports} bounces {would} no more; {len(undone.given_back)} readers given back")


@app.command(name="believe")
def believe_(
    ctx: typer.Context,
    month: str = typer.Argument(help="The issue.", metavar="YYYY-MM"),
    domain: str = typer.Argument(help="The receiving domain.", metavar="DOMAIN"),
) -> None:
    """Believe a provider that called so many letters dead that it was not believed."""
    house = opened(ctx)
    issue = str(house.month(month))
    count = believe(house.engine, issue, domain.lower(), house.suppression_secret, clock())
    say(f"{domain} is believed: {count} readers are bounced or paused by it")


def _instant(text: str, zone: ZoneInfo) -> datetime:
    """The instant written as ISO 8601, in the publication's zone where it names none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date and time: write 2015-10-01T09:00") from None
    return found if found.tzinfo else found.replace(tzinfo=zone)
