"""What a post is known by: its guid, else its own link, else a hash of its first words.

The same rule names a post in every reading of its source, so that an edited post is recognised.
Inside one document it is checked first: a guid that stands at two links identifies neither, and
a link that two posts share belongs to neither (`Survey`).
"""

import hashlib
import re
from array import array
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import parse_qsl, urlencode, urlsplit

#: Parameters that say how a reader came, not where to: newsletters, social networks, Medium, heise.
_TRACKING = re.compile(
    r"utm_\w+|[fgym]b?clid|fbclid|msclkid|igshid|mc_[ce]id|wt_z?mc|_hs(?:enc|mi)|source", re.IGNORECASE
)
#: WordPress's guids. A move to https or away from www rewrites them, though the post is the same.
_WORDPRESS = re.compile(
    r"https?://(?:www\.)?([^/?#]+/(?:[^?#]*)\?(?:[^#]*&)?(?:p|page_id)=\d+(?:&[^#]*)?)", re.IGNORECASE
)
#: Longer names are replaced by their hash: an index entry of PostgreSQL ends at 2,704 bytes.
LONGEST = 500
#: makes a hash unsigned
_MASK = 2**64 - 1


def link_key(url: str) -> str:
    """*url* without what does not identify: scheme, `www.`, case of the host, a final slash, tracking."""
    try:
        parts = urlsplit(url.strip())
        port = f":{parts.port}" if parts.port not in (None, 80, 443) else ""
        host = (parts.hostname or "").removeprefix("www.").rstrip(".")
    except ValueError:
        return _bounded(url.strip())
    query = parts.query
    if _TRACKING.search(query):
        kept = [(name, value) for name, value in parse_qsl(query, True) if not _TRACKING.fullmatch(name)]
        query = urlencode(kept)
    path = parts.path.rstrip("/")
    return _bounded(f"{host}{port}{path}{'?' if query else ''}{query}")


def guid_key(guid: str) -> str:
    """*guid* as it is compared: WordPress's `…?p=123` without scheme and `www.`, any other as it is."""
    guid = guid.strip()
    match = _WORDPRESS.fullmatch(guid)
    if match is None:
        return _bounded(guid)
    host, slash, rest = match[1].partition("/")
    return _bounded(host.lower() + slash + rest)


class _Pairs:
    """Names and what each was met with, as hashes: 16 bytes a pair, for exports of 150,000 posts."""

    def __init__(self) -> None:
        self._hashes = array("Q")
        self._shared: frozenset[int] | None = None

    def add(self, name: str, partner: str) -> None:
        """*name* was met with *partner*."""
        self._hashes.append(hash(name) & _MASK)
        self._hashes.append(hash(partner) & _MASK)
        self._shared = None

    def is_shared(self, name: str) -> bool:
        """Whether *name* was met with more than one partner."""
        if self._shared is None:
            joined = sorted({a << 64 | b for a, b in zip(self._hashes[::2], self._hashes[1::2], strict=True)})
            self._shared = frozenset(one >> 64 for one, two in pairwise(joined) if one >> 64 == two >> 64)
        return hash(name) & _MASK in self._shared


class Survey:
    """Which guids and links of one document stand for more than one post."""

    def __init__(self) -> None:
        self._guids = _Pairs()
        self._links = _Pairs()
        #: a link as written that is relative, to ask for what it is relative to; None: there is none
        self.relative: str | None = None

    def add(self, guid: str | None, url: str | None, title: str) -> None:
        """Takes note of one post, with its guid and link as written."""
        link = link_key(url) if url else ""
        name = guid_key(guid) if guid else ""
        if name:
            self._guids.add(name, link or title)
        if link:
            self._links.add(link, name or title)
        if url and self.relative is None and is_relative(url):
            self.relative = url

    def trusts_guid(self, guid: str) -> bool:
        """Whether *guid* stands for one post in this document."""
        return not self._guids.is_shared(guid_key(guid))

    def trusts_link(self, url: str) -> bool:
        """Whether *url*, as written, is the link of one post in this document."""
        return not self._links.is_shared(link_key(url))


@dataclass(frozen=True, slots=True)
class Name:
    """What a post is known by."""

    #: for comparing, inside its source
    identity: str
    #: for people
    guid: str
    #: the link for comparing, across sources; None: it has none of its own
    link_key: str | None


def name_of(guid: str | None, written: str | None, url: str | None, words: str, survey: Survey) -> Name:
    """The name of a post with *guid* and the link *written*, which is *url* once it is absolute.

    *words* are hashed where neither guid nor link will do.
    """
    guid = guid.strip() if guid else None
    link = link_key(url) if url else None
    own_link = link if written and survey.trusts_link(written) else None
    if guid and survey.trusts_guid(guid):
        return Name(guid_key(guid), guid, own_link)
    if guid and link:
        return Name(_bounded(f"{guid_key(guid)} {link}"), url or guid, own_link)
    if own_link:
        return Name(own_link, url or own_link, own_link)
    hashed = hashlib.sha256("\n".join((guid or "", link or "", words)).encode()).hexdigest()
    return Name(hashed, hashed, None)


def is_relative(url: str) -> bool:
    """Whether *url* needs a page to be relative to."""
    return not re.match(r"\s*(?:[a-z][a-z0-9+.-]{0,30}:|//)", url, re.IGNORECASE)


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else hashlib.sha256(text.encode()).hexdigest()
