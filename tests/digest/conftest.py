"""Sample pages for whatever makes, checks or sends a letter; running sites; a browser."""

import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import Engine

from digest.demo import run_demo
from digest.letter.page import Card, Page, Publication
from digest.month import Month
from tests.digest import website
from tests.digest.processes import child
from tests.digest.website import Mailroom, Site

ZONE = ZoneInfo("Europe/Kyiv")
EXCERPT = (
    "The gauge at the old bridge has been read every morning since the mill closed. Nobody asked for it;"
    " somebody simply went on writing the number down, first in ledgers, then on the backs of calendars,"
    " and the river turns out to have a longer memory than the town…"
)


def publication(**changes: Any) -> Publication:
    values: dict[str, Any] = {
        "name": "Slow Water",
        "url": "https://slowwater.example.org/",
        "language": "en",
        "zone": ZONE,
        "sender_name": "Slow Water",
        "sender_address": "letters@slowwater.example.org",
        "reply_to": None,
        "postal_address": "Slow Water\nQuay 7\n1234 Harbour",
        "base_url": "https://letters.slowwater.example.org",
    }
    return Publication(**(values | changes))


def card(number: int = 1, **changes: Any) -> Card:
    """One post with a wide picture; everything about it depends on *number* alone."""
    values: dict[str, Any] = {
        "title": f"Reading the river, part {number}",
        "url": f"https://slowwater.example.org/2015/09/part-{number}/",
        "author": "The harbour desk",
        "published_at": datetime(2015, 9, 1, 9, tzinfo=UTC) + timedelta(hours=20 * number),
        "excerpt": EXCERPT,
        "picture_url": f"https://slowwater.example.org/pictures/{number}.jpg",
        "picture_alt": f"The bridge at low water, view {number}",
        "picture_width": 1104,
        "picture_height": 620,
        "category": "Rivers",
        "language": None,
        "direction": "ltr",
    }
    return Card(**(values | changes))


def page_with(cards: int | list[Card] = 3, of: Publication | None = None, **changes: Any) -> Page:
    of = of or publication()
    values: dict[str, Any] = {
        "publication": of,
        "month": Month(2015, 9, of.zone),
        "number": 9,
        "subject": "Slow Water: September 2015",
        "preheader": "Reading the river, part 1 · Reading the river, part 2",
        "intro_html": '<p>A month of <em>low water</em>. <a href="https://slowwater.example.org/about">Us</a>.</p>',
        "intro_text": "A month of low water. Us: https://slowwater.example.org/about",
        "cards": tuple(map(card, range(1, cards + 1))) if isinstance(cards, int) else tuple(cards),
        "titles_only": 0,
        "left_out": 0,
        "archive_url": f"{of.base_url}/archive/2015-09",
    }
    return Page(**(values | changes))


@pytest.fixture
def make_publication() -> Callable[..., Publication]:
    """Makes a publication; every field can be given."""
    return publication


@pytest.fixture
def make_card() -> Callable[..., Card]:
    """Makes the post of a number; every field can be given."""
    return card


@pytest.fixture
def make_page() -> Callable[..., Page]:
    """Makes a page of so many cards, or of these cards, *of* a publication; every field can be given."""
    return page_with


@pytest.fixture
def page() -> Page:
    """A page of three posts in English."""
    return page_with()


@pytest.fixture
def site(engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """The public pages, served for real, on each engine."""
    with website.serving(engine, tmp_path / "digest.db-spool", website.publication()) as running:
        yield running


@pytest.fixture
def lite(sqlite_engine: Engine, tmp_path: Path) -> Iterator[Site]:
    """The same on SQLite only, for what does not hang on the engine."""
    with website.serving(sqlite_engine, tmp_path / "digest.db-spool", website.publication()) as running:
        yield running


@pytest.fixture
def room(site: Site) -> Iterator[Mailroom]:
    """What answers by mail what is asked for on the pages of *site*."""
    with website.answered(site.engine, website.publication(), lambda: site.clock[0]) as running:
        yield running


@pytest.fixture
def small(lite: Site) -> Iterator[Mailroom]:
    """What answers by mail what is asked for on the pages of *lite*."""
    with website.answered(lite.engine, website.publication(), lambda: lite.clock[0]) as running:
        yield running


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's letter as `digest demo` leaves it, as message.eml, message.html and message.txt."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    run_demo(folder, secrets.token_hex, lambda line: None)
    return folder / "preview"


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium that calls nobody by itself."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


@pytest.fixture
def extensions() -> list[str]:
    """What the relay of `sink` offers."""
    return []


@pytest.fixture
def sink(tmp_path: Path, extensions: list[str]) -> Iterator[tuple[int, Path]]:
    """The port of a relay and the file of what it accepted."""
    kept = tmp_path / "kept"
    kept.touch()
    with child("sink.py", str(kept), "0.004", *extensions) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), kept
        process.kill()
