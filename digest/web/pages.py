"""The public pages: one look, and the headers that keep what is on them among their reader and us.

A page loads nothing, runs nothing, can be put into no frame and tells no other site where its reader
came from, for some of their addresses hold a token.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from markupsafe import Markup

from digest.letter.bidi import enclosed
from digest.letter.page import Publication
from digest.letter.templates import environment
from digest.letter.theme import Theme
from digest.letter.words import moment_in_words, words

#: on every answer of the server
SAFE = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOTHING = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
#: for what belongs to one reader, for a form everybody may find, and for what everybody may see
PRIVATE = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
OPEN = {"Cache-Control": "no-store"}
FEED = "application/atom+xml"
PUBLIC = {"Cache-Control": "public, max-age=300"}


def told(what: str, *kinds: str) -> dict[str, Any]:
    """An answer for the description of the pages: in words, and the media types it may be of."""
    return {"description": what, "content": {kind: {"schema": {"type": "string"}} for kind in kinds}}


#: what every route may answer
REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": told("The page for what is not there, or not asked for so", "text/html"),
    503: told("The page that asks to try again later", "text/html"),
}


def routes(
    router: APIRouter,
    path: str,
    look: Callable[..., Response],
    act: Callable[..., Response] | None = None,
    looked: Mapping[str, Any] | None = None,
    acted: Mapping[str, Any] | None = None,
) -> None:
    """*look* answers GET and HEAD at *path*, *act* POST; a final slash is the same page.

    A redirect to the path without it would lose a one-click's POST. *looked* and *acted* describe the
    two for `FastAPI.openapi`, beside what every page may answer; HEAD and the slash need no words.
    """
    given: dict[str, Any] = {"response_class": HTMLResponse} | dict(looked or {})
    given["responses"] = REFUSED | given.get("responses", {})
    posted: dict[str, Any] = {"response_class": HTMLResponse} | dict(acted or {})
    posted["responses"] = REFUSED | posted.get("responses", {})
    for one in dict.fromkeys((path, f"{path.rstrip('/')}/")):
        shown = one == path
        router.add_api_route(one, look, methods=["GET"], include_in_schema=shown, **given)
        router.add_api_route(one, look, methods=["HEAD"], include_in_schema=False, **given)
        if act is not None:
            router.add_api_route(one, act, methods=["POST"], include_in_schema=shown, **posted)


class Pages:
    """The templates of `web/`, in the publication's words and colours."""

    def __init__(self, publication: Publication, theme: Theme, templates_dir: Path | None) -> None:
        """Nothing is read again later: a changed template shows after a restart."""
        self.publication = publication
        self.words = words(publication.language, templates_dir)
        self._templates = environment(templates_dir)
        self._templates.filters["moment"] = self._moment
        style = self._templates.get_template("web/pages.css").render(theme=theme)
        self._templates.globals.update(
            publication=replace(publication, name=enclosed(publication.name, self.words.direction)),
            language=self.words.language,
            direction=self.words.direction,
            say=self.words.say,
            style=Markup(style),  # noqa: S704  (our own style, with colours and fonts that were checked)
        )
        digest = b64encode(sha256(style.encode()).digest()).decode()
        self._policy = f"{NOTHING}; style-src 'sha256-{digest}'; form-action 'self'"

    def _moment(self, at: datetime) -> str:
        """*at* on the publication's clocks, in its language."""
        return moment_in_words(at, self.publication.zone, self.publication.language)

    def show(
        self, name: str, status: int = 200, headers: Mapping[str, str] = PRIVATE, **values: Any
    ) -> Response:
        """The page *name* with *values* in it."""
        html = self._templates.get_template(f"web/{name}.html").render(values)
        return HTMLResponse(html, status, {**SAFE, **headers, "Content-Security-Policy": self._policy})

    def feed(self, **values: Any) -> Response:
        """The Atom feed with *values* in it."""
        xml = self._templates.get_template("web/feed.xml").render(values)
        headers = SAFE | PUBLIC | {"Content-Security-Policy": NOTHING}
        return Response(xml, headers=headers, media_type=FEED)

    def line(self, text: str, status: int = 200, kind: str = "text/plain") -> Response:
        """*text* alone, for machines: no page, no markup."""
        headers = SAFE | PRIVATE | {"Content-Security-Policy": NOTHING}
        return PlainTextResponse(f"{text}\n", status, headers, media_type=kind)

    def missing(self, status: int = 404) -> Response:
        """The one page for everything that is not there: it tells a forged link from nothing (T-6)."""
        return self.show("missing", status)

    def unavailable(self, status: int = 503) -> Response:
        """The page that says that nothing was done, and that it is worth trying again."""
        return self.show("unavailable", status, PRIVATE | {"Retry-After": "120"})
