"""`digest issue …`: build, look, change, approve."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import typer
from sqlmodel import Session

from digest.cli.opened import JSON, Opened, editor, opened, say, say_json, say_table, warn
from digest.database import reading, writing
from digest.errors import FaultFound, UsageError
from digest.issue import edit as editing
from digest.issue.approve import cancel, pause, resume, withdraw
from digest.issue.changes import edit as record
from digest.issue.compose import compose, issue_of
from digest.issue.document import issue_document
from digest.issue.due import due_at
from digest.issue.explain import explain, incomplete
from digest.issue.pictures import note_pictures, pictures_of
from digest.letter.budget import Form
from digest.letter.preview import write_preview
from digest.lint.finding import Finding
from digest.lint.message import ENCODED_LIMIT, HTML_LIMIT
from digest.lint.online import Answer, asked, links_of
from digest.lint.weights import Weights
from digest.models import Issue, Status
from digest.month import Month
from digest.outfit import clock, relay_of
from digest.sending.trial import send_trial
from digest.wiring import fetcher_of, press_of, schedule_of
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
        shown, given_up = _shown(session, composed.issue, house)
        short = incomplete(session, which, clock())
    if as_json:
        say_json(shown)
    elif composed.issue.status is Status.SKIPPED:
        say(f"{which} is skipped: {composed.issue.reason}")
    else:
        say(f"{which} is a draft of {len(shown['items'])} items, {composed.taken} of them new")
        say(f"next: digest issue preview {which} --out preview")
    for line in [*short, *given_up]:
        warn(line)


@app.command()
def show(ctx: typer.Context, month: str = MONTH, as_json: bool = JSON) -> None:
    """Show the issue as it stands."""
    house = opened(ctx)
    which = house.month(month)
    with reading(house.engine) as session:
        issue = issue_of(session, which)
        shown, given_up = _shown(session, issue, house)
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
        [str(item["position"]), _marks(item), item["title"], item["url"] or ""] for item in shown["items"]
    ]
    say_table(["", "", "title", "link"], rows)
    for line in given_up:
        warn(line)


def _marks(item: dict[str, Any]) -> str:
    """What is said of an item beside its title, as "pinned" or "title only"."""
    form = SAID_FORM.get(item["form"] or "", "")
    return ", ".join(filter(None, ["pinned" if item["pinned"] else "", form]))


#: how an item stands in the letter, where it is not whole
SAID_FORM = {Form.SHORTENED.value: "shortened", Form.TITLE.value: "title only", Form.WEB.value: "web only"}


def _shown(session: Session, issue: Issue, house: Opened) -> tuple[dict[str, Any], list[str]]:
    """The document of `issue show --json`, and what had to be given up for the letter's size."""
    forms: list[Form] | None = None
    given_up: list[str] = []
    # What has been sent stands as it was frozen, whatever its items would come to now.
    if issue.status in (Status.DRAFT, Status.APPROVED):
        try:
            forms, findings = press_of(house.settings).forms(session, issue)
        except UsageError as error:
            given_up = [str(error)]
        else:
            given_up = [f"{one.place}: {one.message} {one.mend}" for one in findings]
    return issue_document(session, issue, house.settings.publication, forms), given_up


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
    brief: str | None = typer.Option(
        None, help="Items shown by their titles only, at the end: 4,7. Undone by an empty --excerpt."
    ),
) -> None:
    """Change a draft: words, order, pin, drop, add a late post."""
    if (title is not None or excerpt is not None) and item is None:
        raise typer.BadParameter("--title and --excerpt need --item, the number `issue show` gives")
    if unpin and pin is not None:
        raise typer.BadParameter("say either --pin or --unpin")
    if (drop is not None or brief is not None) and (pin is not None or order is not None):
        raise typer.BadParameter("--drop and --brief change the numbers: pin and order in a second step")
    asked = (subject, preheader, intro, intro_file, order, pin, drop, add, title, excerpt, brief)
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
            if brief is not None:
                editing.shorten_to_titles(session, issue, _numbers(brief, "--brief"))
            if drop is not None:
                editing.drop(session, issue, drop)
            if unpin:
                editing.unpin(session, issue)
            if pin is not None:
                editing.pin(session, issue, pin)
            if order is not None:
                editing.reorder(session, issue, _numbers(order, "--order"))
            if add is not None:
                editing.add(session, issue, add)
            words = intro_file.read_text(encoding="utf-8") if intro_file else intro
            editing.reword(issue, subject=subject, preheader=preheader, intro=words)

        record(session, issue, change, editor(), clock())
    show(ctx, month, as_json=False)


def _numbers(text: str, option: str) -> list[int]:
    try:
        return [int(one) for one in text.split(",")]
    except ValueError:
        raise typer.BadParameter(f"{option} takes numbers with commas, as in 3,1,2, not {text!r}") from None


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
        proof = press.proof(session, issue_of(session, house.month(month)), clock())
    given_up = [f"{one.place}: {one.message}" for one in proof.findings if one.point == "cut"]
    index = write_preview(proof.letter, out, notes=given_up)
    say(f"open {index}")
    for line in given_up:
        warn(line)
    if proof.errors:
        warn(f"it has {len(proof.errors)} errors: `digest issue check {month}` shows them")


@app.command()
def check(
    ctx: typer.Context,
    month: str = MONTH,
    online: bool = typer.Option(
        False,
        "--online",
        help="Also ask every link and picture; a picture that fails is left out from then on.",
    ),
    as_json: bool = JSON,
) -> None:
    """Look for what would hurt in an inbox; exit 4 on errors."""
    house = opened(ctx)
    which = house.month(month)
    answers = _asked(house, which) if online else {}
    with reading(house.engine) as session:
        proof = press_of(house.settings).proof(session, issue_of(session, which), clock(), answers)
    if as_json:
        say_json(
            {
                "errors": list(map(_found, proof.errors)),
                "warnings": list(map(_found, proof.warnings)),
                "bytes": _weighed(proof.weights),
            }
        )
    else:
        for one in proof.findings:
            say(f"{one.severity}: {one.place}: {one.message} {one.mend}")
        _say_weights(proof.weights)
        say(f"{month}: {len(proof.errors)} errors, {len(proof.warnings)} warnings")
    if proof.errors:
        raise FaultFound(f"{month} has {len(proof.errors)} errors: it cannot be approved")


def _asked(house: Opened, month: Month) -> dict[str, Answer]:
    """What the web says of the links and pictures of the issue; a draft takes note of its pictures."""
    with reading(house.engine) as session:
        issue = issue_of(session, month)
        links, pictures = links_of(press_of(house.settings).page(session, issue)), pictures_of(session, issue)
    answers = asked(links, pictures, fetcher_of(house.settings).get)
    with writing(house.engine) as session:
        issue = issue_of(session, month)
        if issue.status is Status.DRAFT:
            note_pictures(session, issue, answers, clock())
    return answers


def _weighed(found: Weights) -> dict[str, Any]:
    return {
        "letter": found.letter,
        "html": found.html,
        "html_limit": HTML_LIMIT,
        "html_transferred": found.transferred,
        "html_transferred_limit": ENCODED_LIMIT,
        "text": found.text,
        "pieces": [{"what": one.what, "title": one.title, "bytes": one.size} for one in found.pieces],
    }


def _say_weights(found: Weights) -> None:
    say(
        f"the letter has {found.letter:,} bytes; its HTML {found.html:,} of {HTML_LIMIT:,},"
        f" {found.transferred:,} of {ENCODED_LIMIT:,} as transferred; its text {found.text:,}"
    )
    rows = [[one.what, f"{one.size:,}", one.title] for one in found.pieces]
    say_table(["HTML", "bytes", "title"], rows)


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
        due = due_at(house.month(month), schedule_of(house.settings), issue.send_at)
    say(f"{month} is approved: {fingerprint}")
    say(f"{would} would get it now; `digest dispatch {month}` sends it at once")
    say(_when(due, house.settings.zone))
    if not would:
        warn("nobody is on the list yet: `digest subscribers add` or `import`")


def _when(due: datetime, zone: ZoneInfo) -> str:
    """When an approved issue goes out by itself."""
    if due <= clock():
        return "it is due, so that the next `digest run` sends it"
    return f"it falls due {due.astimezone(zone):%Y-%m-%d %H:%M} {zone.key}, when `digest run` sends it"


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
    _change(ctx, month, lambda session, issue, now: pause(session, issue, reason, editor(), now))


@app.command(name="resume")
def resume_(ctx: typer.Context, month: str = MONTH) -> None:
    """Let a paused issue go on."""
    _change(ctx, month, lambda session, issue, now: resume(session, issue, editor(), now))


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
    _change(ctx, month, lambda session, issue, now: cancel(session, issue, reason, editor(), now))


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
