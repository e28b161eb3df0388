"""What spam filters count against a letter, as SpamAssassin's and rspamd's own rule files have it.

What they also count and another point refuses already: another title than the subject, parts that differ,
base64 without need, long lines, style sheets from elsewhere, hidden blocks, tags that do not balance.
"""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import unquote

from digest.letter.page import Page
from digest.lint.finding import Finding, error, shortened, warning
from digest.lint.links import host, is_private, of_posts
from digest.lint.tree import Tree

#: bytes of text, hidden and white space counted, up to which SpamAssassin gives most points for a picture
TEXT_BESIDE_PICTURES = 400
#: a comment or an empty element between two letters: HTML_OBFUSCATE_*
BROKEN_WORD = re.compile(r"[^\W\d_](?:<!--(?!\[).*?-->|<(\w+)\b[^<>]*></\1>)[^\W\d_]", re.DOTALL)
#: a soft hyphen or a space without width between two letters, several times in one word
STUFFED_WORD = re.compile(r"(?:[^\W\d_][\u200b\u2060\ufeff]){2,}[^\W\d_]")


def filters(tree: Tree, page: Page) -> Iterator[Finding]:
    """Point filter-rules."""
    posts = of_posts(page)
    for link in tree.all("a"):
        url, shown = link.get("href", ""), tree.text(link)
        told = warning if unquote(url) in posts else error
        place = f"HTML: link to {shortened(url)}"
        if re.match(r"(?i)http://", shown) and url.startswith("https:"):
            message = f"It shows {shortened(shown, 40)} and opens https: rspamd counts it (HTTP_TO_HTTPS)."
            yield told("filter-rules", place, message, "Show the address with https, or words.")
        if is_address(host(url)) and not is_private(host(url)):
            message = f"It leads to {host(url)}, a number and no name, as fraud does (HTTP_TO_IP)."
            yield told("filter-rules", place, message, "Link to the site by its name.")
        if re.match(r"(?i)https?://[^/?#]*@", url):
            message = f"A name stands before the host, {host(url)}, as fraud hides where a link leads."
            yield told("filter-rules", place, message, "Take out what stands before the @.")
    yield from _pictures(tree)
    yield from _broken_words(tree)


def is_address(name: str) -> bool:
    """Whether the host called *name* is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _pictures(tree: Tree) -> Iterator[Finding]:
    length = sum(len("".join(body.itertext()).encode()) for body in tree.all("body"))
    if tree.all("img") and length <= TEXT_BESIDE_PICTURES:
        message = (
            f"There are pictures and only {length} bytes of text: SpamAssassin counts it (HTML_IMAGE_ONLY)."
        )
        yield warning("filter-rules", "HTML", message, "Write an introduction.")


def _broken_words(tree: Tree) -> Iterator[Finding]:
    mend = "Take out what stands between the letters."
    for match in BROKEN_WORD.finditer(tree.source):
        message = "A word is broken by something that does not show, as spam does (HTML_OBFUSCATE)."
        yield error("filter-rules", f"HTML: {shortened(match[0])}", message, mend)
    for match in STUFFED_WORD.finditer(tree.text()):
        message = "A word is broken by spaces without width, as spam does."
        yield warning("filter-rules", f"HTML: {match[0]!a}", message, mend)
