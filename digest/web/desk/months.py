"""The first room: every month in a line, and what waits for whom."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import Engine

from digest.database import reading
from digest.fetching import sources_of
from digest.issue.due import Schedule, due_at
from digest.issue.overview import overview, posts_in, waits
from digest.month import Month
from digest.web.desk.frame import Frame, rooms
from digest.web.guard import Here
from subscribers.roll import receives_anybody


@dataclass(frozen=True, slots=True)
class Months:
    """The room."""

    frame: Frame
    engine: Engine
    schedule: Schedule
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter()
        rooms(router, "/", self.months)
        return router

    def months(self, visit: Here) -> Response:
        """Every issue, and the month that is being written."""
        zone, now = self.frame.publication.zone, self.now()
        current = Month.of(now, zone)
        with reading(self.engine) as session:
            lines = overview(session)
            seen: dict[str, Any] = {
                "sources": len(sources_of(session)),
                "active": receives_anybody(session),
                "open": [
                    (str(one), posts_in(session, one), due_at(one, self.schedule), one == current)
                    for one in (current, current.previous)
                    if str(one) not in [line.month for line in lines]
                ],
            }
        waiting = [(one, waits(one, Month.parse(one.month, zone), self.schedule, now)) for one in lines]
        return self.frame.show("months", visit, lines=waiting, **seen)
