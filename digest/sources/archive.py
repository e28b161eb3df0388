"""WordPress month archives: the HTML page of many themes, and the text somebody copied out of one.

What a theme makes of a post is `cards`' to know; here is the page around it, and the copied text.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser

from digest.prose.boilerplate import is_date, without_tail
from digest.prose.clean import absolute, one_line, plain
from digest.prose.markup import parsed
from digest.sources.cards import attribute, cards, classes_of, raw_of
from digest.sources.months import day_named, month_named
from digest.sources.raw import Raw

#: characters of a page that are looked at
LONGEST = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePage:
    """One page of an archive; `raws` in its order, which is newest first."""

    #: its heading, as "Monthly Archives: September 2015"
    title: str
    #: YYYY-MM: the month it is the archive of; None where it is another archive
    month: str | None
    raws: tuple[Raw, ...] = ()
    #: absolute; where the archive goes on; None at the end
    next_url: str | None = None
    #: one line each
    warnings: tuple[str, ...] = ()
    #: the archive begins on this page, and nothing says that it goes on
    whole: bool = True

    @property
    def whole_month(self) -> str | None:
        """YYYY-MM where this page alone shows all posts of that month."""
        return self.month if self.whole else None


_HEADINGS = (
    ".wp-block-query-title, .archive-title, .page-title, .pagetitle, .archive-header h1, .page-header h1,"
    " h1.entry-title, main h1, #content h1, #content h2.title, h1"
)
_OTHER_PAGES = frozenset({"single", "single-post", "page", "attachment", "error404", "search"})
_NEXT = (
    'head link[rel~="next"], .nav-previous a[href], a.next.page-numbers, .wp-block-query-pagination-next,'
    ' .pagination a.next, .pagination .next a, .nav-links a.next, #nav-below .nav-previous a, a[rel~="next"],'
    " .alignleft a[href*='/page/'], .alignleft a[href*='paged=']"
)


def is_archive_page(html: str) -> bool:
    """Whether *html* is a page of a WordPress archive with at least one post: a month's, or any other."""
    if "<" not in html or ("hentry" not in html and "post" not in html):
        return False
    tree = parsed(html, LONGEST)
    if tree is None or tree.body is None:
        return False
    classes = classes_of(tree.body)
    if classes & _OTHER_PAGES or not cards(tree):
        return False
    return "archive" in classes or _month(tree, None) is not None


def archive_page(html: str, *, page_url: str | None) -> ArchivePage:
    """What the archive page *html*, found at *page_url*, shows.

    Links stay as written. Dates are the words of the page, the best first, days as YYYY-MM-DD. A
    post without any date has the page's month. A warning names every post whose link or date says
    another month than the page.
    """
    tree = parsed(html, LONGEST)
    if tree is None or tree.body is None:
        return ArchivePage(title="", month=None, warnings=("the page's HTML is too damaged to read",))
    month = _month(tree, page_url)
    language = attribute(tree.root, "lang")
    raws = tuple(raw_of(card, month, language) for card in cards(tree))
    base = page_url or attribute(tree.css_first('link[rel="canonical"]'), "href")
    goes_on = attribute(tree.css_first(_NEXT), "href")
    next_url = absolute(goes_on, base) if goes_on else None
    warnings = [line for line in map(_disagreement, raws, [month] * len(raws)) if line]
    if goes_on and next_url is None:
        warnings.append(f"the archive goes on at {goes_on[:200]}, but the page does not say on which site")
    if month and (at := _month_of_path(page_url)) and at != month:
        warnings.append(f"the page's title says {month}, its address {at}")
    if not raws:
        warnings.append("no post was found on the page")
    return ArchivePage(
        title=_heading(tree),
        month=month,
        raws=raws,
        next_url=next_url,
        warnings=tuple(warnings),
        whole=not goes_on and not _is_part(tree, page_url),
    )


def _month(tree: LexborHTMLParser, page_url: str | None) -> str | None:
    """The month the page is the archive of: by its heading, its title, its address."""
    canonical = attribute(tree.css_first('link[rel="canonical"]'), "href")
    title = tree.css_first("head title")
    return (
        month_named(_heading(tree))
        or month_named(plain(title.inner_html or "") if title else "")
        or _month_of_path(page_url)
        or _month_of_path(canonical)
    )


def _heading(tree: LexborHTMLParser) -> str:
    """The page's own heading, else its title."""
    for selector in _HEADINGS.split(", "):
        for node in tree.css(selector)[:5]:
            if text := plain(node.inner_html or ""):
                return text
    title = tree.css_first("head title")
    return plain(title.inner_html or "") if title else ""


def _month_of_path(url: str | None) -> str | None:
    """The month that is the address of its archive ("/2015/09/", "/2015/09/page/2/", "?m=201509")."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    match = re.search(r"/(\d{4})/(\d{2})(?:/(?:page/\d{1,4}/?)?)?(?:index\.html?)?$", parts.path[-200:])
    match = match or re.search(r"(?:^|&)m=(\d{4})(\d{2})(?:&|$)", parts.query[:200])
    return month_named(f"{match[1]}-{match[2]}") if match else None


def _is_part(tree: LexborHTMLParser, page_url: str | None) -> bool:
    """Whether the page is not the archive's first, or shows its rest only when scrolled."""
    if page_url and re.search(r"/page/(?!1(?:/|$))\d|[?&]paged=(?!1(?:&|$))\d", page_url[:2000]):
        return True
    if tree.css_first('head link[rel~="prev"]') is not None:
        return True
    return tree.body is not None and not classes_of(tree.body).isdisjoint({"paged", "infinite-scroll"})


def _disagreement(raw: Raw, month: str | None) -> str | None:
    """What a post says of its month, if it is another one than *month*."""
    if month is None:
        return None
    name = raw.title or raw.url or "a post without title"
    link = re.search(r"/(\d{4})/(\d{2})/", raw.url or "")
    if link and month_named(f"{link[1]}-{link[2]}") not in (None, month):
        return f"“{name[:80]}” stands in the archive of {month}, its link says {link[1]}-{link[2]}"
    written = next((text for text in raw.published if re.match(r"\d{4}-\d{2}-", text)), month)
    if not written.startswith(month):
        return f"“{name[:80]}” stands in the archive of {month}, its date is {written[:10]}"
    return None


# --- copied text --------------------------------------------------------------------------------

#: what stands before the month: anything with a colon, or one of these
_LABEL = (
    r"(?:(?:monthly )?archives?(?: for)?|posts (?:from|written in)|monatsarchive?|archiv"
    r"|archivi?o?(?: mensil[ei])?|archives mensuelles|archivos?(?: mensual(?:es)?)?"
    r"|arquivos?(?: mensa(?:l|is))?|(?:maandelijks )?archief|archiwum(?: miesięczne)?|архив(?: за)?"
    r"|архів(?: за)?|(?:månads)?arkiv(?: for| för)?|arşiv)"
)
_HEADING = re.compile(rf"\W{{0,10}}(?:[^:：]{{1,40}}[:：]|{_LABEL}[ –—-])?", re.IGNORECASE)
#: a block of so many words is no title; WordPress cuts excerpts at 55
_EXCERPT_WORDS = 25
#: likewise, where words are not written apart
_EXCERPT_CHARACTERS = 200
#: lines of a page that come along when it is copied
_FURNITURE = re.compile(
    r"(?:leave a|\d{1,4}) (?:comments?|repl(?:y|ies))|no comments|edit|share this.*"
    r"|(?:continue reading|read more|posted in|filed under|tagged) .*|←.*|.*→|skip to content",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"[←→«» ]{0,5}(?:older|newer) (?:posts|entries)[←→«» ]{0,5}", re.IGNORECASE)
_META = re.compile(
    r"(?:(?:posted |published |written )?(?:on )?)?(.{6,40}?)(?: (?:by|von|par|por|di) (.{2,60}))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Block:
    """Lines between blank lines, and how many blank lines stood before them."""

    lines: tuple[str, ...]
    gap: int

    @property
    def text(self) -> str:
        return " ".join(self.lines)


@dataclass(slots=True)
class _Copied:
    """The post being read from copied text."""

    title: str = ""
    day: str | None = None
    author: str | None = None
    text: str = ""
    #: its text ended with the mark of a cut: nothing more follows
    ended: bool = False

    def raw(self, month: str) -> Raw:
        """It, as every adapter gives a post."""
        return Raw(
            title=self.title,
            author=self.author,
            published=(self.day,) if self.day else (),
            month=month,
            summary=self.text or None,
            pasted=True,
        )


def pasted(text: str) -> ArchivePage | None:
    """What was copied out of a month archive as text; None where *text* does not begin as one.

    A long block, or one that was cut, is a post's excerpt; the short block before it is its title.
    A wider gap before an excerpt, or an excerpt right after another one, is a post without a title:
    its `Raw.title` is "". None of them has a link of its own.
    """
    blocks = _blocks(text[:LONGEST])
    months = [_heading_month(block) for block in blocks[:15]]
    month = next(filter(None, months), None)
    if month is None:
        return None
    heading, below = blocks[months.index(month)], blocks[months.index(month) + 1 :]
    usual = min((block.gap for block in below), default=1)
    posts = [_Copied()]
    for block in below:
        _take(block, posts, month, is_apart=block.gap > usual)
    warnings = []
    if posts[-1].title and not posts[-1].text:
        # Below the last post a page has its footer.
        warnings.append(f"left out, because no text follows it: “{posts.pop().title[:80]}”")
    raws = tuple(post.raw(month) for post in posts if post.title or post.text)
    if not raws:
        return None
    warnings += filter(None, (_disagreement(raw, month) for raw in raws))
    goes_on = any(_GOES_ON.fullmatch(line) for line in map(one_line, text[:LONGEST].splitlines()))
    return ArchivePage(
        title=heading.text, month=month, raws=raws, warnings=tuple(warnings), whole=not goes_on
    )


def _blocks(text: str) -> list[_Block]:
    """The blocks of *text* in order, without the furniture of a page."""
    blocks, lines, gap, empty = [], list[str](), 0, 0
    for line in [*map(one_line, text.splitlines()), ""]:
        if line and not _FURNITURE.fullmatch(line[:300]) and not _GOES_ON.fullmatch(line):
            gap = empty if not lines else gap
            lines.append(line)
            empty = 0
        elif not line:
            if lines:
                blocks.append(_Block(tuple(lines), gap))
                lines = []
            empty += 1
    return blocks


def _heading_month(block: _Block) -> str | None:
    """The month a block names, if it does nothing else: "Monthly Archives: September 2015"."""
    if len(block.lines) > 1 or len(block.text) > 80:
        return None
    rest = _HEADING.sub("", block.text, count=1)
    month = month_named(rest)
    return month if month and len(rest.split()) <= 4 else None


def _take(block: _Block, posts: list[_Copied], month: str, *, is_apart: bool) -> None:
    """Gives *block* to the last of *posts*, or to a new one."""
    post = posts[-1]
    if _take_meta(block, post, month):
        return
    was_cut = without_tail(block.text).cut
    if not _is_excerpt(block.text, was_cut, follows_title=bool(post.title and not post.text)):
        if post.title or post.text:
            post = _Copied()
            posts.append(post)
        post.title = block.text
        return
    if post.text and (post.ended or is_apart):
        post = _Copied()
        posts.append(post)
    post.text = f"{post.text}\n\n{block.text}" if post.text else block.text
    post.ended = was_cut


def _is_excerpt(text: str, was_cut: bool, *, follows_title: bool) -> bool:
    """Whether *text* is part of a post's text rather than a title."""
    words = len(text.split())
    if words >= _EXCERPT_WORDS or len(text) >= _EXCERPT_CHARACTERS:
        return True
    return (was_cut and words >= 5) or (follows_title and text.endswith((".", "。", "…", "…]")))


def _take_meta(block: _Block, post: _Copied, month: str) -> bool:
    """Whether *block* was only the date of *post*, with or without its author."""
    match = _META.fullmatch(block.text) if post.title and not post.text and len(block.text) <= 120 else None
    if match is None or not is_date(match[1]):
        return False
    post.day, post.author = day_named(match[1], month), match[2]
    return True
