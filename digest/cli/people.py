"""`digest subscribers …`: who receives."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from digest.cli import rights
from digest.cli.opened import JSON, env_file, opened, say, say_json, say_table
from digest.database import reading, writing
from digest.errors import DigestError, UsageError
from digest.outbox import keep_asked
from digest.outfit import clock
from subscribers.address import Address, BadAddress, parse
from subscribers.arrivals import add
from subscribers.departures import bar
from subscribers.evidence import Evidence, Newcomer, NotAllowed, Origin
from subscribers.exchange import Stale, Watch, apply, dry_run, export
from subscribers.files import Unreadable
from subscribers.headings import PLAIN
from subscribers.lifecycle import unsubscribe
from subscribers.models import Cause, State
from subscribers.report import Report, Terms, Verdict
from subscribers.roll import find, roll

app = typer.Typer(
    no_args_is_help=True, help="Who receives: add, list, import, export, unsubscribe, suppress."
)
app.command(name="show")(rights.show)
app.command(name="erase")(rights.erase)

ADDRESS = typer.Argument(help="The address.", metavar="ADDRESS")
GROUND = "asked for it; the editor vouches"
#: so many at once, and this part of the list, make mail providers look twice (I-6)
MANY, LARGE_PART = 1000, 0.1


@contextmanager
def _one_line() -> Iterator[None]:
    """What the subscribers' side refuses is one line for a person."""
    try:
        yield
    except (BadAddress, NotAllowed, Stale, Unreadable) as error:
        raise DigestError(str(error)) from error


def _parsed(text: str) -> Address:
    try:
        return parse(text)
    except BadAddress as error:
        raise DigestError(f"{text}: {error}") from error


@app.command(name="add")
def add_(
    ctx: typer.Context,
    address: str = ADDRESS,
    name: str = typer.Option("", help="Their name."),
    ground: str = typer.Option(GROUND, help="Why they may be written to; kept as proof."),
) -> None:
    """Put somebody on the list, active at once; the ground you state is kept as proof."""
    house = opened(ctx)
    evidence = Evidence(origin=Origin.EDITOR, at=clock(), wording=ground)
    newcomer = Newcomer(_parsed(address), name)
    with _one_line(), writing(house.engine) as session:
        new = add(session, newcomer, evidence, house.suppression_secret)
    say(f"{newcomer.address.address} is on the list{'' if new else ' already'}")


@app.command(name="list")
def list_(
    ctx: typer.Context,
    state: str | None = typer.Option(None, help="Only these: active, paused, unsubscribed, …"),
    as_json: bool = JSON,
) -> None:
    """List the subscribers."""
    if state is not None and state not in set(State):
        raise UsageError(f"{state!r} is no state: {', '.join(State)}")
    house = opened(ctx)
    with reading(house.engine) as session:
        people = [
            {
                "address": one.address,
                "name": one.name,
                "state": one.state.value,
                "since": one.changed_at.isoformat(),
            }
            for one in roll(session, state)
        ]
    if as_json:
        say_json(people)
    else:
        say_table(
            ["address", "name", "state", "since"],
            [[one["address"], one["name"], one["state"], one["since"][:10]] for one in people],
        )


@app.command(name="import")
def import_(
    ctx: typer.Context,
    file: Path = typer.Argument(
        help="A CSV with a column of addresses, or a zip of some.", exists=True, dir_okay=False
    ),
    apply_hash: str | None = typer.Option(
        None, "--apply", help="Do it: the hash of the report of a dry run.", metavar="HASH"
    ),
    ground: str = typer.Option(GROUND, help="Why these people may be written to; kept as proof."),
    roles: bool = typer.Option(False, "--roles", help="Take abuse@, noreply@ and the like too."),
    typos: bool = typer.Option(False, "--typos", help="Take what looks like a slip of the hand too."),
    vouch: bool = typer.Option(
        False, "--vouch", help="You state that those of unknown consent said yes: you looked it up elsewhere."
    ),
    ask: bool = typer.Option(
        False, "--ask", help="Ask who never said yes, as far as the file knows, by one mail each."
    ),
    as_json: bool = JSON,
) -> None:
    """Show what an import would do; with --apply HASH do what that report said.

    It reads what Mailchimp, MailPoet, listmonk, Ghost, Substack, Buttondown and beehiiv export, and any
    other CSV with a column of addresses. Nobody who left is ever brought back.
    """
    house, now = opened(ctx), clock()
    terms = Terms(ground=ground, roles=roles, typos=typos, vouch=vouch, ask=ask)
    secret = house.suppression_secret
    with _one_line(), _bar(as_json) as watch:
        if apply_hash is None:
            report = dry_run(partial(reading, house.engine), file, terms, secret, watch)
        else:
            opening = partial(writing, house.engine)
            asked = partial(keep_asked, now=now)
            report = apply(opening, file, terms, apply_hash, secret, now, asked=asked, watch=watch)
    if as_json:
        say(report.to_json())
    else:
        _say(report)
        _say_next(report, _command(env_file(ctx), file, terms, report.hash))


@contextmanager
def _bar(quiet: bool) -> Iterator[Watch]:
    """A live bar on a terminal; nothing elsewhere, or where *quiet*."""
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("who left", total=None)

        def watch(done: int, total: int | None) -> None:
            said = "who left" if total is None else "who comes"
            progress.update(task, description=said, completed=done, total=total)

        yield watch


def _say(report: Report) -> None:
    """*report* as people read it."""
    made = "a plain CSV" if report.program == PLAIN else f"looks like {report.program}'s export"
    several = f", {len(report.sheets)} files" if len(report.sheets) > 1 else ""
    say(f"{report.file}: {made}{several}, {report.rows:,} rows{', imported' if report.applied else ''}")
    rows = [
        [str(report.counts[verdict]), verdict.replace("_", " "), _lines(report, verdict)]
        for verdict in Verdict
        if report.counts[verdict]
    ]
    say_table(["rows", "", "lines"], rows)
    for verdict, line in _HINTS.items():
        if report.counts[verdict] and not report.applied:
            say(f"{verdict.replace('_', ' ')}: {line}")
    new = report.counts[Verdict.ACCEPTED]
    if new > max(MANY, LARGE_PART * report.active_before):
        say(
            f"advice: {new:,} new readers on a list of {report.active_before:,} make mail providers look"
            " twice: begin with a low DIGEST_SMTP_RATE (1) and raise it issue by issue"
        )


#: how whoever is left out comes in after all
_HINTS = {
    Verdict.CONSENT_UNKNOWN: "the export does not say who confirmed. --ask asks them by one mail each;"
    " --vouch takes them as they are, where you looked it up elsewhere",
    Verdict.NOT_CONFIRMED: "--ask asks them by one mail each",
    Verdict.ROLE: "--roles takes them too",
    Verdict.TYPO_SUSPECT: "--typos takes them too",
}


def _lines(report: Report, verdict: Verdict) -> str:
    named = report.lines.get(verdict, [])
    return "; ".join(map(str, named[:5])) + ("; …" if report.counts[verdict] > 5 and named else "")


def _say_next(report: Report, command: str) -> None:
    """What to type now."""
    if not report.applied:
        say(f"nothing is imported yet; to do it: {command}")
    elif report.counts[Verdict.ASKED]:
        say("who is asked gets their mail with the next `digest run`, or at once while `digest serve` runs")
    else:
        say("who is on the list now: digest subscribers list")


def _command(env: Path, file: Path, terms: Terms, hash: str) -> str:
    """What is typed to import *file* as reported."""
    flags = [f"--{name}" for name in ("roles", "typos", "vouch", "ask") if getattr(terms, name)]
    ground = ["--ground", terms.ground] if terms.ground != GROUND else []
    where = ["--env", str(env)] if env != Path(".env") else []
    said = ["digest", *where, "subscribers", "import", str(file), *ground, *flags, "--apply", hash]
    return shlex.join(said)


@app.command(name="export")
def export_(
    ctx: typer.Context,
    out: Path | None = typer.Option(None, help="The file to write; else standard output."),
    raw: bool = typer.Option(
        False, "--raw", help="Leave cells that spreadsheets take for formulas as they are."
    ),
) -> None:
    """Write everybody, in every state, with reasons and dates, as CSV."""
    house = opened(ctx)
    with reading(house.engine) as session:
        if out is None:
            export(session, sys.stdout, raw=raw)
            return
        with out.open("w", encoding="utf-8", newline="") as file:
            written = export(session, file, raw=raw)
    say(f"{written} people written to {out}")


@app.command(name="unsubscribe")
def unsubscribe_(ctx: typer.Context, address: str = ADDRESS) -> None:
    """Take somebody off the list at their own wish."""
    house = opened(ctx)
    evidence = Evidence(origin=Origin.EDITOR, at=clock(), wording="asked an editor")
    with writing(house.engine) as session:
        known = find(session, _parsed(address).key)
        if known is None or known.id is None:
            raise DigestError(f"{address} is not on the list")
        done = unsubscribe(session, known.id, evidence)
    say(f"{address} is unsubscribed{'' if done else ' already'}")


@app.command(name="suppress")
def suppress_(
    ctx: typer.Context,
    address: str = ADDRESS,
    reason: str = typer.Option("by hand", help="Why, for whoever looks later."),
) -> None:
    """Never write to an address again, subscriber or not."""
    house = opened(ctx)
    evidence = Evidence(origin=Origin.EDITOR, at=clock(), wording=reason)
    with writing(house.engine) as session:
        new = bar(session, _parsed(address), Cause.MANUAL, evidence, house.suppression_secret)
    say(f"{address} is suppressed{'' if new else ' already'}")
