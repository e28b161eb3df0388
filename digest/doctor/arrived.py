"""A letter as it arrived: what the way did to it, what the receiving side says of it, from where it came.

Headers of a letter are anybody's. Authentication-Results are believed where the server they name is the
one that took the letter in (RFC 8601, section 5: it takes out what others wrote in its name).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from digest.doctor.line import Line, failed, idle, passed, warned
from digest.doctor.machine import instant_in
from digest.doctor.signature import split
from digest.sources.addresses import is_public, parsed

_COMMENT = re.compile(r"\([^()]*\)")
_BY = re.compile(r"\bby\s+([A-Za-z0-9._-]+)")
_FROM = re.compile(r"\bfrom\s.{0,300}?\[(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]", re.S)
_CLIENT = re.compile(r"client-ip=([0-9A-Fa-f:.]{3,45})|designates? ([0-9A-Fa-f:.]{3,45}) as permitted")
_RESULT = re.compile(r"\b(spf|dkim|dmarc)\s*=\s*([a-z]+)", re.I)
_WORDS = ("spf", "dkim", "dmarc")
_NESTED = 3  # comments in comments


@dataclass(frozen=True, slots=True)
class Arrived:
    """A letter, and what is known of how it was sent."""

    raw: bytes
    #: (name in lower case, value on one line), the topmost first
    headers: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, raw: bytes) -> "Arrived":
        """*raw*, opened."""
        fields = [(name, field.partition(b":")[2].decode(errors="replace")) for name, field in split(raw)[0]]
        return cls(raw, tuple((name, " ".join(value.split())) for name, value in fields))

    def every(self, name: str) -> list[str]:
        """The values of the headers *name*."""
        return [value for one, value in self.headers if one == name]

    @property
    def results(self) -> tuple[str, dict[str, list[str]]]:
        """Who wrote the topmost Authentication-Results and what it says of each method; ("", {}) for none."""
        for value in self.every("authentication-results"):
            bare = value
            for _ in range(_NESTED):
                bare = _COMMENT.sub(" ", bare)
            server, _, rest = bare.partition(";")
            said: dict[str, list[str]] = {}
            for method, result in _RESULT.findall(rest):
                said.setdefault(method.lower(), []).append(result.lower())
            return server.split()[0].lower() if server.split() else "", said
        return "", {}

    @property
    def takers(self) -> list[str]:
        """The receiving side's servers, the last first: down to the one that got it from the world."""
        takers = []
        for value in self.every("received"):
            if by := _BY.search(value):
                takers.append(by[1].lower())
            if (hop := _FROM.search(value)) and _is_public(str(hop[1])):
                break
        return takers

    @property
    def source(self) -> str:
        """The public address that the letter came from; "" where that is not told."""
        said = " ".join(self.every("received-spf") + self.every("authentication-results"))
        client = [str(one or other) for one, other in _CLIENT.findall(said)]
        hops = [str(found[1]) for value in self.every("received") if (found := _FROM.search(value))]
        return next((one for one in [*client, *hops] if _is_public(one)), "")

    @property
    def taken_at(self) -> datetime | None:
        """When the last server took it, by its own clock."""
        last = next(iter(self.every("received")), "")
        return instant_in(last.rpartition(";")[2].strip())


def _is_public(address: str) -> bool:
    try:
        return is_public(parsed(address))
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """What a letter of this installation is to look like."""

    base_url: str
    #: the envelope it went out in; None where the letter was not sent just now
    mail_from: str | None
    bounce_domain: str | None
    #: whose Authentication-Results are believed besides those of whoever took the letter in
    trusted: Sequence[str] = ()


def list_headers(letter: Arrived, meant: Meant) -> Line:
    """The line on the two headers of the one-click, after all the way (H-6, H-7)."""
    name, mend = "list-headers", "let the relay leave the headers of letters as they are"
    leaving, post = letter.every("list-unsubscribe"), letter.every("list-unsubscribe-post")
    if len(leaving) != 1 or len(post) != 1:
        return failed(
            name, f"{len(leaving)} List-Unsubscribe, {len(post)} List-Unsubscribe-Post arrived", mend
        )
    if "=?" in leaving[0]:
        return failed(name, "List-Unsubscribe arrived as an encoded word, which Gmail ignores", mend)
    if f"<{meant.base_url}/u/" not in leaving[0]:
        return failed(
            name,
            f"List-Unsubscribe leads elsewhere: {leaving[0]}",
            "switch off the relay's tracking of links and its own unsubscribing",
        )
    if post[0].replace(" ", "") != "List-Unsubscribe=One-Click":
        return failed(name, f"List-Unsubscribe-Post says {post[0]!r}", mend)
    return passed(name, "both List-Unsubscribe headers arrived as they were sent")


def results_judged(letter: Arrived, meant: Meant) -> Line:
    """The line of what the receiving side found."""
    name = "results"
    server, said = letter.results
    if not server or not said:
        return idle(name, "the receiving side wrote no Authentication-Results")
    believed = {one.lower() for one in meant.trusted}.union(letter.takers)
    if server not in believed:
        return idle(
            name, f"{server} is not the server that took the letter in: --trust {server} if it is yours"
        )
    shown = f"{server} says " + ", ".join(
        f"{word}={'/'.join(said.get(word, ['nothing']))}" for word in _WORDS
    )
    good = {word for word in _WORDS if "pass" in said.get(word, ())}
    if good == set(_WORDS):
        return passed(name, shown)
    # Where DMARC passes, one of the two did; the other is the one that a forwarded letter may need.
    missing = next(word for word in ("dmarc", "dkim", "spf") if word not in good)
    mend = {
        "dmarc": "see the lines dmarc and alignment",
        "dkim": "see the lines dkim-signature and dkim-key",
        "spf": "see the line spf",
    }[missing]
    return (failed if missing != "spf" else warned)(name, shown, mend)


def returned_path(letter: Arrived, meant: Meant) -> Line:
    """The line of the return path: by it reports name their reader (B-1)."""
    name = "return-path"
    found = letter.every("return-path")
    path = found[0].strip("<> ") if found else ""
    if not path:
        return idle(name, "the mailbox does not show the return path")
    domain = path.rpartition("@")[2].lower()
    if meant.mail_from is not None and path.lower() == meant.mail_from.lower():
        return passed(name, f"{domain}: it arrived as it was sent")
    if meant.mail_from is None and (not meant.bounce_domain or domain == meant.bounce_domain):
        return passed(name, f"reports go to {domain}")
    return warned(
        name,
        f"the relay writes its own return path: {path}",
        "let the relay pass reports on to your mailbox: readers are then known by Message-ID alone",
    )
