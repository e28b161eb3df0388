"""What becomes of each row of an import, counted so that it adds up, and the hash that allows it.

Nothing here knows the store or the file's bytes.
"""

import hashlib
import json
from collections import Counter
from dataclasses import asdict, astuple, dataclass, field
from enum import StrEnum

from subscribers.files import File, Sheet
from subscribers.headings import Row

LISTED = 20  # lines a report names of each kind


class Verdict(StrEnum):
    """What becomes of a row. The numbers of a report add up to the rows of the file."""

    #: new here: active
    ACCEPTED = "accepted"
    #: new here: pending, until they say yes to the one mail that asks them
    ASKED = "asked"
    #: it says the person left: kept off the list, whoever they were here
    LEFT = "left"
    #: it says the mailbox is dead, complained or is suppressed: not written to
    BARRED = "barred"
    #: it says the person is gone, which is known here
    ALREADY_GONE = "already_gone"
    ALREADY_ACTIVE = "already_active"
    ALREADY_PENDING = "already_pending"
    ALREADY_PAUSED = "already_paused"
    WAS_UNSUBSCRIBED = "was_unsubscribed"
    WAS_BOUNCED = "was_bounced"
    WAS_COMPLAINED = "was_complained"
    SUPPRESSED = "suppressed"
    #: another row of the file stands for the same mailbox
    DUPLICATE = "duplicate"
    #: another row of the file says that the person is gone
    CONTRADICTED = "contradicted"
    #: the export does not say whether they ever said yes
    CONSENT_UNKNOWN = "consent_unknown"
    #: it says the person never confirmed, or paused
    NOT_CONFIRMED = "not_confirmed"
    PAUSED_THERE = "paused_there"
    UNKNOWN_STATUS = "unknown_status"
    ROLE = "role"
    #: a slip of the hand, most likely: nobody would get the letters, or a stranger
    TYPO_SUSPECT = "typo_suspect"
    MIXED_ALPHABETS = "mixed_alphabets"
    SYNTAX = "syntax"
    NO_ADDRESS = "no_address"
    REPEATED_HEADER = "repeated_header"


#: rows whose lines a report does not name
_MANY = frozenset({Verdict.ACCEPTED, Verdict.ASKED, Verdict.ALREADY_ACTIVE, Verdict.ALREADY_GONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On what terms a file is imported."""

    #: the operator's statement of why these people may be written to
    ground: str
    #: functions' mailboxes (abuse@, noreply@) come in too
    roles: bool = False
    #: addresses that look like slips of the hand come in too
    typos: bool = False
    #: the operator states that whom the export is silent about said yes
    vouch: bool = False
    #: who never said yes, as far as the file knows, is asked by one mail
    ask: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A row that a report names."""

    line: int
    #: the reason, or the address
    why: str
    #: the file of a zip it stands in; "" where there is only one
    sheet: str = ""

    def __str__(self) -> str:
        place = f"{self.sheet} {self.line}" if self.sheet else str(self.line)
        return f"{place}: {self.why}" if self.why else place


@dataclass(slots=True, kw_only=True)
class Report:
    """What an import would do, or did."""

    file: str
    #: stands for the file's bytes and name and the terms; the import wants it
    hash: str
    #: whose export it looks like
    program: str
    sheets: tuple[Sheet, ...]
    applied: bool = False
    #: how many were active here before
    active_before: int = 0
    rows: int = 0
    counts: Counter[Verdict] = field(default_factory=Counter)
    #: per verdict some of its lines
    lines: dict[Verdict, list[Line]] = field(default_factory=dict)

    def note(self, row: Row, verdict: Verdict, why: str) -> None:
        """Counts *row*, and names its line where that helps a person."""
        self.rows += 1
        self.counts[verdict] += 1
        if verdict in _MANY:
            return
        named = self.lines.setdefault(verdict, [])
        if len(named) < LISTED:
            named.append(Line(row.line, why[:200], row.sheet if len(self.sheets) > 1 else ""))

    def to_json(self) -> str:
        """The one JSON text of it; every verdict has its number, also where it is 0."""
        counts = {str(verdict): self.counts[verdict] for verdict in Verdict}
        return json.dumps({**asdict(self), "counts": counts}, ensure_ascii=False)


def report_on(file: File, program: str, terms: Terms) -> Report:
    """An empty report, with the hash of what it is about."""
    # The file's name counts: Mailchimp says by it who left.
    told = json.dumps([file.fingerprint, file.path.name, *astuple(terms)])
    return Report(
        file=file.path.name,
        # 16 digits are enough to know a file by, and few enough to type.
        hash=hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()[:16],
        program=program,
        sheets=file.sheets,
    )
