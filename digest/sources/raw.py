"""Raw: one post as its format writes it, before anything is cleaned, dated or made absolute."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from digest.sources.found import Picture, Rejected
from digest.sources.identity import Survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """One post with its strings as written; every adapter yields these and decides nothing else."""

    guid: str | None = None
    #: its own page, possibly relative
    url: str | None = None
    #: HTML or text
    title: str = ""
    author: str | None = None
    #: dates of publication as written, the best first
    published: tuple[str, ...] = ()
    #: the date of change; stands in, with a note, where no date of publication can be read
    updated: str | None = None
    #: YYYY-MM: what a page that names only its month says
    month: str | None = None
    #: HTML or text: written by hand as a summary; made by the source; the whole text
    manual_summary: str | None = None
    summary: str | None = None
    body: str | None = None
    #: pictures the source names for the post, the best first, URLs as written
    pictures: tuple[Picture, ...] = ()
    categories: tuple[str, ...] = ()
    language: str | None = None
    #: typed or pasted text: an undelimited byline may be guessed
    pasted: bool = False


@dataclass(slots=True, kw_only=True)
class Opened:
    """One document as its adapter read it."""

    title: str = ""
    #: in the document's order; may be walked once
    posts: Iterable[Raw | Rejected] = ()
    #: what its guids and links identify; complete before `posts` is walked
    survey: Survey
    #: the publication's own page as the document names it, possibly relative; what links are relative to
    link: str | None = None
    #: where it goes on; None at the end
    next_url: str | None = None
    #: True: it holds everything its publication ever published (an export, to its end)
    is_whole: bool = False
    #: one line each; complete when `posts` has been walked
    warnings: list[str] = field(default_factory=list)
