"""What a person may ask of the publication, and its keys: show, erase, `digest keys rotate`."""

import secrets
from pathlib import Path

import typer

from digest.cli.opened import JSON, env_file, opened, say, say_json, warn
from digest.database import reading
from digest.errors import DigestError
from digest.forgetting import erase_person, scrub
from digest.initial import add_key
from digest.issue.history import being_sent
from digest.outfit import clock
from digest.trace import trace
from digest.wiring import told_page
from subscribers.address import parse

keys_app = typer.Typer(no_args_is_help=True, help="The keys that sign the links in letters.")


def show(
    ctx: typer.Context,
    address: str = typer.Argument(help="Whom to look for.", metavar="ADDRESS"),
    as_json: bool = JSON,
    html: Path | None = typer.Option(None, "--html", help="Write it as a page, for that person."),
) -> None:
    """Tell everything that is kept of an address: for its owner, with --json or --html FILE."""
    house = opened(ctx)
    with reading(house.engine) as session:
        story = trace(session, parse(address), house.suppression_secret)
    if html is not None:
        html.write_text(told_page(house.settings, story), encoding="utf-8")
        say(f"{html} written")
    elif as_json:
        say_json(story.to_json())
    else:
        for line in story.lines():
            say(line)


def erase(
    ctx: typer.Context, address: str = typer.Argument(help="Whom to forget.", metavar="ADDRESS")
) -> None:
    """Forget a person for good: nothing of the address stays, and it is never written to again."""
    house = opened(ctx)
    known = erase_person(house.engine, parse(address), house.suppression_secret, clock())
    say("erased" if known else "nobody has this address; it will not be written to")
    if not scrub(house.engine, always=True):
        raise DigestError(
            "the rows are gone; the store's files still hold their bytes, because others are at work:"
            " `digest run` takes them out, or type this again in a while"
        )


@keys_app.command()
def rotate(ctx: typer.Context) -> None:
    """Sign with a fresh key from now on; the old ones verify for ever, so every old link keeps working."""
    house = opened(ctx)
    with reading(house.engine) as session:
        month = being_sent(session)
    if month is not None:
        # A letter in doubt is sent again with the same bytes, and its links are among them.
        raise DigestError(f"{month} is being sent: rotate the keys when it is done")
    path = env_file(ctx)
    current = house.settings.secret_keys.get_secret_value()
    count = add_key(path, secrets.token_hex(32), current)
    say(f"{path}: a fresh key signs from now on, {count - 1} older ones verify; keep a copy of the file")
    warn("restart `digest serve` so that it signs with the new key, too")
