"""Proofs: an issue as it would go out now, made once for as long as nothing that it is made of changes.

Whoever works at the desk sees the letter after every change, in several frames, with its findings. To make a
letter of 60 posts takes half a second, so it is kept by all that it is made of: nothing else can change it.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlmodel import Session

from digest.issue.approve import frozen_of
from digest.letter.page import Page
from digest.letter.rendered import Rendered
from digest.lint.finding import Finding
from digest.models import Issue, Status
from digest.press import Press

#: letters that are kept, of 200 KB each: what two editors look at in turn, before and after a change
KEPT = 8


@dataclass(slots=True)
class Made:
    """One letter."""

    #: what it was made of
    meant: Page
    rendered: Rendered
    #: as it fits into the letter
    page: Page
    #: None: nobody has asked yet
    findings: list[Finding] | None = None


@dataclass(slots=True)
class Proofs:
    """The letters somebody has looked at lately."""

    press: Press
    _kept: OrderedDict[tuple[Page, str], Made] = field(default_factory=OrderedDict)
    #: who asks for a letter that is just being made waits for it
    _lock: threading.Lock = field(default_factory=threading.Lock)
    #: the same for what is said of it
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def of(self, session: Session, issue: Issue) -> Made:
        """*issue* as it would be frozen now."""
        return self._made(self.press.page(session, issue), self.press.nonce(issue))

    def again(self, session: Session, issue: Issue) -> Made:
        """The approved *issue* as it would come out now, with the holes and the number of what is frozen."""
        return self._made(*self._key(session, issue))

    def at_hand(self, session: Session, issue: Issue, page: Page | None = None) -> Made | None:
        """What `of` would give, with its findings, or of an approved issue `again`, where it is made already.

        *page* is what the press makes of *issue*, where that is known. Nobody waits here, not even while
        another letter is being made.
        """
        found = self._kept.get(self._key(session, issue, page))
        return found if found and (found.findings is not None or issue.status is Status.APPROVED) else None

    def prepare(self, session: Session, issue: Issue, now: datetime) -> None:
        """The issue is at hand, if it is one of those that change; whoever asks for it first has to wait."""
        if issue.status is Status.DRAFT:
            self.findings(session, issue, self.of(session, issue), now)
        elif issue.status is Status.APPROVED:
            self.again(session, issue)

    def findings(self, session: Session, issue: Issue, made: Made, now: datetime) -> list[Finding]:
        """What would hurt in an inbox if *issue*, which is *made*, went out; errors first."""
        if made.findings is None:
            with self._looking:
                if made.findings is None:
                    made.findings = self.press.checked(made.rendered, made.page, now)[1]
        return made.findings + self.press.told(session, issue, made.meant, made.page)

    def _key(self, session: Session, issue: Issue, page: Page | None = None) -> tuple[Page, str]:
        page = page or self.press.page(session, issue)
        if issue.status is not Status.APPROVED:
            return page, self.press.nonce(issue)
        frozen = frozen_of(session, issue)
        return replace(page, number=frozen.number), frozen.nonce

    def _made(self, page: Page, nonce: str) -> Made:
        with self._lock:
            key = page, nonce
            found = self._kept.get(key)
            if found is None:
                alike = (one.page for one in reversed(self._kept.values()) if one.page.month == page.month)
                found = Made(page, *self.press.rendered(page, nonce, next(alike, None)))
            self._kept[key] = found
            self._kept.move_to_end(key)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return found
