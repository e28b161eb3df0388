"""The desk's frame: templates of `desk/`, one look, and headers that let a page load only what is ours."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import TemplateError
from markupsafe import Markup, escape

from digest.letter.page import Publication
from digest.letter.templates import environment
from digest.letter.theme import Theme
from digest.letter.words import day_in_words, moment_in_words, month_in_words
from digest.month import Month
from digest.web.guard import FIELD, FOREIGN, LARGE, METHOD, OUT, STALE, Visit
from digest.web.pages import PRIVATE, SAFE

#: where the desk is, below the base URL
DESK = "/desk"
#: browsers send an Origin of "null" with the forms of a page that sends no referrer, which looks foreign
_HEADERS = SAFE | PRIVATE | {"Referrer-Policy": "same-origin"}
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:;"
    " frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: of a letter in a frame: foreign text that may show its pictures and its own style, and nothing else (S-3)
_PICTURES = "img-src https: http: data:"
_LETTER_POLICY = (
    f"sandbox; default-src 'none'; {_PICTURES}; style-src 'unsafe-inline'; form-action 'none';"
    " base-uri 'none'; frame-ancestors 'self'"
)
#: the desk speaks English whatever the letters do, with the day before the month and 24 hours
LANGUAGE = "en-GB"
#: files that every page shares: their names, media types
_FILES = {
    "desk.css": "text/css",
    "issue.css": "text/css",
    "issue.js": "text/javascript",
    "sending.css": "text/css",
    "sending.js": "text/javascript",
}
_CODE = re.compile("`([^`]+)`")
#: the rooms, as the navigation names them
ROOMS = (("", "Months"), ("subscribers", "Subscribers"), ("sources", "Sources"), ("settings", "Settings"))


class Frame:
    """Makes the desk's answers."""

    def __init__(self, publication: Publication, theme: Theme, templates_dir: Path | None) -> None:
        """Nothing is read again later: a changed template shows after a restart."""
        self.publication = publication
        self._theme = theme
        #: of every answer that is for one editor
        self.headers = _HEADERS
        #: what every path of the desk begins with
        self.root = f"{urlsplit(publication.base_url).path}{DESK}"
        self._templates = environment(templates_dir)
        self._templates.filters |= {
            "moment": self.moment, "day": self.day, "month": self.month, "clock": self.clock, "coded": coded,
        }  # fmt: skip
        self._files = {
            name: self._templates.get_template(f"desk/{name}").render(theme=theme).encode() for name in _FILES
        }
        # A page of a newer version never meets an older style.
        mark = sha256(b"".join(self._files.values())).hexdigest()[:12]
        self._templates.globals |= {
            "publication": publication, "desk": self.root, "rooms": ROOMS, "field": FIELD, "mark": mark,
        }  # fmt: skip

    def compile(self) -> None:
        """No page waits any more for its template to be compiled, which takes up to a tenth of a second."""
        for name in self._templates.list_templates(filter_func=_is_page):
            # One of the publication's own that is broken is told by its page, and stops no other.
            with suppress(TemplateError):
                self._templates.get_template(name)

    def files(self) -> APIRouter:
        """The routes of what every page shares."""
        router = APIRouter()
        for name in _FILES:
            router.add_api_route(f"/{name}", self._file(name), methods=["GET", "HEAD"])
        return router

    def _file(self, name: str) -> Callable[[], Response]:
        headers = SAFE | {"Cache-Control": "public, max-age=31536000, immutable"}
        return lambda: Response(self._files[name], headers=headers, media_type=_FILES[name])

    def moment(self, at: datetime) -> str:
        """*at* on the publication's clocks."""
        return moment_in_words(at, self.publication.zone, LANGUAGE)

    def day(self, at: datetime) -> str:
        """The day of *at* on the publication's clocks."""
        return day_in_words(at, self.publication.zone, LANGUAGE)

    def clock(self, at: datetime) -> str:
        """The time of *at* on the publication's clocks, to the second."""
        return f"{at.astimezone(self.publication.zone):%H:%M:%S}"

    def month(self, text: str) -> str:
        """The month written YYYY-MM, in words."""
        return month_in_words(Month.parse(text, self.publication.zone), LANGUAGE)

    def show(
        self,
        name: str,
        visit: Visit | None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **values: Any,
    ) -> Response:
        """The page *name* for *visit*, with *values* in it."""
        seen = {"editor": visit and visit.editor, "token": visit.token if visit else "", "here": name}
        html = self._templates.get_template(f"desk/{name}.html").render(seen | values)
        given = {**_HEADERS, "Content-Security-Policy": _POLICY, **(headers or {})}
        return HTMLResponse(html, status, given)

    def part(self, name: str, **values: Any) -> Markup:
        """The part *name* of a page, the same for everybody who sees it."""
        # A template of the desk's escapes what it is given.
        return Markup(self._templates.get_template(f"desk/{name}.html").render(values))  # noqa: S704

    def letter(self, html: str, pictures: bool = True) -> Response:
        """A letter, or what is like one, to be seen in a frame of ours; nothing in it can act."""
        policy = _LETTER_POLICY if pictures else _LETTER_POLICY.replace(_PICTURES, "img-src 'none'")
        return HTMLResponse(
            html, headers=_HEADERS | {"X-Frame-Options": "SAMEORIGIN", "Content-Security-Policy": policy}
        )

    def plain(self, text: str) -> Response:
        """*text* as it is, to be seen in a frame of ours."""
        page = self._templates.get_template("desk/plain.html").render(text=text, theme=self._theme)
        return self.letter(page, pictures=False)

    def go(self, path: str) -> Response:
        """On to *path* of the desk, after something was done."""
        return RedirectResponse(f"{self.root}{path}", 303, _HEADERS)

    def refuse(self, why: int, path: str, looking: bool) -> Response:
        """For who is not let in: the same for every path there is or is not (S-23)."""
        if why == OUT and looking:
            return RedirectResponse(f"{self.root}/login?to={path}", 303, _HEADERS)
        status = {OUT: 403, STALE: 403, FOREIGN: 403, LARGE: 413, METHOD: 405}[why]
        return self.show("refused", None, status, why=why, opened=self.publication.base_url)

    def wrong(self, visit: Visit | None, status: int) -> Response:
        """The page for what is not there, or did not work."""
        return self.show("wrong", visit, status, code=status)


def _is_page(name: str) -> bool:
    return name.startswith("desk/") and name.endswith(".html")


def coded(text: str) -> Markup:
    """*text*, with what stands between backticks, as the terminal shows it, as code; pure."""
    # What is not ours is escaped before; a backtick means nothing in HTML.
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704


def rooms(
    router: APIRouter,
    path: str,
    look: Callable[..., Response],
    act: Callable[..., Response] | None = None,
    act_needs: Sequence[Any] = (),
) -> None:
    """*look* answers GET and HEAD at *path*, *act* POST; a final slash is the same page.

    *act_needs*: `only(Role.APPROVER)` for what an editor may not do.
    """
    for one in dict.fromkeys((path, f"{path.rstrip('/')}/")):
        router.add_api_route(one, look, methods=["GET", "HEAD"], response_class=HTMLResponse)
        if act is not None:
            router.add_api_route(
                one, act, methods=["POST"], response_class=HTMLResponse, dependencies=list(act_needs)
            )
