"""What doctor says: a line for each thing it looks at, under a name that stays."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

LONGEST = 300  # characters of what was found: some of it is other people's text

#: every line there is, by the part of an installation it is about, in the order they are told
NAMES = {
    "Settings": (
        *("settings", "publication", "sender", "postal-address", "base-url", "relay-privacy", "relay-port"),
        *("editors", "bounces", "proxies", "fetching", "secret-keys", "suppression-key"),
    ),
    "This machine": ("python", "file-modes", "disk", "clock"),
    "The store": ("store", "lineage", "tick", "issue"),
    "Pages": ("pages-address", "pages-certificate", "one-click"),
    "Relay": (
        *("relay", "relay-sender", "relay-size", "relay-pipelining", "relay-chunking", "relay-dsn"),
        "relay-smtputf8",
    ),
    "DNS": (
        *("sender-domain", "envelope-domain", "replies", "spf", "dkim-key", "dmarc", "alignment"),
        "reverse-dns",
    ),
    "Mailbox": ("mailbox", "return-address"),
    "Seed letter": ("seed", "list-headers", "dkim-signature", "dkim-headers", "results", "return-path"),
}
GROUP = {name: group for group, names in NAMES.items() for name in names}
_PLACE = {name: place for place, name in enumerate(GROUP)}


class Level(StrEnum):
    """How bad it is."""

    PASS = "pass"  # noqa: S105  (no password)
    WARN = "warn"
    FAIL = "fail"
    #: it was not looked at, and the line says why
    NONE = "does not apply"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    #: one of `NAMES`
    name: str
    level: Level
    #: what was found, or why nobody looked
    found: str
    #: what to type or to change; "" where nothing is to be mended
    mend: str = ""

    def __post_init__(self) -> None:
        if self.name not in GROUP or bool(self.mend) is not (self.level in (Level.WARN, Level.FAIL)):
            raise ValueError(f"not a line: {self!r}")

    def to_json(self) -> dict[str, str]:
        """The line in doctor's document."""
        return {
            "name": self.name,
            "group": GROUP[self.name],
            "level": self.level.value,
            "found": self.found,
            "mend": self.mend,
        }


def passed(name: str, found: str) -> Line:
    """It is as it should be."""
    return Line(name, Level.PASS, _short(found))


def warned(name: str, found: str, mend: str) -> Line:
    """It works, and could be better."""
    return Line(name, Level.WARN, _short(found), mend)


def failed(name: str, found: str, mend: str) -> Line:
    """Readers, or the publication, will suffer from it."""
    return Line(name, Level.FAIL, _short(found), mend)


def idle(name: str, why: str) -> Line:
    """Nobody looked, and *why*."""
    return Line(name, Level.NONE, _short(why))


def told(lines: Iterable[Line]) -> list[Line]:
    """*lines* in the order of `NAMES`."""
    return sorted(lines, key=lambda line: _PLACE[line.name])


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
