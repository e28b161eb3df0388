"""The composition root of the pages: what they need is put together here and nowhere else."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

import anyio
from anyio import to_thread
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp

from digest.database import open_engine
from digest.errors import DigestError
from digest.issue.due import Schedule
from digest.letter.page import Publication
from digest.letter.theme import Theme
from digest.sending.spool import set_aside
from digest.web.archive import Archive
from digest.web.hooks import Doors, Hooks, Sns
from digest.web.joining import Joining
from digest.web.mine import Mine
from digest.web.monitor import Monitor
from digest.web.pages import SAFE, Pages
from digest.web.public import Public
from subscribers.tokens import Keyring

PATIENCE = 300  # milliseconds a page waits for the store: a one-click is answered within a second
#: seconds between two looks at what was asked for on the pages; and after one that went wrong
PAUSE, LONG_PAUSE = 1.0, 60.0
_log = logging.getLogger(__name__)


def create_app(
    *,
    engine: Engine,
    keyring: Keyring,
    publication: Publication,
    theme: Theme,
    templates_dir: Path | None,
    spool: Path,
    secret: bytes | None,
    schedule: Schedule,
    metrics_token: bytes | None,
    now: Callable[[], datetime],
    answer: Callable[[], object] | None = None,
    doors: Doors | None = None,
    fetch: Callable[[str], bytes] | None = None,
    within: Mapping[str, ASGIApp] | None = None,
) -> FastAPI:
    """The pages of *publication*. The store is reached through an engine of their own, which gives up soon.

    *secret* is the key of the suppression list; without it nobody can be taken on. *schedule* says when an
    issue is late, *metrics_token* opens /metrics for other machines. *answer* is called
    every second, in a thread of the server's, and answers what was asked for on the pages; None where
    another process does. *doors* are the webhooks that are open, and *fetch* gives what SNS shows at a URL,
    or raises NotFetched. *within* are applications of their own, each with its own guard, by the first
    part of their paths, as "/desk". `app.state.engine` is the pages' engine, for whoever wants to dispose
    of it.
    """
    pages = Pages(publication, theme, templates_dir)
    hasty = open_engine(engine.url.render_as_string(hide_password=False), patience=PATIENCE)
    # Where no room can be set aside, leaving still works as long as the disk is not full.
    with suppress(OSError):
        set_aside(spool)
    # `routes` says why there are no redirects.
    app = FastAPI(openapi_url=None, redirect_slashes=False, lifespan=_answering(answer))
    app.state.engine = hasty
    app.include_router(Public(pages, keyring, hasty, spool, now).router())
    mine = Mine(pages, hasty, secret, now)
    app.include_router(Joining(pages, keyring, hasty, secret, now, mine.answer).router())
    app.include_router(Archive(pages, hasty, now).router())
    app.include_router(Monitor(pages, hasty, spool, schedule, metrics_token, now).router())
    if doors is not None and fetch is not None:
        app.include_router(Hooks(pages, hasty, doors, Sns(fetch), now).router())
    for prefix, inside in (within or {}).items():
        app.add_api_route(
            prefix, _leading_to(f"{publication.base_url}{prefix}/"), methods=["GET"], include_in_schema=False
        )
        app.router.routes.append(Mount(prefix, inside))
    _catch(app, pages)
    return app


def _leading_to(url: str) -> Callable[[], Response]:
    return lambda: RedirectResponse(url, 303, SAFE)


def _answering(answer: Callable[[], object] | None) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Calls *answer* again and again while the server runs; a call that was begun is waited for."""

    async def again_and_again() -> None:
        assert answer is not None
        while True:
            try:
                await to_thread.run_sync(answer)
                await anyio.sleep(PAUSE)
            except (DigestError, SQLAlchemyError) as error:
                # The relay's words may name an address, the store's its values: neither goes to a log.
                _log.warning("mails of the pages wait: %s", type(error).__name__)
                await anyio.sleep(LONG_PAUSE)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        if answer is None:
            yield
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(again_and_again)
            yield
            tasks.cancel_scope.cancel()

    return lifespan


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
