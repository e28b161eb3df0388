"""An issue on its way: watched while its letters go out, stopped and let go on, and its report afterwards."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response, StreamingResponse
from sqlalchemy import Engine
from sqlmodel import Session

from digest.accounts.logins import who
from digest.accounts.models import Role
from digest.database import reading, writing
from digest.errors import DigestError, UsageError
from digest.issue.approve import cancel, pause, resume
from digest.issue.changes import changes_since, history, version
from digest.issue.models import Change, Done
from digest.models import Issue, Status
from digest.month import Month
from digest.sending.audit import Decision, decide, tally
from digest.sending.send import take_stock
from digest.sending.survey import Survey
from digest.web.desk.frame import Frame, rooms
from digest.web.desk.letters import issue_at
from digest.web.desk.live import MOVING, Live, Seen
from digest.web.desk.plot import plot
from digest.web.guard import Here, Visit, number_in, only

LONGEST_REASON = 500  # characters
#: the time over which letters are counted to say how fast they go
RATE_OVER = timedelta(minutes=1)
#: what is done to an issue once it is approved
DONE = (Done.APPROVED, Done.PAUSED, Done.RESUMED, Done.CANCELLED, Done.DECIDED)
#: which of its issues can be called off here
STOPPABLE = (Status.SENDING, Status.PAUSED)


@dataclass(frozen=True, slots=True)
class Sending:
    """The room."""

    frame: Frame
    engine: Engine
    live: Live
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Its routes; who may not approve may look, and stop the letters."""
        router = APIRouter()
        here, approver = "/issues/{month}/sending", [only(Role.APPROVER)]
        rooms(router, here, self.look, self.pause)
        rooms(router, f"{here}/resume", self.look, self.resume, approver)
        rooms(router, f"{here}/cancel", self.ask, self.cancel, approver)
        rooms(router, f"{here}/letters", self.look, self.decide, approver)
        rooms(router, f"{here}/events", self.events)
        return router

    def look(self, visit: Here, request: Request, month: str) -> Response:
        """How the letters stand; once they are out, the report."""
        return self._page(visit, month, since=request.query_params.get("since", ""))

    def events(self, visit: Here, request: Request, month: str) -> Response:
        """The same numbers, each second, as server-sent events; they end with the login."""
        key = self._seen(month).survey.month
        headers = self.frame.headers | {"X-Accel-Buffering": "no"}

        def is_welcome() -> bool:
            with reading(self.engine) as session:
                return who(session, visit.cookie, self.now()) is not None

        told = self.live.stream(key, is_welcome) if request.method == "GET" else iter(())
        return StreamingResponse(told, headers=headers, media_type="text/event-stream")

    def pause(self, visit: Here, month: str) -> Response:
        """No more letters go out until somebody lets them."""
        return self._done(
            visit,
            month,
            lambda session, issue: pause(session, issue, _reason(visit), visit.who.name, self.now()),
        )

    def resume(self, visit: Here, month: str) -> Response:
        """They go on, with the next run."""
        return self._done(
            visit, month, lambda session, issue: resume(session, issue, visit.who.name, self.now())
        )

    def ask(self, visit: Here, month: str) -> Response:
        """What cancelling comes to, before it is done."""
        return self._asked(visit, month)

    def cancel(self, visit: Here, month: str) -> Response:
        """Whoever has not got it never will."""

        def act(session: Session, issue: Issue) -> None:
            if issue.status not in STOPPABLE:
                raise DigestError(f"{issue.month} is {issue.status}: there is nothing to cancel")
            cancel(session, issue, _reason(visit), visit.who.name, self.now())

        return self._done(visit, month, act)

    def decide(self, visit: Here, month: str) -> Response:
        """Letters in doubt or held are what the form says of them: accepted, or to be sent again."""
        if visit.said("act") in set(Decision):
            # What a run left behind that is gone is in doubt, too, as for `digest resolve`.
            take_stock(self.engine, self.now())

        def act(session: Session, issue: Issue) -> None:
            said = visit.said("act")
            if said not in set(Decision):
                raise DigestError("the form says nothing that can be done: open the page anew")
            if said == Decision.RESEND and issue.status is Status.CANCELLED:
                raise DigestError(f"{issue.month} is cancelled: nothing of it is sent any more")
            ids = self._chosen(session, issue, visit)
            if not decide(session, issue, Decision(said), visit.who.name, self.now(), ids):
                raise DigestError("Nothing was changed: somebody has decided about these meanwhile.")

        return self._done(visit, month, act)

    def _chosen(self, session: Session, issue: Issue, visit: Visit) -> list[int] | None:
        """The readers whose letters the form is about; None: all of whom the page said how many they are."""
        if visit.said("all"):
            assert issue.id is not None
            now = tally(session, issue.id)
            if visit.said("all") != str(now.in_doubt + now.held):
                raise DigestError("Nothing was changed: there are others since you looked. Look again.")
            return None
        given = map(number_in, visit.form.get("letter", []))
        ids = [one for one in given if one is not None]
        if not ids:
            raise DigestError("Nothing was changed: tick the letters you decide about.")
        return ids

    def _done(self, visit: Visit, month: str, act: Callable[[Session, Issue], object]) -> Response:
        """The room, in which what was done is told; or why it was not."""
        try:
            with writing(self.engine) as session:
                issue = issue_at(session, self.frame, month)
                before = version(session, issue)
                act(session, issue)
                key = issue.month
        except DigestError as error:
            self.live.forget(month)
            return self._page(visit, month, told=str(error), status=409)
        self.live.forget(key)
        return self.frame.go(f"/issues/{key}/sending?since={before}")

    def _seen(self, month: str) -> Seen:
        try:
            seen = self.live.look(str(Month.parse(month, self.frame.publication.zone)))
        except UsageError:
            seen = None
        if seen is None:
            raise HTTPException(404)
        return seen

    def _page(self, visit: Visit, month: str, told: str = "", status: int = 200, since: str = "") -> Response:
        seen, before = self._seen(month), number_in(since)
        with reading(self.engine) as session:
            issue = issue_at(session, self.frame, month)
            changes = [one for one in history(session, issue) if one.kind in DONE]
            news: Sequence[Change] = () if before is None else changes_since(session, issue, before)
        return self.frame.show(
            "sending",
            visit,
            status,
            here="months",
            month=seen.survey.month,
            seen=seen,
            survey=seen.survey,
            moving=MOVING,
            may=visit.who.may(Role.APPROVER),
            told=told,
            news=news,
            changes=changes,
        )

    def _asked(self, visit: Visit, month: str) -> Response:
        self.live.forget(month)
        seen = self._seen(month)
        counted = seen.survey.tally
        return self.frame.show(
            "cancel",
            visit,
            here="months",
            month=seen.survey.month,
            seen=seen,
            stoppable=seen.survey.status in STOPPABLE,
            never=counted.queued + counted.deferred + counted.held,
            may=visit.who.may(Role.APPROVER),
        )


def draw(frame: Frame) -> Callable[[Survey, datetime], str]:
    """What shows a survey at a moment as the part of the page that is the same for everybody."""

    def drawn(survey: Survey, now: datetime) -> str:
        rate, left = pace(survey, now)
        others = survey.spread.others()
        listed = [*survey.spread.domains(), *([others] if others else [])]
        seconds = survey.spread.seconds()
        return frame.part(
            "numbers",
            survey=survey,
            at=now,
            rate=_rate(rate),
            left=_lasting(left) if left else "",
            plot=plot(seconds),
            listed=listed,
            took=_lasting(survey.sent_at - survey.frozen_at) if survey.sent_at and survey.frozen_at else "",
            last=seconds[-1][0] if seconds else None,
        )

    return drawn


def pace(survey: Survey, now: datetime) -> tuple[float, timedelta | None]:
    """Letters accepted a second, over the last minute or since the run began; how long the rest takes.

    None where nothing goes; letters that are deferred go at their own time.
    """
    if survey.run is None or survey.run.ended_at is not None:
        return 0.0, None
    since = max(now - RATE_OVER, survey.run.started_at)
    accepted = sum(letters for at, letters in survey.spread.seconds() if at >= since.replace(microsecond=0))
    rate = accepted / max(1.0, (now - since).total_seconds())
    left = survey.tally.queued + survey.tally.sending
    return rate, timedelta(seconds=left / rate) if rate else None


def _rate(rate: float) -> str:
    """*rate*, letters a second, in words; "" where it is none."""
    if not rate:
        return ""
    if rate < 1:
        number = max(1, round(rate * 60))
        return f"{number} letter{'' if number == 1 else 's'} a minute"
    return f"{rate:,.0f} letters a second" if rate >= 10 else f"{rate:.1f} letters a second"


def _lasting(time: timedelta) -> str:
    """How long *time* is, to its largest unit."""
    seconds = time.total_seconds()
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 0.95 * size:
            number = max(1, round(seconds / size))
            return f"about {number} {name}{'' if number == 1 else 's'}"
    return "less than a minute"


def _reason(visit: Visit) -> str:
    return " ".join(visit.said("reason").split())[:LONGEST_REASON]
