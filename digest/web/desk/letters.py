"""The letter of an issue in a frame: exactly the bytes that would go, or that were approved, taken apart."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Session
from starlette.background import BackgroundTask

from digest.database import reading
from digest.errors import DigestError, UsageError
from digest.issue.approve import frozen_of
from digest.issue.compose import find_issue
from digest.letter.preview import in_scheme, parts_of
from digest.letter.rendered import Rendered
from digest.models import Issue, Status
from digest.month import Month
from digest.proofs import Proofs
from digest.web.desk.frame import Frame, rooms
from digest.web.guard import Here
from subscribers.models import Subscriber
from subscribers.roll import find, search

#: how a letter can be looked at: what is chosen, from what; the first of each unless asked otherwise
CHOICES = {
    "part": ("letter", "text", "headers"),
    "width": ("phone", "tablet", "desktop"),
    "colours": ("light", "dark", "inverted"),
    "pictures": ("on", "off"),
}
LONGEST_READER = 254  # characters: of an address


@dataclass(frozen=True, slots=True)
class View:
    """How an editor looks at the letter."""

    part: str = "letter"
    width: str = "phone"
    colours: str = "light"
    pictures: str = "on"
    #: part of the address or name of whom it is shown for; "": for a reader who does not exist
    reader: str = ""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> "View":
        """What a page's address asks for; whatever it does not know is as usual."""
        known = {name: asked.get(name) for name, values in CHOICES.items() if asked.get(name) in values}
        return cls(**known, reader=asked.get("reader", "").strip()[:LONGEST_READER])  # type: ignore[arg-type]

    def query(self, **changes: str) -> str:
        """The same with *changes*, for an address; "" where all is as usual."""
        usual = asdict(View())
        asked = {
            name: value for name, value in asdict(replace(self, **changes)).items() if value != usual[name]
        }
        return f"?{urlencode(asked)}" if asked else ""


@dataclass(frozen=True, slots=True)
class Letters:
    """The frames."""

    frame: Frame
    engine: Engine
    proofs: Proofs
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Their route."""
        router = APIRouter()
        rooms(router, "/issues/{month}/letter", self.letter)
        return router

    def letter(self, visit: Here, request: Request, month: str) -> Response:
        """The letter as the page's address asks for it."""
        answer = self._shown(View.of(request.query_params), month)
        # Whoever sees the letter asks next what is to be said of it.
        answer.background = BackgroundTask(self._prepare, month)
        return answer

    def _prepare(self, month: str) -> None:
        with suppress(DigestError, SQLAlchemyError), reading(self.engine) as session:
            self.proofs.prepare(session, issue_at(session, self.frame, month), self.now())

    def _shown(self, view: View, month: str) -> Response:
        with reading(self.engine) as session:
            issue = issue_at(session, self.frame, month)
            try:
                rendered = content_of(session, issue, self.proofs)
            except DigestError as error:
                return self.frame.plain(str(error))
            reader = reader_of(session, view)
        press, now = self.proofs.press, self.now()
        letter = (
            press.sample_for(rendered, reader.address, reader.name, now)
            if reader
            else press.sample(rendered, now)
        )
        parts = parts_of(letter)
        if view.part != "letter":
            return self.frame.plain(parts.text if view.part == "text" else parts.head)
        # A client that inverts does so to what it shows in the light.
        scheme = "dark" if view.colours == "dark" else "light"
        return self.frame.letter(in_scheme(parts.html, scheme), view.pictures == "on")


def issue_at(session: Session, frame: Frame, month: str) -> Issue:
    """The issue of the month written YYYY-MM; 404 where there is none."""
    try:
        found = find_issue(session, Month.parse(month, frame.publication.zone))
    except UsageError:
        found = None
    if found is None:
        raise HTTPException(404)
    return found


def content_of(session: Session, issue: Issue, proofs: Proofs) -> Rendered:
    """What was approved, else what would be approved now."""
    return frozen_of(session, issue) if is_frozen(issue) else proofs.of(session, issue).rendered


def is_frozen(issue: Issue) -> bool:
    """Whether *issue* has content that was approved."""
    return issue.fingerprint is not None and issue.status not in (Status.DRAFT, Status.SKIPPED)


def reader_of(session: Session, view: View) -> Subscriber | None:
    """Whom the letter is shown for; None: for nobody who exists."""
    if not view.reader:
        return None
    exact = find(session, view.reader.casefold())
    return exact or next(iter(search(session, view.reader, most=1)), None)
