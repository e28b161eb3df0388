"""Leaving and preferences: what the links of a letter open.

GET and HEAD change nothing (U-1): scanners follow every link of a letter. Leaving never fails: where
the store does not answer, it is written to the spool (U-3). The token is all the proof there is and
all that is needed, so no session, cookie, origin or body decides anything here: what the body says
is read and forgotten.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from digest.database import reading, writing
from digest.sending.spool import append, apply_spool, waiting
from digest.web.forms import URLENCODED, body_of, described, form_of, ip_of, program_of
from digest.web.pages import Pages, routes, told
from subscribers.address import BadAddress, masked, parse
from subscribers.evidence import Evidence, NotAllowed, Origin
from subscribers.lifecycle import pause, rejoin, resume, unsubscribe
from subscribers.models import Asked, Cause, State
from subscribers.roll import Standing, standing
from subscribers.tokens import Keyring, Purpose, Signed
from subscribers.wishes import wish

_ACTS = {"leave": unsubscribe, "pause": pause, "resume": resume, "rejoin": rejoin}
_UNDO = {"leave": "rejoin", "pause": "resume", "resume": "pause", "rejoin": "leave"}
#: what one may do, leaving first (U-6); keyed by the word for where one stands
_CHOICES = {
    "active": ("leave", "pause"),
    "paused": ("leave", "resume"),
    "gone": ("rejoin",),
    "bounced": ("leave",),
    "barred": (),
}
#: what is asked for here and done by a link in a mail: the page's link may be forwarded with its letter
_MAILED = {"move": Asked.MOVE, "data": Asked.DATA}
_BY_MAIL = {"active": ("move", "data"), "paused": ("move", "data"), "gone": ("data",)}
_WORDS = {
    State.ACTIVE: "active",
    State.PAUSED: "paused",
    State.UNSUBSCRIBED: "gone",
    State.BOUNCED: "bounced",
    State.COMPLAINED: "barred",
}
#: for the description of the pages
_LEAVING = {
    "openapi_extra": described(
        {"List-Unsubscribe": "One-Click (RFC 8058); whatever it is, whose token it is leaves"},
        URLENCODED,
        "multipart/form-data",
    ),
    "responses": {200: told("They have left: a line for a program, a page for a person", "text/plain")},
}
_CHOOSING = {"openapi_extra": described({"email": "act=move: the new address"})}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Public:
    """The pages a letter links to."""

    pages: Pages
    keyring: Keyring
    #: one that gives up soon: a provider's one-click waits a second at most
    engine: Engine
    spool: Path
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Their routes."""
        router = APIRouter()
        routes(router, "/u/{token}", self.ask, self.leave, acted=_LEAVING)
        routes(router, "/p/{token}", self.preferences, self.choose, acted=_CHOOSING)
        return router

    def ask(self, token: str) -> Response:
        """The page with the button that unsubscribes."""
        signed = self._leaver(token)
        return self.pages.show("leave", address=self._address(signed)) if signed else self.pages.missing()

    def leave(self, token: str, request: Request) -> Response:
        """Unsubscribed, whatever the body says: the button of our page, or RFC 8058's one click.

        A token of the header answers a machine, in a few bytes, unless our own page sent it here.
        """
        signed = self._leaver(token)
        if signed is None:
            return self.pages.missing()
        by_person = "page" in request.query_params or self.keyring.read(Purpose.LEAVE, token) is not None
        is_written = self._leave(signed, Origin.PAGE if by_person else Origin.ONE_CLICK)
        body_of(request)
        if not is_written:
            return self.pages.unavailable()
        if by_person:
            return self.pages.show("left", address=self._address(signed))
        return self.pages.line(self.pages.words.say("web.leave_done"))

    def preferences(self, token: str) -> Response:
        """Where the subscriber stands, and what they may do about it."""
        signed = self.keyring.read(Purpose.PREFERENCES, token)
        try:
            return self._preferences(signed)
        except SQLAlchemyError:
            return self.pages.unavailable()

    def choose(self, token: str, request: Request, act: str = "") -> Response:
        """What was chosen is done; the page says so, and how to undo it."""
        signed = self.keyring.read(Purpose.PREFERENCES, token)
        try:
            found = self._standing(signed) if signed else None
            if signed is not None and found is not None and act in _MAILED:
                return self._ask_by_mail(signed, found, _MAILED[act], request)
            if signed is None or found is None or act not in _ACTS:
                return self._preferences(signed)
            self._do(signed, act, request)
            body_of(request)
            return self._preferences(signed, act)
        except SQLAlchemyError:
            # Who wants to leave has left, also where the store does not answer.
            if signed is not None and act == "leave" and self._leave(signed, Origin.PAGE):
                return self.pages.show("left", address="")
            return self.pages.unavailable()

    def _ask_by_mail(self, signed: Signed, found: Standing, act: Asked, request: Request) -> Response:
        """What the page's link alone must not do is asked for by mail (U-10)."""
        if act not in _BY_MAIL.get(self._word(signed, found), ()):
            return self._preferences(signed)
        typed = form_of(request).get("email", "") if act == Asked.MOVE else found.address
        try:
            address = parse(typed)
        except BadAddress:
            return self._preferences(signed, problem="web.join_wrong", status=422)
        evidence = Evidence(
            origin=Origin.PAGE,
            at=self.now(),
            wording=self._wording(Origin.PAGE, act),
            ip=ip_of(request),
            user_agent=program_of(request),
        )
        with writing(self.engine) as session:
            wish(session, act, address, evidence, signed.subscriber_id)
        return self.pages.show("asked", slip="")

    def _leaver(self, token: str) -> Signed | None:
        # Whatever its version: an old letter's link keeps its promise (T-3).
        return self.keyring.read(Purpose.ONE_CLICK, token) or self.keyring.read(Purpose.LEAVE, token)

    def _address(self, signed: Signed) -> str:
        """The address, masked (T-6); "" where it is not known any more or cannot be read now."""
        try:
            with reading(self.engine) as session:
                found = standing(session, signed.subscriber_id)
        except SQLAlchemyError:
            return ""
        return masked(found.address) if found else ""

    def _leave(self, signed: Signed, origin: Origin) -> bool:
        """Whether it is written down for good that they left, in the store or else in the spool."""
        evidence = self._evidence(origin, "leave")
        try:
            self._catch_up()
            with writing(self.engine) as session:
                unsubscribe(session, signed.subscriber_id, evidence)
        except SQLAlchemyError as error:
            return self._spooled(signed, evidence, error)
        return True

    def _catch_up(self) -> None:
        """What waits in the spool is older than what is done now, and goes first."""
        # The dispatcher may be at it just now, or the file be out of reach: it says so before a run.
        with suppress(OSError):
            apply_spool(self.engine, self.spool)

    def _spooled(self, signed: Signed, evidence: Evidence, why: SQLAlchemyError) -> bool:
        told = (signed.subscriber_id, type(why).__name__)
        try:
            append(self.spool, signed.subscriber_id, evidence)
        except OSError as error:
            _log.error("subscriber %d could not leave: %s, and the spool: %s", *told, error)
            return False
        _log.warning("subscriber %d left into the spool: the store answered %s", *told)
        return True

    def _standing(self, signed: Signed) -> Standing | None:
        """Where they stand, if the token still has its power (T-3)."""
        with reading(self.engine) as session:
            found = standing(session, signed.subscriber_id)
        return found if found and found.token_version == signed.version else None

    def _word(self, signed: Signed, found: Standing) -> str:
        """The word for where they stand."""
        # Who left by another system's list is who left; anything else on the list wins over the state.
        word = _WORDS[found.state] if found.barred in (None, Cause.LEFT) else "barred"
        is_leaving = word in ("active", "paused") and signed.subscriber_id in waiting(self.spool)
        return "gone" if is_leaving else word

    def _preferences(
        self, signed: Signed | None, act: str = "", problem: str = "", status: int = 200
    ) -> Response:
        found = self._standing(signed) if signed else None
        if signed is None or found is None or found.state not in _WORDS:
            return self.pages.missing()
        word = self._word(signed, found)
        choices = _CHOICES[word]
        done = act if _UNDO.get(act) in choices else ""
        return self.pages.show(
            "preferences",
            status,
            address=masked(found.address),
            standing=word,
            choices=(_UNDO[done],) if done else choices,
            by_mail=() if done else _BY_MAIL.get(word, ()),
            done=done,
            problem=problem,
        )

    def _do(self, signed: Signed, act: str, request: Request) -> None:
        self._catch_up()
        with writing(self.engine) as session:
            try:
                _ACTS[act](session, signed.subscriber_id, self._evidence(Origin.PAGE, act, request))
            except NotAllowed:
                # Two windows, or a bounce in between: the page shows how it stands now.
                session.rollback()

    def _evidence(self, origin: Origin, act: str, request: Request | None = None) -> Evidence:
        """What was read and pressed; with the origin of the request where somebody joins again."""
        joining = request if act == "rejoin" else None
        return Evidence(
            origin=origin,
            at=self.now(),
            wording=self._wording(origin, act),
            ip=ip_of(joining) if joining else None,
            user_agent=program_of(joining) if joining else None,
        )

    def _wording(self, origin: Origin, act: str) -> str:
        if origin == Origin.ONE_CLICK:
            return "List-Unsubscribe=One-Click"
        say = self.pages.words.say
        label = say("letter.unsubscribe") if act == "leave" else say(f"web.{act}")
        return f"{label}: {say(f'web.{act}_next')}"
