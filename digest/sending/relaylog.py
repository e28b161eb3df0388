"""What a relay's own records say of letters, by Message-ID: Postfix's log, and a plain list; pure.

Postfix tells a letter's story in lines that share a queue id. `cleanup` names the Message-ID while the letter
still comes in, before the final dot: only a line of the queue manager, or of a delivery, shows that the relay
took it. ::

    postfix/cleanup[7]: 4bQx: message-id=<…>           it came in, so far
    postfix/qmgr[3]:    4bQx: from=<…> (queue active)  the relay took it
    postfix/smtp[9]:    4bQx: to=<…>, status=sent (…)  … and handed it on, or not
    postfix/qmgr[3]:    4bQx: removed                  the queue id is free for another letter

One line comes early: smtpd refuses a letter at its end before cleanup has read what smtpd buffered of it.
Only Message-IDs that somebody asks for are kept, so a log of any length takes the memory of one line. What
is no such line, or holds odd bytes, is passed over.
"""

import csv
import gzip
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from io import BufferedReader
from typing import Any, BinaryIO, NamedTuple

from digest.errors import DigestError

#: bytes; Postfix cuts its own at 2,000, and a file that is no log may have no line ends at all
LONGEST_LINE = 64 * 1024
#: how many refusals are kept whose letter is not named yet; a relay has a hundred smtpd by default
EARLY = 1000
#: in how many lines a log's first instant is looked for, to read the oldest log first
HEAD = 100

# A line is what its beginning says it is: everything after may be written by strangers.
_PREFIX = re.compile(
    rb"(?:<\d{1,3}>)?"
    rb"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?|\d{4}-\d\d-\d\dT[\d:.,]{8,20}(?:Z|[+-]\d\d:?\d\d)?)"
    rb" (\S+) ([^\s\[\]:]+)(?:\[\d+\])?: "
)
_EXPORTED = re.compile(rb"(MESSAGE|SYSLOG_IDENTIFIER|_HOSTNAME|__REALTIME_TIMESTAMP)=(.*)")
_STATUS = re.compile(rb", status=([a-z]+)[ ,]")
_MONTHS = {
    name: number for number, name in enumerate(b"Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(), 1)
}
_QUEUE_MANAGERS = frozenset(b"qmgr oqmgr nqmgr postsuper".split())
_SERVICES = _QUEUE_MANAGERS | frozenset(
    b"anvil bounce cleanup discard dnsblog error flush lmtp local master pickup pipe postscreen proxymap"
    b" relay retry scache smtp smtpd tlsmgr tlsproxy trivial-rewrite verify virtual".split()
)
_MESSAGE_ID = b"message-id="
_TURNED_DOWN = (b"reject: ", b"milter-reject: ", b"discard: ", b"milter-discard: ")
_EARLY = b"reject: END-OF-MESSAGE "
_PUT_ON_HOLD = (b"hold: ", b"milter-hold: ")
#: what became of a letter at last; the highest one counts
_FATES = {b"deferred": 1, b"sent": 2, b"expired": 3, b"bounced": 4}

_Key = tuple[bytes, bytes, bytes]


@dataclass(slots=True)
class Seen:
    """What a relay's log says of one Message-ID."""

    #: when it first came in
    seen_at: datetime | None
    #: under which queue id the relay took it, and the log that says so; "" where no line shows it
    queue_id: str = ""
    log: str = ""
    #: each time it was turned down at its end, and when; the same line in two files is one
    turned_down: dict[tuple[_Key, bytes], datetime | None] = field(default_factory=dict)
    #: the relay was told to keep it for its postmaster, and no line says whether it has it
    is_on_hold: bool = False
    #: "sent", "deferred", "bounced", "expired"; "" where no line says it
    fate: str = ""


class _Line(NamedTuple):
    stamp: bytes
    host: bytes
    tag: bytes
    text: bytes


class PostfixLog:
    """What logs of Postfix say of the Message-IDs that were asked for."""

    def __init__(self, wanted: Collection[str], zone: tzinfo | None, now: datetime) -> None:
        """*zone*, else this machine's, is that of stamps without one; those without a year precede *now*."""
        self._wanted = {name.encode() for name in wanted}
        self._zone = zone
        self._now = now
        self._open: dict[_Key, Seen] = {}
        #: refusals of letters that are not named yet, the oldest first
        self._early: dict[_Key, bytes] = {}
        self.seen: dict[str, Seen] = {}
        #: what the logs reach over; None where no stamp could be read
        self.first_at: datetime | None = None
        self.last_at: datetime | None = None
        #: how many lines were Postfix's, and how many of them named a Message-ID, anybody's
        self.lines = 0
        self.names = 0

    def read(self, logs: Iterable[tuple[str, Iterable[bytes]]]) -> None:
        """*logs*, by name, are taken in, the oldest first: a letter's lines may go on in the next one."""
        begun = []
        for name, lines in logs:
            rest = iter(lines)
            head = list(itertools.islice(rest, HEAD))
            stamps = (self._at(line.stamp) for line in parsed(head))
            first_at = next(filter(None, stamps), self._now)
            begun.append((first_at, name, itertools.chain(head, rest)))
        for _first_at, name, whole in sorted(begun, key=lambda one: one[0]):
            self._read(name, whole)

    def _read(self, name: str, lines: Iterable[bytes]) -> None:
        stamp = b""
        begins: datetime | None = None
        for stamp, host, tag, text in parsed(lines):
            begins = begins or self._at(stamp, late=True)
            instance, _, _ = tag.partition(b"/")
            _, _, service = tag.rpartition(b"/")
            if service not in _SERVICES:
                continue
            self.lines += 1
            queue_id, _, said = text.partition(b": ")
            key = host, instance, queue_id
            if service == b"cleanup" and said.startswith(_MESSAGE_ID):
                self._begin(key, said[len(_MESSAGE_ID) :].strip(), stamp)
            elif key in self._open:
                self._go_on(key, service, said, stamp, name)
            elif service == b"smtpd" and queue_id != b"NOQUEUE":
                self._come_in(key, said, stamp)
        self._reach(begins, self._at(stamp))

    def _begin(self, key: _Key, message_id: bytes, stamp: bytes) -> None:
        """A letter comes in; whatever had its queue id before is over."""
        self.names += 1
        self._open.pop(key, None)
        if message_id in self._wanted:
            name = message_id.decode()
            self._open[key] = self.seen.setdefault(name, Seen(self._at(stamp)))
        refused = self._early.pop(key, None)
        if refused is not None and key in self._open:
            self._open[key].turned_down[key, refused] = self._at(refused)

    def _come_in(self, key: _Key, said: bytes, stamp: bytes) -> None:
        """A letter has a queue id and no name yet: it is new, or is refused already."""
        self._early.pop(key, None)
        if said.startswith(_EARLY):
            self._early[key] = stamp
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]

    def _go_on(self, key: _Key, service: bytes, said: bytes, stamp: bytes, log: str) -> None:
        seen = self._open[key]
        status = _STATUS.search(said) if said.startswith((b"to=<", b"from=<")) else None
        if status or service in _QUEUE_MANAGERS:
            seen.queue_id, seen.log = seen.queue_id or key[2].decode(errors="replace"), seen.log or log
        if status and _FATES.get(status[1], 0) > _FATES.get(seen.fate.encode(), 0):
            seen.fate = status[1].decode()
        if said.startswith(_TURNED_DOWN):
            seen.turned_down[key, stamp] = self._at(stamp)
        elif said.startswith(_PUT_ON_HOLD):
            seen.is_on_hold = True
        elif said.startswith(b"removed"):
            del self._open[key]

    def _reach(self, first_at: datetime | None, last_at: datetime | None) -> None:
        if first_at and last_at:
            self.first_at = min(self.first_at or first_at, first_at)
            self.last_at = max(self.last_at or last_at, last_at)

    def _at(self, stamp: bytes, *, late: bool = False) -> datetime | None:
        """The instant of *stamp*; of two, where clocks were set back, the earlier, or the *late* one."""
        try:
            return instant(stamp, self._zone, self._now, late)
        except (ValueError, OverflowError, OSError):
            return None


def lines_of(file: BinaryIO) -> Iterator[bytes]:
    """The lines of *file*, unpacked where it is gzip; of one longer than `LONGEST_LINE` its beginning."""
    # Looked at, not sought back to: standard input cannot be.
    source: Any = file
    if not isinstance(file, BufferedReader):
        source = BufferedReader(source)
    if source.peek(2)[:2] == b"\x1f\x8b":
        source = gzip.GzipFile(fileobj=source)
    is_new = True
    while line := source.readline(LONGEST_LINE):
        if is_new:
            yield line
        is_new = line.endswith(b"\n")


def parsed(lines: Iterable[bytes]) -> Iterator[_Line]:
    """Those of *lines* that are a log's: syslog's with either kind of stamp, journald's JSON or export."""
    record: dict[bytes, bytes] = {}
    for line in lines:
        if match := _PREFIX.match(line):
            yield _Line(match[1], match[2], match[3], line[match.end() :])
        elif line.startswith(b"{"):
            yield from _from_json(line)
        elif exported := _EXPORTED.match(line):
            record[exported[1]] = exported[2]
        elif not line.strip() and record:
            yield from _from_record(record)
            record = {}
    yield from _from_record(record)


def _from_json(line: bytes) -> Iterator[_Line]:
    try:
        entry = json.loads(line)
        fields = ("__REALTIME_TIMESTAMP", "_HOSTNAME", "SYSLOG_IDENTIFIER", "MESSAGE")
        record = {name.encode(): _raw(entry[name]) for name in fields}
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    yield from _from_record(record)


def _raw(value: Any) -> bytes:
    """journald writes what is no UTF-8 as a list of numbers."""
    return bytes(value) if isinstance(value, list) else str(value).encode(errors="replace")


def _from_record(record: dict[bytes, bytes]) -> Iterator[_Line]:
    stamp, tag = record.get(b"__REALTIME_TIMESTAMP"), record.get(b"SYSLOG_IDENTIFIER")
    if stamp and stamp.isdigit() and tag:
        yield _Line(stamp, record.get(b"_HOSTNAME", b""), tag, record.get(b"MESSAGE", b""))


def instant(stamp: bytes, zone: tzinfo | None, now: datetime, late: bool = False) -> datetime:
    """The instant a log's *stamp* means; ValueError and its kin where it means none.

    Without a zone it is *zone*'s (None: this machine's), and *late* takes the second of two; without a
    year it is the last one before tomorrow.
    """
    text = stamp.decode("ascii")
    if text.isdigit():
        return datetime.fromtimestamp(int(text) / 1_000_000, UTC)
    if text[:1].isdigit():
        return _placed(datetime.fromisoformat(text), zone, late)
    month, day, clock = _MONTHS.get(stamp[:3], 0), int(text[4:6]), text[7:15]
    hour, minute, second = map(int, clock.split(":"))
    # From next year, for a log that is ahead on New Year's Eve, back over a leap day.
    for year in range(now.year + 1, now.year - 8, -1):
        try:
            found = _placed(datetime(year, month, day, hour, minute, second), zone, late)  # noqa: DTZ001
        except ValueError:
            continue
        if found <= now + timedelta(days=1):
            return found
    raise ValueError(f"no such day: {text}")


def _placed(at: datetime, zone: tzinfo | None, late: bool) -> datetime:
    if at.tzinfo is None:
        # Without a zone `astimezone` takes this machine's.
        at = at.replace(tzinfo=zone, fold=int(late))
    return at.astimezone(UTC)


class Word(StrEnum):
    """What a list says of a letter; the higher one in this order counts where it says several."""

    #: the relay has or had it
    TAKEN = "taken"
    #: whoever made the list could not tell
    UNKNOWN = "unknown"
    #: the relay refused it
    REFUSED = "refused"
    #: the relay knows nothing of it
    NOT_FOUND = "not found"


#: the words of a list's column "status". What bounced or failed was taken first; what is only called
#: rejected was not
WORDS = {
    "accepted": Word.TAKEN,
    "queued": Word.TAKEN,
    "sent": Word.TAKEN,
    "delivered": Word.TAKEN,
    "deferred": Word.TAKEN,
    "bounced": Word.TAKEN,
    "failed": Word.TAKEN,
    "rejected": Word.REFUSED,
    "not found": Word.NOT_FOUND,
    "unknown": Word.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Listed:
    """What a list says of one letter, by the status as written, and in which line."""

    word: Word
    status: str
    line: int


def read_list(lines: Iterable[bytes], wanted: Collection[str]) -> dict[str, Listed]:
    """What the CSV of *lines*, with columns message-id and status, says of those *wanted*.

    DigestError names the line that is none, or whose status is no word of `WORDS`, whomever it is about.
    """
    asked = {name.lower(): name for name in wanted}
    found: dict[str, Listed] = {}
    rows = csv.reader(_decoded(lines))
    try:
        columns = _columns(next(rows, []))
        for row in filter(any, rows):
            name, listed = _listed(row, columns, rows.line_num)
            if (ours := asked.get(name)) is not None:
                found[ours] = min(found.get(ours, listed), listed, key=lambda one: _ORDER[one.word])
    except csv.Error as error:
        raise DigestError(f"the list, line {rows.line_num}: not a line of a CSV: {error}") from None
    return found


_ORDER = {word: place for place, word in enumerate(Word)}


def _decoded(lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) >= LONGEST_LINE:
            raise DigestError(
                f"the list, line {number}: longer than {LONGEST_LINE} bytes: not a list of Message-IDs"
            )
        yield line.decode("utf-8-sig" if number == 1 else "utf-8", errors="replace")


def _columns(head: list[str]) -> tuple[int, int]:
    names = [re.sub(r"[-_ ]", "", one).lower() for one in head]
    if "messageid" not in names or "status" not in names:
        raise DigestError("the list, line 1: must name the columns message-id and status, between commas")
    return names.index("messageid"), names.index("status")


def _listed(row: list[str], columns: tuple[int, int], number: int) -> tuple[str, Listed]:
    if max(columns) >= len(row):
        raise DigestError(f"the list, line {number}: has no message-id or no status")
    name, written = (row[column].strip().lower() for column in columns)
    status = re.sub(r"[-_ ]+", " ", written)
    if status not in WORDS:
        shown = "".join(c if c.isprintable() else "�" for c in written)[:40]
        raise DigestError(f"the list, line {number}: the status {shown!r} is none of {', '.join(WORDS)}")
    return f"<{name.strip('<>')}>", Listed(WORDS[status], status, number)
