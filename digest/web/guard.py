"""The guards in front of the desk and the API: nothing inside is reached but past them (S-11).

Each wraps a whole application. A path that spells /desk in another way is not the desk's, and so is nothing.
"""

import hmac
import logging
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlsplit

from anyio import to_thread
from fastapi import Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from digest.accounts.bearer import NOTED_EVERY as TOKEN_NOTED_EVERY
from digest.accounts.bearer import note_used, token_of
from digest.accounts.logins import NOTED_EVERY, Who, note_seen, who
from digest.accounts.models import Role
from digest.database import reading, writing
from digest.web.pages import NOTHING, PRIVATE, SAFE

#: the prefix makes browsers refuse it from a neighbouring host, over plain http, and for one path only.
#: Chromium and Firefox take Secure cookies over http from this machine too, so there is only this one form
COOKIE = "__Host-desk"
COOKIE_BYTES = 32
#: the field of a form that proves that we made it
FIELD = "token"
API_HEADERS = SAFE | PRIVATE | {"Content-Security-Policy": NOTHING}
LONGEST_FORM = 1_048_576  # bytes; the introduction, the excerpts
MOST_FIELDS = 2000
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request at the desk."""

    #: None: nobody is logged in, on one of the few pages that are open
    editor: Who | None
    #: what the browser sent; "" where it sent none
    cookie: str
    #: what was posted; {} for GET
    form: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What each of this browser's forms carries."""
        return form_token(self.cookie)

    @property
    def who(self) -> Who:
        """The editor, where the page is not open to all."""
        assert self.editor is not None
        return self.editor

    def said(self, name: str) -> str:
        """What was posted as *name*, the last of several; "" where nothing was."""
        return self.form.get(name, [""])[-1]


def number_in(text: str) -> int | None:
    """The number, of no sign and at most 18 digits, that *text* is; None where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def visit_of(request: Request) -> Visit:
    """The visit, as the guard let it in."""
    found: Visit = request.state.visit
    return found


#: how a room is told who asks
Here = Annotated[Visit, Depends(visit_of)]


def only(role: Role) -> Any:
    """For a route's `dependencies`: lets in whom *role* lets in."""

    def check(visit: Here) -> None:
        if not visit.who.may(role):
            raise HTTPException(403)

    return Depends(check)


def form_token(cookie: str) -> str:
    """The token of the forms of whoever has *cookie*: nobody else can make it."""
    made = hmac.digest(cookie.encode(), b"a form of the desk", "sha256")
    return urlsafe_b64encode(made).decode().rstrip("=")


def is_own(site: str | None, origin: str | None, own: str) -> bool:
    """Whether a POST comes from a page of *own*, by its Sec-Fetch-Site and Origin; None: it has none.

    Both are set by the browser and by no page. What a browser says in one is not outweighed by the other,
    and who says nothing is refused (S-5).
    """
    if origin is not None and origin != own:
        return False
    return origin == own if site is None else site in ("same-origin", "none")


def origin_of(url: str) -> str:
    """The origin of *url* as browsers write it (RFC 6454, section 6.1)."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    default = {"http": 80, "https": 443}[parts.scheme]
    port = f":{parts.port}" if parts.port not in (None, default) else ""
    return f"{parts.scheme}://{host}{port}"


#: why somebody is not let in: not logged in; the form is not of this browser's page; it was sent by another
#: site; it is too large; a method there is not
OUT, STALE, FOREIGN, LARGE, METHOD = 401, 403, 400, 413, 405


class DeskGuard:
    """Lets in who is logged in, and of POSTs only those of our own forms."""

    def __init__(
        self,
        inside: ASGIApp,
        *,
        engine: Engine,
        own: str,
        opened: frozenset[str],
        refuse: Callable[[int, str, bool], Response],
        now: Callable[[], datetime],
    ) -> None:
        """*own* is our origin, *opened* are the paths below /desk for who is not logged in.

        *refuse* makes the answer for who is not let in: why, the path, whether it was to be looked at only.
        """
        self.inside, self._engine, self._own, self._opened = inside, engine, own, opened
        self._refuse, self._now = refuse, now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        path, looking = scope["path"], request.method in ("GET", "HEAD")
        admitted = await self._admit(request, looking)
        if isinstance(admitted, Visit):
            scope.setdefault("state", {})["visit"] = admitted
            await self.inside(scope, receive, send)
        else:
            await self._refuse(admitted, path, looking)(scope, receive, send)

    async def _admit(self, request: Request, looking: bool) -> Visit | int:
        headers = request.headers
        cookie = request.cookies.get(COOKIE, "")
        if not re.fullmatch(r"[\w-]{43}", cookie, re.ASCII):
            cookie = ""
        form: dict[str, list[str]] = {}
        if not looking:
            if request.method != "POST":
                return METHOD
            if not is_own(headers.get("sec-fetch-site"), headers.get("origin"), self._own):
                return FOREIGN
            body = await _body(request)
            if body is None:
                return LARGE
            with suppress(ValueError):
                form = parse_qs(body.decode(errors="replace"), True, max_num_fields=MOST_FIELDS)
            given = form.pop(FIELD, [""])[-1]
            if not cookie or not hmac.compare_digest(given.encode(), form_token(cookie).encode()):
                return STALE
        editor = await to_thread.run_sync(self._who, cookie) if cookie else None
        if editor is None and _below(request.scope) not in self._opened:
            return OUT
        return Visit(editor=editor, cookie=cookie, form=form)

    def _who(self, cookie: str) -> Who | None:
        now = self._now()
        with reading(self._engine) as session:
            found = who(session, cookie, now)
        if found and now - found.seen_at >= NOTED_EVERY:
            # A store that is busy sending does not keep anybody out.
            with suppress(SQLAlchemyError), writing(self._engine) as session:
                note_seen(session, cookie, now)
        return found


def _below(scope: Scope) -> str:
    """The path below where the application stands."""
    path: str = scope["path"]
    return path.removeprefix(scope["root_path"])


async def _body(request: Request) -> bytes | None:
    """The body; None for one that is too large, or that nobody sends any more."""
    parts, taken = [], 0
    with suppress(ClientDisconnect):
        async for part in request.stream():
            taken += len(part)
            if taken > LONGEST_FORM:
                return None
            parts.append(part)
        return b"".join(parts)
    return None


class ApiGuard:
    """Lets in programs whose token works; what comes back is for them alone, and never a page."""

    def __init__(
        self,
        inside: ASGIApp,
        *,
        engine: Engine,
        opened: frozenset[str],
        now: Callable[[], datetime],
    ) -> None:
        """*opened* are the paths below /api for everybody."""
        self.inside, self._engine, self._opened = inside, engine, opened
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if request.method in ("GET", "HEAD") and _below(scope) in self._opened:
            await self.inside(scope, receive, send)
            return
        answer = await self._refusal(request)
        if answer is not None:
            await answer(scope, receive, send)
            return
        body = await _body(request)
        if body is None:
            await told("that is longer than a megabyte", 413)(scope, receive, send)
            return
        whole: list[Message] = [{"type": "http.request", "body": body}]

        async def again() -> Message:
            return whole.pop() if whole else await receive()

        await self.inside(scope, again, send)

    async def _refusal(self, request: Request) -> Response | None:
        """The answer for who is not let in; None for who is."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            name = await to_thread.run_sync(self._name, token.strip()) if scheme.lower() == "bearer" else None
        except SQLAlchemyError:
            return told("the store is busy; nothing was changed", 503, {"Retry-After": "5"})
        request.scope.setdefault("state", {})["program"] = name
        if name is None:
            mend = "send a token of `digest tokens add` as Authorization: Bearer"
            return told(mend, 401, {"WWW-Authenticate": "Bearer"})
        return None

    def _name(self, token: str) -> str | None:
        """What the editors call the program; None: its token does not work."""
        now = self._now()
        with reading(self._engine) as session:
            found = token_of(session, token)
        if found and (found.used_at is None or now - found.used_at >= TOKEN_NOTED_EVERY):
            with suppress(SQLAlchemyError), writing(self._engine) as session:
                note_used(session, found.key, now)
        return found.name if found else None


def told(detail: object, status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Why the API did not do something."""
    return JSONResponse({"detail": detail}, status, API_HEADERS | dict(headers or {}))


def way_back(path: str, root: str) -> str:
    """Where to go after logging in: *path*, if it is the desk's own below *root*; else the desk (S-8)."""
    own = re.fullmatch(rf"{re.escape(root)}/[\w./-]*", path, re.ASCII)
    return quote(path) if own and "//" not in path and ".." not in path else f"{root}/"
