"""`digest subscribers …`: who receives."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer

from digest.cli.opened import JSON, opened, say, say_json, say_table
from digest.cli.sending import trace_
from digest.database import reading, writing
from digest.errors import DigestError, UsageError
from digest.wiring import clock
from subscribers.address import Address, BadAddress, parse
from subscribers.exchange import Report, Stale, Terms, Verdict, apply, dry_run, export
from subscribers.lifecycle import (
    Cause,
    Evidence,
    Newcomer,
    NotAllowed,
    Origin,
    add,
    find,
    suppress,
    unsubscribe,
)
from subscribers.models import State
from subscribers.roll import roll
from subscribers.sheet import Unreadable

app = typer.Typer(
    no_args_is_help=True, help="Who receives: add, list, import, export, unsubscribe, suppress."
)

ADDRESS = typer.Argument(help="The address.", metavar="ADDRESS")
GROUND = "asked for it; the editor vouches"


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


app.command(name="show")(trace_)


@app.command(name="import")
def import_(
    ctx: typer.Context,
    file: Path = typer.Argument(help="A CSV with a column of addresses.", exists=True, dir_okay=False),
    apply_hash: str | None = typer.Option(
        None, "--apply", help="Do it: the hash of the report of a dry run.", metavar="HASH"
    ),
    ground: str = typer.Option(GROUND, help="Why these people may be written to; kept as proof."),
    roles: bool = typer.Option(False, "--roles", help="Take abuse@, noreply@ and the like too."),
    as_json: bool = JSON,
) -> None:
    """Show what an import would do; with --apply HASH do what that report said."""
    house = opened(ctx)
    terms, secret = Terms(ground=ground, roles=roles), house.suppression_secret
    with _one_line():
        if apply_hash is None:
            with reading(house.engine) as session:
                report = dry_run(session, file, terms, secret)
        else:
            with writing(house.engine) as session:
                report = apply(session, file, terms, apply_hash, secret, clock())
    if as_json:
        say(report.to_json())
        return
    _say(report, file)


def _say(report: Report, file: Path) -> None:
    say(f"{file.name}: {report.rows} rows{', imported' if report.applied else ''}")
    rows = [
        [str(report.counts[verdict]), verdict.replace("_", " "), _lines(report, verdict)]
        for verdict in Verdict
        if report.counts[verdict]
    ]
    say_table(["rows", "", "lines"], rows)
    for line, typed, meant in report.slips:
        say(f"line {line}: {typed} may be a slip for {meant}")
    if not report.applied:
        say(f"nothing has been imported yet; to do it: --apply {report.hash}")


def _lines(report: Report, verdict: Verdict) -> str:
    named = report.lines.get(verdict, [])
    shown = "; ".join(f"{line}: {why}" if why else str(line) for line, why in named[:5])
    return shown + ("; …" if len(named) > 5 else "")


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
        new = suppress(session, _parsed(address), Cause.MANUAL, evidence, house.suppression_secret)
    say(f"{address} is suppressed{'' if new else ' already'}")
