"""What monitors ask: /healthz, for everybody, and /metrics, for this machine or whoever has the token."""

import hmac
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from digest.database import reading
from digest.health import Health, health
from digest.issue.due import Schedule
from digest.issue.history import published
from digest.metrics import counted, exposition
from digest.month import Month
from digest.sending.spool import waiting
from digest.settings import is_loopback
from digest.web.pages import Pages, routes, told

#: counts are read again after this: several monitors, or one that asks all the time, cost no more
FRESH = timedelta(seconds=10)
#: a request that carries one of these came through a proxy, as do all that begin with x-forwarded-
_PASSED_ON = frozenset({"forwarded", "via", "x-real-ip", "x-client-ip", "true-client-ip", "cf-connecting-ip"})

_HEALTH = {
    "response_class": PlainTextResponse,
    "responses": {
        503: told("The store does not answer; or, asked with ?strict, the month is late", "text/plain")
    },
}
_METRICS = {"response_class": PlainTextResponse}


class Monitor:
    """Answers for one store, and remembers the counts for some seconds."""

    def __init__(
        self,
        pages: Pages,
        engine: Engine,
        spool: Path,
        schedule: Schedule,
        token: bytes | None,
        now: Callable[[], datetime],
    ) -> None:
        """*token* opens /metrics from anywhere; None: it is for this machine only."""
        self._pages, self._engine, self._spool = pages, engine, spool
        self._schedule, self._token, self._now = schedule, token, now
        self._lock = threading.Lock()
        self._known: tuple[datetime, str] | None = None

    def router(self) -> APIRouter:
        """The two routes."""
        router = APIRouter()
        routes(router, "/healthz", self.health, looked=_HEALTH)
        routes(router, "/metrics", self.metrics, looked=_METRICS)
        return router

    def health(self, request: Request) -> Response:
        """200 while the store answers, with the last issue's month and whether the next one is late.

        A late month is 503 only for whoever asks with `?strict`: whatever restarts a server that is not
        well must not restart pages on which people leave, because an editor is on holiday.
        """
        now = self._now()
        try:
            with reading(self._engine) as session:
                issues = published(session)
                found = health(session, self._schedule, self._month(now), now)
        except SQLAlchemyError:
            return self._pages.line("the store does not answer", 503)
        late = _late(found, now)
        last = [f"the last issue is {issues[0].month}"] if issues else []
        status = 503 if late and "strict" in request.query_params else 200
        return self._pages.line("; ".join(["late" if late else "ok", *late, *last]), status)

    def metrics(self, request: Request) -> Response:
        """The counts, for whoever may have them; the page for what is not there, for all others."""
        client = request.client.host if request.client else ""
        if not may_read(client, request.headers, self._token):
            raise HTTPException(404)
        return self._pages.line(self._counts().removesuffix("\n"), kind="text/plain; version=0.0.4")

    def _counts(self) -> str:
        # One counts, the others wait for its answer.
        with self._lock:
            now = self._now()
            if self._known is None or not timedelta(0) <= now - self._known[0] < FRESH:
                with reading(self._engine) as session:
                    found = counted(session)
                    well = health(session, self._schedule, self._month(now), now)
                self._known = now, exposition(found, well, len(waiting(self._spool)))
            return self._known[1]

    def _month(self, now: datetime) -> Month:
        zone: ZoneInfo = self._pages.publication.zone
        return Month.of(now, zone).previous


def _late(found: Health, now: datetime) -> list[str]:
    """What is late, in lines that say no more than the public archive does."""
    lines = [f"the issue of {found.month} is missing"] if found.missing else []
    if found.silent(now) and found.ticked_at:
        lines.append(f"digest run has not run since {found.ticked_at:%Y-%m-%d %H:%M} UTC")
    return lines


def may_read(client: str, headers: Mapping[str, str], token: bytes | None) -> bool:
    """Whether a request may have the counts: it carries *token*, or comes from this machine and no proxy.

    A proxy is known by what it adds, or by the name it was asked for; one on this machine that adds
    nothing and passes no Host on cannot be known.
    """
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if token and scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token):
        return True
    passed_on = any(name.lower() in _PASSED_ON or name.lower().startswith("x-forwarded") for name in headers)
    try:
        asked = urlsplit(f"//{headers.get('host', '')}").hostname or ""
    except ValueError:
        return False
    return not passed_on and is_loopback(client) and is_loopback(asked)
