"""The text part: readable as it is, and the same letter as the HTML."""

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from digest.lint.finding import Finding, error, shortened
from digest.lint.tree import Tree

COLUMNS = 78
OVERLAP = 0.8
TEMPLATE = "Correct the text template."
WEB = re.compile(r"https?://[^\s<>\"]+")
#: a letter of a script that is written without spaces is taken for a word of its own
WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\W_]+?(?=[\u3040-\u9fff])|[^\W_]+"
)


def lines(text: str) -> Iterator[Finding]:
    """Point text-lines; a line may be longer where an address or a word without spaces is."""
    for number, line in enumerate(text.split("\n"), 1):
        wide = columns(line)
        if (
            wide > COLUMNS
            and max(map(columns, line.split()), default=0) <= COLUMNS - 18
            and not WEB.search(line)
        ):
            message = f"The line has {wide} columns; {COLUMNS} fit everywhere."
            yield error("text-lines", f"text, line {number}: {shortened(line, 30)}", message, TEMPLATE)


def columns(line: str) -> int:
    """How wide *line* is on a screen of fixed columns; East Asian characters take two."""
    return sum(
        2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in line
        if not unicodedata.combining(char)
    )


def markup(text: str, tree: Tree) -> Iterator[Finding]:
    """Point text-markup; a post that writes about tags shows them in the HTML too."""
    shown = tree.text()
    for mark in sorted(set(re.findall(r"</?[a-zA-Z][^<>\n]{0,80}>|&(?:#\d+|#x[0-9a-f]+|[a-z]+);", text))):
        if mark not in shown and not re.match(r"<(?:https?|mailto):", mark):
            message = f"The text shows {shortened(mark, 30)}, which is HTML."
            yield error("text-markup", f"text: {shortened(mark, 30)}", message, TEMPLATE)
    if "\u034f" in text or re.search(r"\u200c[\s\u200c]|(?:\u00ad\s*){3}", text):
        yield error("text-markup", "text", "The preheader's filler is in the text.", TEMPLATE)


def same_links(text: str, tree: Tree) -> Iterator[Finding]:
    """Point same-links."""
    linked = {unquote(a.get("href", "")) for a in tree.all("a")} - {""}
    written = {unquote(url) for url in WEB.findall(text)}
    trimmed = written | {url.rstrip(".,;:!?)»”\"'>") for url in written}
    for url in sorted(linked):
        there = url in trimmed if url.startswith("http") else url.partition(":")[2] in text
        if not there:
            message = f"{shortened(url)} is linked in the HTML and not in the text."
            yield error("same-links", f"text: {shortened(url)}", message, "Let both templates link the same.")
    shown = unquote(tree.text())
    for url in sorted(written):
        bare = url.rstrip(".,;:!?)»”\"'>")
        if url not in linked and bare not in linked and bare not in shown:
            message = f"{shortened(url)} stands in the text and not in the HTML."
            yield error("same-links", f"HTML: {shortened(url)}", message, "Let both templates link the same.")


def overlap(text: str, tree: Tree) -> Iterator[Finding]:
    """Point word-overlap: rspamd's R_PARTS_DIFFER and SpamAssassin's MPART_ALT_DIFF look for the other."""
    plain, marked = _words(text), _words(tree.text())
    shared = len(plain & marked)
    least = min(shared / max(len(plain), 1), shared / max(len(marked), 1))
    if least < OVERLAP and (plain or marked):
        message = f"Only {least:.0%} of the words of one part are in the other; {OVERLAP:.0%} is the least."
        yield error("word-overlap", "message", message, "Let both templates say the same.")


def _words(text: str) -> set[str]:
    # Numbers are left out: those of a list are written in the text and drawn by the client in the HTML.
    return {word.casefold() for word in WORD.findall(WEB.sub(" ", text)) if not word.isdigit()}
