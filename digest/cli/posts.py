"""`digest posts …` and `digest sources …`: posts in."""

from pathlib import Path
from urllib.parse import urlsplit

import typer

from digest.cli.opened import JSON, Opened, opened, say, say_json, say_table, warn
from digest.collect import FILE, Collected, collect, date_post, listed, note_document, source_at
from digest.database import reading, writing
from digest.errors import DigestError, UsageError
from digest.fetching import add_source, fetch_sources, remove_source, sources_of
from digest.issue.document import post_document
from digest.models import Dated, Post
from digest.outfit import clock
from digest.sources.dates import read_editors_date
from digest.sources.reading import read_bytes, read_file
from digest.wiring import fetcher_of

app = typer.Typer(no_args_is_help=True, help="Posts in: import, fetch, list, date.")
sources_app = typer.Typer(no_args_is_help=True, help="Where posts are fetched from.")


@app.command(name="import")
def import_(
    ctx: typer.Context,
    what: str = typer.Argument(help="A file, or the address of a feed or page.", metavar="PATH_OR_URL"),
    format: str = typer.Option(
        "auto", help="auto, feed, jsonfeed, wordpress, wxr, blogger or archive.", metavar="FORMAT"
    ),
    url: str | None = typer.Option(None, help="The page it comes from, for relative links.", metavar="PAGE"),
    as_json: bool = JSON,
) -> None:
    """Import posts from a file or an address; all of it or nothing."""
    house = opened(ctx)
    with writing(house.engine) as session:
        if urlsplit(what).scheme in ("http", "https"):
            fetched = fetcher_of(house.settings).get(what)
            place, base = fetched.url, url or fetched.url
            document = read_bytes(
                fetched.body,
                format=format,
                place=place,
                base=base,
                content_type=fetched.content_type,
                zone=house.settings.zone,
                now=clock(),
            )
        else:
            path = Path(what)
            if not path.is_file():
                raise DigestError(f"{what} is not a file" if path.exists() else f"there is no file {what}")
            place = FILE + (url or path.name)
            document = read_file(path, format=format, base=url, zone=house.settings.zone, now=clock())
        source = source_at(session, place)
        collected = collect(session, source, document, clock())
        note_document(session, source, document, collected, clock())
    _say(collected, as_json)


def _say(collected: Collected, as_json: bool) -> None:
    if as_json:
        say_json(collected.to_json())
        return
    say(
        f"{collected.seen} posts: {collected.new} new, {collected.changed} changed,"
        f" {collected.unchanged} unchanged; {len(collected.rejected) + collected.rejected_beyond} left out"
    )
    if collected.undated:
        say(f"{collected.undated} have no date: `digest posts list --undated` shows them")
    for why, count in _counted(collected):
        say(f"left out: {count} × {why}")
    for line in collected.warnings:
        warn(line)


def _counted(collected: Collected) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for one in collected.rejected:
        counts[one["why"]] = counts.get(one["why"], 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


@app.command()
def fetch(ctx: typer.Context) -> None:
    """Fetch every source."""
    house = opened(ctx)
    outcomes = fetch_sources(
        house.engine, fetcher_of(house.settings), house.settings.sources, house.settings.zone, clock()
    )
    if not outcomes:
        raise DigestError("there is no source yet: `digest sources add https://…`")
    for outcome in outcomes:
        say(f"{outcome.place}: {outcome.line}")
    failed = [outcome for outcome in outcomes if outcome.failed]
    if failed:
        raise DigestError(f"{len(failed)} of {len(outcomes)} sources could not be read")


@app.command(name="list")
def list_(
    ctx: typer.Context,
    month: str | None = typer.Option(None, help="Only this month's.", metavar="YYYY-MM"),
    undated: bool = typer.Option(False, "--undated", help="Only those without a date."),
    as_json: bool = JSON,
) -> None:
    """List the posts, newest first."""
    house = opened(ctx)
    with reading(house.engine) as session:
        posts = listed(session, house.month(month) if month else None, undated)
        if as_json:
            say_json([post_document(post) for post in posts])
            return
        say_table(["date", "post", "guid"], [[_day(post, house), post.title, post.guid] for post in posts])


def _day(post: Post, house: Opened) -> str:
    if post.published_at is None:
        return post.month or "no date"
    local = post.published_at.astimezone(house.settings.zone)
    return f"{local:%Y-%m-%d}" if post.dated is Dated.DAY else f"{local:%Y-%m-%d %H:%M}"


@app.command()
def date(
    ctx: typer.Context,
    guid: str = typer.Argument(help="The post, as `posts list` names it."),
    when: str = typer.Argument(help="2015-09-05, 2015-09-05 10:00, or 2015-09.", metavar="DATE"),
) -> None:
    """Date a post by hand; fetching again does not undo it."""
    house = opened(ctx)
    dated, at, month = read_editors_date(when, house.settings.zone)
    with writing(house.engine) as session:
        post = date_post(session, guid, dated, at, month)
        say(f"{post.title}: {_day(post, house)}")


@sources_app.command()
def add(ctx: typer.Context, url: str = typer.Argument(help="A feed, or a site: its feed is found.")) -> None:
    """Add a source."""
    house = opened(ctx)
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(
            f"{url!r} is not a web address: write https://…, or import a file with `posts import`"
        )
    added = add_source(house.engine, fetcher_of(house.settings), url, house.settings.zone, clock())
    say(f"{added.place} is a source: {added.title or added.format}")
    say("next: digest posts fetch")


@sources_app.command(name="list")
def list_sources(ctx: typer.Context, as_json: bool = JSON) -> None:
    """List the sources."""
    house = opened(ctx)
    with reading(house.engine) as session:
        sources = sources_of(session)
        shown = [
            {
                "place": one.place,
                "title": one.title,
                "format": one.format,
                "fetched_at": one.fetched_at and one.fetched_at.isoformat(),
                "covered_since": one.covered_since and one.covered_since.isoformat(),
                "problem": one.problem,
            }
            for one in sources
        ]
    if as_json:
        say_json(shown)
    else:
        say_table(
            ["source", "title", "problem"],
            [[str(one["place"]), str(one["title"]), str(one["problem"])] for one in shown],
        )


@sources_app.command()
def remove(ctx: typer.Context, place: str = typer.Argument(help="The source, as listed.")) -> None:
    """Stop fetching a source; its posts stay."""
    house = opened(ctx)
    remove_source(house.engine, place)
    say(f"{place} is not fetched any more; its posts stay")
