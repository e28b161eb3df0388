"""What differs between two recipients' letters of one issue, and that nothing else does."""

import re
from collections.abc import Iterator
from email.utils import parseaddr
from html import unescape

from digest.letter.page import Page
from digest.lint.finding import Finding, error, shortened
from digest.lint.message import OURS
from digest.lint.opened import Opened

#: headers that may differ; Feedback-ID may not: Gmail adds up what has the same one
OWN_HEADERS = frozenset({"to", "date", "message-id", "list-unsubscribe", "dkim-signature", "return-path"})
LINK = re.compile(r"(?:href|src|background)=[\"']?([^\"'\s>]+)")
MEND = "Take out of the templates whatever is made per reader beyond the holes."


def compared(letter: Opened, other: Opened, page: Page) -> Iterator[Finding]:
    """Point recipient-values: no post's link, and no word, is made for one reader."""
    for name, _ in letter.headers:
        if name.lower() not in OWN_HEADERS and letter.values(name) != other.values(name):
            message = f"{name} is another one for another recipient."
            yield error("recipient-values", f"headers: {name}", message, OURS)
    if letter.values("Message-ID") == other.values("Message-ID"):
        yield error("recipient-values", "headers: Message-ID", "Two letters have one Message-ID.", OURS)
    if letter.values("List-Unsubscribe") == other.values("List-Unsubscribe"):
        message = "Two recipients have one unsubscribe token."
        yield error("recipient-values", "headers: List-Unsubscribe", message, OURS)
    yield from _links(letter, other, page)
    for kind, place in (("text/html", "HTML"), ("text/plain", "text")):
        mine, theirs = letter.part(kind), other.part(kind)
        if mine is None or theirs is None:
            continue
        own, foreign = unescape(mine.text), unescape(theirs.text)
        values = zip(_values(letter, own, page), _values(other, foreign, page), strict=True)
        at = first_difference(own, foreign, list(values))
        if at is not None:
            near = shortened(own[max(0, at - 30) : at + 60], 90)
            message = "The letters of two recipients differ in more than address, name and own links."
            yield error("recipient-values", f"{place}: {near}", message, MEND)


def _links(letter: Opened, other: Opened, page: Page) -> Iterator[Finding]:
    """An address that carries a recipient's own value anywhere else tells on who followed it."""
    html, theirs = letter.part("text/html"), other.part("text/html")
    if html is None or theirs is None:
        return
    base = page.publication.base_url
    for url in sorted(set(LINK.findall(html.text)) - set(LINK.findall(theirs.text))):
        if not re.fullmatch(rf"{re.escape(base)}/[up]/[\w.~%-]+", url):
            message = f"{shortened(url)} is another address for another recipient."
            yield error("recipient-values", f"HTML: {shortened(url)}", message, MEND)


def _values(letter: Opened, text: str, page: Page) -> list[str]:
    """What is a recipient's own in *text*: their links, their address, their name."""
    name, address = parseaddr(letter.value("To"))
    base = re.escape(page.publication.base_url)
    links = [re.search(rf"{base}/{path}/[\w.~%-]+", text) for path in ("u", "p")]
    return [link[0] if link else "" for link in links] + [address, name]


def first_difference(mine: str, theirs: str, values: list[tuple[str, str]]) -> int | None:
    """Where *mine* and *theirs* first differ in more than their *values*; None where they do not.

    *values* are pairs, each the one's and the other's. A difference is theirs where both texts show
    the pair around it, and comparing goes on behind it.
    """
    here = there = 0
    while (same := _common(mine, theirs, here, there)) is not None:
        step = _past_value(mine, theirs, here + same, there + same, values)
        if step is None:
            return here + same
        here, there = step
    return None


def _common(mine: str, theirs: str, here: int, there: int) -> int | None:
    """How many characters are the same from *here* and *there* on; None when it is all of them."""
    if mine[here:] == theirs[there:]:
        return None
    low, high = 0, min(len(mine) - here, len(theirs) - there)
    while low < high:
        middle = (low + high + 1) // 2
        if mine[here : here + middle] == theirs[there : there + middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _past_value(
    mine: str, theirs: str, here: int, there: int, values: list[tuple[str, str]]
) -> tuple[int, int] | None:
    """The places behind the longest pair of values that stands around *here* and *there*."""
    ends = []
    for own, foreign in values:
        # Where one value begins with the other, what follows it may look like the value going on.
        for back in range(min(here, there, max(len(own), len(foreign))) + 1):
            start, begin = here - back, there - back
            if mine.startswith(own, start) and theirs.startswith(foreign, begin):
                ends.append((start + len(own), begin + len(foreign)))
    return max((end for end in ends if sum(end) > here + there), key=sum, default=None)
