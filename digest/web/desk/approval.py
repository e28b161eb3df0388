"""Approval: who would get what, when; these bytes go, and no others.

What is approved is named by its fingerprint, as it stood on the page that was looked at: a letter that
changed meanwhile is not approved unseen (S-5).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from typing import Any
from zoneinfo import ZoneInfo

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlmodel import Session

from digest.accounts.models import Role
from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue.approve import UNSENT, approve, differing, frozen_of, leave, reject, withdraw
from digest.issue.changes import history
from digest.issue.due import Schedule, deadline, due_at
from digest.issue.models import Change, Done
from digest.letter.rendered import Rendered
from digest.lint.finding import errors_of
from digest.models import Issue, Status
from digest.month import Month
from digest.notices import at_desk, tell
from digest.press import require_no_error
from digest.proofs import Proofs
from digest.sending.relay import Relay
from digest.sending.trial import send_trial
from digest.web.desk.frame import Frame, rooms
from digest.web.desk.letters import issue_at
from digest.web.guard import Here, Visit, number_in, only
from subscribers.audience import audience_size

LONGEST_NOTE = 2000  # characters
#: lines of text around what differs
AROUND = 2
#: parts of a letter that are its text in another form: where the text differs they go without saying
SAID_BY_TEXT = ("html", "text", "archive")


@dataclass(frozen=True, slots=True)
class Approval:
    """The room."""

    frame: Frame
    engine: Engine
    proofs: Proofs
    schedule: Schedule
    relay: Callable[[], Relay]
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter()
        rooms(router, "/issues/{month}/approve", self.look, self.decide, [only(Role.APPROVER)])
        rooms(router, "/issues/{month}/test", self.look, self.test)
        return router

    def look(self, visit: Here, month: str) -> Response:
        """What approving comes to."""
        return self._page(visit, month)

    def test(self, visit: Here, month: str) -> Response:
        """A marked copy of the issue as it is now is on its way to whoever asks for it."""
        try:
            with reading(self.engine) as session:
                issue = issue_at(session, self.frame, month)
                which = Month.parse(issue.month, self.frame.publication.zone)
                to, press = visit.who.address, self.proofs.press
                send_trial(session, which, [to], press=press, relay=self.relay(), now=self.now())
        except DigestError as error:
            return self._page(visit, month, f"No copy was sent: {error}", 409)
        return self._page(visit, month, f"A test copy is on its way to {to}. Its links unsubscribe nobody.")

    def decide(self, visit: Here, month: str) -> Response:
        """Approved, rejected, withdrawn or left, as the form says."""
        acts: dict[str, Callable[[Session, Issue, Visit], object]] = {
            "approve": self._approve,
            "reject": self._reject,
            "withdraw": self._withdraw,
            "leave": self._leave,
        }
        try:
            act = acts.get(visit.said("act"))
            if act is None:
                raise DigestError("the form says nothing that can be done: open the page anew")
            with reading(self.engine) as session:
                # Made before the store is held; made anew below only if it changes in between.
                issue = issue_at(session, self.frame, month)
                self.proofs.findings(session, issue, self.proofs.of(session, issue), self.now())
            with writing(self.engine) as session:
                act(session, issue_at(session, self.frame, month), visit)
        except DigestError as error:
            return self._page(visit, month, str(error), 409)
        seen = number_in(visit.said("version"))
        return self.frame.go(f"/issues/{month}?since={'' if seen is None else seen}")

    def _approve(self, session: Session, issue: Issue, visit: Visit) -> None:
        now, zone = self.now(), self.frame.publication.zone
        send_at = moment_of(visit.said("when"), visit.said("at"), now, zone)
        made = self.proofs.of(session, issue)
        if made.rendered.fingerprint != visit.said("fingerprint"):
            raise DigestError("The letter has changed since you looked at it: look at it again.")
        require_no_error(issue, self.proofs.findings(session, issue, made, now))
        approve(session, issue, made.rendered, visit.who.name, now, send_at)

    def _reject(self, session: Session, issue: Issue, visit: Visit) -> None:
        now, who = self.now(), visit.who.name
        why = visit.said("note").replace("\r\n", "\n")[:LONGEST_NOTE]
        change = reject(session, issue, why, visit.said("fingerprint"), who, now)
        at = at_desk(self.frame.publication, issue.month)
        body = f"{who} did not approve the issue of {issue.month}:\n\n{change.what}\n\nThe draft: {at}\n"
        tell(session, f"rejected:{issue.month}:{change.id}", f"{issue.month} is to be changed", body, now)

    def _withdraw(self, session: Session, issue: Issue, visit: Visit) -> None:
        withdraw(session, issue, visit.who.name, self.now())

    def _leave(self, session: Session, issue: Issue, visit: Visit) -> None:
        leave(session, issue, visit.said("fingerprint"), visit.who.name, self.now())

    def _page(self, visit: Visit, month: str, told: str = "", status: int = 200) -> Response:
        now = self.now()
        with reading(self.engine) as session:
            issue = issue_at(session, self.frame, month)
            which = Month.parse(issue.month, self.frame.publication.zone)
            values: dict[str, Any] = {}
            try:
                values = self._looked_at(session, issue, now)
            except DigestError as error:
                told, status = f"No letter can be made: {error}", 409
            return self.frame.show(
                "approve",
                visit,
                status,
                here="months",
                month=issue.month,
                issue=issue,
                unsent="rendered" in values,
                may=visit.who.may(Role.APPROVER),
                told=told,
                went_wrong=status != 200,
                would=audience_size(session),
                usual=due_at(which, self.schedule),
                passed=now >= due_at(which, self.schedule),
                deadline=deadline(which, self.schedule),
                schedule=self.schedule,
                said=self._said(visit, issue),
                **values,
            )

    def _said(self, visit: Visit, issue: Issue) -> dict[str, str]:
        """What the forms are filled with: what was posted, else the moment that was chosen before."""
        said = {name: visit.said(name) for name in ("when", "at", "note")}
        if not said["when"] and issue.send_at and issue.send_at > self.now():
            local = issue.send_at.astimezone(self.frame.publication.zone)
            said |= {"when": "at", "at": f"{local:%Y-%m-%dT%H:%M}"}
        return said

    def _looked_at(self, session: Session, issue: Issue, now: datetime) -> dict[str, Any]:
        """What approving *issue* is decided by; {} where there is nothing to decide."""
        if issue.status not in UNSENT:
            return {}
        made = self.proofs.of(session, issue)
        findings = self.proofs.findings(session, issue, made, now)
        values = {"rendered": made.rendered, "findings": findings, "errors": len(errors_of(findings))}
        if issue.status is Status.DRAFT:
            return values
        frozen, fresh = frozen_of(session, issue), self.proofs.again(session, issue).rendered
        return values | {
            "drift": [one for one in differing(fresh, frozen) if one not in SAID_BY_TEXT],
            "drifted": fresh != frozen,
            "diff": difference(frozen.text, fresh.text),
            "left": _left(history(session, issue), fresh),
            "fresh": fresh.fingerprint,
        }


def moment_of(when: str, at: str, now: datetime, zone: ZoneInfo) -> datetime | None:
    """When an issue is to fall due: *when* is usual (None), now, or at the local time *at*.

    DigestError where *at* is no time, has passed, or is skipped by the clocks of *zone* that day.
    """
    if when == "now":
        return now
    if when != "at":
        return None
    try:
        local = datetime.fromisoformat(at)
    except ValueError:
        local = None
    if local is None or local.tzinfo is not None:
        raise DigestError("Say the day and the time at which it is to go, as 2015-10-02 09:00.")
    instant = local.replace(tzinfo=zone)
    moment = instant.astimezone(now.tzinfo)
    if moment.astimezone(zone).replace(tzinfo=None) != local:
        raise DigestError(f"{at} is no time on the clocks of {zone.key}: they are put forward over it.")
    if moment < now:
        raise DigestError(f"{at} has passed: choose a later moment, or now.")
    return moment


def difference(before: str, after: str) -> list[tuple[str, str]]:
    """The lines that differ and those around them, each with its mark: "-", "+", " "; "…" between parts."""
    lines = unified_diff(before.splitlines(), after.splitlines(), n=AROUND, lineterm="")
    body = [line for number, line in enumerate(lines) if number >= 2]
    return [("…", "") if line.startswith("@@") else (line[:1], line[1:]) for line in body][1:]


def _left(changes: Sequence[Change], fresh: Rendered) -> Change | None:
    """Who knows that the letter would now be *fresh*, and left it as approved; None: nobody."""
    left = (one for one in changes if one.kind is Done.LEFT and one.fingerprint == fresh.fingerprint)
    return next(left, None)
