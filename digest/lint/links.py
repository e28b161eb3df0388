"""Where the letter leads: addresses that work, say what they are, and watch nobody."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree.ElementTree import Element

from digest.letter.headers import ascii_url
from digest.letter.page import Page
from digest.lint.finding import Finding, error, shortened, warning
from digest.lint.tree import Tree, pixels, style_of

#: link texts that say nothing when a screen reader lists the links
GENERIC = frozenset(
    {"here", "click here", "click", "more", "read more", "learn more", "this", "this link", "link", "details"}
    | {"continue", "continue reading", "hier", "mehr", "mehr lesen", "weiterlesen", "ici", "cliquez ici"}
    | {"lire la suite", "aquí", "leer más", "тут", "здесь", "читати далі", "далі", "подробнее", "докладніше"}
)
PUBLIC = "Use an address that readers can reach."
OWN = (
    "Set DIGEST_BASE_URL to the https address of your pages; to try it on this machine alone, let"
    " DIGEST_PUBLICATION_URL be an address of this machine, too."
)
#: an address in a link's text, or nothing else than the name of a host
SHOWN_ADDRESS = re.compile(r"(?i)(?:\bhttps?://|\bwww\.)([\w.-]+)")
SHOWN_HOST = re.compile(
    r"(?i)((?:[a-z0-9-]+\.)+(?:com|org|net|info|edu|gov|eu|uk|de|at|ch|fr|es|it|nl|be|pl|pt|ua|ru|il|ca|us|au))"
    r"(?:/\S*)?"
)


@dataclass(frozen=True, slots=True)
class Address:
    """One address in the HTML and where it stands."""

    element: Element
    url: str
    place: str

    @property
    def host(self) -> str:
        """Its host in lower case; "" where it has none."""
        return host(self.url)


def addresses(tree: Tree) -> list[Address]:
    """Every address a reader or a client would follow."""
    found = []
    for element in tree.elements:
        for name in ("href", "src", "background", "srcset", "poster", "action"):
            url = element.get(name)
            if url is not None:
                said = tree.text(element) or element.get("alt") or url
                kind = "link" if element.tag == "a" else element.tag
                found.append(Address(element, url, f"HTML: {kind} “{shortened(said, 40)}”"))
    return found


def links(tree: Tree, page: Page) -> Iterator[Finding]:
    """Points link-scheme, insecure-link, unreachable-link and redirect-link."""
    posts = of_posts(page)
    own = (page.publication.base_url, page.publication.url)
    loopback = all(is_loopback(host(url)) for url in own if url)
    once = {address.url: address for address in reversed(addresses(tree))}
    for address in reversed(once.values()):
        from_post = unquote(address.url) in posts
        if (fault := scheme_fault(address.url)) is not None:
            mend = "Correct it where the post was written." if from_post else "Correct the template."
            yield error("link-scheme", address.place, f"{shortened(address.url)} {fault}.", mend)
            continue
        if not loopback:
            yield from _reach(address, from_post, page)
        yield from _redirect(address, from_post, page)
    yield from _pixels(tree)


def of_posts(page: Page) -> set[str]:
    """The addresses that came with the posts, without percent-encoding."""
    return {unquote(url) for card in page.cards for url in (card.url, card.picture_url) if url}


def scheme_fault(url: str) -> str | None:
    """Why a client could not open *url*; None where it could."""
    try:
        parts = urlsplit(url)
        named = parts.hostname
    except ValueError:
        return "is no address"
    if url != url.strip() or re.search(r"[\s\x00-\x1f\x7f-\x9f]", url):
        return "holds spaces or control characters"
    if parts.scheme == "mailto":
        # With a subject alone it is shared with whom the reader likes (RFC 6068, section 2).
        shares = not parts.path and parts.query
        return None if shares or re.search(r"[^@]@[^@]", unquote(parts.path)) else "names nobody"
    if parts.scheme == "tel":
        return None if parts.path else "names nobody"
    if parts.scheme not in ("https", "http"):
        return "is not an absolute https, mailto or tel address"
    return None if named else "names no host"


def _reach(address: Address, from_post: bool, page: Page) -> Iterator[Finding]:
    if is_private(address.host):
        message = f"{shortened(address.url)} only works on this machine or in this network."
        own = address.host == host(page.publication.base_url)
        yield error("unreachable-link", address.place, message, OWN if own else PUBLIC)
        return
    if not address.url.startswith("http:"):
        return
    message = f"{shortened(address.url)} is not encrypted."
    if not from_post and _ours(address, page):
        yield error("insecure-link", address.place, message, "Write https in the setting it comes from.")
    else:
        yield warning("insecure-link", address.place, message, "Use the https address where there is one.")


def _ours(address: Address, page: Page) -> bool:
    own = {host(page.publication.base_url), host(page.archive_url)}
    return address.host in own or _bare_url(address.url) == _bare_url(page.publication.url)


def _bare_url(url: str) -> str:
    return url.partition("://")[2].rstrip("/")


def _redirect(address: Address, from_post: bool, page: Page) -> Iterator[Finding]:
    """Links through somebody else's counter are against what readers were promised."""
    if from_post or not address.url.startswith("http"):
        return
    inner = [value for _, value in parse_qsl(urlsplit(address.url).query)]
    if any(re.match(r"https?://", value) for value in inner):
        message = f"{shortened(address.url)} carries another address and looks like a redirect."
        mend = "Link to where it ends."
        if _ours(address, page):
            yield error("redirect-link", address.place, message, mend)
        else:
            yield warning("redirect-link", address.place, message, mend)


def _pixels(tree: Tree) -> Iterator[Finding]:
    for image in tree.all("img"):
        sizes = [image.get("width", ""), image.get("height", "")]
        sizes += [style_of(image).get("width"), style_of(image).get("height")]
        if any(number is not None and number <= 1 for number in map(pixels, sizes)):
            message = "An image of one pixel counts who opens the letter."
            place = f"HTML: image {shortened(image.get('src', ''))}"
            yield error("redirect-link", place, message, "Take it out of the template.")


def link_texts(tree: Tree, page: Page) -> Iterator[Finding]:
    """Points link-text and link-host."""
    posts = of_posts(page)
    for link in tree.all("a"):
        url = link.get("href")
        if url is None or tree.hidden(link):
            continue
        text = " ".join([tree.text(link), *(image.get("alt") or "" for image in link.iter("img"))]).strip()
        place = f"HTML: link to {shortened(url)}"
        if not text:
            yield error(
                "link-text", place, "The link has no text.", "Give it a text that says where it goes."
            )
        elif text.casefold().rstrip(" .…→»>") in GENERIC:
            message = f"The link only says “{text}”, which means nothing by itself."
            yield warning("link-text", place, message, "Name where it goes, as in “Read” and the title.")
        yield from _shown(tree.text(link), url, of_post=unquote(url) in posts)


def _shown(text: str, url: str, *, of_post: bool) -> Iterator[Finding]:
    """What filters and readers take for fraud: the host that is shown is not the one that is opened."""
    bare = SHOWN_HOST.fullmatch(text)
    names = [bare[1]] if bare else [match[1] for match in SHOWN_ADDRESS.finditer(text)]
    others = [name for name in names if _bare(name) != _bare(host(url))]
    if others:
        message = (
            f"It shows {shortened(others[0], 40)} and opens {shortened(url)}: filters take that for fraud."
        )
        # A post about Example.com may be called that.
        told = warning if of_post or bare else error
        mend = "Show the address that is opened, or words."
        yield told("link-host", f"HTML: link to {shortened(url)}", message, mend)


def canonical(url: str) -> str:
    """*url* in ASCII; *url* itself where it is none. Templates write one address in several ways."""
    try:
        return ascii_url(unquote(url))
    except (ValueError, UnicodeError):
        return url


def host(url: str) -> str:
    """The host of *url* in lower case; "" where it has none."""
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _bare(name: str) -> str:
    return name.lower().rstrip(".").removeprefix("www.")


def is_loopback(name: str) -> bool:
    """Whether the host called *name* is this machine itself."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_private(name: str) -> bool:
    """Whether the host called *name* can only be reached from this machine or network."""
    if is_loopback(name) or name.endswith((".local", ".internal", ".lan", ".home.arpa")):
        return True
    try:
        return not ipaddress.ip_address(name).is_global
    except ValueError:
        return False
