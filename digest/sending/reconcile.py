"""Letters in doubt, settled from the relay's own records: it took them, or it never did.

A letter is asked about as long as a copy of it may be out: in doubt, held, or waiting to be sent again, and
never settled since it was in doubt. That a relay took it needs one line. That it never did needs more, for
whoever is sent to again must not have it already: a refusal of every try, or a log that is whole from the
first try to fifteen minutes after the last, and holds what the ledger knows the relay took. Of a letter that
may have gone out before the store was restored nobody knows when, so that nothing shows it never did.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import islice
from typing import Any

from sqlalchemy import Engine, and_, bindparam, case, func, or_, select, update
from sqlmodel import Session, SQLModel

from digest.database import reading, writing
from digest.errors import DigestError
from digest.models import Delivered
from digest.sending.audit import reopen
from digest.sending.ledger import DOUBT_REST, HELD_AFTER_RESEND, HELD_BY_POLICY, lock
from digest.sending.relaylog import Listed, PostfixLog, Seen, Word, read_list

_delivery = SQLModel.metadata.tables["delivery"]
_d = _delivery.c

BATCH = 500  # letters settled in one transaction
#: how much the relay's clock may be behind ours
SKEW = timedelta(minutes=1)
#: how many accepted letters a log that is said to be whole is asked for, evenly over the time it is about …
WITNESSES = 2000
#: … and how many before and after each moment in which a letter in doubt was tried
NEXT = 20

UNKNOWN_WHEN = "it may have gone out before the store was restored, nobody knows when"

#: a person or a run may still send these; what a run has leased is its own
_UNSETTLED = or_(
    _d.state.in_([Delivered.IN_DOUBT, Delivered.HELD, Delivered.DEFERRED]),
    and_(_d.state == Delivered.QUEUED, _d.run_id.is_(None)),
)
_DOUBTED = and_(_d.doubts > 0, _UNSETTLED)

#: makes the Message-ID of the letter to a subscriber
NameOf = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A letter of which a copy may be out."""

    id: int
    subscriber_id: int
    state: Delivered
    reason: str
    attempts: int
    doubts: int
    #: how often it was marked, by whatever Date
    marks: int
    #: when it was first tried, by its Date, and last marked; None: not as far as a restored store knows
    dated_at: datetime | None
    marked_at: datetime | None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the relay's records make of a letter."""

    letter: Doubtful
    #: ACCEPTED; QUEUED: it never was, and may be sent; None: nothing is known, it stays as it is
    becomes: Delivered | None
    why: str
    #: what came of it after the relay took it, where that is known
    fate: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """How many letters were in doubt, and what they are now; *accepted*, *queued* and *left* add up to it."""

    in_doubt: int
    accepted: int
    queued: int
    left: int
    #: why those that are left are, and what became of the accepted
    left_because: dict[str, int]
    fates: dict[str, int]

    def as_json(self) -> dict[str, Any]:
        """What `digest reconcile --json` prints."""
        return asdict(self)


def by_log(
    engine: Engine,
    issue_id: int,
    logs: Iterable[tuple[str, Iterable[bytes]]],
    *,
    name_of: NameOf,
    whole: bool,
    zone: tzinfo | None,
    now: datetime,
) -> list[Ruling]:
    """What Postfix's *logs*, by name, make of the issue's letters in doubt; nothing is changed.

    DigestError where they are no logs of Postfix, or said to be *whole* and are not.
    """
    with reading(engine) as session:
        letters = doubtful(session, issue_id)
        witnesses = _witnesses(session, issue_id, letters) if whole else {}
    names = {letter.id: name_of(letter.subscriber_id) for letter in letters}
    known = {name_of(subscriber_id): at for subscriber_id, at in witnesses.items()}
    log = PostfixLog([*names.values(), *known], zone, now)
    log.read(logs)
    if not log.lines:
        raise DigestError("not a line is Postfix's: --postfix-log takes the relay's mail log, --csv a list")
    if whole:
        _require_whole(log, known)
    return [judge_by_log(letter, log.seen.get(names[letter.id]), log, whole) for letter in letters]


def by_list(
    engine: Engine, issue_id: int, lines: Iterable[bytes], *, source: str, name_of: NameOf, now: datetime
) -> list[Ruling]:
    """What the CSV of *lines*, which is called *source*, makes of the issue's letters in doubt.

    Nothing is changed. DigestError for a line that cannot be understood.
    """
    with reading(engine) as session:
        letters = doubtful(session, issue_id)
    names = {letter.id: name_of(letter.subscriber_id) for letter in letters}
    listed = read_list(lines, names.values())
    return [judge_by_list(letter, listed.get(names[letter.id]), source, now) for letter in letters]


def doubtful(session: Session, issue_id: int) -> list[Doubtful]:
    """The letters of the issue of which a copy may be out, and that no run is about to send."""
    columns = (
        _d.id,
        _d.subscriber_id,
        _d.state,
        _d.reason,
        _d.attempts,
        _d.doubts,
        _d.marks,
        _d.dated_at,
        _d.marked_at,
    )
    rows = session.connection().execute(
        select(*columns).where(_d.issue_id == issue_id, _DOUBTED).order_by(_d.id)
    )
    return [Doubtful(*row) for row in rows]


def _witnesses(session: Session, issue_id: int, letters: Sequence[Doubtful]) -> dict[int, datetime]:
    """When letters to these subscribers were marked, which the relay took about the time of *letters*."""
    times = [(one.dated_at, one.marked_at) for one in letters if one.dated_at and one.marked_at]
    if not times:
        return {}
    first, last = min(first for first, _ in times), max(last for _, last in times)
    here = (
        _d.issue_id == issue_id,
        _d.state == Delivered.ACCEPTED,
        # One try, and the relay's own answer: what a person or a log said proves nothing of a log.
        _d.attempts == 1,
        _d.reply_code.is_not(None),
        _d.marked_at.between(first - DOUBT_REST, last + DOUBT_REST),
    )
    count = session.connection().execute(select(func.count()).where(*here)).scalar_one()
    rows = (
        session.connection()
        .execution_options(yield_per=BATCH)
        .execute(select(_d.subscriber_id, _d.marked_at).where(*here).order_by(_d.marked_at))
    )
    moments = sorted({moment for pair in times for moment in pair})
    return dict(chosen(((who, at) for who, at in rows), moments, max(1, -(-count // WITNESSES))))


def chosen(
    rows: Iterable[tuple[int, datetime]], moments: Sequence[datetime], every: int
) -> Iterator[tuple[int, datetime]]:
    """Of *rows*, in their order in time, each *every*th, and the `NEXT` on both sides of each moment; pure.

    Some may be yielded twice. A log that lacks an hour lacks what went out in it, and what went out last
    before and first after a letter in doubt is what tells most of it.
    """
    before: deque[tuple[int, datetime]] = deque(maxlen=NEXT)
    ahead = deque(moments)
    wanted = 0
    for number, row in enumerate(rows):
        if ahead and row[1] >= ahead[0]:
            yield from before
            wanted = NEXT
            while ahead and row[1] >= ahead[0]:
                ahead.popleft()
        if wanted or number % every == 0:
            yield row
        wanted = max(0, wanted - 1)
        before.append(row)
    if ahead:
        yield from before


def _require_whole(log: PostfixLog, known: dict[str, datetime]) -> None:
    if not log.names:
        raise DigestError(
            "the log names no Message-ID at all, so it is not whole: give it as Postfix wrote it"
        )
    seen = {name: log.seen[name] for name in known if name in log.seen and log.seen[name].queue_id}
    if len(seen) < len(known):
        raise DigestError(
            f"the log lacks {len(known) - len(seen)} of {len(known)} letters that the relay is known to have"
            " taken, so it is not whole: give all its parts, or leave out --whole"
        )
    for name, one in seen.items():
        if one.seen_at is None or abs(one.seen_at - known[name]) > DOUBT_REST:
            when = f"as of {one.seen_at:%Y-%m-%d %H:%M} UTC" if one.seen_at else "without a time"
            raise DigestError(
                f"the log's clock is not ours: a letter of {known[name]:%Y-%m-%d %H:%M} UTC stands in it"
                f" {when}; --log-zone names the zone it is written in"
            )


def judge_by_log(letter: Doubtful, seen: Seen | None, log: PostfixLog, whole: bool) -> Ruling:
    """What *log*, where the letter's lines are *seen*, makes of *letter*; pure."""
    if seen and seen.queue_id:
        why = f"the relay's log {seen.log} has it as {seen.queue_id}"
        return Ruling(letter, Delivered.ACCEPTED, why, seen.fate)
    if seen and seen.is_on_hold:
        return Ruling(letter, None, "on hold at the relay")
    if letter.dated_at is None or letter.marked_at is None:
        return Ruling(letter, None, UNKNOWN_WHEN)
    if seen and _is_refused_each_time(letter, seen, letter.dated_at):
        return _never(letter)
    if not whole:
        return Ruling(letter, None, "not shown as taken" if seen else "not in the log")
    begins, ends = log.first_at, log.last_at
    if begins is None or begins > letter.dated_at - SKEW:
        return Ruling(letter, None, "the log begins too late for it")
    if ends is None or ends < letter.marked_at + DOUBT_REST:
        return Ruling(letter, None, "the log ends less than 15 minutes after it")
    return _never(letter)


def _is_refused_each_time(letter: Doubtful, seen: Seen, dated_at: datetime) -> bool:
    """Whether it was turned down at every try since its Date, and as often in all as it was marked.

    Where a person has it sent again its tries are counted anew, and its marks are not.
    """
    # To the second: the same line in a file and in the journal has two stamps.
    times = {(key, at.replace(microsecond=0)) for (key, _), at in seen.turned_down.items() if at is not None}
    lately = sum(at >= dated_at - SKEW for _, at in times)
    return lately >= max(letter.attempts, letter.doubts) and len(times) >= letter.marks


def judge_by_list(letter: Doubtful, listed: Listed | None, source: str, now: datetime) -> Ruling:
    """What the line of *source* about *letter* makes of it; pure."""
    if listed is None:
        return Ruling(letter, None, "not in the list")
    if listed.word is Word.TAKEN:
        why = f"{source}, line {listed.line}: {listed.status}"
        return Ruling(letter, Delivered.ACCEPTED, why, listed.status)
    if listed.word is Word.UNKNOWN:
        return Ruling(letter, None, "unknown, says the list")
    if letter.marked_at is None:
        return Ruling(letter, None, UNKNOWN_WHEN)
    if listed.word is Word.NOT_FOUND and now < letter.marked_at + DOUBT_REST:
        return Ruling(letter, None, "not found, but sent less than 15 minutes ago")
    return _never(letter)


def _never(letter: Doubtful) -> Ruling:
    if letter.state is Delivered.HELD and letter.reason not in (HELD_BY_POLICY, HELD_AFTER_RESEND):
        return Ruling(letter, None, "held for another reason")
    return Ruling(letter, Delivered.QUEUED, "")


def settle(engine: Engine, issue_id: int, rulings: Sequence[Ruling], now: datetime) -> Reconciled:
    """*rulings* are in the ledger, but for letters that went on meanwhile; what has come of it."""
    remaining = iter(rulings)
    done: list[Ruling] = []
    while some := list(islice(remaining, BATCH)):
        with writing(engine) as session:
            lock(session, issue_id)
            done += [_settled(session, ruling, now) for ruling in some]
            if any(ruling.becomes is Delivered.QUEUED for ruling in some):
                reopen(session, issue_id)
    return summed(done)


# Its doubts and its mark are those that were judged: it was not tried since. Whether it was in doubt or is
# already free to be sent again makes no difference.
_unchanged = and_(
    _d.id == bindparam("which"),
    _d.doubts == bindparam("were"),
    _d.marked_at.is_not_distinct_from(bindparam("was_marked", type_=_d.marked_at.type)),
    _UNSETTLED,
)
_accept = (
    update(_delivery)
    .where(_unchanged)
    .values(state=Delivered.ACCEPTED, due_at=None, reason=bindparam("why"), settled_at=bindparam("now"))
)
_waits = _d.state == Delivered.DEFERRED
_free = (
    update(_delivery)
    .where(_unchanged)
    # No copy is out, so it is not in doubt any more; its tries stay counted, for another time.
    # What the relay told to come later does.
    .values(
        state=case((_waits, _d.state), else_=Delivered.QUEUED),
        due_at=case((_waits, _d.due_at), else_=None),
        run_id=None,
        doubts=0,
        reason=bindparam("why"),
        settled_at=bindparam("now"),
    )
)


def _settled(session: Session, ruling: Ruling, now: datetime) -> Ruling:
    """*ruling*, as far as it took effect."""
    if ruling.becomes is None:
        return ruling
    letter = ruling.letter
    values = {
        "which": letter.id,
        "were": letter.doubts,
        "was_marked": letter.marked_at,
        "why": ruling.why,
        "now": now,
    }
    statement = _accept if ruling.becomes is Delivered.ACCEPTED else _free
    if session.connection().execute(statement, values).rowcount:
        return ruling
    return Ruling(letter, None, "went on meanwhile")


def prove_taken(session: Session, issue_id: int, subscriber_id: int, why: str, now: datetime) -> bool:
    """The letter was accepted, as *why* proves, if it was in doubt; not one that a run is about to send."""
    result = session.connection().execute(
        update(_delivery)
        .where(_d.issue_id == issue_id, _d.subscriber_id == subscriber_id, _DOUBTED)
        .values(state=Delivered.ACCEPTED, due_at=None, reason=why, settled_at=now)
    )
    return bool(result.rowcount)


def summed(rulings: Sequence[Ruling]) -> Reconciled:
    """What *rulings* come to."""
    counts = Counter(ruling.becomes for ruling in rulings)
    left = Counter(ruling.why for ruling in rulings if ruling.becomes is None)
    fates = Counter(ruling.fate for ruling in rulings if ruling.becomes is Delivered.ACCEPTED and ruling.fate)
    return Reconciled(
        in_doubt=len(rulings),
        accepted=counts[Delivered.ACCEPTED],
        queued=counts[Delivered.QUEUED],
        left=counts[None],
        left_because=dict(sorted(left.items())),
        fates=dict(sorted(fates.items())),
    )
