"""What the publication is set up with: its sources, its settings, and what doctor finds wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from sqlalchemy import Engine

from digest.database import reading
from digest.fetching import posts_by_source, sources_of
from digest.web.desk.checkup import Checkup
from digest.web.desk.frame import Frame, rooms
from digest.web.guard import Here


@dataclass(frozen=True, slots=True)
class House:
    """The two rooms."""

    frame: Frame
    engine: Engine
    #: the settings as they may be shown, by their names, without a secret
    settings: Mapping[str, str]
    #: None: nobody can be asked
    checkup: Checkup | None

    def router(self) -> APIRouter:
        """Their routes."""
        router = APIRouter()
        rooms(router, "/sources", self.sources)
        rooms(router, "/settings", self.shown, self.examine)
        return router

    def sources(self, visit: Here) -> Response:
        """Every source: when it was last fetched, how that went, what came of it."""
        with reading(self.engine) as session:
            found, posts = sources_of(session), posts_by_source(session)
        rows = [(one, *posts.get(one.id or 0, (0, None))) for one in found]
        return self.frame.show("sources", visit, rows=rows)

    def shown(self, visit: Here) -> Response:
        """What doctor found last, and the settings."""
        checkup = self.checkup
        last = checkup.last if checkup else None
        return self.frame.show(
            "settings", visit, settings=self.settings, can_examine=checkup is not None, last=last
        )

    def examine(self, visit: Here) -> Response:
        """Doctor is at work; nobody waits for that."""
        if self.checkup is None:
            raise HTTPException(404)
        self.checkup.start()
        return self.frame.go("/settings")
