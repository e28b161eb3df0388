"""The press: everything between an issue in the store and a letter in hand, with one publication's looks.

It is made once by a composition root and handed down; it holds no session and keeps no state.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlmodel import Session

from digest.errors import DigestError
from digest.issue.approve import approve, drift
from digest.issue.compose import items_of
from digest.issue.contents import next_number, page_of
from digest.issue.pictures import picture_findings
from digest.letter.budget import Form, forms
from digest.letter.page import Page, Publication
from digest.letter.personalise import Letter, Stencil, stencil
from digest.letter.render import fitted
from digest.letter.rendered import Rendered
from digest.letter.theme import Theme
from digest.lint.check import check
from digest.lint.cut import cut
from digest.lint.finding import Finding, Severity, errors_of, proposed_title
from digest.lint.online import Answer, answering
from digest.lint.weights import Weights, weights
from digest.models import Issue
from subscribers.audience import Recipient
from subscribers.tokens import NOBODY, Keyring

#: two readers who do not exist: checks and previews are made for them, and their links move nobody
SAMPLES = (
    Recipient(subscriber_id=NOBODY, address="reader@example.org", name="", token_version=0),
    Recipient(subscriber_id=NOBODY, address="a.second.reader@example.com", name="", token_version=1),
)


@dataclass(frozen=True, slots=True)
class Proof:
    """An issue as it would be frozen, and what an editor should know of it."""

    rendered: Rendered
    #: what was rendered: small enough for a letter
    page: Page
    #: as a reader would get it; its links are genuine and move nobody
    letter: Letter
    #: what would hurt in an inbox, errors first
    findings: list[Finding]

    @property
    def weights(self) -> Weights:
        """What the letter weighs, piece by piece."""
        return weights(self.letter.content, self.page)

    @property
    def errors(self) -> list[Finding]:
        """What approval refuses."""
        return errors_of(self.findings)

    @property
    def warnings(self) -> list[Finding]:
        """What an editor should have looked at."""
        return [finding for finding in self.findings if finding.severity is Severity.WARNING]


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """How one publication's issues become letters."""

    publication: Publication
    theme: Theme
    templates_dir: Path | None
    excerpt_length: int
    max_posts: int
    first_number: int
    keyring: Keyring
    #: makes the nonces of the holes; secret, or a post could guess one
    secret: bytes
    bounce_domain: str | None

    def page(self, session: Session, issue: Issue, number: int | None = None) -> Page:
        """What the templates of *issue* see; a draft has the number it would get if approved now."""
        return page_of(
            session,
            issue,
            self.publication,
            number=number or issue.number or next_number(session, self.first_number),
            excerpt_length=self.excerpt_length,
            max_posts=self.max_posts,
        )

    def render(self, session: Session, issue: Issue) -> tuple[Rendered, Page]:
        """*issue* as it would be frozen now, and the page as it fits into a letter."""
        return self.rendered(self.page(session, issue), self.nonce(issue))

    def rendered(self, page: Page, nonce: str, like: Page | None = None) -> tuple[Rendered, Page]:
        """*page* as it would be frozen, and as it fits into a letter; *like* as `fitted` takes it."""
        return fitted(page, theme=self.theme, templates_dir=self.templates_dir, nonce=nonce, like=like)

    def nonce(self, issue: Issue) -> str:
        """16 hex digits that only the holder of the keys can know, the same for the same month."""
        return hmac.digest(self.secret, b"nonce\0" + issue.month.encode(), "sha256").hex()[:16]

    def stencil(self, rendered: Rendered) -> Stencil:
        """*rendered*, cut and encoded once, ready for any number of recipients."""
        return stencil(rendered, self.keyring, self.bounce_domain)

    def sample(self, rendered: Rendered, now: datetime) -> Letter:
        """The letter as a reader would get it; its links are genuine and move nobody."""
        return self.stencil(rendered).letter(SAMPLES[0], now)

    def sample_for(self, rendered: Rendered, address: str, name: str, now: datetime) -> Letter:
        """The letter as the reader of that address would get it, but for its links, which move nobody."""
        return self.stencil(rendered).letter(SAMPLES[0]._replace(address=address, name=name), now)

    def proof(
        self, session: Session, issue: Issue, now: datetime, answers: Mapping[str, Answer] | None = None
    ) -> Proof:
        """*issue* as it would be frozen now, and what is to be said of it; *answers* are the web's."""
        meant = self.page(session, issue)
        rendered, page = self.rendered(meant, self.nonce(issue))
        letter, found = self.checked(rendered, page, now)
        told = self.told(session, issue, meant, page)
        return Proof(rendered, page, letter, [*found, *answering(page, answers or {}), *told])

    def checked(self, rendered: Rendered, page: Page, now: datetime) -> tuple[Letter, list[Finding]]:
        """*rendered*, of *page*, as `sample` gives it, and what would hurt in an inbox, errors first."""
        ready = self.stencil(rendered)
        one, other = (ready.letter(recipient, now) for recipient in SAMPLES)
        return one, check(one.content, other=other.content, page=page)

    def told(self, session: Session, issue: Issue, meant: Page, page: Page) -> list[Finding]:
        """What the letter of *page* does not tell: what was cut, lost pictures, titles nobody wrote."""
        return [
            *cut(meant, page),
            *picture_findings(session, issue),
            *proposed(session, issue),
        ]

    def approve(self, session: Session, issue: Issue, by: str, now: datetime) -> str:
        """*issue* is frozen as it is now; its fingerprint. DigestError while the lint has errors."""
        proof = self.proof(session, issue, now)
        require_no_error(issue, proof.findings)
        return approve(session, issue, proof.rendered, by, now)

    def forms(self, session: Session, issue: Issue) -> tuple[list[Form], list[Finding]]:
        """How each item of *issue* stands in the letter, in their order, and what had to be cut for it."""
        meant = self.page(session, issue)
        page = self.rendered(meant, self.nonce(issue))[1]
        return forms(page), list(cut(meant, page))

    def drift(self, session: Session, issue: Issue) -> list[str]:
        """The parts of the letter that have changed since *issue* was approved."""

        def fresh(nonce: str, number: int) -> Rendered:
            return self.rendered(self.page(session, issue, number), nonce)[0]

        return drift(session, issue, fresh)


def require_no_error(issue: Issue, findings: Sequence[Finding]) -> None:
    """DigestError, with the first of them, where there are errors among *findings*."""
    errors = errors_of(findings)
    if errors:
        first = errors[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise DigestError(
            f"{issue.month} has errors{more}: {first.place}: {first.message} {first.mend}"
            f" `digest issue check {issue.month}` shows all"
        )


def proposed(session: Session, issue: Issue) -> list[Finding]:
    """A warning for each item whose title nobody wrote."""
    return [
        proposed_title(post.title)
        for item, post in items_of(session, issue)
        if post.title_proposed and not item.title
    ]
