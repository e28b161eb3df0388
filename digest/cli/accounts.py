"""`digest editors …`, `digest tokens …`: who may work at the desk, and which programs may use the API."""

import secrets
import sys
from getpass import getpass

import typer

from digest.accounts.bearer import add_token, revoke_token, tokens
from digest.accounts.editors import add_editor, editors, remove_editor
from digest.accounts.models import Role
from digest.accounts.passwords import Passwords, fault
from digest.cli.opened import JSON, opened, say, say_json, say_table
from digest.database import reading, writing
from digest.errors import DigestError
from digest.outfit import clock
from subscribers.address import parse

editors_app = typer.Typer(no_args_is_help=True, help="Who may work at the desk: add, list, remove.")
tokens_app = typer.Typer(no_args_is_help=True, help="Which programs may use the API: add, list, revoke.")

ADDRESS = typer.Argument(help="What they log in with.", metavar="ADDRESS")
NAME = typer.Argument(help="What you call it: the program that uses it.")


@editors_app.command(name="add")
def add_(
    ctx: typer.Context,
    address: str = ADDRESS,
    name: str = typer.Option("", help="As it stands in an issue's history; else the address."),
    role: Role = typer.Option(Role.EDITOR, help="An approver may also let letters go out."),
) -> None:
    """Let somebody work at the desk, or give them another password or role; they are logged out then.

    The password is asked for twice, or read from standard input where that is no terminal.
    """
    house, who = opened(ctx), parse(address)
    password = _password()
    if wrong := fault(password, who.address):
        raise DigestError(f"nothing was changed: {wrong}")
    kept = Passwords().hashed(password)
    with writing(house.engine) as session:
        new = add_editor(session, who, name or who.address, role, kept, clock())
    done = (
        "may work at the desk now" if new else "has that password and role now, and is logged out everywhere"
    )
    say(f"{who.address} {done} ({role}): {house.settings.base_url}/desk/")


@editors_app.command(name="list")
def list_(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the editors."""
    house = opened(ctx)
    with reading(house.engine) as session:
        shown = [
            {
                "address": one.address,
                "name": one.name,
                "role": one.role.value,
                "created_at": one.created_at.isoformat(),
            }
            for one in editors(session)
        ]
    if as_json:
        say_json(shown)
    else:
        rows = [[one["address"], one["name"], one["role"], one["created_at"][:10]] for one in shown]
        say_table(["address", "name", "role", "since"], rows)


@editors_app.command()
def remove(ctx: typer.Context, address: str = ADDRESS) -> None:
    """Take somebody's account away; they are logged out at once."""
    house, who = opened(ctx), parse(address)
    with writing(house.engine) as session:
        remove_editor(session, who, clock())
    say(f"{who.address} has no account any more")


def _password() -> str:
    """The password, from a terminal twice, else the first line of standard input."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass("A password: ")
    if password != getpass("Once more: "):
        raise DigestError("nothing was changed: the two passwords differ")
    return password


@tokens_app.command(name="add")
def add_token_(ctx: typer.Context, name: str = NAME) -> None:
    """Make a token and show it, this once: only its hash is kept."""
    house = opened(ctx)
    with writing(house.engine) as session:
        token = add_token(session, name, clock(), secrets.token_urlsafe)
    say(token)


@tokens_app.command(name="list")
def list_tokens(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the tokens by name, with the day each was last used."""
    house = opened(ctx)
    with reading(house.engine) as session:
        shown = [
            {
                "name": one.name,
                "created_at": one.created_at.isoformat(),
                "used_at": one.used_at and one.used_at.isoformat(),
            }
            for one in tokens(session)
        ]
    if as_json:
        say_json(shown)
    else:
        rows = [
            [one["name"] or "", (one["created_at"] or "")[:10], (one["used_at"] or "")[:10]] for one in shown
        ]
        say_table(["name", "since", "last used"], rows)


@tokens_app.command()
def revoke(ctx: typer.Context, name: str = NAME) -> None:
    """Let a token work no more."""
    house = opened(ctx)
    with writing(house.engine) as session:
        revoke_token(session, name)
    say(f"the token {name!r} works no more")
