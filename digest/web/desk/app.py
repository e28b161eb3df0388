"""The desk, put together: its rooms, and the guard in front of all of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fastapi import FastAPI, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from digest.accounts.passwords import Passwords
from digest.doctor.line import Line
from digest.issue.due import Schedule
from digest.press import Press
from digest.proofs import Proofs
from digest.sending.relay import Relay
from digest.web.desk.approval import Approval
from digest.web.desk.checkup import Checkup
from digest.web.desk.door import OPEN, Door
from digest.web.desk.draft import Draft
from digest.web.desk.frame import Frame
from digest.web.desk.house import House
from digest.web.desk.letters import Letters
from digest.web.desk.live import Live
from digest.web.desk.months import Months
from digest.web.desk.people import People
from digest.web.desk.sending import Sending, draw
from digest.web.guard import DeskGuard, origin_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What the rooms work with."""

    engine: Engine
    press: Press
    schedule: Schedule
    #: takes the test copies
    relay: Callable[[], Relay]
    passwords: Passwords
    #: the key of the suppression list; None: not set
    suppression: bytes | None
    #: as they may be shown
    settings: Mapping[str, str]
    #: doctor's lines for this installation; None: nobody can be asked
    examine: Callable[[], Sequence[Line]] | None
    #: counts tries to log in without keeping addresses
    secret: bytes
    #: makes so many bytes of text that nobody can guess
    random: Callable[[int], str]
    now: Callable[[], datetime]
    #: whether all templates are compiled before the first page is asked for: a third of a second
    compiled: bool = False


def create_desk(desk: Desk) -> ASGIApp:
    """The desk as an application of its own, for everything below /desk."""
    press = desk.press
    frame = Frame(press.publication, press.theme, press.templates_dir)
    if desk.compiled:
        frame.compile()
    inside = FastAPI(openapi_url=None, redirect_slashes=False)
    inside.include_router(frame.files())
    inside.include_router(
        Door(frame, desk.engine, desk.passwords, desk.secret, desk.random, desk.now).router()
    )
    inside.include_router(Months(frame, desk.engine, desk.schedule, desk.now).router())
    proofs = Proofs(press)
    inside.include_router(Draft(frame, desk.engine, proofs, desk.schedule, desk.now).router())
    inside.include_router(Letters(frame, desk.engine, proofs, desk.now).router())
    inside.include_router(Approval(frame, desk.engine, proofs, desk.schedule, desk.relay, desk.now).router())
    live = Live(desk.engine, draw(frame), desk.now)
    inside.include_router(Sending(frame, desk.engine, live, desk.now).router())
    inside.include_router(People(frame, desk.engine, desk.suppression, desk.now).router())
    checkup = Checkup(desk.examine, desk.now) if desk.examine else None
    inside.include_router(House(frame, desk.engine, desk.settings, checkup).router())
    _catch(inside, frame)
    return DeskGuard(
        inside,
        engine=desk.engine,
        own=origin_of(press.publication.base_url),
        opened=OPEN,
        refuse=frame.refuse,
        now=desk.now,
    )


def _catch(inside: FastAPI, frame: Frame) -> None:
    """Whatever goes wrong ends in one of the desk's pages, without details."""

    def failed(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if isinstance(error, SQLAlchemyError):
            status = 503
        return frame.wrong(request.state.visit, status)

    for kind in (HTTPException, SQLAlchemyError, Exception):
        inside.add_exception_handler(kind, failed)
