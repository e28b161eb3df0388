"""The room of one issue: its items in order, its words, its letter, and what was done to it.

Every form says which version of the issue it was shown with: what somebody else changed since is told, and
not overwritten unseen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from sqlalchemy import Engine
from sqlmodel import Session

from digest.database import reading, writing
from digest.errors import DigestError
from digest.issue import edit as editing
from digest.issue.approve import UNSENT, differing, frozen_of
from digest.issue.changes import (
    Overtaken,
    changes_since,
    edit,
    history,
    last_edit,
    rejection,
    take_back,
    undone,
    value_at,
    version,
)
from digest.issue.compose import items_of
from digest.issue.contents import default_subject
from digest.issue.due import Schedule, deadline, due_at
from digest.issue.explain import explain
from digest.issue.models import Change, Done
from digest.issue.overview import overview, waits
from digest.lint.finding import Finding, errors_of
from digest.models import Issue, Post, Status
from digest.month import Month
from digest.proofs import Made, Proofs
from digest.prose.excerpt import shorten
from digest.web.desk.frame import Frame, rooms
from digest.web.desk.letters import CHOICES, View, issue_at, reader_of
from digest.web.desk.rows import anchor, counted, rows_of
from digest.web.guard import Here, Visit, number_in

#: fields of the forms that hold an editor's own words
TEXTS = frozenset({"subject", "preheader", "intro", "title", "excerpt"})
LONGEST_SUBJECT = 200  # characters
LONGEST_EXCERPT = 4000
LONGEST_INTRO = 20_000


@dataclass(frozen=True, slots=True)
class Draft:
    """The room."""

    frame: Frame
    engine: Engine
    proofs: Proofs
    schedule: Schedule
    now: Callable[[], datetime]

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter()
        rooms(router, "/issues/{month}", self.look, self.change)
        return router

    def look(self, visit: Here, request: Request, month: str) -> Response:
        """The issue as it stands."""
        return self._page(visit, request, month)

    def change(self, visit: Here, request: Request, month: str) -> Response:
        """The draft is changed as the form says, and the page shows it."""
        seen = _number(visit.said("version"))
        try:
            with writing(self.engine) as session:
                issue = issue_at(session, self.frame, month)
                if visit.said("act") == "undo":
                    take_back(session, issue, _number(visit.said("change")), visit.who.name, self.now())
                else:
                    act = self._act(session, issue, visit, changes_since(session, issue, seen))
                    edit(session, issue, act, visit.who.name, self.now(), seen)
        except Overtaken as error:
            return self._overtaken(visit, request, month, error)
        except DigestError as error:
            return self._page(visit, request, month, str(error), 409)
        view = View.of(request.query_params).query()
        return self.frame.go(f"/issues/{month}{view}{'&' if view else '?'}since={seen}")

    def _act(
        self, session: Session, issue: Issue, visit: Visit, later: Sequence[Change]
    ) -> Callable[[], object]:
        """What the form asks for, still to be done."""
        act, post = visit.said("act"), _number(visit.said("post"))
        if act == "words":
            return lambda: self._reword(issue, visit, later)
        if act == "take":
            return lambda: editing.take_up(session, issue, _post(session, post))
        place = _place(session, issue, post)
        acts: dict[str, Callable[[], object]] = {
            "pin": lambda: editing.pin(session, issue, place),
            "unpin": lambda: editing.unpin(session, issue),
            "drop": lambda: editing.drop(session, issue, place),
            "up": lambda: _move(session, issue, place, place - 1),
            "down": lambda: _move(session, issue, place, place + 1),
            "brief": lambda: editing.shorten_to_titles(session, issue, [place]),
            "full": lambda: editing.rewrite(session, issue, place, None),
            "move": lambda: _move(session, issue, place, _number(visit.said("to"))),
            "item": lambda: self._rewrite(session, issue, place, visit, later),
        }
        if act not in acts:
            raise DigestError("the form says nothing that can be done: open the page anew")
        return acts[act]

    def _reword(self, issue: Issue, visit: Visit, later: Sequence[Change]) -> None:
        """The words of the form that its writer has touched are the issue's."""
        month = Month.parse(issue.month, self.frame.publication.zone)
        usual = {"subject": default_subject(self.frame.publication, month)}
        for name, longest in (("subject", LONGEST_SUBJECT), ("preheader", LONGEST_SUBJECT)):
            if name in visit.form:
                words = " ".join(visit.said(name).split())[:longest]
                own = "" if words == usual.get(name) else words
                if own != (value_at(getattr(issue, name), name, later) or ""):
                    editing.reword(issue, **{name: own})
        if "intro" in visit.form:
            intro = visit.said("intro").replace("\r\n", "\n").strip()[:LONGEST_INTRO]
            if intro != value_at(issue.intro, "intro", later):
                editing.reword(issue, intro=intro)

    def _rewrite(
        self, session: Session, issue: Issue, place: int, visit: Visit, later: Sequence[Change]
    ) -> None:
        """Title and excerpt of the form, as far as its writer has touched them, are the item's."""
        item, post = items_of(session, issue)[place - 1]
        if "title" in visit.form:
            title = " ".join(visit.said("title").split())[:LONGEST_SUBJECT]
            own = None if title in ("", post.title) else title
            if own != value_at(item.title, f"title:{post.id}", later):
                editing.retitle(session, issue, place, own)
        excerpt = " ".join(visit.said("excerpt").split())[:LONGEST_EXCERPT]
        # Of an item that was shown by its title only the field is empty, and nobody has emptied it.
        if "excerpt" in visit.form and (excerpt or not visit.said("brief")):
            own = None if excerpt in ("", self._shortened(post)) else excerpt
            if own != value_at(item.excerpt, f"excerpt:{post.id}", later):
                editing.rewrite(session, issue, place, own)

    def _shortened(self, post: Post) -> str:
        length = self.proofs.press.excerpt_length
        return shorten(post.excerpt, truncated=post.excerpt_truncated, length=length)

    def _overtaken(self, visit: Visit, request: Request, month: str, error: Overtaken) -> Response:
        """The page that shows both: what somebody else wrote, and what was not saved."""
        with reading(self.engine) as session:
            now = version(session, issue_at(session, self.frame, month))
        texts = [
            (name.partition(":")[0], theirs, mine)
            for name, (theirs, mine) in error.touched.items()
            if name.partition(":")[0] in TEXTS
        ]
        # What its writer had not touched is not sent once more: it is not as it was.
        left = TEXTS - {name for name, _theirs, _mine in texts} | {"version"}
        kept = {name: values for name, values in visit.form.items() if name not in left}
        return self.frame.show(
            "overtaken",
            visit,
            409,
            here="months",
            month=month,
            query=View.of(request.query_params).query(),
            others=error.others,
            texts=texts,
            kept=kept,
            version=now,
        )

    def _page(
        self, visit: Visit, request: Request, month: str, problem: str = "", status: int = 200
    ) -> Response:
        view, now = View.of(request.query_params), self.now()
        with reading(self.engine) as session:
            issue = issue_at(session, self.frame, month)
            which = Month.parse(issue.month, self.frame.publication.zone)
            page = self.proofs.press.page(session, issue)
            letter: Made | None = None
            findings: list[Finding] = []
            unmade = ""
            try:
                if "look" in request.query_params:
                    self.proofs.prepare(session, issue, now)
                # To make a letter and to look at it takes longer than anybody likes to wait for a page.
                letter = self.proofs.at_hand(session, issue, page)
                if letter and letter.findings is not None and issue.status is Status.DRAFT:
                    findings = self.proofs.findings(session, issue, letter, now)
            except DigestError as error:
                # A template, or words so long that no letter holds them: what is to be mended is here.
                unmade = str(error)
            verdicts = explain(session, which, now)
            fitted = letter.page if letter else None
            rows = rows_of(items_of(session, issue), page, fitted, verdicts.verdicts, findings)
            changes = history(session, issue)
            [line] = overview(session, issue.month)
            seen = version(session, issue)
            values: dict[str, Any] = {
                "issue": issue,
                "line": line,
                "waits": waits(line, which, self.schedule, now),
                "due": due_at(which, self.schedule, issue.send_at),
                "deadline": deadline(which, self.schedule),
                "schedule": self.schedule,
                "page": page,
                "rows": rows,
                "out": sorted(
                    (one for one in verdicts.verdicts if not one.is_in), key=lambda one: not one.offered
                ),
                "incomplete": verdicts.incomplete,
                "counted": counted(rows),
                "findings": [(one, anchor(one, rows)) for one in findings],
                "errors": len(errors_of(findings)),
                "looking": letter is None and issue.status in UNSENT and not unmade,
                "unmade": unmade,
                "changes": changes,
                "undone": undone(changes),
                "step": last_edit(changes) if issue.status is Status.DRAFT else None,
                "version": seen,
                "news": _news(changes, request.query_params.get("since", "")),
                "rejection": rejection(changes) if issue.status is Status.DRAFT else None,
                "drift": self._drift(session, issue, letter),
                "found": reader_of(session, view),
            }
            values["since"] = str(_number(request.query_params.get("since", "")))
            values["own"] = bool(values["news"]) and all(one.who == visit.who.name for one in values["news"])
            return self.frame.show(
                "issue",
                visit,
                status,
                here="months",
                month=issue.month,
                open=issue.status is Status.DRAFT,
                view=view,
                choices=CHOICES,
                problem=problem,
                undoable=(Done.EDITED, Done.TAKEN_BACK),
                **values,
            )

    def _drift(self, session: Session, issue: Issue, fresh: Made | None) -> list[str]:
        """The parts of the letter that have changed since it was approved, where it is made anew."""
        if issue.status is not Status.APPROVED or fresh is None:
            return []
        return differing(fresh.rendered, frozen_of(session, issue))


def _news(changes: Sequence[Change], since: str) -> list[Change]:
    """What was done after version *since*, the latest first; nothing where *since* is empty."""
    return [one for one in changes if since and one.id is not None and one.id > _number(since)]


def _number(text: str) -> int:
    """The number written in *text*; 0 where there is none."""
    return number_in(text) or 0


def _place(session: Session, issue: Issue, post_id: int) -> int:
    """Where the post stands in the letter, counted from 1; DigestError where it is not in it any more."""
    for place, (item, _post) in enumerate(items_of(session, issue), 1):
        if item.post_id == post_id:
            return place
    raise DigestError("that post is not in the issue any more: somebody dropped it meanwhile")


def _post(session: Session, post_id: int) -> Post:
    found = session.get(Post, post_id)
    if found is None:
        raise DigestError("there is no such post any more")
    return found


def _move(session: Session, issue: Issue, place: int, to: int) -> None:
    """The item at *place* stands at *to*, or as near to it as there are places for its kind."""
    kinds = [(item.is_brief, not item.pinned) for item, _post in items_of(session, issue)]
    # The pinned one stays first and titles stay last, wherever they are moved to.
    alike = [one for one, kind in enumerate(kinds, 1) if kind == kinds[place - 1]]
    order = list(range(1, len(kinds) + 1))
    order.remove(place)
    order.insert(min(max(to, alike[0]), alike[-1]) - 1, place)
    editing.reorder(session, issue, order)
