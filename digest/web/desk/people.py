"""The subscribers' room: who is on the list, how it grows, what was imported, one person's whole story."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response
from sqlalchemy import Engine

from digest.database import reading
from digest.month import Month
from digest.trace import trace
from digest.web.desk.frame import Frame, rooms
from digest.web.guard import Here, number_in
from subscribers.address import parse
from subscribers.growth import growth
from subscribers.headings import PLAIN
from subscribers.imports import imports
from subscribers.models import State
from subscribers.report import Verdict
from subscribers.roll import head_count, search, standing

AT_ONCE = 50
LONGEST_SEARCH = 254  # characters: of an address
MONTHS = 12  # of growth
IMPORTS = 50
#: what became of a row, in words; first those that changed the list
SAID = {
    Verdict.ACCEPTED: "taken on",
    Verdict.ASKED: "asked by a mail whether they want the letters",
    Verdict.LEFT: "kept off, as they had left there",
    Verdict.BARRED: "kept off, as bounced, complained or suppressed there",
    Verdict.ALREADY_GONE: "gone there, and known here as gone",
    Verdict.ALREADY_ACTIVE: "on the list already",
    Verdict.ALREADY_PENDING: "asked already",
    Verdict.ALREADY_PAUSED: "on the list already, paused",
    Verdict.WAS_UNSUBSCRIBED: "left out: they unsubscribed here",
    Verdict.WAS_BOUNCED: "left out: their mailbox is dead",
    Verdict.WAS_COMPLAINED: "left out: they complained here",
    Verdict.SUPPRESSED: "left out: suppressed here",
    Verdict.DUPLICATE: "left out: another row has the same mailbox",
    Verdict.CONTRADICTED: "left out: another row says that they are gone",
    Verdict.CONSENT_UNKNOWN: "left out: the file does not say whether they said yes",
    Verdict.NOT_CONFIRMED: "left out: they never confirmed there",
    Verdict.PAUSED_THERE: "left out: paused there",
    Verdict.UNKNOWN_STATUS: "left out: a status nobody knows",
    Verdict.ROLE: "left out: the mailbox of a function",
    Verdict.TYPO_SUSPECT: "left out: most likely mistyped",
    Verdict.MIXED_ALPHABETS: "left out: an address of mixed alphabets",
    Verdict.SYNTAX: "left out: no address",
    Verdict.NO_ADDRESS: "left out: nothing where the address should be",
    Verdict.REPEATED_HEADER: "a heading in the middle of the file",
}


@dataclass(frozen=True, slots=True)
class People:
    """The room."""

    frame: Frame
    engine: Engine
    #: the key of the suppression list; None: not set, and then nobody's story is whole
    secret: bytes | None
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter()
        rooms(router, "/subscribers", self.people)
        rooms(router, "/subscribers/growth", self.grows)
        rooms(router, "/subscribers/imports", self.imported)
        rooms(router, "/subscribers/{who:int}", self.person)
        return router

    def people(self, visit: Here, q: str = "", state: str = "", before: str = "") -> Response:
        """The list, or those looked for."""
        text = q.strip()[:LONGEST_SEARCH]
        wanted = State(state) if state in set(State) else None
        last = number_in(before)
        with reading(self.engine) as session:
            found = search(session, text, wanted, last, AT_ONCE)
            counts = head_count(session)
        return self.frame.show(
            "subscribers",
            visit,
            found=found,
            counts=counts,
            states=list(State),
            q=text,
            state=wanted,
            more=found[-1].id if len(found) == AT_ONCE else None,
            later=last is not None,
        )

    def grows(self, visit: Here) -> Response:
        """A year of who came and who left, the newest month first."""
        month = Month.of(self.now(), self.frame.publication.zone)
        months = [month]
        while len(months) < MONTHS:
            months.append(months[-1].previous)
        months.reverse()
        with reading(self.engine) as session:
            counted = growth(session, [*(one.start for one in months), month.end])
            active = head_count(session).get(State.ACTIVE, 0)
        rows = [(str(one), acts) for one, acts in zip(months, counted, strict=True)]
        most = max((number for _month, acts in rows for number in acts.values()), default=0)
        return self.frame.show(
            "growth", visit, here="subscribers", rows=rows[::-1], most=most or 1, active=active
        )

    def imported(self, visit: Here) -> Response:
        """What the last imports came to, the latest first."""
        with reading(self.engine) as session:
            found = imports(session, IMPORTS)
        rows = [
            (one, [(one.counts[kind], said) for kind, said in SAID.items() if kind in one.counts])
            for one in found
        ]
        return self.frame.show("imports", visit, here="subscribers", rows=rows, plain=PLAIN)

    def person(self, visit: Here, who: int) -> Response:
        """Everything that ever happened to one address."""
        with reading(self.engine) as session:
            found = standing(session, who) if who < 2**63 else None
            if found is None:
                raise HTTPException(404)
            story = trace(session, parse(found.address), self.secret) if self.secret else None
        return self.frame.show(
            "person", visit, here="subscribers", address=found.address, state=found.state, story=story
        )
