"""Coming onto the list: the form everybody sees, and the links that are sent by mail.

The form writes down what was asked and answers; what the store knows of the address is looked at only
afterwards (`postroom`), so that every address gets one answer in one time (U-9). GET and HEAD change
nothing (U-1): a link of a mail opens a page with one button.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.database import reading, writing
from digest.outbox import keep
from digest.trace import DOCUMENT
from digest.web.forms import described, form_of, ip_of, program_of
from digest.web.pages import OPEN, Pages, routes, told
from subscribers.address import Address, BadAddress, masked, parse, suggestion
from subscribers.evidence import Evidence, NotAllowed, Origin
from subscribers.models import Aim, Asked
from subscribers.tickets import look, use
from subscribers.tokens import Keyring, Purpose
from subscribers.wishes import Note, NoteKind, wish

#: nobody types an address in less; a page left open longer gets a new stamp (U-8)
SOONEST, LATEST = timedelta(seconds=2), timedelta(hours=12)
LONGEST_SHOWN = 320  # characters of what was typed that are shown again
#: the field no person sees; what fills in everything fills it in, too
TRAP = "website"

#: what the page of a mailed link says, and its button, by what the link is for
_PAGES = {
    Aim.CONFIRM: ("confirm", "note.confirm_act"),
    Aim.MOVE: ("move", "note.move_act"),
    Aim.UNDO: ("undo", "note.moved_act"),
}
#: for the description of the pages
_ASKING = {
    "openapi_extra": described(
        {"email": "the address", "at": "the stamp of the form that was shown", TRAP: "stays empty"}
    ),
    "responses": {422: told("The form again, and what is to be put right", "text/html")},
}
_PRESSING = {
    "openapi_extra": described({"act": "a link to what is kept: show, json or erase"}),
    "responses": {
        200: {
            "description": "It is done; with act=json, what is kept",
            "content": {"application/json": {"schema": DOCUMENT}},
        },
        409: told("The page that says why it cannot be done", "text/html"),
    },
}


@dataclass(frozen=True, slots=True)
class Joining:
    """The form and the pages behind mailed links."""

    pages: Pages
    keyring: Keyring
    engine: Engine
    #: None: not set, and then nobody can be taken on
    secret: bytes | None
    now: Callable[[], datetime]
    #: the pages of a link that shows what is kept: the ticket's address, the request -> the answer
    data: Callable[[str, Request | None], Response]

    def router(self) -> APIRouter:
        """Their routes."""
        router = APIRouter()
        routes(router, "/subscribe", self.form, self.join, acted=_ASKING)
        routes(router, "/c/{token}", self.ask, self.act, acted=_PRESSING)
        return router

    def form(self) -> Response:
        """The form."""
        return self._form() if self.secret else self.pages.unavailable()

    def join(self, request: Request) -> Response:
        """What was asked is written down, and the answer is the same for everybody."""
        if self.secret is None:
            return self.pages.unavailable()
        fields = form_of(request)
        typed = fields.get("email", "")[:LONGEST_SHOWN]
        try:
            address = parse(typed)
        except BadAddress:
            return self._form(422, typed, say="web.join_wrong")
        if fields.get(TRAP):
            return self._asked(address)
        stamp = fields.get("at", "")
        age = self._age(stamp)
        if age is None or age < SOONEST:
            # Most likely a person who is quick, or whose page was open for days, or a form on another site.
            return self._form(422, typed, say="web.join_again", stamp=stamp if age is not None else "")
        try:
            with writing(self.engine) as session:
                wish(session, Asked.SUBSCRIBE, address, self._evidence(request, self._promise()))
        except SQLAlchemyError:
            return self.pages.unavailable()
        return self._asked(address)

    def ask(self, token: str) -> Response:
        """The page with the button; the same missing page for whatever works no more (T-6)."""
        with reading(self.engine) as session:
            ticket = look(session, token, self.now())
            if ticket is None:
                return self.pages.missing()
            if ticket.aim == Aim.DATA:
                return self.data(ticket.address, None)
            if ticket.used_at is not None:
                return self._done(ticket.aim, ticket.address)
        page, button = _PAGES[ticket.aim]
        return self.pages.show("press", page=page, button=button, address=masked(ticket.address))

    def act(self, token: str, request: Request) -> Response:
        """What the link is for is done, once; pressed again it says the same."""
        if self.secret is None:
            return self.pages.unavailable()
        with reading(self.engine) as session:
            ticket = look(session, token, self.now())
        if ticket is None:
            return self.pages.missing()
        if ticket.aim == Aim.DATA:
            return self.data(ticket.address, request)
        evidence = self._evidence(request, self._pressed(ticket.aim))
        try:
            with writing(self.engine) as session:
                used = use(session, token, evidence, self.secret)
                if used is not None and used[0].aim == Aim.MOVE and used[1]:
                    keep(session, [Note(NoteKind.MOVED, ticket.subscriber_id, used[1], evidence.at)])
        except NotAllowed:
            taken = "web.barred" if ticket.aim == Aim.CONFIRM else "web.move_taken"
            return self.pages.show("refused", 409, say_why=taken, address=masked(ticket.address))
        return self._done(ticket.aim, ticket.address) if used else self.pages.missing()

    def _form(self, status: int = 200, typed: str = "", say: str = "", stamp: str = "") -> Response:
        now = int(self.now().timestamp())
        return self.pages.show(
            "join",
            status,
            OPEN,
            typed=typed,
            problem=say,
            trap=TRAP,
            # The second it was made in stands where other tokens have their subscriber.
            stamp=stamp or self.keyring.sign(Purpose.FORM, now),
        )

    def _age(self, stamp: str) -> timedelta | None:
        """How old the form is; None for none of ours, or one that is too old."""
        signed = self.keyring.read(Purpose.FORM, stamp)
        if signed is None:
            return None
        age = timedelta(seconds=self.now().timestamp() - signed.subscriber_id)
        return age if age <= LATEST else None

    def _asked(self, address: Address) -> Response:
        """The one answer: of the address only what anybody can see of it, a slip of the hand (A-5)."""
        return self.pages.show("asked", slip=suggestion(address) or "")

    def _done(self, aim: Aim, address: str) -> Response:
        return self.pages.show("joined", page=_PAGES[aim][0], address=masked(address))

    def _promise(self) -> str:
        """The words on the form."""
        say, publication = self.pages.words.say, self.pages.publication.name
        words = ("web.join_first", "web.join_next", "web.join")
        return " · ".join(say(one, publication=publication) for one in words)

    def _pressed(self, aim: Aim) -> str:
        """The words on the page of a mailed link, and its button."""
        page, button = _PAGES[aim]
        say, publication = self.pages.words.say, self.pages.publication.name
        return f"{say(button)}: {say(f'web.{page}_first', publication=publication, address='…')}"

    def _evidence(self, request: Request, wording: str) -> Evidence:
        return Evidence(
            origin=Origin.PAGE,
            at=self.now(),
            wording=wording,
            ip=ip_of(request),
            user_agent=program_of(request),
        )
