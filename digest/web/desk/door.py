"""Logging in and out, and one's own password (S-6).

The form answers a wrong password and an address nobody has alike, in one time. A login gets a new cookie
always: whatever a browser had before opens nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Engine

from digest.accounts.attempts import forget_tries, try_once
from digest.accounts.editors import change_password, editor_of, rehash
from digest.accounts.logins import LONGEST, log_in, log_out
from digest.accounts.passwords import LONGEST as LONGEST_PASSWORD
from digest.accounts.passwords import Busy, Passwords, fault
from digest.database import reading, writing
from digest.web.desk.frame import Frame, rooms
from digest.web.forms import ip_of
from digest.web.guard import COOKIE, COOKIE_BYTES, Here, Visit, way_back
from subscribers.address import BadAddress, parse
from subscribers.limits import network_of

#: the paths of the desk for who is not logged in
OPEN = frozenset({"/login", "/desk.css"})
LONGEST_SHOWN = 320  # characters of what was typed that are shown again


@dataclass(frozen=True, slots=True)
class Door:
    """The login page, the way out, and another password."""

    frame: Frame
    engine: Engine
    passwords: Passwords
    secret: bytes
    #: makes so many bytes of text that nobody can guess
    random: Callable[[int], str]
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Their routes."""
        router = APIRouter()
        rooms(router, "/login", self.ask, self.enter)
        rooms(router, "/logout", self.back, self.leave)
        rooms(router, "/password", self.key, self.rekey)
        return router

    def ask(self, visit: Here, request: Request, to: str = "") -> Response:
        """The form; where a link of another site led here, first once more from a page of ours.

        With such a link browsers send no SameSite=Strict cookie, and who is logged in would not look so.
        """
        to = way_back(to, self.frame.root)
        if visit.editor is not None:
            return self.frame.go(to.removeprefix(self.frame.root))
        if not visit.cookie and request.headers.get("sec-fetch-site") == "cross-site":
            return self.frame.show("arrived", visit, to=to)
        return self._form(visit, to)

    def enter(self, visit: Here, request: Request) -> Response:
        """Logged in, if address and password are an editor's; the same answer to everything else."""
        typed, to = visit.said("address"), way_back(visit.said("to"), self.frame.root)
        try:
            key = parse(typed).key
        except BadAddress:
            key = typed[:LONGEST_SHOWN]
        network = network_of(ip_of(request) or "")
        with writing(self.engine) as session:
            wait = try_once(session, key, network, self.secret, self.now())
        if wait > timedelta(0):
            minutes = -(-wait // timedelta(minutes=1))
            return self._form(visit, to, 429, typed, "wait", minutes, {"Retry-After": str(60 * minutes)})
        try:
            cookie = self._cookie(key, visit.said("password")[: LONGEST_PASSWORD + 1], network)
        except Busy:
            return self._form(visit, to, 503, typed, "busy", headers={"Retry-After": "5"})
        if cookie is None:
            return self._form(visit, to, 403, typed, "wrong")
        answer = self.frame.go(to.removeprefix(self.frame.root))
        _give(answer, cookie, LONGEST)
        return answer

    def back(self, visit: Here) -> Response:
        """Looking at the way out changes nothing."""
        return self.frame.show("logout", visit)

    def leave(self, visit: Here) -> Response:
        """The browser is logged out, and its cookie opens nothing any more."""
        with writing(self.engine) as session:
            log_out(session, visit.cookie)
        answer = self.frame.go("/login")
        _give(answer, "", timedelta(0))
        return answer

    def key(self, visit: Here) -> Response:
        """The form for another password."""
        return self.frame.show("password", visit, problem="", changed=False)

    def rekey(self, visit: Here, request: Request) -> Response:
        """The password is the new one, and every other browser is logged out; if the old one was right."""
        who = visit.who
        old, new = visit.said("old")[: LONGEST_PASSWORD + 1], visit.said("new")
        problem = fault(new, who.address)
        if problem or new != visit.said("again"):
            return self._rekeyed(visit, 409, problem or "the new password was not typed alike twice")
        key, network = parse(who.address).key, network_of(ip_of(request) or "")
        with writing(self.engine) as session:
            # Whoever sits down at an open desk may guess no more often than at the door.
            wait = try_once(session, key, network, self.secret, self.now())
        if wait > timedelta(0):
            minutes = -(-wait // timedelta(minutes=1))
            return self._rekeyed(visit, 429, f"too many tries: wait {minutes} min, then try again")
        with reading(self.engine) as session:
            editor = editor_of(session, key)
        checked = editor.password_hash if editor else None
        try:
            if not self.passwords.is_right(old, checked):
                return self._rekeyed(visit, 403, "the old password is another one")
            fresh = self.passwords.hashed(new)
        except Busy as error:
            return self._rekeyed(visit, 503, str(error))
        assert checked is not None
        cookie, now = self.random(COOKIE_BYTES), self.now()
        with writing(self.engine) as session:
            forget_tries(session, key, network, self.secret)
            if not change_password(session, who.editor_id, checked, fresh, now):
                return self._rekeyed(visit, 409, "it was changed elsewhere at this moment")
            log_in(session, who.editor_id, fresh, cookie, now)
        answer = self.frame.show("password", Visit(editor=who, cookie=cookie), problem="", changed=True)
        _give(answer, cookie, LONGEST)
        return answer

    def _rekeyed(self, visit: Visit, status: int, problem: str) -> Response:
        return self.frame.show("password", visit, status, problem=problem, changed=False)

    def _cookie(self, key: str, password: str, network: str) -> str | None:
        """The new cookie of the editor of *key*; None unless *password* is theirs."""
        with reading(self.engine) as session:
            editor = editor_of(session, key)
        if not self.passwords.is_right(password, editor.password_hash if editor else None):
            return None
        assert editor is not None
        assert editor.id is not None
        cookie = self.random(COOKIE_BYTES)
        fresh = self.passwords.hashed(password) if self.passwords.is_weak(editor.password_hash) else None
        with writing(self.engine) as session:
            forget_tries(session, key, network, self.secret)
            if not log_in(session, editor.id, editor.password_hash, cookie, self.now()):
                return None
            if fresh:
                rehash(session, editor.id, fresh)
        return cookie

    def _form(
        self,
        visit: Visit,
        to: str,
        status: int = 200,
        typed: str = "",
        problem: str = "",
        minutes: int = 0,
        headers: dict[str, str] | None = None,
    ) -> Response:
        # The form needs a cookie to be bound to; this one opens nothing.
        cookie = visit.cookie or self.random(COOKIE_BYTES)
        seen = Visit(editor=None, cookie=cookie)
        answer = self.frame.show(
            "login",
            seen,
            status,
            headers or {},
            to=to,
            typed=typed[:LONGEST_SHOWN],
            problem=problem,
            minutes=minutes,
        )
        if not visit.cookie:
            _give(answer, cookie, LONGEST)
        return answer


def _give(answer: Response, cookie: str, lasting: timedelta) -> None:
    """The browser has *cookie* for the desk, and shows it to no script and no other site."""
    answer.set_cookie(
        COOKIE, cookie, max_age=int(lasting.total_seconds()), secure=True, httponly=True, samesite="strict"
    )
