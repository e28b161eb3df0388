"""The composition root of the pages: what they need is put together here and nowhere else."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from digest.database import open_engine, reading
from digest.issue.history import published
from digest.letter.page import Publication
from digest.letter.theme import Theme
from digest.sending.spool import set_aside
from digest.web.archive import Archive
from digest.web.pages import Pages
from digest.web.public import Public
from subscribers.tokens import Keyring

PATIENCE = 300  # milliseconds a page waits for the store: a one-click is answered within a second


def create_app(
    *,
    engine: Engine,
    keyring: Keyring,
    publication: Publication,
    theme: Theme,
    templates_dir: Path | None,
    spool: Path,
    now: Callable[[], datetime],
) -> FastAPI:
    """The pages of *publication*. The store is reached through an engine of their own, which gives up soon.

    `app.state.engine` is that engine, for whoever wants to dispose of it.
    """
    pages = Pages(publication, theme, templates_dir)
    hasty = open_engine(engine.url.render_as_string(hide_password=False), patience=PATIENCE)
    # Where no room can be set aside, leaving still works as long as the disk is not full.
    with suppress(OSError):
        set_aside(spool)
    # A redirect to the path without its slash would lose the body and the promise of a POST.
    app = FastAPI(openapi_url=None, redirect_slashes=False)
    app.state.engine = hasty
    app.include_router(Public(pages, keyring, hasty, spool, now).router())
    app.include_router(Archive(pages, hasty, now).router())
    app.add_api_route("/healthz", lambda: _health(pages, hasty), methods=["GET", "HEAD"])
    _catch(app, pages)
    return app


def _catch(app: FastAPI, pages: Pages) -> None:
    """Whatever goes wrong ends in one of our pages, with our headers and without details."""

    def refused(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        answer = pages.missing(error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    def failed(_request: Request, error: Exception) -> Response:
        return pages.unavailable(503 if isinstance(error, SQLAlchemyError) else 500)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(SQLAlchemyError, failed)
    app.add_exception_handler(Exception, failed)


def _health(pages: Pages, engine: Engine) -> Response:
    """200 while the store answers, with the last issue's month, so that a monitor sees a missed one."""
    try:
        with reading(engine) as session:
            issues = published(session)
    except SQLAlchemyError:
        return pages.line("the store does not answer", 503)
    last = f"; the last issue is {issues[0].month}" if issues else ""
    return pages.line(f"ok{last}")
