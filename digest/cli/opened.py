"""What each command starts from: the settings, the store, and how its answer is shown."""

import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import Engine

from digest.database import open_engine
from digest.month import Month
from digest.outfit import suppression_secret_of
from digest.settings import Settings, load
from digest.vintage import require_current

JSON = typer.Option(False, "--json", help="One JSON document on standard output and nothing else.")


@dataclass(frozen=True, slots=True)
class Opened:
    """One publication, opened."""

    settings: Settings
    engine: Engine

    @property
    def suppression_secret(self) -> bytes:
        """The key of "never again"; UsageError where it is not set."""
        return suppression_secret_of(self.settings)

    def month(self, text: str) -> Month:
        """The month written YYYY-MM in the publication's zone."""
        return Month.parse(text, self.settings.zone)


def opened(ctx: typer.Context) -> Opened:
    """The publication of `--env`, its store at this program's version."""
    settings = load(env_file(ctx))
    engine = open_engine(settings.database_url)
    ctx.find_root().call_on_close(engine.dispose)
    require_current(engine)
    return Opened(settings, engine)


def env_file(ctx: typer.Context) -> Path:
    """The settings file named by `--env`."""
    path: Path = ctx.find_root().obj
    return path


def say(line: str) -> None:
    """*line* on standard output, as it is."""
    # A reader that goes away (`| head`) is no fault of ours.
    with suppress(BrokenPipeError):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def say_json(document: Any) -> None:
    """*document* on standard output as JSON."""
    say(json.dumps(document, ensure_ascii=False, indent=2))


def warn(line: str) -> None:
    """*line* on standard error."""
    sys.stderr.write(line + "\n")


def say_table(columns: list[str], rows: list[list[str]]) -> None:
    """A table as wide as the terminal; one line a row, between tabs, for whatever reads a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            say("\t".join(printable(cell) for cell in row))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Foreign text is shown, never read as markup.
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(file=sys.stdout).print(table)


def printable(text: str) -> str:
    """*text* without what would move a terminal's cursor or reverse its writing."""
    return "".join(c if c.isprintable() or c == " " else "�" for c in text)


def editor() -> str:
    """Who is at the keyboard, for "approved by"."""
    with suppress(OSError):
        return os.getlogin()
    return "cli"
