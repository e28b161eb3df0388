"""The excerpt of a post: which of its texts is taken, what is cut off it, and how it is shortened.

`excerpt_of` gives the whole clean text, which is stored; `shorten` is for when it is shown. Both
leave the author's words alone: no bracket, quote or slip is corrected.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import regex

from digest.prose import boilerplate, sentences
from digest.prose.clean import blocks, cut

#: characters of text that are kept: far more than any letter shows
LONGEST = 6000
#: grapheme clusters of a title made from a text
TITLE_LENGTH = 70


@dataclass(frozen=True, slots=True)
class Excerpt:
    """A clean text, whether it goes on where it came from, and the name of a byline that stood in it."""

    text: str = ""
    truncated: bool = False
    author: str | None = None


def excerpt_of(
    *,
    manual: str | None,
    summary: str | None,
    body: str | None,
    title: str,
    author: str | None,
    pasted: bool = False,
) -> Excerpt:
    """The excerpt of a post whose texts are written as HTML or plain text.

    The summary written by hand, else the summary made by the source, else the whole text. A made
    summary that was cut is made again from the whole text, where paragraphs are still paragraphs.
    *title* and *author* are known already and not repeated; *pasted* lets a byline be guessed.
    """

    def cleaned(html: str | None) -> Excerpt:
        return _cleaned(html or "", title, author, pasted)

    written = cleaned(manual)
    if written.text:
        return written
    made = cleaned(summary)
    if made.text and not made.truncated and _is_ended(made.text):
        return made
    whole = cleaned(body)
    # Some themes cut without a mark: then the text goes on exactly there.
    if made.text and not made.truncated and not whole.text.startswith(made.text):
        return made
    # Without bylines and captions it may be the shorter one, but a stub of a body is no whole text.
    return whole if len(whole.text) * 2 > len(made.text) else made


def _is_ended(text: str) -> bool:
    """Whether *text* ends with the end of a sentence."""
    return max(sentences.ends(text), default=0) == len(text)


_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
#: fewer words and characters than this after the last sentence of a cut text are dropped
_FEW_WORDS = 5
_FEW_CHARACTERS = 30


def _cleaned(html: str, title: str, author: str | None, pasted: bool) -> Excerpt:
    """*html* as an excerpt; an empty one where it holds nothing but addresses, pictures and the like."""
    paragraphs = [
        block
        for block in blocks(boilerplate.without_shortcodes(html))
        if not _ADDRESS.fullmatch(block) and not boilerplate.is_caption(block)
    ]
    paragraphs, found = _without_head(paragraphs, title)
    text = " ".join(paragraphs)
    is_long = len(text) > LONGEST
    lead = boilerplate.without_byline(_capped(text), author, guess=pasted)
    tail = boilerplate.without_tail(lead.rest)
    text = boilerplate.without_captions(tail.rest)
    if tail.cut:
        text = _without_stub(text)
    return Excerpt(text, tail.cut or is_long, found or lead.author)


def _without_head(paragraphs: list[str], title: str) -> tuple[list[str], str | None]:
    """*paragraphs* without a title, bylines and dates at their head, and the first byline's name."""
    found = None
    for at, block in enumerate(paragraphs[:4]):
        name = boilerplate.byline(block)
        if name is None and not boilerplate.is_date(block) and block.casefold() != title.casefold():
            return paragraphs[at:], found
        found = found or name
    return paragraphs[4:], found


def _capped(text: str) -> str:
    """The first 6,000 characters of *text* at most, up to a space where there is one."""
    if len(text) <= LONGEST:
        return text
    text = cut(text, LONGEST)
    space = text.rfind(" ", LONGEST - 100)
    return text[:space] if space > 0 else text


def _without_stub(text: str) -> str:
    """*text* without the few words of a sentence that was cut off right after it began."""
    end = max(sentences.ends(text), default=0)
    stub = text[end:].strip()
    is_stub = len(stub) < _FEW_CHARACTERS and len(stub.split()) < _FEW_WORDS
    return text[:end] if end and is_stub else text


#: a sentence may end an excerpt early, but not before this share of the length allowed
_EARLIEST_SENTENCE = 0.6
#: likewise a space; where none stands so late, the words are not written apart (Chinese, Thai)
_EARLIEST_SPACE = 0.75
#: in a title, where a long word is a larger share
_EARLIEST_SPACE_IN_TITLE = 0.5
#: what an excerpt does not break off after
_OPEN_END = " ,;:–—-([{«“‘„\"'¡¿·•|/&"


# An issue is shown many times while it is shaped: of 60 posts this takes 25 ms each time.
@lru_cache(maxsize=512)
def shorten(text: str, *, truncated: bool, length: int) -> str:
    """At most *length* grapheme clusters of *text*, one of them the "…" where it breaks off.

    It ends with a sentence where one ends late enough, else between two words, else between two
    clusters. A *truncated* text that fits breaks off too, unless it ends with a sentence.
    """
    # Where each cluster ends, one more than allowed.
    clusters = [match.end() for match in islice(regex.finditer(r"\X", text), length + 1)]
    if len(clusters) <= length:
        if not truncated or _is_ended(text):
            return text
        if len(clusters) < length:
            return text.rstrip(_OPEN_END) + "…"
    end = _late_sentence(text, clusters[:length])
    return text[:end] if end else _broken_off(text, clusters[:length], _EARLIEST_SPACE)


def propose_title(text: str) -> str:
    """A title for a post that has none: the first sentence of *text*, broken off before 70 clusters.

    "" where there is no text. Always to be shown as proposed.
    """
    sentence = sentences.first(text).strip()
    clusters = [match.end() for match in islice(regex.finditer(r"\X", sentence), TITLE_LENGTH + 1)]
    if len(clusters) > TITLE_LENGTH:
        return _broken_off(sentence, clusters[:TITLE_LENGTH], _EARLIEST_SPACE_IN_TITLE)
    # Titles carry no full stop, but "Why?" and "Wait..." keep theirs.
    return sentence[:-1] if sentence.endswith((".", "。")) and not sentence.endswith("..") else sentence


def _late_sentence(text: str, clusters: list[int]) -> int:
    """Where the last sentence ends that ends within *clusters* and late enough; 0 where none does."""
    earliest = clusters[math.ceil(len(clusters) * _EARLIEST_SENTENCE) - 1] if clusters else 1
    boundaries = set(clusters)
    # A little more is looked at: what follows a full stop says whether it is one.
    ends = sentences.ends(text[: max(boundaries, default=0) + 20])
    return max((end for end in ends if end >= earliest and end in boundaries), default=0)


def _broken_off(text: str, clusters: list[int], earliest_space: float) -> str:
    """*text* up to the last space within *clusters* less one, else to the end of a cluster, and "…"."""
    if len(clusters) < 2:
        return "…" * len(clusters)
    limit = clusters[-2]
    space = text.rfind(" ", 0, limit + 1)
    if space >= clusters[math.ceil(len(clusters) * earliest_space) - 1]:
        limit = space
    return text[:limit].rstrip(_OPEN_END) + "…"
