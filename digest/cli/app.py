"""The commands' tree, and `main`: errors a person can put right become one line and an exit code.

Each room of commands is opened when one of its commands is asked for: to read in everything takes two
seconds and 120 MB, and a dispatch needs neither the renderer nor the pages.
"""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.core import TyperGroup

#: in which room a command stands, or its group, and the name of its tree there
ROOMS = {
    "init": "starting:app",
    "demo": "serving:app",
    "serve": "serving:app",
    "dispatch": "sending:app",
    "run": "ticking:app",
    "worker": "working:app",
    "audit": "sending:app",
    "resolve": "sending:app",
    "trace": "sending:app",
    "reconcile": "reconcile:app",
    "sources": "posts:sources_app",
    "posts": "posts:app",
    "issue": "issues:app",
    "subscribers": "people:app",
    "bounces": "bounces:app",
    "keys": "rights:keys_app",
    "editors": "accounts:editors_app",
    "tokens": "accounts:tokens_app",
    "store": "store:app",
    "doctor": "examining:app",
}


class Tree(TyperGroup):
    """The commands of `ROOMS`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # Only the names, which are looked at for "Did you mean": the commands are read in by `get_command`.
        self.commands: Any = dict.fromkeys(ROOMS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command or group of that name; None: there is none."""
        if cmd_name not in ROOMS:
            return None
        room, _, name = ROOMS[cmd_name].partition(":")
        group = typer.main.get_group(getattr(import_module(f"digest.cli.{room}"), name))
        found: Any = group.commands.get(cmd_name, group)
        found.name = cmd_name
        return found


app = typer.Typer(
    cls=Tree,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A monthly digest of a publication's posts: build, approve, send, each letter once.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"digest {version('monthly-digest')}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    env: Path = typer.Option(Path(".env"), "--env", help="The publication's settings.", metavar="FILE"),
    _version: bool = typer.Option(
        False, "--version", help="Show the version.", is_eager=True, callback=_show_version
    ),
) -> None:
    """Remember which publication is meant."""
    ctx.obj = env


def main() -> None:
    """Run the command line; every file it makes is its owner's only."""
    os.umask(0o077)
    try:
        app()
    except Exception as error:
        # Whoever raised one of ours has read these in.
        ending = import_module("digest.cli.ending").ending(error)
        if ending is None:
            raise
        sys.stderr.write(f"{ending.line}\n")
        sys.exit(ending.code)
