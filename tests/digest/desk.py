"""The desk and the API on a real server, and whoever comes to them, with a browser's habits or without."""

import re
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Engine
from sqlmodel import SQLModel
from starlette.types import ASGIApp

from digest.accounts.bearer import add_token
from digest.accounts.editors import add_editor, editor_of
from digest.accounts.logins import log_in
from digest.accounts.models import Role
from digest.accounts.passwords import Passwords
from digest.database import open_engine, reading, writing
from digest.doctor.line import Line
from digest.issue.compose import compose
from digest.letter.page import Publication
from digest.letter.theme import Theme
from digest.models import Dated, Issue, Post, Source, Status
from digest.month import Month
from digest.press import Press
from digest.web.api.app import Api, create_api
from digest.web.desk.app import Desk, create_desk
from digest.web.guard import COOKIE, COOKIE_BYTES, form_token
from digest.web.pages import Pages
from subscribers.address import parse
from tests.digest.sending import relay_at
from tests.digest.website import NOW, RING, SCHEDULE, SECRET, Answer, Site, publication, serving

PASSWORDS = Passwords()
WORDS = "river ferry gauge ledger"


@cache
def kept() -> str:
    """The hash of `WORDS`, made once."""
    return PASSWORDS.hashed(WORDS)


@contextmanager
def open_desk(
    store: Path,
    trusted: tuple[IPv4Network, ...] = (),
    in_browser: bool = False,
    relay: int = 1,
    examine: Callable[[], list[Line]] = list,
) -> Iterator[Site]:
    """The pages with the desk and the API, on a new SQLite store in the file *store*.

    *in_browser*: they are where their base URL says, so that a real browser may come. *relay* is the port
    test copies go to; at port 1 nobody listens. *examine* is doctor.
    """
    port = free_port() if in_browser else 0
    here = f"http://127.0.0.1:{port}"
    # Links to this machine are in order only where its site is on it, too.
    of = publication(base_url=here, url=here) if in_browser else publication()
    engine = open_engine(f"sqlite:///{store}")
    SQLModel.metadata.create_all(engine)
    # As patient as the program's own, or nearly.
    own = open_engine(f"sqlite:///{store}", patience=500)
    spool, within = store.with_name("spool"), partial(desk_and_api, own, of, relay, examine)
    with serving(engine, spool, of, trusted, within=within, port=port) as site:
        yield site
    own.dispose()
    engine.dispose()


def press_of(described: Publication) -> Press:
    """The press of that publication."""
    return Press(
        publication=described,
        theme=Theme(),
        templates_dir=None,
        excerpt_length=280,
        max_posts=30,
        first_number=1,
        keyring=RING,
        secret=b"k" * 32,
        bounce_domain=None,
    )


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def desk_and_api(
    engine: Engine,
    described: Publication,
    relay: int,
    examine: Callable[[], list[Line]],
    now: Callable[[], datetime],
) -> Mapping[str, ASGIApp]:
    """Both, on the store of *engine*."""
    desk = Desk(
        engine=engine,
        press=press_of(described),
        schedule=SCHEDULE,
        relay=lambda: relay_at(relay),
        passwords=PASSWORDS,
        suppression=SECRET,
        settings={"DIGEST_LANGUAGE": "en", "DIGEST_REPLY_TO": ""},
        examine=examine,
        secret=b"k" * 32,
        random=secrets.token_urlsafe,
        now=now,
    )
    pages = Pages(described, Theme(), None)
    return {"/desk": create_desk(desk), "/api": create_api(Api(engine, pages, SECRET, now))}


def editor(site: Site, address: str, role: Role = Role.EDITOR) -> int:
    """The id of a new editor, whose password is `WORDS`."""
    with writing(site.engine) as session:
        add_editor(session, parse(address), address.partition("@")[0], role, kept(), NOW)
    with reading(site.engine) as session:
        found = editor_of(session, parse(address).key)
        assert found is not None
        assert found.id is not None
        return found.id


def api_token(site: Site, name: str = "site") -> str:
    """A new token."""
    with writing(site.engine) as session:
        return add_token(session, name, NOW, secrets.token_urlsafe)


@dataclass
class Visitor:
    """One browser."""

    site: Site
    cookie: str = ""

    @classmethod
    def logged_in(cls, site: Site, editor_id: int) -> "Visitor":
        """A browser in which that editor is logged in, without the work of a password."""
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        with writing(site.engine) as session:
            assert log_in(session, editor_id, kept(), cookie, site.clock[0])
        return cls(site, cookie)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
        """The answer, whose cookie is kept as a browser would."""
        if self.cookie:
            headers.setdefault("Cookie", f"{COOKIE}={self.cookie}")
        if method == "POST":
            headers.setdefault("Content_Type", "application/x-www-form-urlencoded")
        answer = self.site.ask(method, path, body, **headers)
        given = re.search(rf"{COOKIE}=\"?([\w-]*)", answer.headers.get("set-cookie", ""))
        if given:
            self.cookie = given[1]
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, fields: Mapping[str, Any], **headers: str) -> Answer:
        """A form of ours, sent as a browser sends it."""
        given = {"token": form_token(self.cookie), **fields}
        headers = {"Origin": "https://letters.example.org", "Sec_Fetch_Site": "same-origin", **headers}
        return self.ask("POST", path, urlencode(given, doseq=True).encode(), **headers)

    def log_in(self, address: str, password: str = WORDS, **headers: str) -> Answer:
        """The login form, looked at if need be and sent."""
        if not self.cookie:
            self.get("/desk/login")
        return self.post("/desk/login", {"address": address, "password": password}, **headers)


def draft(site: Site, posts: int = 4, hostile: Callable[[int], str] | None = None) -> list[int]:
    """The ids of the posts of a new draft of September 2015, in the order of the letter: "Post 1", …

    Beside them one that is late and one without a date. *hostile* makes what they say, of a number.
    """
    of = Month.parse("2015-09", publication().zone)

    def post(number: int, at: datetime | None, title: str) -> Post:
        said = hostile or (lambda place: ("", "The harbour desk", "Rivers", "Low water. " * 40)[place % 4])
        url = f"https://example.org/{number}"
        return Post(
            source_id=1,
            identity=str(number),
            guid=f"guid-{number}",
            url=f"{url}/?{said(4 * number)}" if hostile else url,
            title=f"{title} {said(4 * number)}".strip(),
            author=said(4 * number + 1),
            categories=[said(4 * number + 2)],
            excerpt=said(4 * number + 3),
            published_at=at,
            dated=Dated.INSTANT if at else Dated.NONE,
            date_note=said(4 * number) if not at else "",
            first_seen_at=NOW,
            changed_at=NOW,
        )

    with writing(site.engine) as session:
        session.add(Source(id=1, place="https://example.org/feed", covered_since=of.start, covered_until=NOW))
        session.flush()
        rows = [
            post(number, of.end - timedelta(hours=10 * number), f"Post {number}")
            for number in range(1, posts + 1)
        ]
        session.add_all([*rows, post(posts + 1, of.start - timedelta(days=2), "Late")])
        session.add(post(posts + 2, None, "Undated"))
        session.flush()
        earlier = of.previous
        session.add(
            Issue(
                month=str(earlier),
                status=Status.SKIPPED,
                window_start=earlier.start,
                window_end=earlier.end,
                timezone=of.zone.key,
                created_at=NOW,
            )
        )
        session.flush()
        compose(session, of, NOW, 1)
        return [one.id for one in rows if one.id is not None]
