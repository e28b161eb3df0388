"""`digest doctor`: what is wrong with this installation, each line with its mend."""

import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from digest.cli.opened import JSON, env_file, printable, say, say_json
from digest.database import open_engine
from digest.doctor.examine import unreadable
from digest.doctor.installation import Asked, Tools
from digest.doctor.line import GROUP, Level, Line
from digest.errors import DigestError, FaultFound, UsageError
from digest.outfit import clock
from digest.patient import examined
from digest.settings import load
from subscribers.address import parse

app = typer.Typer()

#: a sign that says it without colour, and the colour
_SHOWN = {
    Level.PASS: ("✓", "green"),
    Level.WARN: ("!", "yellow"),
    Level.FAIL: ("✗", "bold red"),
    Level.NONE: ("–", "dim"),
}
#: columns; the longest name of a line
_WIDEST = max(map(len, GROUP))


@app.command()
def doctor(
    ctx: typer.Context,
    seed: str | None = typer.Option(
        None, help="Send one letter there and judge how it arrives.", metavar="ADDRESS"
    ),
    mailbox: Path | None = typer.Option(
        None, help="A maildir or file it arrives in; else DIGEST_IMAP_HOST.", metavar="PATH", exists=True
    ),
    wait: float = typer.Option(120, help="Seconds it may take.", min=0, max=3600),
    letter: Path | None = typer.Option(
        None, help="Judge a letter that arrived before; send nothing.", metavar="FILE", exists=True
    ),
    selector: str | None = typer.Option(None, help="The selector the relay's DKIM signs with."),
    outgoing: list[str] = typer.Option([], help="An address that letters leave from.", metavar="IP"),
    trust: list[str] = typer.Option([], help="A server whose Authentication-Results count.", metavar="HOST"),
    as_json: bool = JSON,
) -> None:
    """Say what is wrong here and how to mend it; exit 4 on faults. No letter is sent unasked."""
    if seed is not None and letter is not None:
        raise typer.BadParameter("say either --seed or --letter")
    asked = Asked(
        seed=parse(seed).address if seed else None,
        folder=mailbox,
        letter=letter,
        wait=wait,
        selector=selector,
        outgoing=_addresses(outgoing),
        trusted=trust,
    )
    # On a terminal it is seen to work: a letter may be minutes on its way.
    with Console(stderr=True).status("asking around") if sys.stderr.isatty() else nullcontext():
        lines = _examined(ctx, asked)
    faults, warnings = (sum(line.level is level for line in lines) for level in (Level.FAIL, Level.WARN))
    if as_json:
        say_json({"faults": faults, "warnings": warnings, "lines": [line.to_json() for line in lines]})
    else:
        _show(lines)
    if faults:
        raise FaultFound(f"{_counted(faults, 'fault')}, {_counted(warnings, 'warning')}")
    if not as_json:
        say(f"no faults, {_counted(warnings, 'warning')}")


def _examined(ctx: typer.Context, asked: Asked) -> list[Line]:
    path = env_file(ctx)
    try:
        settings = load(path)
        engine = open_engine(settings.database_url)
        ctx.find_root().call_on_close(engine.dispose)
    except DigestError as error:
        return unreadable(path, error)
    return examined(settings, engine, path, asked, Tools(now=clock, token=secrets.token_hex))


def _addresses(texts: list[str]) -> list[str]:
    try:
        return [str(ip_address(text)) for text in texts]
    except ValueError as error:
        raise UsageError(f"--outgoing: {error}") from None


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _show(lines: list[Line]) -> None:
    """On a terminal by parts, with signs and colours; elsewhere a line each, between tabs."""
    if not sys.stdout.isatty():
        for line in lines:
            say("\t".join(printable(cell) for cell in (line.level, line.name, line.found, line.mend)))
        return
    console = Console(file=sys.stdout, highlight=False)
    for group, members in groupby(lines, key=lambda line: GROUP[line.name]):
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=1)
        grid.add_column(width=_WIDEST)
        grid.add_column()
        for named in _joined(members):
            grid.add_row(*_cells(named))
        console.print("", Text(group, style="bold"), grid, sep="\n")
    console.print()


def _joined(lines: Iterable[Line]) -> Iterator[tuple[str, Line]]:
    """*lines*, each with its name; those that do not apply for one reason are one, without a name."""
    for (level, found), members in groupby(lines, key=lambda line: (line.level, line.found)):
        together = list(members)
        if level is Level.NONE and len(together) > 1:
            names = ", ".join(one.name for one in together)
            yield "", replace(together[0], found=f"{found} ({names})")
        else:
            yield from ((one.name, one) for one in together)


def _cells(named: tuple[str, Line]) -> tuple[Text, Text, Text]:
    name, line = named
    sign, style = _SHOWN[line.level]
    quiet = "dim" if line.level is Level.NONE else ""
    # Foreign text is shown, never read as markup.
    said = Text(printable(line.found), style=quiet)
    if line.mend:
        said.append("\n→ ", style).append(printable(line.mend))
    return Text(sign, style), Text(name, style=quiet), said
