"""`digest reconcile`: letters in doubt, settled from the relay's own records."""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import typer

from digest.cli.opened import JSON, opened, printable, say, say_json
from digest.cli.sending import MONTH
from digest.database import reading
from digest.errors import DigestError
from digest.issue.approve import frozen_of
from digest.issue.compose import issue_of
from digest.outfit import clock, stencil_of
from digest.sending.reconcile import Reconciled, by_list, by_log, settle, summed
from digest.sending.relaylog import lines_of
from digest.sending.send import take_stock

#: what stands for standard input
STDIN = "-"


app = typer.Typer()


@app.command()
def reconcile(
    ctx: typer.Context,
    month: str = MONTH,
    postfix_log: list[str] = typer.Option(
        [],
        help="The relay's log, also as .gz; - is standard input. May be given more than once.",
        metavar="FILE",
    ),
    csv: str | None = typer.Option(
        None, help="A list with the columns message-id and status instead.", metavar="FILE"
    ),
    whole: bool = typer.Option(
        False, "--whole", help="The log lacks nothing: what is not in it was never taken, and is sent again."
    ),
    log_zone: str | None = typer.Option(
        None, help="The zone of stamps without one; default: this machine's.", metavar="ZONE"
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be done."),
    as_json: bool = JSON,
) -> None:
    """Settle letters in doubt from the relay's own log."""
    if bool(postfix_log) == bool(csv):
        raise typer.BadParameter("say either --postfix-log or --csv")
    if csv and (whole or log_zone):
        raise typer.BadParameter(
            "--whole and --log-zone are for --postfix-log; a list says `not found` itself"
        )
    zone = _zone(log_zone)
    house = opened(ctx)
    take_stock(house.engine, clock())
    with reading(house.engine) as session:
        issue = issue_of(session, house.month(month))
        name_of = stencil_of(house.settings)(frozen_of(session, issue)).message_id
        assert issue.id is not None
        issue_id = issue.id
    if csv:
        rulings = by_list(
            house.engine, issue_id, _lines(csv), source=_name(csv), name_of=name_of, now=clock()
        )
    else:
        logs = [(_name(one), _lines(one)) for one in postfix_log]
        rulings = by_log(house.engine, issue_id, logs, name_of=name_of, whole=whole, zone=zone, now=clock())
    found = summed(rulings) if dry_run else settle(house.engine, issue_id, rulings, clock())
    if as_json:
        say_json({**found.as_json(), "dry_run": dry_run})
        return
    for line in _told(month, found, dry_run):
        say(line)


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, KeyError, OSError):
        raise typer.BadParameter(f"--log-zone {name!r} is no time zone: write Europe/Kyiv, or UTC") from None


def _name(place: str) -> str:
    """What the ledger calls it: its last part, on one line."""
    return "standard input" if place == STDIN else printable(Path(place).name)[:80]


def _lines(place: str) -> Iterator[bytes]:
    """The lines of what is at *place*; DigestError on the way where it cannot be read."""
    try:
        if place == STDIN:
            yield from lines_of(sys.stdin.buffer)
        else:
            with Path(place).open("rb") as file:
                yield from lines_of(file)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(place, error) from None


def _unreadable(place: str, error: Exception) -> DigestError:
    why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DigestError(f"{printable(place)} cannot be read: {why}; nothing was changed")


def _told(month: str, found: Reconciled, dry_run: bool) -> list[str]:
    if not found.in_doubt:
        return [f"{month}: no letter is in doubt"]
    would = "would be " if dry_run else ""
    lines = [
        f"{month}: {found.in_doubt} in doubt: {found.accepted} {would}accepted,"
        f" {found.queued} {would}queued again, {found.left} {would}left as they were"
    ]
    lines += [f"  left, {why}: {count}" for why, count in found.left_because.items()]
    if found.fates:
        fates = ", ".join(f"{count} {fate}" for fate, count in found.fates.items())
        lines.append(f"  what came of the accepted: {fates}")
    if found.queued and not dry_run:
        lines.append(f"`digest dispatch {month}` sends what is queued again")
    return lines
