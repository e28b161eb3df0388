"""What a person says of a store that a run refused: it was restored, it has moved, its clock was wrong."""

import typer

from digest.cli.opened import opened, say, warn
from digest.errors import DigestError
from digest.outfit import clock
from digest.sending.accepting import accept_clock, accept_restored, has_file, move_here
from digest.sending.lineage import file_of

app = typer.Typer(no_args_is_help=True, help="After a restore, a move or a clone: let the store send again.")


@app.command(name="accept-restored")
def accept_restored_(
    ctx: typer.Context,
    months: list[str] = typer.Argument(
        None, help="These too, whatever is known of them.", metavar="[YYYY-MM]..."
    ),
) -> None:
    """Go on with a restored backup: letters that may have gone out since are held, so nobody gets two."""
    house = opened(ctx)
    held = accept_restored(house.engine, {str(house.month(one)) for one in months or []}, clock())
    if not held:
        if not has_file(house.engine):
            raise DigestError(
                f"there is no {file_of(house.engine)} to say what went out since: name the months that may"
                " have, as in `digest store accept-restored 2015-09`"
            )
        say("the store is as far as this machine has seen it: nothing to do")
    for month, number in held.items():
        if number:
            say(
                f"{month}: {number} letters held; `digest reconcile {month} --postfix-log FILE` settles what"
                f" the relay's log knows, `digest resolve {month} --resend` or `--accepted` the rest"
            )
        else:
            say(f"{month}: no letter waits; those of an audience that is frozen later will be held")


@app.command(name="move-here")
def move_here_(ctx: typer.Context) -> None:
    """Send from this machine (PostgreSQL: this database) from now on; the other one must send no more."""
    house = opened(ctx)
    if not move_here(house.engine):
        say("letters go out from here already: nothing to do")
        return
    say("letters go out from here from now on; see to it that the other one sends no more")
    if not has_file(house.engine):
        warn(
            f"{file_of(house.engine)} did not come along: if this store is not the newest, name the months"
            " that may have gone out since in `digest store accept-restored YYYY-MM`"
        )


@app.command(name="accept-clock")
def accept_clock_(ctx: typer.Context) -> None:
    """Go on although the ledger has events of the future: a clock was wrong, and is right now."""
    house = opened(ctx)
    done = accept_clock(house.engine)
    say("the ledger's times so far count no more" if done else "the ledger has no such times: nothing to do")
