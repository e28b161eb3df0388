"""An issue's items as its room shows them: their words, how they stand in the letter, the findings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from digest.issue.explain import Verdict
from digest.letter.budget import Form, forms
from digest.letter.page import Card, Page
from digest.lint.finding import Finding
from digest.models import Item, Post

#: characters of a quotation that tell which item it is of
QUOTED = 12
LONGEST_ORIGINAL = 1200  # characters of a post's text beside the excerpt
#: how an item stands in the letter, in words
SAID = {
    Form.WHOLE: "whole",
    Form.SHORTENED: "shortened",
    Form.TITLE: "title only",
    Form.WEB: "on the web page only",
}
TOO_LARGE = "or the letter would be too large"


@dataclass(frozen=True, slots=True)
class Row:
    """One item, as the page shows it."""

    item: Item
    post: Post
    #: as an editor wants it
    title: str
    excerpt: str
    why: str
    findings: Sequence[Finding]
    form: Form
    #: the form in words, with its reason; "" where it is whole
    stands: str
    #: the excerpt as the letter has it; "" where it has none
    shown: str

    @property
    def original(self) -> str:
        """The post's own text, as far as it is shown beside the excerpt."""
        text = self.post.excerpt
        return text if len(text) <= LONGEST_ORIGINAL else f"{text[:LONGEST_ORIGINAL]}…"

    @property
    def kind(self) -> tuple[bool, bool]:
        """What it shares with the items it can change places with."""
        return self.item.is_brief, self.item.pinned


def rows_of(
    items: Sequence[tuple[Item, Post]],
    page: Page,
    fitted: Page | None,
    verdicts: Sequence[Verdict],
    findings: Sequence[Finding],
) -> list[Row]:
    """A row for each of *items*, which are *page*; *fitted* is what fits into the letter, once known."""
    why = {one.post.id: one.why for one in verdicts}
    meant = forms(page)
    stand = forms(fitted) if fitted else meant
    cards = (fitted or page).cards
    rows = []
    for place, ((item, post), card) in enumerate(zip(items, page.cards, strict=True)):
        form = stand[place]
        has_words = form in (Form.WHOLE, Form.SHORTENED)
        rows.append(
            Row(
                item=item,
                post=post,
                title=card.title,
                excerpt=card.excerpt,
                why=why.get(post.id, ""),
                findings=[one for one in findings if _speaks_of(one, card)],
                form=form,
                stands=_stands(item, meant[place], form),
                shown=cards[place].excerpt if has_words else "",
            )
        )
    return rows


def _stands(item: Item, meant: Form, form: Form) -> str:
    if form is Form.WHOLE:
        return ""
    if item.is_brief and form is Form.TITLE:
        return SAID[form]
    return f"{SAID[form]}, {'as the posts before it are enough' if form is meant else TOO_LARGE}"


def counted(rows: Sequence[Row]) -> str:
    """How the items stand in the letter, as "20 whole, 3 title only"; "" where all are whole."""
    counts = Counter(row.form for row in rows)
    if set(counts) <= {Form.WHOLE}:
        return ""
    return ", ".join(f"{counts[form]} {said}" for form, said in SAID.items() if counts[form])


def anchor(finding: Finding, rows: Sequence[Row]) -> str:
    """The id of what *finding* is about on the page."""
    about = (row for row in rows if finding in row.findings)
    row = next(about, None)
    if row is not None:
        return f"post-{row.post.id}"
    return next((name for name in ("subject", "preheader") if name in finding.point), "letter")


def _speaks_of(finding: Finding, card: Card) -> bool:
    """Whether *finding* is about that item: it names its title or link, or quotes from its words."""
    said = f"{finding.place} {finding.message}"
    quoted = finding.place.partition(": ")[2].strip("“…”")
    tells = len(quoted) >= QUOTED or finding.point == "drafts"
    own = tells and (quoted in card.title or quoted in card.excerpt)
    return own or card.title[:50] in said or (card.url is not None and card.url in said)
