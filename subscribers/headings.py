"""What the columns of a list of people mean, whichever program wrote it.

What a row says of itself is read here, because exports hide those who left among those who did not:
a status column, a flag, a time that is only filled in for who is gone, or the name of the file. When
in doubt a row does not say "active".
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from subscribers.address import BadAddress, parse

LONGEST_NAME = 200  # characters
#: what a list is called that looks like no program's we know
PLAIN = "plain CSV"


class Says(StrEnum):
    """What a row says of the person; in this order the later one wins where its columns disagree."""

    ACTIVE = "active"
    #: not gone; but whether they ever said yes, the program does not export
    UNPROVEN = "unproven"
    #: a status column with a word nobody here knows
    UNKNOWN = "unknown"
    UNCONFIRMED = "unconfirmed"
    PAUSED = "paused"
    LEFT = "left"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    #: an editor's decision
    SUPPRESSED = "suppressed"


#: who is not to come in with this file, and is known not to want or get mail
GONE = frozenset({Says.LEFT, Says.BOUNCED, Says.COMPLAINED, Says.SUPPRESSED})


@dataclass(frozen=True, slots=True)
class Row:
    """One person's row."""

    #: in its sheet, from 1; where the row starts
    line: int
    address: str
    name: str
    says: Says
    #: what the other program recorded of their consent: times and addresses, as written
    proof: str
    #: the header once more, as MailPoet writes it before each segment
    is_header: bool = False
    #: the name of its sheet
    sheet: str = ""


_RANK = {says: rank for rank, says in enumerate(Says)}

#: headers, most telling first: "address" alone may be a street
_ADDRESS = (
    "email address", "e mail address", "email", "e mail", "emailaddress", "mail", "mail address",
    "e mail adresse", "adresse e mail", "courriel", "correo electrónico", "indirizzo email",
    "электронная почта", "електронна пошта", "address",
)  # fmt: skip
_NAME = ("name", "full name", "display name")
_FIRST = ("first name", "firstname", "fname", "vorname", "prénom")
_LAST = ("last name", "lastname", "lname", "surname", "nachname", "nom")
_PROOF = (
    "optin time", "optin ip", "confirm time", "confirm ip", "subscription time", "subscription ip",
    "confirmation time", "confirmation ip", "subscribed at", "confirmed at", "created at", "creation date",
    "ip address", "consent act", "consent at", "consent wording",
)  # fmt: skip

#: the headings by which a program's export is known, most telling first
_PROGRAMS = (
    ("digest", {"consent act", "consent origin"}),
    ("Mailchimp", {"leid", "euid"}),
    ("Mailchimp", {"email address", "member rating"}),
    ("Mailchimp", {"email address", "optin time"}),
    ("MailPoet", {"global status"}),
    ("MailPoet", {"list status"}),
    ("listmonk", {"uuid", "email", "status"}),
    ("Ghost", {"subscribed to emails"}),
    ("Substack", {"email disabled"}),
    ("Buttondown", {"secondary id"}),
    ("Buttondown", {"email address", "creation date"}),
    ("Buttondown", {"email", "creation date", "subscriber type"}),
    ("beehiiv", {"email", "status", "tier"}),
    ("beehiiv", {"email", "status", "unsubscribed at"}),
    ("Curated", {"email address", "subscribed at"}),
)

#: a cell that is only filled in for who is gone
_FILLED = {
    "unsub time": Says.LEFT,
    "unsubscribed at": Says.LEFT,
    "deleted at": Says.LEFT,
    "clean time": Says.BOUNCED,
    "bounce date": Says.BOUNCED,
    "bounced at": Says.BOUNCED,
}
_STATUS = ("status", "state", "list status", "global status", "subscription status", "subscriber status")
#: columns whose words are mostly not a status: only those known to be one count
_TYPE = ("type", "subscriber type")
_WORDS = {
    **dict.fromkeys(
        ("active", "subscribed", "confirmed", "regular", "premium", "gifted", "trialed"), Says.ACTIVE
    ),
    # listmonk: of the person; whether they confirmed stands with each list and is not exported
    "enabled": Says.UNPROVEN,
    **dict.fromkeys(
        ("unconfirmed", "not confirmed", "pending", "unactivated", "nonsubscribed", "non subscribed"),
        Says.UNCONFIRMED,
    ),
    "paused": Says.PAUSED,
    **dict.fromkeys(
        ("unsubscribed", "inactive", "disabled", "removed", "deleted", "cancelled", "canceled", "opted out"),
        Says.LEFT,
    ),
    **dict.fromkeys(("bounced", "cleaned", "undeliverable"), Says.BOUNCED),
    **dict.fromkeys(("complained", "spam", "blocked", "blocklisted", "blacklisted"), Says.COMPLAINED),
}
#: words that mean something else in one program
_DIALECT = {
    # who has opened nothing for long; they did not leave
    "MailPoet": {"inactive": Says.PAUSED},
}
#: our own export's word for why an address is not written to, before a colon
_CAUSE = {
    "left": Says.LEFT,
    "erased": Says.LEFT,
    "bounced": Says.BOUNCED,
    "complained": Says.COMPLAINED,
}
_YES = frozenset({"true", "yes", "y", "t", "1"})
_NO = frozenset({"false", "no", "n", "f", "0"})
#: what some programs write into a cell that holds nothing
_EMPTY = frozenset({"", "null", "none", "\\n", "-", "0000-00-00 00:00:00"})
#: Mailchimp puts each kind of people into a file of their own, named so
_FILE = re.compile(r"(unsubscribed|cleaned|nonsubscribed)(?![a-z])", re.IGNORECASE)


def normal(cells: Iterable[str]) -> list[str]:
    """Headings as they are compared."""
    return [" ".join(re.split(r"[\s_.:-]+", cell.casefold())).strip() for cell in cells]


def address_column(header: Sequence[str]) -> int | None:
    """Where in a *header*, as `normal` gives it, the addresses are; None if nowhere."""
    return _find(header, _ADDRESS)


def program_of(header: Iterable[str]) -> str:
    """The program whose export has this *header*, as `normal` gives it."""
    found = set(header)
    return next((name for name, headings in _PROGRAMS if headings <= found), PLAIN)


def _find(header: Sequence[str], names: Iterable[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which column is what."""

    address: int
    #: the file has a header
    named: bool = True
    program: str = PLAIN
    #: what the sheet's name says of everybody in it
    floor: Says = Says.ACTIVE
    sheet: str = ""
    #: cells of the first row
    width: int = 1
    names: tuple[int, ...] = ()
    proofs: tuple[tuple[str, int], ...] = ()
    says: tuple[tuple[int, Callable[[str], Says]], ...] = ()

    @classmethod
    def of(cls, first: Sequence[str], sheet: str) -> "Columns | None":
        """The columns of the *sheet* that begins with the row *first*; None if none holds addresses."""
        found = _FILE.match(sheet)
        floor = _WORDS[found[1].lower()] if found else Says.ACTIVE
        header = normal(first)
        address = address_column(header)
        if address is None:
            # A list of addresses and nothing else has no header.
            bare = next((index for index, cell in enumerate(first) if _is_address(cell)), None)
            return (
                None
                if bare is None
                else cls(address=bare, named=False, floor=floor, sheet=sheet, width=len(first))
            )
        program = program_of(header)
        whole = _find(header, _NAME)
        parts = [_find(header, _FIRST), _find(header, _LAST)] if whole is None else [whole]
        readers = [(index, _reader(name, program)) for index, name in enumerate(header)]
        return cls(
            address=address,
            program=program,
            floor=floor,
            sheet=sheet,
            width=len(first),
            names=tuple(part for part in parts if part is not None),
            proofs=tuple((name, header.index(name)) for name in _PROOF if name in header),
            says=tuple((index, reader) for index, reader in readers if reader),
        )

    def row(self, line: int, cells: Sequence[str], *, is_header: bool) -> Row:
        """The row *cells* are, which starts on *line*."""
        # Half a million rows pass here twice: a row is stripped once, and read by place.
        told = [cell.strip() for cell in cells]
        told += [""] * (self.width - len(told))
        says = self.floor
        for index, reads in self.says:
            says = max(says, reads(told[index]), key=_RANK.__getitem__)
        return Row(
            line=line,
            address=told[self.address],
            name=_name(" ".join([told[index] for index in self.names])),
            says=says,
            proof=", ".join([f"{name} {told[index][:100]}" for name, index in self.proofs if told[index]]),
            is_header=is_header,
            sheet=self.sheet,
        )


def _is_address(text: str) -> bool:
    try:
        parse(text)
    except BadAddress:
        return False
    return True


def _reader(name: str, program: str) -> Callable[[str], Says] | None:
    """How a cell under the heading *name* is read, where it says something of the person at all."""
    if name in _FILLED:
        return lambda cell: Says.ACTIVE if cell.casefold() in _EMPTY else _FILLED[name]
    if name in _STATUS or name in _TYPE:
        words = _WORDS | _DIALECT.get(program, {})
        # In Buttondown the type is the status.
        unknown = Says.UNKNOWN if name in _STATUS or program == "Buttondown" else Says.ACTIVE
        return lambda cell: words.get(cell) or words.get(normal([cell])[0], unknown)
    if name == "suppressed":
        return _cause
    if name in ("subscribed", "subscribed to emails"):
        flags = {**dict.fromkeys(_YES, Says.ACTIVE), **dict.fromkeys(_NO, Says.LEFT)}
        return lambda cell: flags.get(cell.casefold(), Says.UNKNOWN)
    if name in ("unsubscribed", "email disabled"):
        # Some programs write a date here instead of a yes.
        return lambda cell: Says.ACTIVE if cell.casefold() in _EMPTY | _NO else Says.LEFT
    return None


def _cause(cell: str) -> Says:
    if cell.casefold() in _EMPTY | _NO:
        return Says.ACTIVE
    return _CAUSE.get(cell.partition(":")[0].strip().casefold(), Says.SUPPRESSED)


def _name(text: str) -> str:
    """*text* on one line, without controls, and without the mark that keeps it from being a formula."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    plain = " ".join(text.split())[:LONGEST_NAME]
    return plain[1:] if re.match(r"'[=+@-]", plain) else plain
