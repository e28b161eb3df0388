"""What the letter says: everything that belongs there, and nothing that was left by mistake."""

import re
import unicodedata
from collections.abc import Iterator

from digest.letter.inline import END
from digest.letter.page import Page
from digest.lint.finding import Finding, error, shortened, warning
from digest.lint.links import addresses, canonical
from digest.lint.opened import Opened
from digest.lint.text import WEB
from digest.lint.tree import Tree

PREHEADER = range(40, 131)  # characters; clients show between 40 and 130
HOLES = re.compile(
    r"zq[0-9a-f]{16}[a-z]+qz|https://[a-z]+-[0-9a-f]{16}\.invalid/?|\{\{|\{%|%%|\*\||data-premailer"
)
DRAFTS = re.compile(r"(?i:lorem ipsum)|\bTK(?:TK)*\b|\bTODO\b|\bFIXME\b|\bXXX\b")
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202d\u202e\ufffe\uffff]")
#: UTF-8 that was read as Windows-1252: an accented letter, a quotation mark or a dash
TWICE = re.compile(r"[ÃÂ][\u0080-\u009f¡-ª¬-º¼-¿]|â€[\u0080-\u009f™œ˜“”¦]")
#: what only the source shows; our own mark and what Word reads are left
NOTE = re.compile(rf"<!--(?!>|\[if|<!\[endif\]|{re.escape(END[4:])}).*?(?:-->|$)", re.DOTALL)
ODD = re.compile(r"[\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]")
TEMPLATE = "Correct the template."


def holes(letter: Opened, tree: Tree, text: str, page: Page) -> Iterator[Finding]:
    """Point holes; what a post itself writes, as one on templates may, is no hole."""
    own = _written(page)
    head = "\n".join(f"{name}: {value}" for name, value in letter.headers)
    for place, content in (("headers", head), ("HTML", tree.source), ("text", text)):
        for mark in sorted(set(HOLES.findall(content))):
            if mark not in own:
                message = f"{shortened(mark)} was not filled in."
                yield error("holes", f"{place}: {shortened(mark)}", message, TEMPLATE)
    for address in addresses(tree):
        if address.host.endswith(".invalid"):
            message = f"{shortened(address.url)} leads to a host that cannot exist."
            yield error("holes", address.place, message, "Correct it where it was written.")
    bare = [(element.text or "").strip() for element in tree.elements]
    ends = [line.strip().rpartition(": ")[2] for line in text.split("\n")]
    for place, pieces in (("HTML", bare), ("text", ends)):
        if "None" in pieces and "None" not in own:
            yield error("holes", place, "It says None where a value is missing.", TEMPLATE)


def drafts(letter: Opened, tree: Tree, text: str) -> Iterator[Finding]:
    """Point drafts."""
    for place, content in (("headers", letter.value("Subject")), ("HTML", tree.text()), ("text", text)):
        for mark in sorted(set(DRAFTS.findall(content))):
            message = f"It says {mark!r}, as drafts do."
            yield warning("drafts", f"{place}: {mark}", message, "Finish the sentence, or leave it so.")
    for note in sorted(set(NOTE.findall(tree.source))):
        message = "Every reader can read this comment in the source of the letter."
        mend = "Write it as {# … #} in the template: that is not sent."
        yield warning("drafts", f"HTML: {shortened(note)}", message, mend)


def characters(letter: Opened, tree: Tree, text: str) -> Iterator[Finding]:
    """Point characters."""
    mend = "Take the character out of the item's title or excerpt."
    for place, content in (("headers", letter.value("Subject")), ("HTML", tree.source), ("text", text)):
        for char, near in _first_of_each(CONTROLS, content):
            message = f"U+{ord(char):04X} is a control character or turns the text around."
            yield error("characters", f"{place}: {near}", message, mend)
        for char, near in _first_of_each(ODD, content):
            message = f"U+{ord(char):04X} shows as a box."
            yield warning("characters", f"{place}: {near}", message, mend)
        for pair, near in _first_of_each(TWICE, content):
            message = f"{pair!a} is one character of UTF-8 that was read as two or three of Windows-1252."
            yield warning("characters", f"{place}: {near}", message, "Correct it where the post was written.")
        if not unicodedata.is_normalized("NFC", content):
            message = "Some letters are written as two characters, which some clients draw apart."
            yield warning(
                "characters", place, message, "Report it: texts are composed (NFC) when they come in."
            )


def _first_of_each(pattern: re.Pattern[str], content: str) -> Iterator[tuple[str, str]]:
    """Each character that *pattern* finds, once, with what stands around it."""
    seen: set[str] = set()
    for match in pattern.finditer(content):
        if match[0] not in seen:
            seen.add(match[0])
            near = content[max(0, match.start() - 20) : match.end() + 20]
            yield match[0], "".join(c if c.isprintable() else "·" for c in shortened(near))


def footer(tree: Tree, text: str, page: Page) -> Iterator[Finding]:
    """Points footer and postal-address."""
    leave = f"{page.publication.base_url}/u/"
    seen = [a for a in tree.all("a") if not tree.hidden(a)]
    shown = {canonical(a.get("href", "")) for a in seen}
    written = {canonical(url) for url in WEB.findall(text)}
    for place, urls in (("HTML", shown), ("text", written)):
        if not any(url.startswith(leave) for url in urls):
            message = f"There is no link to {leave}…: nobody can leave."
            yield error("footer", place, message, "Put the unsubscribe link into the template.")
        if page.archive_url not in urls:
            message = f"There is no link to {page.archive_url}, where it can be read in a browser."
            yield error("footer", place, message, "Put the archive's link into the template.")
    yield from _postal(tree, text, page)


def ending(tree: Tree, page: Page) -> Iterator[Finding]:
    """Point end: premailer's parser drops the rest of a page that nests too deep, and says nothing."""
    leave = f"{page.publication.base_url}/u/"
    order = {element: number for number, element in enumerate(tree.elements)}
    last = max((order[a] for a in tree.all("a") if a.get("href", "").startswith(leave)), default=len(order))
    marked = re.search(rf"{re.escape(END)}\s*</body>\s*</html>\s*$", tree.source)
    if marked is None or any(order[heading] > last for heading in tree.all("h2", "h3", "h4")):
        message = "The letter does not end with its footer and mark: something at its end was lost."
        yield error("end", "HTML", message, f"End the template with the footer, {END}, </body> and </html>.")


def _postal(tree: Tree, text: str, page: Page) -> Iterator[Finding]:
    """CAN-SPAM and CASL want it in every commercial letter; so does the trust of who reads it."""
    lines = [line for line in (page.publication.postal_address or "").splitlines() if line.strip()]
    if not lines:
        message = "The publication has no postal address, which the law of many countries wants."
        yield error("postal-address", "issue", message, "Set DIGEST_POSTAL_ADDRESS.")
    for place, content in (("HTML", tree.text()), ("text", text)):
        if any(packed(line) not in packed(content) for line in lines):
            message = "The postal address is not there."
            yield error("postal-address", place, message, "Put it into the template's footer.")


def preheader(tree: Tree, page: Page) -> Iterator[Finding]:
    """Point preheader."""
    length = len(page.preheader)
    if length not in PREHEADER:
        message = f"The preheader has {length} characters; inboxes show 40 to 130 of them."
        yield warning("preheader", "issue", message, "Write a preheader of one sentence.")
    bodies = tree.all("body")
    first = "".join("".join(body.itertext()) for body in bodies)
    if page.preheader and not packed(first).startswith(packed(page.preheader)):
        message = "The letter does not begin with its preheader, so inboxes preview something else."
        yield error("preheader", "HTML: body", message, "Put the preheader first in the template's body.")


def posts(tree: Tree, text: str, page: Page) -> Iterator[Finding]:
    """Point posts: as many items and contents as posts, in their order, in both parts."""
    full = page.cards[: len(page.cards) - page.titles_only]
    headings = tree.all("h2", "h3", "h4")
    missing = _missing([card.title for card in full], [tree.text(heading) for heading in headings])
    for title in missing:
        message = "The item has no heading in its place."
        yield error("posts", f"HTML: “{shortened(title)}”", message, TEMPLATE)
    urls = {card.url for card in page.cards if card.url}
    linked = [h for h in headings if any(a.get("href") in urls for a in h.iter("a"))]
    if not missing and len(linked) > len(full):
        message = f"{len(linked)} items are shown; the issue has {len(full)}."
        yield error("posts", "HTML", message, TEMPLATE)
    yield from _contents(tree, page)
    for place, content in (("HTML", tree.text()), ("text", text)):
        for title in _missing([card.title for card in page.cards], [content]):
            message = "The title is not there, or not in its place."
            yield error("posts", f"{place}: “{shortened(title)}”", message, TEMPLATE)


def _contents(tree: Tree, page: Page) -> Iterator[Finding]:
    """Where some items are in the contents, all of them are."""
    entries = {
        (packed(tree.text(a)), a.get("href"))
        for a in tree.all("a")
        if not any(parent.tag in ("h2", "h3", "h4") for parent in tree.ancestors(a))
    }
    listed = [card for card in page.cards if card.url and (packed(card.title), card.url) in entries]
    full = page.cards[: len(page.cards) - page.titles_only]
    if not any(card in full for card in listed):
        return
    for card in page.cards:
        if card.url and card not in listed:
            message = "The item is not in the contents, others are."
            yield error("posts", f"HTML: “{shortened(card.title)}”", message, TEMPLATE)


def _missing(wanted: list[str], pieces: list[str]) -> list[str]:
    """Those of *wanted* that do not come one after the other in *pieces*, spaces aside."""
    content = "\n".join(packed(piece) for piece in pieces)
    at, missing = 0, []
    for title in wanted:
        found = content.find(packed(title), at)
        if found < 0:
            missing.append(title)
        else:
            at = found + len(packed(title))
    return missing


def packed(text: str) -> str:
    """*text* without spaces and without marks of direction: what wrapping may change."""
    return re.sub(r"[\s\u200e\u200f\u2066-\u2069]+", "", text)


def _written(page: Page) -> str:
    """Everything people wrote for the issue."""
    pieces: list[str | None] = [page.subject, page.preheader, page.intro_text, page.intro_html]
    for card in page.cards:
        pieces += [
            card.title,
            card.url,
            card.author,
            card.excerpt,
            card.picture_url,
            card.picture_alt,
            card.category,
        ]
    return "\n".join(piece for piece in pieces if piece)
