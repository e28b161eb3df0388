"""What only the web can tell of a letter: do its links answer, are its pictures there and how large."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape

from digest.letter.page import Page
from digest.lint.finding import Finding, error, shortened, warning
from digest.sources.fetch import Fetched
from digest.sources.pictures import SHOWN, Measured, measured
from digest.sources.wire import NotFetched

#: what fetches a URL; NotFetched where nothing came
Get = Callable[[str], Fetched]
#: at a time; a publication's links mostly lead to one server
AT_ONCE = 4
#: of one letter; no letter that fits has more
MOST = 400
#: bytes; a phone on a slow line waits for seconds
HEAVY = 1_000_000
#: what no later try will mend
GONE = {404: "is not there (404)", 410: "is gone for good (410)"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking for one address."""

    #: why nobody will see what is there; "" where all is well
    problem: str = ""
    #: of HTTP; None where no server answered
    status: int | None = None
    #: where it is a picture
    picture: Measured | None = None


def asked(links: Iterable[str], pictures: Iterable[str], get: Get) -> dict[str, Answer]:
    """The answer of each address; a link of which a picture is made is asked for as one."""
    wanted = set(pictures)
    urls = list(dict.fromkeys([*wanted, *links]))[:MOST]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(urls, pool.map(lambda url: _asked(url, get, url in wanted), urls), strict=True))


def _asked(url: str, get: Get, is_picture: bool) -> Answer:
    try:
        found = get(url)
    except NotFetched as error:
        return Answer(GONE.get(error.status or 0, error.why), error.status)
    if not is_picture:
        return Answer(status=found.status)
    picture = measured(found.body)
    return Answer(_unseen(picture), found.status, picture)


def _unseen(picture: Measured) -> str:
    """Why mail programs do not show *picture*; "" where they do."""
    if not picture.format:
        return "is no picture"
    return (
        ""
        if picture.format in SHOWN
        else f"is {picture.format.upper()}, which many mail programs do not show"
    )


def is_offline(answers: Mapping[str, Answer]) -> bool:
    """Whether not one server has answered: then it is this machine that has no way to the web."""
    return bool(answers) and all(answer.status is None for answer in answers.values())


def links_of(page: Page) -> list[str]:
    """What a letter of *page* leads to, but for what is one reader's and for the page that is not there yet.

    For the pages of readers stands the form, which is served with them.
    """
    written = [unescape(url) for url in re.findall(r'href="(https?://[^"]+)"', page.intro_html)]
    posts = [card.url for card in page.cards if card.url]
    own = [page.publication.url, form_of(page)]
    return [url for url in dict.fromkeys([*own, *written, *posts]) if url]


def form_of(page: Page) -> str:
    """The address of the form, on which the pages of readers are, too."""
    return f"{page.publication.base_url}/subscribe"


def answering(page: Page, answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """Point link-answers; one warning where nothing at all could be asked."""
    if is_offline(answers):
        why = next(iter(answers.values())).problem
        message = f"No server could be asked: {why}."
        yield warning("link-answers", "issue", message, "Try again where the web can be reached.")
        return
    titles = {card.url: card.title for card in page.cards if card.url}
    for url in links_of(page):
        answer = answers.get(url, Answer())
        if not answer.problem:
            continue
        place = f"issue: “{shortened(titles[url])}”" if url in titles else f"issue: {shortened(url)}"
        message = f"{shortened(url, 200)} {answer.problem}."
        if url == form_of(page):
            mend = "Let `digest serve` answer there: nobody could leave."
            yield error("link-answers", place, message, mend)
        elif answer.status in GONE:
            yield error(
                "link-answers", place, message, "Drop the item, or correct the link where it was written."
            )
        else:
            yield warning("link-answers", place, message, "Open it in a browser.")
