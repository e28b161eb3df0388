"""`digest issue …`: build, look, change, approve."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import typer
from sqlmodel import Session

from digest.cli.opened import JSON, editor, opened, say, say_json, say_table, warn
from digest.database import reading, writing
from digest.errors import FaultFound, UsageError
from digest.issue import edit as editing
from digest.issue.approve import cancel, pause, resume, withdraw
from digest.issue.changes import edit as record
from digest.issue.compose import compose, issue_of
from digest.issue.document import issue_document
from digest.issue.explain import explain, incomplete
from digest.letter.preview import write_preview
from digest.lint.finding import Finding, Severity
from digest.models import Issue, Status
from digest.outfit import clock, relay_of
from digest.sending.trial import send_trial
from digest.wiring import press_of
from subscribers.address import parse
from subscribers.audience import audience_size

app = typer.Typer(no_args_is_help=True, help="A month's issue: build, look, change, approve.")

MONTH = typer.Argument(help="The month, as 2015-09.", metavar="YYYY-MM")


@app.command()
def build(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Make the month's draft; again on a draft: take up new posts, keep the editor's work."""
    house = opened(ctx)
    which = house.month(month)
    with writing(house.engine) as session:
        composed = compose(session, which, clock(), house.settings.min_posts)
        shown = issue_document(session, composed.issue, house.settings.publication)
        short = incomplete(session, which, clock())
    if as_json:
        say_json(shown)
    elif composed.issue.status is Status.SKIPPED:
        say(f"{which} is skipped: {composed.issue.reason}")
    else:
        say(f"{which} is a draft of {len(shown['items'])} items, {composed.taken} of them new")
        say(f"next: digest issue preview {which} --out preview")
    for line in short:
        warn(line)


@app.command()
def show(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Show the issue as it stands."""
    house = opened(ctx)
    which = house.month(month)
    with reading(house.engine) as session:
        issue = issue_of(session, which)
        shown = issue_document(session, issue, house.settings.publication)
        drifted = press_of(house.settings).drift(session, issue) if issue.status is Status.APPROVED else []
    if as_json:
        say_json(shown | {"drift": drifted})
        return
    number = f" · No. {shown['number']}" if shown["number"] else ""
    say(f"{which}{number} · {shown['status']}{': ' + issue.reason if issue.reason else ''}")
    say(f"subject: {shown['subject']}")
    if drifted:
        say(f"changed since it was approved: {', '.join(drifted)}; what was approved is what is sent")
    rows = [
        [str(item["position"]), "pinned" if item["pinned"] else "", item["title"], item["url"] or ""]
        for item in shown["items"]
    ]
    say_table(["", "", "title", "link"], rows)


@app.command(name="explain")
def explain_(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Say of every post near the month whether it is in or out, and why."""
    house = opened(ctx)
    with reading(house.engine) as session:
        explanation = explain(session, house.month(month), clock())
        if as_json:
            say_json(explanation.to_json())
            return
        rows = [
            ["in" if one.is_in else "late" if one.late else "out", one.post.title, one.reason]
            for one in explanation.verdicts
        ]
    say_table(["", "post", "why"], rows)
    for line in [*explanation.warnings, *explanation.incomplete]:
        warn(line)


@app.command()
def edit(
    ctx: typer.Context,
    month: str = MONTH,
    subject: str | None = typer.Option(None, help="The subject; empty: the usual one."),
    preheader: str | None = typer.Option(None, help="The line after the subject; empty: the titles."),
    intro: str | None = typer.Option(None, help="Your words above the posts, in Markdown."),
    intro_file: Path | None = typer.Option(None, help="The same, from a file.", exists=True, dir_okay=False),
    order: str | None = typer.Option(None, help="Items that come first, by number: 3,1,2."),
    pin: int | None = typer.Option(None, help="The item that leads."),
    unpin: bool = typer.Option(False, "--unpin", help="No item leads but the first."),
    drop: int | None = typer.Option(None, help="An item to leave out."),
    add: str | None = typer.Option(None, help="A late or dropped post, by guid or link.", metavar="GUID"),
    item: int | None = typer.Option(None, help="The item that --title and --excerpt are for."),
    title: str | None = typer.Option(None, help="Your own title for the item; empty: the post's."),
    excerpt: str | None = typer.Option(None, help="Your own excerpt; empty: the post's."),
) -> None:
    """Change a draft: words, order, pin, drop, add a late post."""
    if (title is not None or excerpt is not None) and item is None:
        raise typer.BadParameter("--title and --excerpt need --item, the number `issue show` gives")
    if unpin and pin is not None:
        raise typer.BadParameter("say either --pin or --unpin")
    if drop is not None and (pin is not None or order is not None):
        raise typer.BadParameter("--drop changes the numbers: pin and order in a second step")
    asked = (subject, preheader, intro, intro_file, order, pin, drop, add, title, excerpt)
    if not unpin and all(one is None for one in asked):
        raise typer.BadParameter("say what to change; `digest issue edit --help` lists it")
    house = opened(ctx)
    with writing(house.engine) as session:
        issue = issue_of(session, house.month(month))

        def change() -> None:
            # By number first, so that the numbers are those the editor has just read.
            if item is not None and title is not None:
                editing.retitle(session, issue, item, title)
            if item is not None and excerpt is not None:
                editing.rewrite(session, issue, item, excerpt)
            if drop is not None:
                editing.drop(session, issue, drop)
            if unpin:
                editing.unpin(session, issue)
            if pin is not None:
                editing.pin(session, issue, pin)
            if order is not None:
                editing.reorder(session, issue, _numbers(order))
            if add is not None:
                editing.add(session, issue, add)
            words = intro_file.read_text(encoding="utf-8") if intro_file else intro
            editing.reword(issue, subject=subject, preheader=preheader, intro=words)

        record(session, issue, change, editor(), clock())
    show(ctx, month, as_json=False)


def _numbers(text: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"--order takes numbers with commas, as in 3,1,2, not {text!r}") from None


@app.command()
def preview(
    ctx: typer.Context,
    month: str = MONTH,
    out: Path = typer.Option(Path("preview"), help="The folder to write to."),
) -> None:
    """Write message.html, message.txt, message.eml and index.html, both parts side by side."""
    house = opened(ctx)
    press = press_of(house.settings)
    with reading(house.engine) as session:
        rendered, _page = press.render(session, issue_of(session, house.month(month)))
    index = write_preview(press.sample(rendered, clock()), out)
    say(f"open {index}")


@app.command()
def check(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Look for what would hurt in an inbox; exit 4 on errors."""
    house = opened(ctx)
    with reading(house.engine) as session:
        findings = press_of(house.settings).findings(session, issue_of(session, house.month(month)), clock())
    errors = [one for one in findings if one.severity is Severity.ERROR]
    warnings = [one for one in findings if one.severity is Severity.WARNING]
    if as_json:
        say_json({"errors": list(map(_found, errors)), "warnings": list(map(_found, warnings))})
    else:
        for one in findings:
            say(f"{one.severity}: {one.place}: {one.message} {one.mend}")
        say(f"{month}: {len(errors)} errors, {len(warnings)} warnings")
    if errors:
        raise FaultFound(f"{month} has {len(errors)} errors: it cannot be approved")


def _found(finding: Finding) -> dict[str, str]:
    return {
        "point": finding.point,
        "place": finding.place,
        "message": finding.message,
        "mend": finding.mend,
    }


@app.command()
def approve(
    ctx: typer.Context,
    month: str = MONTH,
    by: str | None = typer.Option(None, "--by", help="Who approves; else the user logged in."),
) -> None:
    """Freeze the content: these bytes are what is sent."""
    house = opened(ctx)
    with writing(house.engine) as session:
        issue = issue_of(session, house.month(month))
        fingerprint = press_of(house.settings).approve(session, issue, by or editor(), clock())
        would = audience_size(session)
    say(f"{month} is approved: {fingerprint}")
    say(f"{would} would get it now; `digest dispatch {month}` sends it at once")
    if not would:
        warn("nobody is on the list yet: `digest subscribers add` or `import`")


def _change(ctx: typer.Context, month: str, change: Callable[[Session, Issue, datetime], None]) -> None:
    house = opened(ctx)
    with writing(house.engine) as session:
        issue = issue_of(session, house.month(month))
        change(session, issue, clock())
        say(f"{month} is {issue.status}")


@app.command(name="withdraw")
def withdraw_(ctx: typer.Context, month: str = MONTH) -> None:
    """Make an approved issue a draft again, while nothing is sent."""
    _change(ctx, month, lambda session, issue, now: withdraw(session, issue, editor(), now))


REASON = typer.Option("by hand", help="Why, for whoever looks later.")


@app.command(name="pause")
def pause_(ctx: typer.Context, month: str = MONTH, reason: str = REASON) -> None:
    """Stop sending; a running dispatch stops within seconds."""
    _change(ctx, month, lambda session, issue, _now: pause(session, issue, reason))


@app.command(name="resume")
def resume_(ctx: typer.Context, month: str = MONTH) -> None:
    """Let a paused issue go on."""
    _change(ctx, month, lambda session, issue, _now: resume(session, issue))


@app.command(name="cancel")
def cancel_(
    ctx: typer.Context,
    month: str = MONTH,
    reason: str = REASON,
    yes: bool = typer.Option(False, "--yes", help="Do not ask."),
) -> None:
    """Never send it to whoever has not got it."""
    if not yes and not sys.stdin.isatty():
        raise UsageError(f"{month} will never go to whoever has not got it: say --yes if that is meant")
    if not yes:
        typer.confirm(f"{month} will never go to whoever has not got it. Cancel it?", abort=True)
    _change(ctx, month, lambda session, issue, _now: cancel(session, issue, reason))


@app.command()
def test(
    ctx: typer.Context,
    month: str = MONTH,
    to: list[str] = typer.Option(help="Who gets the copy; may be given more than once.", metavar="ADDRESS"),
) -> None:
    """Send one marked copy, whose links unsubscribe nobody."""
    house = opened(ctx)
    with reading(house.engine) as session:
        send_trial(
            session,
            house.month(month),
            [parse(one).address for one in to],
            press=press_of(house.settings),
            relay=relay_of(house.settings),
            now=clock(),
        )
    say(f"a test copy of {month} is on its way to {', '.join(to)}")
