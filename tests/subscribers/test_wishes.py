"""Wishes: what visitors ask for on the pages, and what comes of it."""

import os
from collections import Counter
from datetime import datetime, timedelta
from itertools import product

import pytest
from sqlalchemy import Engine, func, insert, update
from sqlmodel import Session, col, select

from digest.database import writing
from subscribers.address import Address, parse
from subscribers.arrivals import ask
from subscribers.audience import audience
from subscribers.departures import expire
from subscribers.evidence import Evidence, NotAllowed, Origin
from subscribers.lifecycle import confirm, unsubscribe
from subscribers.limits import Breach
from subscribers.models import Asked, Cause, Consent, State, Subscriber, Tried, Wish
from subscribers.rights import erase
from subscribers.roll import find, roll, standing
from subscribers.suppression import put, suppression_key
from subscribers.wishes import (
    AT_ONCE,
    MOST_WAITING,
    Granted,
    Note,
    NoteKind,
    forget_wishes,
    grant,
    is_waiting,
    tidy,
    wish,
)
from tests.subscribers.people import (
    NOW,
    READER,
    SECRET,
    at_once,
    enrol,
    everything,
    lines,
    on_page,
    person,
)

#: a flood at its full size is 10,000 wishes
FLOOD = int(os.environ.get("PROVE_FLOOD", "1000"))
HOURLY = 100_000
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
NEW = parse("new@example.org")


def asks(
    session: Session,
    address: Address = READER,
    at: datetime = NOW,
    ip: str | None = None,
    asked: Asked = Asked.SUBSCRIBE,
    one: int | None = None,
) -> None:
    evidence = Evidence(origin=Origin.PAGE, at=at, wording="Subscribe", ip=ip, user_agent="Mozilla/5.0")
    wish(session, asked, address, evidence, one)


def granted(engine: Engine, now: datetime = NOW, hourly: int = HOURLY) -> Granted:
    """What comes of all wishes that are due."""
    whole = Granted()
    while True:
        with writing(engine) as session:
            if not is_waiting(session, now):
                return whole
            part = grant(session, hourly, SECRET, now)
        whole.notes += part.notes
        whole.breaches += part.breaches


def waiting(engine: Engine) -> int:
    with Session(engine) as session:
        return session.execute(select(func.count()).select_from(Wish)).scalar_one()


# --- written down, and no more ------------------------------------------------------------------------


def test_a_page_only_writes_down_what_was_asked(engine: Engine) -> None:
    """U-9: whoever is known, or barred, or a stranger: the same is done."""
    with writing(engine) as session:
        one = enrol(session)
        put(session, [suppression_key(NEW.key, SECRET)], Cause.MANUAL, reason="", now=NOW)
        before = everything(session)
        for address in (READER, NEW, parse("stranger@example.org")):
            asks(session, address, ip="192.0.2.1")
        asks(session, NEW, asked=Asked.MOVE, one=one)
        after = everything(session)
        assert {name for name in after if after[name] != before[name]} == {"wish"}
        first = session.exec(select(Wish).order_by(col(Wish.id))).first()
        assert first is not None
        assert first.model_dump(exclude={"id"}) == {
            "asked": Asked.SUBSCRIBE,
            "subscriber_id": None,
            "address": "Reader@example.org",
            "address_key": "reader@example.org",
            "at": NOW,
            "due_at": NOW,
            "wording": "Subscribe",
            "ip": "192.0.2.1",
            "user_agent": "Mozilla/5.0",
        }


def test_beyond_so_many_that_wait_nothing_is_written_down(sqlite_engine: Engine) -> None:
    """S-7: a flood does not fill the disk, and once it is worked off people are heard again."""
    with writing(sqlite_engine) as session:
        asks(session)
        sample = session.exec(select(Wish)).one().model_dump(exclude={"id"})
        session.execute(insert(Wish), [sample] * (MOST_WAITING - 3))
        for _ in range(5):
            asks(session)
    assert waiting(sqlite_engine) == MOST_WAITING
    with writing(sqlite_engine) as session:
        grant(session, HOURLY, SECRET, NOW)
        asks(session)
    assert waiting(sqlite_engine) == MOST_WAITING - AT_ONCE + 1


def test_one_wish_that_waits_long_keeps_nobody_elses_from_being_written_down(engine: Engine) -> None:
    """U-8: what counts is how many wait, not how many came after the oldest of them."""
    with writing(engine) as session:
        asks(session, parse("waits@example.org"))
        session.flush()
        asks(session, parse("came-much-later@example.org"))
        session.flush()
        newest = session.execute(select(func.max(col(Wish.id)))).scalar_one()
        session.execute(update(Wish).where(col(Wish.id) == newest).values(id=newest + MOST_WAITING))
        asks(session)
    assert waiting(engine) == 3


# --- what each of them gets ---------------------------------------------------------------------------

FRESH, OLD = DAY, timedelta(days=90)
#: why nothing goes to the address, and for how long
LINES: list[tuple[Cause | None, timedelta]] = [
    (None, FRESH),
    (Cause.LEFT, FRESH),
    (Cause.ERASED, FRESH),
    (Cause.BOUNCED, FRESH),
    (Cause.COMPLAINED, FRESH),
    (Cause.COMPLAINED, OLD - timedelta(seconds=1)),
    (Cause.COMPLAINED, OLD),
    (Cause.MANUAL, FRESH),
    (Cause.MANUAL, 10 * OLD),
]
STATES: list[State | None] = [None, *State]
#: … and then nothing at all is sent to it
SILENT = [
    (Cause.COMPLAINED, FRESH),
    (Cause.COMPLAINED, OLD - timedelta(seconds=1)),
    (Cause.MANUAL, FRESH),
    (Cause.MANUAL, 10 * OLD),
]


def in_every_way(session: Session) -> dict[str, tuple[State | None, Cause | None, timedelta]]:
    """An address for each state and each line of the suppression list."""
    people = {}
    for n, (state, (cause, age)) in enumerate(product(STATES, LINES)):
        address = parse(f"r{n}@example.org")
        if state is not None:
            person(session, address.address, state, NOW - OLD)
        if cause is not None:
            put(session, [suppression_key(address.key, SECRET)], cause, reason="", now=NOW - age)
        people[address.key] = (state, cause, age)
    return people


def test_what_comes_of_the_form_for_each_state_and_each_cause(engine: Engine) -> None:
    """U-9, P-4, 3.1: the whole table."""
    with writing(engine) as session:
        people = in_every_way(session)
        for address in people:
            asks(session, parse(address))
    found = {note.address: note.kind for note in granted(engine).notes}
    expected = {}
    for address, (state, cause, age) in people.items():
        if (cause, age) in SILENT:
            continue
        manages = state == State.ACTIVE and cause is None
        expected[address] = NoteKind.MANAGE if manages else NoteKind.CONFIRM
    assert found == expected
    assert Counter(found.values()) == {NoteKind.CONFIRM: 34, NoteKind.MANAGE: 1}


def test_whoever_was_asked_for_a_yes_is_on_the_list_by_it_and_nobody_else_can_be(engine: Engine) -> None:
    """P-4, I-4: the question and the answer go by the same rule."""
    with writing(engine) as session:
        people = in_every_way(session)
        for address in people:
            asks(session, parse(address))
    asked = {note.address: note.subscriber_id for note in granted(engine).notes}
    with writing(engine) as session:
        for address, way in people.items():
            known = find(session, address)
            one = asked.get(address) or (known.id if known else None)
            if address in asked:
                assert one is not None
                confirm(session, one, on_page(NOW))
            elif one is not None:
                with pytest.raises(NotAllowed):
                    confirm(session, one, on_page(NOW))
            assert (one is None) is (way[0] is None and address not in asked)
        assert list(session.execute(audience()).scalars()) == sorted(asked.values())


@pytest.mark.parametrize("asked", [Asked.MOVE, Asked.DATA])
def test_what_comes_of_a_wish_to_move_or_to_see_for_each_cause(engine: Engine, asked: Asked) -> None:
    """U-10, P-2: nothing goes where nothing may go."""
    with writing(engine) as session:
        one = enrol(session)
        for n, (cause, age) in enumerate(LINES):
            address = parse(f"r{n}@example.org")
            if cause is not None:
                put(session, [suppression_key(address.key, SECRET)], cause, reason="", now=NOW - age)
            asks(session, address, asked=asked, one=one)
        before = everything(session)
    kind = NoteKind.MOVE if asked == Asked.MOVE else NoteKind.DATA
    assert granted(engine).notes == [
        Note(kind, one, f"r{n}@example.org", NOW) for n, line in enumerate(LINES) if line not in SILENT
    ]
    with writing(engine) as session:
        after = everything(session)
        assert {name for name in after if after[name] != before[name]} == {"wish", "tried"}


@pytest.mark.parametrize("asked", [Asked.MOVE, Asked.DATA])
def test_nothing_comes_of_a_wish_of_who_was_erased_meanwhile(engine: Engine, asked: Asked) -> None:
    """P-3."""
    with writing(engine) as session:
        one = enrol(session)
        erase(session, READER, SECRET, NOW, [])
        asks(session, NEW, asked=asked, one=one)
        asks(session, parse("b@example.org"), asked=asked, one=999_999)
    assert granted(engine) == Granted()
    assert waiting(engine) == 0


def test_a_mail_goes_to_the_address_as_it_was_typed_and_says_when(engine: Engine) -> None:
    """U-7."""
    with writing(engine) as session:
        asks(session, at=NOW - MINUTE)
    notes = granted(engine).notes
    with Session(engine) as session:
        found = find(session, READER.key)
        assert found is not None
        assert notes == [Note(NoteKind.CONFIRM, found.id or 0, "Reader@example.org", NOW - MINUTE)]


def test_of_who_asked_one_row_without_a_name_is_made(engine: Engine) -> None:
    """U-7, 3.1: however often, and however it is spelled."""
    with writing(engine) as session:
        for n, text in enumerate(["Reader@example.org", "READER@example.org", "reader@EXAMPLE.org"]):
            asks(session, parse(text), at=NOW + n * DAY, ip="192.0.2.1")
    for n in range(3):
        granted(engine, NOW + n * DAY)
    with Session(engine) as session:
        rows = [(one.address, one.name, one.state) for one in roll(session)]
        assert rows == [("Reader@example.org", "", State.PENDING)]


def test_the_form_writes_down_who_asked_when_and_from_where(engine: Engine) -> None:
    """LC-1: as proof for later; of who receives already nothing is."""
    with writing(engine) as session:
        enrol(session, NEW.address)
        asks(session, ip="192.0.2.1")
        asks(session, NEW, ip="192.0.2.1")
    granted(engine, NOW + MINUTE)
    with Session(engine) as session:
        kept = [
            (str(row.act), row.at, row.origin, row.wording, row.ip, row.user_agent)
            for row in session.exec(select(Consent).order_by(col(Consent.id)))
        ]
        assert kept[1:] == [("requested", NOW, "page", "Subscribe", "192.0.2.1", "Mozilla/5.0")]


# --- the limits ---------------------------------------------------------------------------------------


def test_a_flood_for_one_address_from_everywhere_causes_one_mail(sqlite_engine: Engine) -> None:
    """S-7, U-8: two wishes from each network; one mail and one row, and nothing waits."""
    with writing(sqlite_engine) as session:
        for n in range(FLOOD):
            asks(session, ip=f"{10 + n // 2 // 65536}.{n // 2 // 256 % 256}.{n // 2 % 256}.1")
    whole = granted(sqlite_engine)
    assert [(note.kind, note.address) for note in whole.notes] == [(NoteKind.CONFIRM, "Reader@example.org")]
    assert whole.breaches == {Breach.ADDRESS: FLOOD - 1}
    assert waiting(sqlite_engine) == 0
    with Session(sqlite_engine) as session:
        assert lines(session) == [("requested", "page", "Subscribe")]


def test_what_breaks_a_networks_limit_waits_and_is_answered_later(engine: Engine) -> None:
    """U-8: five an hour, in the order they came."""
    with writing(engine) as session:
        for n in range(7):
            asks(session, parse(f"r{n}@example.org"), ip="192.0.2.1")
    first = granted(engine)
    assert [note.address for note in first.notes] == [f"r{n}@example.org" for n in range(5)]
    assert first.breaches == {Breach.NETWORK: 2}
    assert granted(engine, NOW + 10 * MINUTE - timedelta(seconds=1)) == Granted()
    assert granted(engine, NOW + 10 * MINUTE).breaches == {Breach.NETWORK: 2}
    later = granted(engine, NOW + 60 * MINUTE)
    assert [note.address for note in later.notes] == ["r5@example.org", "r6@example.org"]
    assert waiting(engine) == 0


def test_what_breaks_everybodys_limit_waits_for_a_day_at_most(engine: Engine) -> None:
    """U-8: a mail about something that was asked for long ago would be a riddle."""
    with writing(engine) as session:
        asks(session, parse("first@example.org"))
        asks(session, parse("second@example.org"))
    first = granted(engine, hourly=1)
    assert ([note.address for note in first.notes], first.breaches) == (
        ["first@example.org"],
        {Breach.ALL: 1},
    )
    with writing(engine) as session:
        asks(session, parse("other@example.org"), at=NOW + DAY - timedelta(seconds=1))
    # Somebody else has the hour's only mail each time.
    session_at = NOW + DAY - timedelta(seconds=1)
    with writing(engine) as session:
        session.execute(
            update(Wish).where(col(Wish.address) == "second@example.org").values(due_at=session_at)
        )
        session.execute(update(Tried).values(at=session_at))
    assert granted(engine, session_at, hourly=1).breaches == {Breach.ALL: 2}
    assert waiting(engine) == 2
    last = granted(engine, NOW + DAY + 10 * MINUTE, hourly=1)
    assert (last.notes, last.breaches) == ([], {Breach.ALL: 2})
    with Session(engine) as session:
        assert [one.address for one in session.exec(select(Wish))] == ["other@example.org"]


def test_what_breaks_an_addresss_limit_is_dropped_at_once(engine: Engine) -> None:
    """U-8: the mail it waits for has been sent."""
    with writing(engine) as session:
        asks(session)
        asks(session, parse("reader+again@example.org"))
        asks(session, asked=Asked.MOVE, one=1)
    whole = granted(engine)
    assert (len(whole.notes), whole.breaches, waiting(engine)) == (1, {Breach.ADDRESS: 2}, 0)


def test_who_may_not_be_written_to_uses_up_the_limits_as_everybody_does(engine: Engine) -> None:
    """U-9: else the wait of the next visitor would tell who is on the list."""
    with writing(engine) as session:
        put(session, [suppression_key(READER.key, SECRET)], Cause.MANUAL, reason="", now=NOW)
        asks(session)
        asks(session, NEW)
    whole = granted(engine, hourly=1)
    assert (whole.notes, whole.breaches) == ([], {Breach.ALL: 1})


def test_two_at_once_send_one_mail(engine: Engine) -> None:
    """U-8, concurrently: the web server and the tick both look after the wishes."""
    with writing(engine) as session:
        for n in range(3 * AT_ONCE):
            asks(session, ip=f"10.0.{n % 250}.1")
    answers = at_once(*[lambda: granted(engine)] * 2)
    assert [one for one in answers if not isinstance(one, Granted)] == []
    notes = [note for one in answers if isinstance(one, Granted) for note in one.notes]
    assert [note.address for note in notes] == ["Reader@example.org"]
    assert waiting(engine) == 0
    with Session(engine) as session:
        assert len(list(roll(session))) == 1


# --- forgetting ---------------------------------------------------------------------------------------


def test_nothing_a_person_asked_for_waits_once_they_are_forgotten(engine: Engine) -> None:
    """P-3: neither theirs nor what others asked for their address."""
    with writing(engine) as session:
        one, other = enrol(session), enrol(session, "other@example.org")
        asks(session)
        asks(session, NEW, asked=Asked.MOVE, one=one)
        asks(session, parse("stays@example.org"))
        asks(session, parse("other@example.org"), asked=Asked.DATA, one=other)
        forget_wishes(session, one, frozenset({READER.key, READER.address}))
        kept = [row.address for row in session.exec(select(Wish).order_by(col(Wish.id)))]
        assert kept == ["stays@example.org", "other@example.org"]


def test_forgetting_a_stranger_leaves_the_wishes_of_other_strangers(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        asks(session)
        asks(session, NEW)
        forget_wishes(session, None, frozenset({READER.key}))
        assert [row.address for row in session.exec(select(Wish))] == ["new@example.org"]


def test_who_never_said_yes_is_gone_after_a_month(engine: Engine) -> None:
    """3.1: with all that was kept of them; who asked again has a month from then."""
    with writing(engine) as session:
        ask(session, READER, on_page(), SECRET)
        ask(session, NEW, on_page(), SECRET)
        confirmed = ask(session, parse("yes@example.org"), on_page(), SECRET)
        confirm(session, confirmed, on_page())
        ask(session, NEW, on_page(NOW + DAY), SECRET)
        left = ask(session, parse("left@example.org"), on_page(), SECRET)
        unsubscribe(session, left, on_page())
        tidy(session, NOW + timedelta(days=30))
        assert len(list(roll(session))) == 4
        tidy(session, NOW + timedelta(days=30, seconds=1))
        assert [one.address for one in roll(session)] == [
            "new@example.org",
            "yes@example.org",
            "left@example.org",
        ]
        tidy(session, NOW + timedelta(days=32))
        assert [one.address for one in roll(session)] == ["yes@example.org", "left@example.org"]
        assert {line[0] for line in lines(session)} == {"requested", "confirmed", "withdrawn"}
        assert session.execute(select(func.count()).select_from(Consent)).scalar_one() == 4
        assert session.execute(select(func.count()).select_from(Subscriber)).scalar_one() == 2


def test_no_id_is_ever_given_to_another_person(engine: Engine) -> None:
    """U-4, T-1: of the newest who never said yes an empty row is left, or their links would be another's."""
    with writing(engine) as session:
        one = ask(session, READER, on_page(), SECRET)
        assert expire(session, NOW + timedelta(days=31)) == 1
        assert standing(session, one) is None
        assert session.get_one(Subscriber, one, populate_existing=True).address == ""
        again = ask(session, READER, on_page(NOW + timedelta(days=31)), SECRET)
        assert again > one
        assert expire(session, NOW + timedelta(days=61)) == 0
        assert expire(session, NOW + timedelta(days=62)) == 1
        last = ask(session, NEW, on_page(), SECRET)
        assert last > again
        assert unsubscribe(session, one, on_page()) is False
        assert unsubscribe(session, again, on_page()) is False
        assert [row.id for row in roll(session)] == [last]


def test_old_counts_and_links_go_with_the_rest(engine: Engine) -> None:
    """P-3."""
    with writing(engine) as session:
        asks(session)
    granted(engine)
    with writing(engine) as session:
        tidy(session, NOW + timedelta(days=31))
        kept = everything(session)
        assert {name: len(rows) for name, rows in kept.items() if rows} == {"subscriber": 1}
        assert "eader" not in str(kept)


def test_an_editors_word_wins_over_any_number_of_wishes(engine: Engine) -> None:
    """P-2: MANUAL never gets anything."""
    with writing(engine) as session:
        one = enrol(session)
        put(session, [suppression_key(READER.key, SECRET)], Cause.MANUAL, reason="", now=NOW)
        for n, asked in product(range(0, 400, 10), Asked):
            asks(session, at=NOW + n * DAY, asked=asked, one=one)
    for n in range(0, 400, 10):
        assert granted(engine, NOW + n * DAY).notes == []
    assert waiting(engine) == 0
