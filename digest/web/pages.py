"""The public pages: one look, and the headers that keep what is on them among their reader and us.

A page loads nothing, runs nothing, can be put into no frame and tells no other site where its reader
came from, for some of their addresses hold a token.
"""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from markupsafe import Markup

from digest.letter.page import Publication
from digest.letter.theme import Theme, environment, words

#: on every answer of the server
SAFE = {
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
}
NOTHING = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'"
#: for what belongs to one reader, and for what everybody may see
PRIVATE = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
PUBLIC = {"Cache-Control": "public, max-age=300"}


class Pages:
    """The templates of `web/`, in the publication's words and colours."""

    def __init__(self, publication: Publication, theme: Theme, templates_dir: Path | None) -> None:
        """Nothing is read again later: a changed template shows after a restart."""
        self.publication = publication
        self.words = words(publication.language, templates_dir)
        self._templates = environment(templates_dir)
        style = self._templates.get_template("web/pages.css").render(theme=theme)
        self._templates.globals.update(
            publication=publication,
            language=self.words.language,
            direction=self.words.direction,
            say=self.words.say,
            style=Markup(style),  # noqa: S704  (our own style, with colours and fonts that were checked)
        )
        digest = b64encode(sha256(style.encode()).digest()).decode()
        self._policy = f"{NOTHING}; style-src 'sha256-{digest}'; form-action 'self'"

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
        return Response(xml, headers=headers, media_type="application/atom+xml")

    def line(self, text: str, status: int = 200) -> Response:
        """*text* alone, for machines: no page, no markup."""
        headers = SAFE | PRIVATE | {"Content-Security-Policy": NOTHING}
        return PlainTextResponse(f"{text}\n", status, headers)

    def missing(self, status: int = 404) -> Response:
        """The one page for everything that is not there: it tells a forged link from nothing (T-6)."""
        return self.show("missing", status)

    def unavailable(self, status: int = 503) -> Response:
        """The page that says that nothing was done, and that it is worth trying again."""
        return self.show("unavailable", status, PRIVATE | {"Retry-After": "120"})
