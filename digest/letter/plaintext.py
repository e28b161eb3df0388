"""Filters for the text part: lines of at most 72 columns, and addresses that survive being copied.

Columns, not characters: CJK and emoji take two, combining marks none. format=flowed is not used: with
quoted-printable it is advised against (RFC 2646, section 4.1 and its successors), and most programs
ignore it.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import lru_cache

import regex

WIDTH = 72  # columns; RFC 5322, section 2.1.1 asks for at most 78
#: an address in running text: nothing may be broken off it
ADDRESS = re.compile(r"(?:https?://|mailto:)\S", re.IGNORECASE)
#: punctuation that must not begin a line in Chinese and Japanese
CLOSING = frozenset("、。，．・：；？！」』）］｝〉》】〕ー々ぁぃぅぇぉっゃゅょァィゥェォッャュョ")


def columns(text: str) -> int:
    """How wide *text* is on a terminal."""
    if text.isascii() and text.isprintable():
        return len(text)
    return sum(map(_columns, _clusters(text)))


def _clusters(text: str) -> list[str]:
    found: list[str] = regex.findall(r"\X", text)
    return found


@lru_cache(maxsize=4096)
def _columns(cluster: str) -> int:
    if any(unicodedata.east_asian_width(char) in "WF" or char == "\ufe0f" for char in cluster):
        return 2
    return 0 if all(unicodedata.category(char) in ("Mn", "Me", "Cf", "Cc") for char in cluster) else 1


def wrapped(text: str, indent: str = "", width: int = WIDTH, alone: Collection[str] = ()) -> str:
    """*text* in lines of at most *width* columns, every one after the first behind *indent*.

    Paragraphs (parted by a blank line) stay. A word with an address in it is never broken and is the
    last of its line; one that holds anything of *alone* has a line to itself. Other words are broken
    only where they are wider than a line; a no-break space is no end of a word.
    """
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return f"\n\n{indent}".join(
        f"\n{indent}".join(_lines(p, width - columns(indent), alone)) for p in paragraphs
    )


def _lines(text: str, width: int, alone: Collection[str]) -> Iterator[str]:
    line, used = "", 0
    for word in re.split(r"[ \t\n]+", text.strip(" \t\n")):
        is_alone = any(place in word for place in alone)
        is_last = is_alone or ADDRESS.search(word) is not None
        for glue, piece, wide in [(" ", word, columns(word))] if is_last else _pieces(word, width):
            if line and (is_alone or used + len(glue) + wide > width):
                yield line
                line, used = "", 0
            line, used = (f"{line}{glue}{piece}", used + len(glue) + wide) if line else (piece, wide)
        if is_last:
            yield line
            line, used = "", 0
    if line:
        yield line


def _pieces(word: str, width: int) -> Iterator[tuple[str, str, int]]:
    """*word* in the pieces it may be broken into: what joins each to the one before, itself, its columns."""
    clusters = [(cluster, _columns(cluster)) for cluster in _clusters(word)]
    glue, piece, used, before = " ", "", 0, 0
    for cluster, wide in clusters:
        between_wide = before == wide == 2 and cluster not in CLOSING
        if piece and (between_wide or used + wide > width):
            yield glue, piece, used
            glue, piece, used = "", "", 0
        piece, used, before = piece + cluster, used + wide, wide
    yield glue, piece, used


def underlined(text: str, mark: str = "=") -> str:
    """*text*, wrapped, over a line of *mark* as wide as its widest line."""
    lines = wrapped(text)
    return f"{lines}\n{mark * max(map(columns, lines.splitlines()), default=0)}"


def numbered(titles: Collection[str]) -> str:
    """*titles* one below the other with their numbers, those flush right and the text hanging."""
    digits = len(str(len(titles)))
    return "\n".join(
        f"{number:>{digits}}. {wrapped(title, ' ' * (digits + 2))}" for number, title in enumerate(titles, 1)
    )
