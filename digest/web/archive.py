"""The public archive: what was sent, as it was sent, without anything of anybody who got it (S-23)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Engine

from digest.database import reading
from digest.issue.history import Published, archived, published
from digest.letter.words import month_in_words
from digest.month import Month
from digest.web.pages import FEED, NOTHING, PUBLIC, SAFE, Pages, routes

#: an issue is foreign text in its own style: it may show pictures, and its links may be followed
POLICY = (
    f"{NOTHING}; img-src https: http: data:; style-src 'unsafe-inline'; form-action 'none';"
    " sandbox allow-popups allow-popups-to-escape-sandbox allow-top-navigation-by-user-activation"
)


class _Feed(Response):
    """For the description of the pages."""

    media_type = FEED


@dataclass(frozen=True, slots=True)
class Entry:
    """An issue in the list and in the feed."""

    url: str
    #: in words
    month: str
    number: int
    subject: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Archive:
    """The pages everybody may see."""

    pages: Pages
    engine: Engine
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Their routes; the feed before the months, which would take it for one."""
        router = APIRouter()
        routes(router, "/archive", self.issues)
        routes(router, "/archive/feed.xml", self.feed, looked={"response_class": _Feed})
        routes(router, "/archive/{month}", self.issue)
        # Whoever opens the bare address looks for what there is.
        routes(router, "/", self.issues)
        return router

    def issues(self) -> Response:
        """The list of all issues, the newest first."""
        return self.pages.show("issues", headers=PUBLIC, issues=self._entries())

    def issue(self, month: str) -> Response:
        """The issue of a month; drafts and what never was are equally missing."""
        if not re.fullmatch(r"[0-9]{4}-[0-9]{2}", month):
            return self.pages.missing()
        with reading(self.engine) as session:
            rendered = archived(session, month)
        if rendered is None:
            return self.pages.missing()
        return HTMLResponse(rendered.archive, headers=SAFE | PUBLIC | {"Content-Security-Policy": POLICY})

    def feed(self) -> Response:
        """The list as Atom (RFC 4287)."""
        entries = self._entries()
        return self.pages.feed(issues=entries, updated=max((one.at for one in entries), default=self.now()))

    def _entries(self) -> list[Entry]:
        with reading(self.engine) as session:
            return [self._entry(one) for one in published(session)]

    def _entry(self, one: Published) -> Entry:
        publication = self.pages.publication
        return Entry(
            # From the settings, never from the request's Host (S-20).
            url=f"{publication.base_url}/archive/{one.month}",
            month=month_in_words(Month.parse(one.month, publication.zone), publication.language),
            number=one.number,
            subject=one.subject,
            at=one.at,
        )
